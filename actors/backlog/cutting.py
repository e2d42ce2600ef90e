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


def pieces_for(duration_s: float, others_s: float, slots: int, settings: Settings) -> int:
    """How many parts a video is cut into: as many as keep its fair share of all slots busy.

    Args:
        duration_s: of this video.
        others_s: of all others that wait.
        slots: units at once, over all lanes.
        settings: the least and the greatest length of a part.
    """
    job = settings.job
    most = int(duration_s // job.segment_min_s)
    share = max(1, math.ceil(slots * duration_s / (duration_s + others_s) - _EVEN)) if duration_s > 0 else 1
    count = share
    if duration_s / count > job.segment_max_s:
        count = share * math.ceil(duration_s / job.segment_max_s / share)  # whole rounds: no slot idles in the last
    return max(1, min(most, count))
