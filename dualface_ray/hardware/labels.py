"""Labels: how a node of Ray says what its cards are, so that whoever plans needs no file of that node's. Pure.

                ┌ its name ─────────────────────────────────────────┐
Profile ────────┼ dualface-verified, where a probe has confirmed it ┼─► (ray start --labels) ─► profile_of ─► Profile
                └ its figures, where they are not the packaged ones ┘
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from typing import Any

from dualface_ray.errors import ProfileError
from dualface_ray.hardware.profiles import Profile, load_profile, parse_profile, profile_names

_NAME, _DRIVER, _VERIFIED = "dualface-profile", "dualface-driver", "dualface-verified"
_MEMORY = "dualface-card-bytes"
"""Also by hand beside a packaged name: of the node's smallest card or instance. It is no part of the profile then."""
_CARD, _DECODE, _ENCODE, _CAP, _LANE = (f"dualface-{name}" for name in ("card", "nvdec", "nvenc", "nvenc-cap", "lane"))
_OWN = (_CARD, _DECODE, _ENCODE, _CAP, _LANE)
"""With ``_MEMORY`` they are all figures of a profile that a job plans with."""
_SOUND = re.compile(r"[A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?")
"""What Ray and Kubernetes take as a label's value."""
_REMEDY = "Start the node with start-node.sh, or with the labels that `dualface probe FILE.yaml --verify` prints."


def node_labels(profile: Profile, driver: str = "") -> dict[str, str]:
    """What a node with such cards says of itself: the name, and what everybody else does not know by it.

    Args:
        profile: a packaged one or one of the node's own.
        driver: its version, on which the session cap of a GeForce depends.

    Raises:
        ProfileError: a label cannot hold its name.
    """
    found = {_NAME: profile.name} | ({_DRIVER: driver} if driver else {})
    if profile.kind == "gpu":
        packaged = load_profile(profile.name) if profile.name in profile_names() else None
        own = _figures(profile, driver)
        carried = packaged is None or own != _figures(packaged, driver)
        found |= own if carried else {}
        if profile.verified is not None and (packaged is None or carried or profile.verified != packaged.verified):
            found[_VERIFIED] = f"{profile.verified.date}_{_plain(profile.verified.driver)}"
    for label, value in found.items():
        if not _SOUND.fullmatch(value):
            remedy = "At most 63 letters, digits, '-', '_' and '.', the first and the last a letter or a digit."
            raise ProfileError(f"no label of Ray ({label}) can hold {value!r}", where="profile", remedy=remedy)
    return found


def profile_of(labels: Mapping[str, str], profiles: Callable[[str], Profile] = load_profile) -> Profile | None:
    """The profile of a node's cards by its labels; None where they name none.

    Args:
        labels: of the node.
        profiles: packaged profiles by name.

    Raises:
        ProfileError: it is neither packaged nor carried whole, or the labels make no valid profile.
    """
    name = labels.get(_NAME, "")
    if not name:
        return None
    if name.endswith((".yaml", ".yml")):
        raise ProfileError("is a file, which only the node itself can read", where=_where(name), remedy=_REMEDY)
    missing = [label for label in (*_OWN, _MEMORY) if label not in labels]
    if missing and any(label in labels for label in _OWN):
        raise ProfileError(f"the node lacks {', '.join(missing)}", where=_where(name), remedy=_REMEDY)
    if missing and _VERIFIED not in labels:
        return profiles(name)
    try:
        document = json.loads(profiles(name).model_dump_json()) if missing else _document(name, labels)
    except ValueError as error:
        raise ProfileError(f"a label cannot be read: {error}", where=_where(name), remedy=_REMEDY) from None
    date, _, driver = labels.get(_VERIFIED, "").partition("_")
    document["verified"] = {"date": date, "driver": driver or labels.get(_DRIVER) or "not said"} if date else None
    return parse_profile(document, where=_where(name))


def _where(name: str) -> str:
    return f"{_NAME}={name}"


def _figures(profile: Profile, driver: str) -> dict[str, str]:
    decode, encode = profile.decode, profile.encode
    cap = profile.session_cap(driver)
    lane = {name: getattr(profile.lane, name).value for name in type(profile.lane).model_fields}
    return {
        _CARD: _plain(profile.card),
        _MEMORY: str(profile.vram_bytes.value),
        _DECODE: "_".join([str(decode.engines.value), *decode.codecs.value]),
        _ENCODE: "_".join([str(encode.engines.value), *encode.codecs.value]),
        _CAP: "none" if cap is None else f"{encode.cap_scope}_{cap}",
        _LANE: "_".join(f"{name}-{value:g}" for name, value in lane.items()),
    }


def _plain(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9.-]+", "_", text).strip("_.-")


def _document(name: str, labels: Mapping[str, str]) -> dict[str, Any]:
    """What ``_figures`` has written, in the form of a profile's file."""

    def figure(value: Any) -> dict[str, Any]:
        return {"value": value, "source": "a label of the node"}

    def engines(text: str) -> dict[str, Any]:
        count, *codecs = text.split("_")
        return {"engines": figure(int(count)), "codecs": figure(codecs)}

    scope, _, cap = labels[_CAP].partition("_")
    caps = [] if scope == "none" else [{"from_driver": "0", "sessions": int(cap), "source": "a label of the node"}]
    lane = dict(part.split("-", 1) for part in labels[_LANE].split("_"))
    return {
        "name": name,
        "kind": "gpu",
        "card": labels[_CARD].replace("_", " "),
        "vram_bytes": figure(int(labels[_MEMORY])),
        "decode": engines(labels[_DECODE]),
        "encode": {**engines(labels[_ENCODE]), "cap_scope": scope, "caps": caps},
        "lane": {key: figure(float(text) if key == "speed" else int(text)) for key, text in lane.items()},
    }
