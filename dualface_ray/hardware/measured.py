"""From what a probe found to a static profile, and the comparison of a profile with what a probe found. Pure.

packaged profile ─┐                          ┌─► rows: figure, profile, found, verdict
CardProbe ────────┴─► compare ───────────────┤
                  └─► measured_profile ──────┴─► Profile ─► profile_text (YAML, read_profile reads it back)
"""

from __future__ import annotations

import datetime
import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal, cast

import yaml

from dualface_ray.errors import ProfileError
from dualface_ray.hardware.facts import CardProbe, DriverFacts, SessionFacts, Unknown
from dualface_ray.hardware.probing import card_slug
from dualface_ray.hardware.profiles import Profile, driver_version, parse_profile, profile_for

Verdict = Literal["ok", "differs", "unknown"]
_TOLERANCE = 0.01
"""NVML reserves a little differently from driver to driver."""
_FPS_PER_DECODER = 535.0
"""1080p H.264 of one decoder engine: 3748 fps over 7 engines, measured on an H200 (docs/performance.md)."""
_KNOWN_CODECS = ("h264", "hevc", "vp9", "av1")


@dataclass(frozen=True, slots=True)
class Row:
    """One figure of a profile beside what was found."""

    figure: str
    profile: str
    found: str
    verdict: Verdict
    note: str = ""


def compare(profile: Profile, probe: CardProbe, driver: DriverFacts) -> tuple[Row, ...]:
    """Every figure of the profile that a probe can check."""
    rows = [_card_row(profile, probe), _memory_row(profile, probe)]
    decode, encode = profile.decode, profile.encode
    rows.append(_row("decode.engines", decode.engines.value, probe.decoding.engines))
    rows.append(_row("decode.codecs", set(decode.codecs.value), _as_set(probe.decoding.codecs())))
    engines = probe.encoding.engines
    rows.append(_row("encode.engines", encode.engines.value, engines))
    rows.append(_row("encode.codecs", set(encode.codecs.value), _as_set(probe.encoding.codecs())))
    rows.append(_sessions_row(profile, probe, driver))
    return tuple(rows)


def confirmed(rows: Iterable[Row]) -> bool:
    """Whether every figure was found and is right."""
    return all(row.verdict == "ok" for row in rows)


def _card_row(profile: Profile, probe: CardProbe) -> Row:
    fits = profile.kind == "gpu" and profile_for(probe.card.name, (profile,)) is not None
    return Row("card", profile.card, probe.card.name, "ok" if fits else "differs")


def _memory_row(profile: Profile, probe: CardProbe) -> Row:
    """The profile holds the smallest card of that name: a larger one fits, a smaller one does not."""
    want, found = profile.vram_bytes.value, probe.card.vram_bytes
    if isinstance(found, Unknown):
        return Row("vram_bytes", _mib(want), str(found), "unknown")
    note = "a larger variant" if found > want * (1 + _TOLERANCE) else ""
    return Row("vram_bytes", _mib(want), _mib(found), "ok" if found >= want * (1 - _TOLERANCE) else "differs", note)


def _sessions_row(profile: Profile, probe: CardProbe, driver: DriverFacts) -> Row:
    version = driver.driver if isinstance(driver.driver, str) else ""
    cap = profile.session_cap(version)
    want = "no NVENC" if not profile.has_nvenc else f"{cap} a {profile.encode.cap_scope}" if cap else "no cap"
    figure = f"encode sessions, driver {version or 'unknown'}"
    found = probe.sessions
    if isinstance(found, Unknown):
        gone = probe.encoding.codecs() == ()
        verdict: Verdict = "ok" if gone and not profile.has_nvenc else "differs" if gone else "unknown"
        return Row(figure, want, "no NVENC" if gone else str(found), verdict)
    text, note = session_text(found), "other programs used the card" if found.disturbed else ""
    if not profile.has_nvenc:
        return Row(figure, want, text, "differs", note)
    if cap is None:
        if found.ended == "refused":
            return Row(figure, want, text, "unknown" if found.disturbed else "differs", note)
        ample = found.ended == "bound" or found.opened >= profile.lane.encoders.value
        return Row(figure, want, text, "ok" if ample else "unknown", note)
    total = found.opened + found.beside
    if total == cap and found.ended in ("refused", "crashed"):
        return Row(figure, want, text, "ok", note)
    sure = found.ended in ("refused", "bound") and not (found.disturbed and total < cap)
    return Row(figure, want, text, "differs" if sure else "unknown", note)


def session_text(found: SessionFacts) -> str:
    """``5 opened, the sixth was refused`` in the words that fit."""
    ends = {
        "bound": f"no limit up to {found.bound}",
        "refused": "the next was refused",
        "failed": f"the next failed: {found.text}",
        "crashed": f"the next ended the process: {found.text}",
        "time": "then time was over",
    }
    more = f" beside {found.beside} of other programs" if found.beside else ""
    return f"{found.opened} opened{more}; {ends.get(found.ended, found.ended)}"


def _row(figure: str, want: Any, found: Any) -> Row:
    if isinstance(found, Unknown):
        return Row(figure, _words(want), str(found), "unknown")
    return Row(figure, _words(want), _words(found), "ok" if want == found else "differs")


def _as_set(found: Any) -> Any:
    return found if isinstance(found, Unknown) else set(found)


def _words(value: Any) -> str:
    if isinstance(value, set):
        return ", ".join(name for name in _KNOWN_CODECS if name in value) or "none"
    return str(value)


def _mib(count_bytes: int) -> str:
    return f"{count_bytes / (1 << 20):.0f} MiB"


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


def compare_cpu(profile: Profile, cores: int, cards: int) -> tuple[Row, ...]:
    """The CPU's profile holds the smallest useful machine; a card would want a profile of its own."""
    least = profile.lane.cores.value
    return (
        Row("card", profile.card, "no card" if not cards else f"{cards} cards", "differs" if cards else "ok"),
        Row("lane.cores", f"at least {least}", str(cores), "ok" if cores >= least else "differs"),
    )


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
