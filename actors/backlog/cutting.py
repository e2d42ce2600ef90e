"""Cutting: into how many parts a long video is cut, and how much of it neighbours share. Pure."""

from __future__ import annotations

import math

from dualface_ray.settings import Settings

WARM_UP_S = 2.0
"""After so long a tracker that begins with the cast alone decides as one that has seen all before."""
_EVEN = 1e-6


def overlap_s(settings: Settings) -> float:
    """How much both neighbours of a cut decide on: the later one's warm-up, and then the earlier one's look-ahead.

    So the earlier one still knows its future where the later one begins to be right.
    """
    return WARM_UP_S + settings.framing.lookahead_s


def pieces_for(seconds: float, share: float, slots: int, settings: Settings) -> int:
    """How many parts a video is cut into: as many as keep its fair share of all slots busy.

    Args:
        seconds: its length.
        share: its cost over that of all that waits, itself included.
        slots: units at once, over all lanes.
        settings: the least and the greatest length of a part.
    """
    job = settings.job
    most = int(seconds // job.segment_min_s)
    count = fair = max(1, math.ceil(slots * share - _EVEN))
    if seconds / count > job.segment_max_s:
        count = fair * math.ceil(seconds / job.segment_max_s / fair)  # whole rounds: no slot idles in the last
    return max(1, min(most, count))
