"""Ticks: integers counted in a time base (seconds per tick, a Fraction)."""

from __future__ import annotations

from enum import Enum
from fractions import Fraction

_MAX_TIMESCALE = 2**31 - 1
_FINE_TIMESCALE = 10_000


class Rounding(Enum):
    """Where a value between two ticks goes."""

    NEAREST = "nearest"
    """To the nearer tick; exactly half way goes away from zero (as libav rescales time stamps)."""
    DOWN = "down"
    """Towards minus infinity."""
    UP = "up"
    """Towards plus infinity."""


def round_fraction(value: Fraction, rounding: Rounding = Rounding.NEAREST) -> int:
    """The integer next to ``value`` by the rule given."""
    if rounding is Rounding.DOWN:
        return value.numerator // value.denominator
    if rounding is Rounding.UP:
        return -(-value.numerator // value.denominator)
    magnitude = (2 * abs(value.numerator) + value.denominator) // (2 * value.denominator)
    return magnitude if value >= 0 else -magnitude


def rescale(ticks: int, source: Fraction, target: Fraction, rounding: Rounding = Rounding.NEAREST) -> int:
    """Ticks of one time base expressed in another; exact when the target divides the source.

    Args:
        ticks: any integer, also negative.
        source: seconds per tick of ``ticks``.
        target: seconds per tick of the result; positive.
        rounding: the rule for values between two target ticks.

    Raises:
        ValueError: a time base is not positive.
    """
    if source <= 0 or target <= 0:
        raise ValueError(f"time bases must be positive, not {source} and {target}")
    return round_fraction(ticks * source / target, rounding)


def seconds(ticks: int, time_base: Fraction) -> Fraction:
    """Exact time of a tick."""
    return ticks * time_base


def frame_ticks(time_base: Fraction, rate: Fraction) -> int:
    """Ticks one frame lasts at a nominal rate (nearest), at least 1; 1 when the rate is unknown (0)."""
    if rate <= 0:
        return 1
    return max(1, round_fraction(1 / (rate * time_base)))


def track_timescale(time_base: Fraction, widest_ticks: int = 0) -> int:
    """Ticks per second of an MP4 or MOV track in which every tick of ``time_base`` is a whole number.

    The smallest multiple of the time base's denominator that is at least 10,000 (finer than 0.1 ms, because edit
    lists, which place the audio, are counted in it), or the denominator itself when that is finer already. The
    field has 32 bits in the file and is used as a signed number by readers.

    So has the distance of two frames. Where the widest one does not fit (more than six hours on a clock of 90 kHz), the
    scale is the finest in which it does, and stamps are rounded to it.

    Raises:
        ValueError: the denominator does not fit 31 bits.
    """
    scale = time_base.denominator
    if scale > _MAX_TIMESCALE:
        raise ValueError(f"time base {time_base} is too fine for a track")
    scale = scale if scale >= _FINE_TIMESCALE else scale * -(-_FINE_TIMESCALE // scale)
    if widest_ticks * time_base * scale > _MAX_TIMESCALE:
        scale = max(1, round_fraction(_MAX_TIMESCALE / (widest_ticks * time_base), Rounding.DOWN) - 1)
    return scale
