"""Text that is safe to show: names come from file systems and containers, and may hold anything."""

from __future__ import annotations

_UNITS = ("B", "KiB", "MiB", "GiB", "TiB")


def shown(text: object) -> str:
    """One line without control characters, direction marks or bytes that are no text."""
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in " ".join(str(text).split()))


def duration(seconds: float | None) -> str:
    """``0:42``, ``12:03`` or ``1:02:03``; a dash when unknown."""
    if seconds is None or not 0 <= seconds < 360_000_000:
        return "–"
    minutes, rest = divmod(int(seconds + 0.5), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def size(count_bytes: int) -> str:
    """``1.5 GiB``: three digits are enough for a person."""
    value, unit = float(count_bytes), 0
    while value >= 1024 and unit < len(_UNITS) - 1:
        value, unit = value / 1024, unit + 1
    return f"{value:.0f} {_UNITS[unit]}" if unit == 0 or value >= 100 else f"{value:.1f} {_UNITS[unit]}"
