"""From what a probe found to a static profile. Pure.

packaged profile ─┐
CardProbe ────────┴─► measured_profile ─► Profile ─► profile_text (YAML, read_profile reads it back)
"""

from __future__ import annotations

import datetime
import json
from typing import Any, cast

import yaml

from dualface_ray.errors import ProfileError
from dualface_ray.hardware.compare import session_text
from dualface_ray.hardware.facts import CardProbe, DriverFacts, SessionFacts, Unknown
from dualface_ray.hardware.probing import card_slug
from dualface_ray.hardware.profiles import Profile, driver_version, parse_profile

_FPS_PER_DECODER = 535.0
"""1080p H.264 of one decoder engine: 3748 fps over 7 engines, measured on an H200 (docs/performance.md)."""


def measured_profile(
    base: Profile | None, probe: CardProbe, driver: DriverFacts, today: datetime.date, *, verified: bool
) -> Profile:
    """A profile of this card: what was measured as measured, the rest from ``base`` or estimated, and said so.

    Args:
        base: the profile of this kind of card, if there is one.
        probe: of the card.
        driver: of the machine.
        today: goes into the sources.
        verified: every figure of ``base`` was confirmed; date and driver are filled in.

    Raises:
        ProfileError: a figure was neither found nor is it in a profile.
    """
    version = driver.driver if isinstance(driver.driver, str) else "unknown"
    maker = _Maker(base, f"dualface probe, {today.isoformat()}, driver {version}")
    decode, encode = probe.decoding, probe.encoding
    document: dict[str, Any] = {
        "name": base.name if base else card_slug(probe.card.name),
        "kind": "gpu",
        "card": base.card if base else probe.card.name,
        "vram_bytes": maker.figure("vram_bytes", probe.card.vram_bytes),
        "decode": {
            "engines": maker.figure("decode.engines", decode.engines),
            "codecs": maker.figure("decode.codecs", decode.codecs()),
        },
        "encode": {
            "engines": maker.figure("encode.engines", encode.engines),
            "codecs": maker.figure("encode.codecs", encode.codecs()),
            **_caps(base, probe, version, maker.source),
        },
    }
    document["lane"] = maker.lane(document)
    document["verified"] = {"date": today.isoformat(), "driver": version} if verified else None
    return parse_profile(document, where=f"profile of {probe.card.name}")


def measured_cpu_profile(base: Profile, cores: int, today: datetime.date, *, verified: bool) -> Profile:
    """The CPU's profile with the cores of this machine."""
    document = json.loads(base.model_dump_json())
    source = f"dualface probe, {today.isoformat()}, no driver"
    document["lane"]["cores"] = {"value": cores, "source": source, "measured": True}
    for name in ("streams", "encoders"):
        document["lane"][name] = {"value": max(1, cores // 2), "source": f"Estimate: half of the cores; {source}"}
    document["verified"] = {"date": today.isoformat(), "driver": "none"} if verified else None
    return parse_profile(document, where=f"profile {base.name}")


class _Maker:
    """Figures, each with the source that is true of it."""

    def __init__(self, base: Profile | None, source: str) -> None:
        self.source = source
        self._base = None if base is None else json.loads(base.model_dump_json())

    def figure(self, key: str, found: Any) -> dict[str, Any]:
        if not isinstance(found, Unknown):
            value = list(found) if isinstance(found, tuple) else found
            return {"value": value, "source": self.source, "measured": True}
        if self._base is None:
            raise ProfileError(
                f"{key} was not found ({found.why}), and there is no profile of this card to take it from",
                where="dualface probe",
                remedy="Name the profile of a similar card: dualface probe NAME.",
            )
        return self._taken(key, f" Not found by the probe ({found.why}).")

    def lane(self, document: dict[str, Any]) -> dict[str, Any]:
        if self._base is not None:
            names = self._base["lane"]
            return {name: self._taken(f"lane.{name}", "") for name in names}
        decoders, encoders = document["decode"]["engines"]["value"], document["encode"]["engines"]["value"]
        streams = max(1, min(16, 4 * decoders))
        source = f"Estimate from {decoders} decoder and {encoders} encoder engines; a probe does not measure it"
        cores = max(2, 2 + streams // 2) if encoders else streams
        bound = f"{decoders} decoder engines near {_FPS_PER_DECODER:.0f} fps" if encoders else "x264 on its cores"
        speed = decoders * _FPS_PER_DECODER / 30 if encoders else cores * 0.9
        values = {"streams": streams, "decoders": 1 + (decoders > 3), "encoders": streams, "cores": cores}
        found: dict[str, Any] = {name: {"value": value, "source": source} for name, value in values.items()}
        return {**found, "speed": {"value": round(float(speed), 1), "source": f"{source}; bounded by {bound}"}}

    def _taken(self, key: str, more: str) -> dict[str, Any]:
        part: Any = self._base
        for word in key.split("."):
            part = part[word]
        name = cast("dict[str, Any]", self._base)["name"]
        source = str(part["source"])
        taken = source if source.startswith("Taken over") else f"Taken over from profile {name}: {source}"
        return {"value": part["value"], "source": f"{taken.rstrip('.')}.{more}", "measured": part["measured"]}


def _caps(base: Profile | None, probe: CardProbe, version: str, source: str) -> dict[str, Any]:
    """The cap's table: what is known of other drivers, and what this driver was seen to allow."""
    scope: str = base.encode.cap_scope if base else "none"
    caps = [{"from_driver": c.from_driver, "sessions": c.sessions, "source": c.source} for c in _table(base)]
    found = probe.sessions
    refused = isinstance(found, SessionFacts) and found.ended in ("refused", "crashed")
    if not isinstance(found, SessionFacts) or not refused or not driver_version(version):
        return {"cap_scope": scope, "caps": caps}
    total = found.opened + found.beside
    known = base.session_cap(version) if base else None
    if known == total or total < 1:
        return {"cap_scope": scope, "caps": caps}
    measured = {"from_driver": version, "sessions": total, "source": f"Measured: {source}; {session_text(found)}"}
    older = [one for one in caps if driver_version(str(one["from_driver"])) < driver_version(version)]
    newer = [one for one in caps if driver_version(str(one["from_driver"])) > driver_version(version)]
    if not older:
        lowest = {"from_driver": "0", "sessions": total, "source": f"Assumed: {total} with {version}; not measured"}
        older = [lowest]
    return {"cap_scope": "machine" if scope == "none" else scope, "caps": [*newer, measured, *older]}


def _table(base: Profile | None) -> tuple[Any, ...]:
    return base.encode.caps if base else ()


def profile_text(profile: Profile, heading: str) -> str:
    """The YAML of a profile, in the order and form of ``configs/profiles``."""
    document = json.loads(profile.model_dump_json())
    if not document["encode"]["caps"]:
        del document["encode"]["caps"]
    for figure in _figures(document):
        if not figure["measured"]:
            del figure["measured"]
    head = "".join(f"# {line}\n" for line in heading.splitlines())
    body = yaml.safe_dump(document, sort_keys=False, allow_unicode=True, width=110, default_flow_style=None)
    return head + body


def _figures(value: Any) -> list[dict[str, Any]]:
    if isinstance(value, dict):
        if "measured" in value:
            return [value]
        return [found for below in value.values() for found in _figures(below)]
    return []
