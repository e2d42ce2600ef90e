"""Spans: how a long video is cut at key frames, so that several lanes can work on it and finished parts are kept.

    span k decodes   |first ............................................ end|        frames of the whole video
           writes         |write .............................. seam|
    bridge k→k+1                                                |seam .. end|        (end - seam = the overlap)
    span k+1 decodes                                            |first ........
             writes                                                         |write ........

Both neighbours decide on the overlap, neither encodes it: a bridge composes it afterwards along a path that leads from
the one's decisions to the other's. So no span waits for another, and any of them can be done again alone.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Span:
    """One stretch of a video; frame numbers count from the first frame of the video in display order."""

    number: int
    """From 0."""
    count: int
    """Spans of the video."""
    first_frame: int
    """A key frame; decoding starts there."""
    first_pts_ticks: int
    write_frame: int
    """First frame it encodes; equals ``first_frame`` in the first span."""
    seam_frame: int
    """One past the last frame it encodes; equals ``end_frame`` in the last span."""
    end_frame: int
    """One past the last frame it decides on."""

    @property
    def frames(self) -> int:
        """Frames it decodes."""
        return self.end_frame - self.first_frame
