"""CopiedSound: the packets of one audio stream as they are, on the output's clock.

The output's clock starts at the first video frame; packets keep their exact distance to the video.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from fractions import Fraction
from typing import Any

import av
from av.container import InputContainer

from dualface_ray.backends.pyav.opening import PROBLEMS
from dualface_ray.timeline import ClockJoin, rescale, round_fraction

_PRE_ROLL_S = Fraction(1, 10)
"""Copied packets that start so shortly before the first frame are kept in MP4 and MOV: decoders need one or two to
settle, and the encoder's own delay lies there. An edit list hides them."""
_OPUS_DELAY_S = Fraction(313, 48000)
"""The usual 312 samples of Opus's delay, which Matroska records and hides (RFC 7845, 4.2); other sound cannot start
before 0 there without moving the picture."""


class CopiedSound:
    """Packets of the source as they are, shifted by a constant.

    Args:
        source: opened for this purpose alone.
        stream: its audio stream.
        output: the stream of the output made from it.
        origin_s: source time of the first video frame.
        container: ``mp4``, ``mov`` or ``mkv``; says how much can be kept (and hidden) before time 0.
    """

    def __init__(self, source: InputContainer, stream: Any, output: Any, origin_s: Fraction, container: str) -> None:
        self.counters: Counter[str] = Counter()
        self._source = source
        self._stream = stream
        self._output = output
        self._origin_s = origin_s
        # One tick a sample: a container's own clock can be as coarse as a packet (AVI), too coarse for the shift.
        self._time_base = Fraction(1, stream.codec_context.sample_rate)
        early_s = _PRE_ROLL_S
        if container == "mkv":
            early_s = _OPUS_DELAY_S if stream.codec_context.codec.canonical_name == "opus" else Fraction(0)
        self._earliest = -round_fraction(early_s / self._time_base)
        self._clock = ClockJoin(self._time_base)
        output.time_base = self._time_base

    def packets(self) -> Iterator[tuple[Fraction, Any]]:
        """(seconds on the output's clock, packet) in order."""
        last_dts: int | None = None
        for packet in demux_sound(self._source, self._stream, self.counters):
            pts = packet.pts if packet.pts is not None else packet.dts
            if pts is None or packet.is_corrupt:
                self.counters["audio_packets_lost"] += 1
                continue
            duration = rescale(packet.duration or 0, packet.time_base, self._time_base)
            pts = round_fraction((pts * packet.time_base - self._origin_s) / self._time_base)
            pts = self._clock.push(pts, duration)
            if pts < self._earliest:
                self.counters["audio_packets_before_video"] += 1
                continue
            if last_dts is not None and pts <= last_dts:
                self.counters["audio_packets_lost"] += 1  # a muxer takes increasing stamps only
                continue
            packet.time_base, packet.duration = self._time_base, duration
            last_dts = packet.pts = packet.dts = pts
            packet.stream = self._output
            self.counters["audio_packets"] += 1
            yield pts * self._time_base, packet


def demux_sound(source: InputContainer, stream: Any, counters: Counter[str]) -> Iterator[av.Packet[Any]]:
    """Packets with content until the end or the first error that cannot be passed."""
    packets = source.demux(stream)
    while True:
        try:
            packet = next(packets)
        except (StopIteration, IndexError):  # the latter is PyAV's end of file, when a stream appeared late
            return
        except PROBLEMS:
            counters["audio_read_errors"] += 1
            return
        if packet.size:
            yield packet
