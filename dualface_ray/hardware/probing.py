"""One probe of this machine: every part in a process of its own, what cannot be found out said as such.

    nvml ─► cards ─ which may be seen ─► decoding, encoding, sessions (per kind of card)   } each: run_part ─► facts
    versions, libraries, disk ─────────────────────────────────────────────────────────────┘

Runs only when somebody asks for it (``dualface probe``, ``doctor``, tests); a job plans from static profiles.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

from dualface_ray.hardware.child import Outcome, run_part
from dualface_ray.hardware.facts import (
    CardFacts,
    CardProbe,
    CodecLimits,
    DiskFacts,
    DriverFacts,
    EngineFacts,
    LibraryFacts,
    Maybe,
    SessionFacts,
    Unknown,
    driver_facts,
    known,
)
from dualface_ray.hardware.libraries import DRIVER_LIBRARIES, MODULES, distributions
from dualface_ray.hardware.profiles import Profile

Runner = Callable[..., Outcome]
_NVML_S, _CODECS_S, _SESSIONS_S, _IMPORT_S, _IPC_S = 20.0, 60.0, 90.0, 60.0, 60.0
_DISK_S = 3.0
_BEYOND_CAP = 3
"""Sessions tried beyond a known cap, to see whether it is still one."""
_UNCAPPED_BOUND = 16
"""Sessions tried where no cap is known: as many as any profile gives a lane."""


def probe_driver(run: Runner = run_part) -> DriverFacts:
    """Driver and cards."""
    outcome = run("nvml", {}, title="NVML", limit_s=_NVML_S)
    if outcome.value is None:
        why = outcome.why or "NVML gave no answer"
        return DriverFacts(Unknown(why), Unknown(why), (), why, 0)
    return driver_facts(outcome.value)


def probe_card(
    card: CardFacts,
    profile: Profile | None,
    *,
    verify: bool,
    count_sessions: bool,
    driver: str = "",
    others: Iterable[CardFacts] = (),
    run: Runner = run_part,
) -> CardProbe:
    """Engines, codecs and encoder sessions of one card.

    Args:
        card: from ``probe_driver``.
        profile: what is known of its kind; without NVENC in it, no encoder is opened unless ``verify`` asks for it.
        verify: ask the encoder in any case.
        count_sessions: open encoder sessions until no more are allowed.
        driver: its version, for the cap.
        others: all cards of the machine, whose open sessions count against a common cap.
        run: runs a part; a double in tests.
    """
    environment = card_environment(card)
    outcome = run("decoding", {}, title="the decoder library", limit_s=_CODECS_S, environment=environment)
    decoding = engine_facts(outcome)
    if isinstance(card.decoders, int) and isinstance(decoding.engines, int):  # the library may count the whole card's
        decoding = replace(decoding, engines=card.decoders)
    if profile is not None and not profile.has_nvenc and not verify:
        why = Unknown(f"not asked: profile {profile.name} has no NVENC for this card (--verify asks all the same)")
        return CardProbe(card, decoding, EngineFacts(why), why)
    outcome = run("encoding", {}, title="the encoder library", limit_s=_CODECS_S, environment=environment)
    encoding = engine_facts(outcome)
    sessions: Maybe[SessionFacts]
    if encoding.codecs() == ():
        sessions = Unknown("there is no NVENC")
    elif not count_sessions:
        sessions = Unknown("not asked for")
    else:
        cap = profile.session_cap(driver) if profile else None
        bound = max(_UNCAPPED_BOUND, (cap or 0) + _BEYOND_CAP)
        title = "the encoder library"
        given = {"bound": bound}
        outcome = run("sessions", given, title=title, limit_s=_SESSIONS_S, environment=environment)
        sessions = session_facts(outcome, bound, card, others)
    return CardProbe(card, decoding, encoding, sessions)


def card_environment(card: CardFacts) -> dict[str, str]:
    """Makes this card device 0 of a probing process."""
    name = card.uuid if isinstance(card.uuid, str) else str(card.index)
    return {"CUDA_VISIBLE_DEVICES": name, "CUDA_DEVICE_ORDER": "PCI_BUS_ID"}


def engine_facts(outcome: Outcome) -> EngineFacts:
    """From what a decoder or encoder part told, also when it did not reach its end."""
    if any(one.get("absent") for one in outcome.progress):
        gone = [CodecLimits(str(one["codec"]), int(one["bits"]), False, 0, 0) for one in outcome.progress]
        return EngineFacts(0, tuple(gone))
    limits, counts = [], []
    for one in outcome.progress:
        supported = known(one.get("supported"))
        limits.append(
            CodecLimits(
                str(one["codec"]),
                int(one["bits"]),
                supported,
                known(one.get("max_width_px", 0)),
                known(one.get("max_height_px", 0)),
            )
        )
        if supported is True:
            counts.append(known(one.get("engines")))
    numbers = [count for count in counts if isinstance(count, int)]
    if outcome.value is None:
        why = Unknown(outcome.why)
        limits += [CodecLimits("", 8, why, why, why)]
    if numbers:
        return EngineFacts(max(numbers), tuple(limits))
    if counts:
        return EngineFacts(counts[0], tuple(limits))
    none = bool(limits) and all(one.supported is False for one in limits)
    return EngineFacts(0 if none else Unknown(outcome.why or "no codec is known to be supported"), tuple(limits))


def session_facts(
    outcome: Outcome, bound: int, card: CardFacts, others: Iterable[CardFacts] = ()
) -> Maybe[SessionFacts]:
    """From what the counting part told; a crash on the one too many is a count, a crash on the first is none."""
    open_before = [one.open_sessions for one in (tuple(others) or (card,))]
    beside = sum(count for count in open_before if isinstance(count, int))
    busy = beside > 0 or (isinstance(card.processes, tuple) and len(card.processes) > 0)
    opened = max((int(count) for count in outcome.progress), default=0)
    if outcome.value is not None:
        found = outcome.value
        return SessionFacts(
            int(found["opened"]), bound, str(found["ended"]), str(found["text"]), beside=beside, disturbed=busy
        )
    if opened == 0:
        return Unknown(outcome.why)
    ended = "time" if outcome.ended == "time" else "crashed"
    return SessionFacts(opened, bound, ended, outcome.why, beside=beside, disturbed=busy)


def probe_libraries(run: Runner = run_part, environment: Mapping[str, str] | None = None) -> LibraryFacts:
    """Versions and libraries; each import in a process of its own, side by side."""
    with ThreadPoolExecutor(max_workers=len(MODULES)) as pool:
        found = list(
            pool.map(
                lambda name: run(
                    "versions", {"module": name}, title=name, limit_s=_IMPORT_S, environment=environment or {}
                ),
                MODULES,
            )
        )
    versions: dict[str, Maybe[str]] = {"cuda_runtime": Unknown("CuPy tells it, and it cannot be imported")}
    for name, outcome in zip(MODULES, found, strict=True):
        told: Mapping[str, Any] = outcome.value or (outcome.progress[-1] if outcome.progress else {})
        versions[name] = Unknown(outcome.why)
        versions.update(told)
    outcome = run("libraries", {"names": list(DRIVER_LIBRARIES)}, title="a library of the driver", limit_s=_IMPORT_S)
    opened = {str(name): str(trouble) for name, trouble in outcome.progress}
    for name in DRIVER_LIBRARIES:
        opened.setdefault(name, outcome.why or "not reached")
    return LibraryFacts(versions, opened, distributions())


def probe_ipc(card: CardFacts, run: Runner = run_part) -> Maybe[str]:
    """``ok``, or why device memory does not travel between two processes."""
    outcome = run("ipc", {}, title="CUDA IPC", limit_s=_IPC_S, environment=card_environment(card))
    return str(outcome.value) if outcome.value is not None else Unknown(outcome.why)


def probe_disk(folder: Path, *, scratch: bool, run: Runner = run_part, seconds: float = _DISK_S) -> DiskFacts:
    """Read speed of a folder's disk; a scratch folder gets a file of our own for it, if it holds none."""
    given = {"folder": str(folder.absolute()), "seconds": seconds, "scratch": scratch}
    outcome = run("disk", given, title=f"reading from {folder}", limit_s=seconds * 4 + 15)
    if outcome.value is None:
        why = Unknown(outcome.why)
        return DiskFacts(str(folder), why, why, free_bytes=why)
    return DiskFacts(**{name: known(value) for name, value in outcome.value.items()})


def card_slug(name: str) -> str:
    """A profile's name for a card that has none: ``NVIDIA GeForce RTX 4080`` becomes ``geforce-rtx-4080``."""
    text = re.sub(r"[^a-z0-9]+", "-", name.lower().replace("nvidia", "").replace("tesla", "")).strip("-")
    return text or "card"
