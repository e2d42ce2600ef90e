"""A profile held against what a probe found, figure by figure. Pure.

Profile, CardProbe, DriverFacts ─► compare ─► rows: figure, profile, found, ok | differs | unknown ─► confirmed
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

from dualface_ray.hardware.facts import CardProbe, DriverFacts, SessionFacts, Unknown
from dualface_ray.hardware.profiles import Profile, profile_for

Verdict = Literal["ok", "differs", "unknown"]
_TOLERANCE = 0.01
"""NVML reserves a little differently from driver to driver."""
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


def compare_cpu(profile: Profile, cores: int, cards: int) -> tuple[Row, ...]:
    """The CPU's profile holds the smallest useful machine; a card would want a profile of its own."""
    least = profile.lane.cores.value
    return (
        Row("card", profile.card, "no card" if not cards else f"{cards} cards", "differs" if cards else "ok"),
        Row("lane.cores", f"at least {least}", str(cores), "ok" if cores >= least else "differs"),
    )
