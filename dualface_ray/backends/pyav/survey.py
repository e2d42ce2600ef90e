"""Survey of a file: all packets are read, none is decoded, to learn whether the video may be cut, and where.

packets ─► time stamps in display order ─► would anything be repaired? ─► key frames that decoding may begin at
                                                                                └─► a few are looked for again
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from fractions import Fraction

import numpy as np
import numpy.typing as npt
from numpy.lib.stride_tricks import sliding_window_view

from dualface_ray.backends.pyav.access import EXACT_CODECS, begins_cleanly
from dualface_ray.backends.pyav.demux import Demuxer
from dualface_ray.backends.pyav.pictures import ends_early
from dualface_ray.backends.pyav.probe import MediaProbe
from dualface_ray.errors import InputError, SeamError
from dualface_ray.media import FileSurvey, pts_digest
from dualface_ray.settings import Settings
from dualface_ray.timeline import SteadyRate

_SEEKS = 8
"""Key frames that are looked for again."""
_AFTER_SEEK = 32
"""Packets that must be the same after such a seek as in one go."""
_TICK_PACKETS = 256
_LONGER = 1.2
"""A hole is a step half as long again as the mean of those before it, which differ by a quarter at most."""
_WINDOW = 13
"""Steps that ``SteadyRate`` judges a hole by: twelve, and the hole."""


@dataclass(slots=True)
class _Packets:
    """What is kept of the packets to be shown, in decoding order."""

    pts: list[int] = field(default_factory=list)
    sums: list[int] = field(default_factory=list)
    """Of their bytes."""
    keys: list[int] = field(default_factory=list)
    """Positions of key frames that decoding may begin at, as far as their own bytes tell."""
    end_ticks: int = 0


def survey_file(found: MediaProbe, settings: Settings, tick: Callable[[], None] = lambda: None) -> FileSurvey:
    """Read a file to its end.

    Args:
        found: what the probe says of it.
        settings: of the run.
        tick: called now and then, as a sign of life.
    """
    refusal = _refused_unread(found, settings)
    if refusal:
        return FileSurvey(refusal)
    demuxer = Demuxer(found.path)
    try:
        return _examine(demuxer, found, settings, tick)
    except (InputError, SeamError) as error:
        return FileSurvey(error.what)
    finally:
        demuxer.close()


def _refused_unread(found: MediaProbe, settings: Settings) -> str:
    if settings.timing.mode != "source":
        return "a constant frame rate is counted from the beginning (timing.mode)"
    if found.interlaced and settings.input.deinterlace == "auto":
        return "it is interlaced: fields are joined with their neighbours"
    return ""


def _examine(demuxer: Demuxer, found: MediaProbe, settings: Settings, tick: Callable[[], None]) -> FileSurvey:
    if demuxer.decoding_times_only:
        return FileSurvey("its container does not say when frames are shown")
    codec = demuxer.context.codec.canonical_name
    if codec not in EXACT_CODECS:
        return FileSurvey(f"decoding {codec} is not exact from a key frame on")
    packets = _Packets()
    refusal = _read(demuxer, packets, tick)
    if refusal:
        return FileSurvey(refusal)
    order = np.argsort(np.array(packets.pts, np.int64), kind="stable")
    shown = np.array(packets.pts, np.int64)[order]
    lossy = demuxer.loses_silently and settings.input.on_damage == "conceal"
    longest = settings.input.max_duration_s / found.video.time_base
    refusal = _refused_times(shown, found.video.time_base, lossy, longest)
    if not refusal and ends_early(demuxer, packets.end_ticks, int(np.diff(shown).max(initial=0))):
        refusal = "it ends before its header says"
    if refusal:
        return FileSurvey(refusal)
    position = np.empty(len(order), np.int64)
    position[order] = np.arange(len(order))
    # A frame decoded before a key frame but shown after it would be missing from a span that begins there.
    highest = np.maximum.accumulate(np.array(packets.pts, np.int64))
    keys = [k for k in packets.keys if k == 0 or highest[k - 1] < packets.pts[k]]
    if not any(position[k] for k in keys):
        return FileSurvey("it has no key frames to cut it at")
    for key in keys[:: max(1, -(-len(keys) // _SEEKS))]:
        tick()
        if not _is_found_again(demuxer, packets, key):
            return FileSurvey("its container does not lead back to a key frame exactly")
    span_s = Fraction(int(shown[-1] - shown[0])) * found.video.time_base
    return FileSurvey(
        frames=len(shown),
        rate=(len(shown) - 1) / span_s,
        first_pts_ticks=int(shown[0]),
        key_frames=tuple(int(position[k]) for k in keys),
        key_pts_ticks=tuple(packets.pts[k] for k in keys),
        pts_sha256=pts_digest(shown),  # type: ignore[arg-type]
    )


def _read(demuxer: Demuxer, packets: _Packets, tick: Callable[[], None]) -> str:
    """Take all packets in; returns what speaks against the file."""
    codec, extradata = demuxer.context.codec.canonical_name, bytes(demuxer.context.extradata or b"")
    count = 0
    while (packet := demuxer.next_packet()) is not None:
        count += 1
        if not count % _TICK_PACKETS:
            tick()
        if packet.is_corrupt:
            return "bytes of it are missing"
        if packet.pts is None:
            return "a frame has no time stamp"
        packets.end_ticks = max(packets.end_ticks, packet.pts + (packet.duration or 0))
        if packet.is_discard:
            continue
        data = bytes(packet)
        if packet.is_keyframe and begins_cleanly(codec, data, extradata):
            packets.keys.append(len(packets.pts))
        packets.pts.append(packet.pts)
        packets.sums.append(zlib.crc32(data))
    return "" if packets.pts else "it holds no frame"


def _refused_times(shown: npt.NDArray[np.int64], time_base: Fraction, lossy: bool, longest: Fraction | float) -> str:
    """Whether the whole video's decoding would repair a time stamp, or fill a hole."""
    steps = np.diff(shown)
    if (steps <= 0).any():
        return "two frames have the same time stamp"
    if shown[-1] - shown[0] > longest:
        return "its time stamps run beyond input.max_duration_s"
    if not lossy:
        return ""
    if len(steps) < _WINDOW:
        return ""
    before = sliding_window_view(steps[:-1], _WINDOW - 1)
    calm = before.max(axis=1) < 2 * before.min(axis=1)  # only then, and after a longer step, is a closer look due
    for at in np.flatnonzero(calm & (steps[_WINDOW - 1 :] > before.min(axis=1) * _LONGER)):
        rate = SteadyRate(time_base)
        if any(rate.push(pts, lossy=True) for pts in shown[at : at + _WINDOW + 1].tolist()):
            return "frames are missing, which are to be filled in"
    return ""


def _is_found_again(demuxer: Demuxer, packets: _Packets, key: int) -> bool:
    """Whether a seek leads to exactly the packets that follow when the file is read in one go."""
    demuxer.begin_at(packets.pts[key])
    again: list[tuple[int | None, int]] = []
    while len(again) < _AFTER_SEEK and (packet := demuxer.next_packet()) is not None:
        if not packet.is_discard:
            again.append((packet.pts, zlib.crc32(bytes(packet))))
    return again == list(zip(packets.pts[key:], packets.sums[key:], strict=True))[: len(again)] and bool(again)
