"""Taut string: the path through a tube that turns as rarely and as little as possible.

A camera operator holds still while the face stays in the dead zone and pans at constant speed when it leaves. That is
the shortest path through the tube [low, high] around the aim, found from left to right by the funnel rule: keep the
cone of slopes that stay inside; where it closes, go to the wall that closed it and start anew.
"""

from __future__ import annotations

from collections.abc import Sequence


def taut_string(
    start: float, start_s: float, times_s: Sequence[float], low: Sequence[float], high: Sequence[float], speed: float
) -> list[float]:
    """Path values at ``times_s`` (increasing, all after ``start_s``).

    Args:
        start: value at ``start_s``.
        start_s: seconds.
        times_s: when the tube is known.
        low: lower wall, -inf = none.
        high: upper wall, inf = none; never below ``low``.
        speed: steepest slope, per second: where the tube is out of reach the path heads for it at this slope.
    """
    count = len(times_s)
    path: list[float] = []
    value, at_s, i = start, start_s, 0
    while i < count:
        if max(low[i:]) <= value <= min(high[i:]):  # nothing asks for a move any more
            return path + [value] * (count - i)
        least, most = -speed, speed
        least_at = most_at = -1
        k = i
        slope = 0.0
        until = count - 1
        while k < count:
            dt = times_s[k] - at_s
            lo, hi = (low[k] - value) / dt, (high[k] - value) / dt
            if lo > most:  # the funnel closes from below: turn at the upper wall, or head up at full speed
                slope, until = most, (most_at if most_at >= 0 else k)
                break
            if hi < least:
                slope, until = least, (least_at if least_at >= 0 else k)
                break
            if lo >= least and lo > -speed:
                least, least_at = lo, k
            if hi <= most and hi < speed:
                most, most_at = hi, k
            k += 1
        else:
            slope = min(max(0.0, least), most)
            if slope and count - 1 > i:  # straight to the wall that asks for it, level from there
                until = least_at if slope > 0 else most_at
                until = until if until >= i else count - 1
        base, base_s = value, at_s
        for j in range(i, until + 1):
            value = base + slope * (times_s[j] - base_s)
            path.append(value)
        at_s, i = times_s[until], until + 1
    return path
