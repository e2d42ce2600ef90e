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

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from typing import Protocol

import numpy as np

_LEAST_OVERLAPS = 3
"""A span is at least this many overlaps long: shorter ones would mostly be decoded twice."""
_EARLY_S = 30
_SAMPLE_EVERY_S = 10
_LEAST_SAMPLES, _MOST_SAMPLES = 16, 48
"""Enough to meet both people several times, and a few seconds of work at most."""


@dataclass(frozen=True, slots=True)
class FrameRange:
    """Consecutive frames of a video, from a key frame on; what a decoder can be asked to deliver."""

    first_frame: int
    """Counts from the first frame of the video in display order."""
    first_pts_ticks: int
    frames: int


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

    @property
    def written(self) -> int:
        """Frames it encodes."""
        return self.seam_frame - self.write_frame

    @property
    def range(self) -> FrameRange:
        """What its decoder delivers."""
        return FrameRange(self.first_frame, self.first_pts_ticks, self.frames)


def bridge_range(before: Span, after: Span) -> FrameRange:
    """What the bridge between two neighbours decodes: exactly their overlap, from the later one's key frame on."""
    return FrameRange(after.first_frame, after.first_pts_ticks, before.end_frame - before.seam_frame)


class Cuttable(Protocol):
    """What is to be known of a video before it can be cut (``report.Survey`` is such)."""

    @property
    def frames(self) -> int:
        """Of the whole video."""

    @property
    def rate(self) -> Fraction:
        """Frames per second on average."""

    @property
    def first_pts_ticks(self) -> int:
        """Time stamp of its first frame, which need not be a key frame (edit lists)."""

    @property
    def key_frames(self) -> Sequence[int]:
        """Positions of key frames in display order, ascending."""

    @property
    def key_pts_ticks(self) -> Sequence[int]:
        """Their time stamps."""


@dataclass(frozen=True, slots=True)
class FileSurvey:
    """What reading all packets of a file, without decoding them, has shown; ``Cuttable``."""

    refusal: str = ""
    """Why the video has to be done whole; "" = nothing speaks against cutting it."""
    frames: int = 0
    rate: Fraction = Fraction(25)
    first_pts_ticks: int = 0
    key_frames: tuple[int, ...] = ()
    """Those that decoding may begin at."""
    key_pts_ticks: tuple[int, ...] = ()
    pts_sha256: str = ""
    """``pts_digest`` of all frames."""


def pts_digest(pts_ticks: Sequence[int]) -> str:
    """What tells lists of time stamps apart: SHA-256 over 64-bit little-endian numbers."""
    return hashlib.sha256(np.asarray(pts_ticks, "<i8").tobytes()).hexdigest()


def sample_keys(survey: Cuttable, time_base: Fraction) -> list[tuple[int, int]]:
    """Key frames (position, time stamp) to look at to learn who a video is about: more of them at the beginning."""
    keys = list(zip(survey.key_frames, survey.key_pts_ticks, strict=True))
    early = [key for key in keys if (key[1] - survey.first_pts_ticks) * time_base < _EARLY_S]
    wanted = min(_MOST_SAMPLES, max(_LEAST_SAMPLES, round(survey.frames / survey.rate / _SAMPLE_EVERY_S)))
    if len(keys) <= wanted:
        return keys
    return sorted({*_spread(early, wanted // 4), *_spread(keys, wanted - wanted // 4)})


def _spread(keys: Sequence[tuple[int, int]], count: int) -> list[tuple[int, int]]:
    """Up to ``count`` of these, evenly, the first among them."""
    return [keys[number * len(keys) // count] for number in range(count)] if len(keys) > count else list(keys)


def plan_spans(survey: Cuttable, pieces: int, overlap_s: float) -> tuple[Span, ...]:
    """Cut a video into up to ``pieces`` spans of about the same length.

    Spans begin at key frames, so lengths vary with their distance; where ``pieces`` would make spans too short for
    their overlaps, or key frames lie too far apart, there are fewer.

    Args:
        survey: of a video that may be cut.
        pieces: spans wished for.
        overlap_s: about how much both neighbours decide on.

    Returns:
        Two spans or more, or none at all: the video is best done whole.
    """
    overlap = max(1, math.ceil(Fraction(overlap_s).limit_denominator(1000) * survey.rate))
    keys = list(zip(survey.key_frames, survey.key_pts_ticks, strict=True))
    for count in range(min(pieces, survey.frames // (_LEAST_OVERLAPS * overlap)), 1, -1):
        starts = [(0, survey.first_pts_ticks), *_cuts(keys, survey.frames, count)]
        edges = [*(frame for frame, _ in starts), survey.frames]
        if all(end - begin >= _LEAST_OVERLAPS * overlap for begin, end in pairwise(edges)):
            return _spans(starts, survey.frames, overlap)
    return ()


def _cuts(keys: Sequence[tuple[int, int]], frames: int, count: int) -> list[tuple[int, int]]:
    """The key frames nearest to even cuts."""
    return (
        [min(keys, key=lambda key: abs(key[0] * count - number * frames)) for number in range(1, count)] if keys else []
    )


def _spans(starts: Sequence[tuple[int, int]], frames: int, overlap: int) -> tuple[Span, ...]:
    count, spans = len(starts), []
    for number, (first, pts_ticks) in enumerate(starts):
        seam = starts[number + 1][0] if number + 1 < count else frames
        write = first + overlap if number else first
        end = seam + overlap if number + 1 < count else frames
        spans.append(Span(number, count, first, pts_ticks, write, seam, end))
    return tuple(spans)
