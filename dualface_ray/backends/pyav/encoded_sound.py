"""EncodedSound: one audio stream decoded, placed to the sample on the output's clock, and encoded to AAC.

Nothing is stretched: where the source has a gap there is silence, where it overlaps itself samples are dropped.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from fractions import Fraction
from typing import Any

import numpy as np
from av.audio.fifo import AudioFifo
from av.audio.frame import AudioFrame
from av.audio.resampler import AudioResampler
from av.container import InputContainer

from dualface_ray.backends.pyav.opening import PROBLEMS
from dualface_ray.backends.pyav.sound import demux_sound
from dualface_ray.media import AudioPlan
from dualface_ray.timeline import ClockJoin, Rounding, rescale, round_fraction

_JITTER_S = Fraction(1, 200)
"""Time stamps of milliseconds wobble by less than this; only larger steps are gaps or overlaps."""
_BEYOND_S = 60


class EncodedSound:
    """Sound decoded, resampled if need be, placed to the sample and encoded.

    Args:
        source: opened for this purpose alone.
        stream: its audio stream.
        output: the stream of the output, its encoder set to ``plan`` but not opened.
        plan: rate and layout.
        origin_s: source time of the first video frame; samples before it are cut off.
        end_s: end of the video on the output's clock; a gap that leads far beyond it is a damaged time stamp, and
            what follows the gap is left out.
    """

    def __init__(
        self, source: InputContainer, stream: Any, output: Any, plan: AudioPlan, origin_s: Fraction, end_s: Fraction
    ) -> None:
        self.counters: Counter[str] = Counter()
        self._source = source
        self._stream = stream
        self._output = output
        self._plan = plan
        self._origin_s = origin_s
        self._resampler = AudioResampler(format=output.format.name, layout=plan.layout, rate=plan.rate_hz)
        self._fifo = AudioFifo()
        stream.codec_context.thread_count = 1  # cores are the video's
        self._placed = 0
        self._time_base = Fraction(1, plan.rate_hz)
        self._clock = ClockJoin(self._time_base)
        self._end = round_fraction((end_s + _BEYOND_S) * plan.rate_hz)

    def packets(self) -> Iterator[tuple[Fraction, Any]]:
        """(seconds on the output's clock, packet) in order."""
        for packet in demux_sound(self._source, self._stream, self.counters):
            for frame in self._decode(packet):
                yield from self._place(frame)
        for frame in self._decode(None):
            yield from self._place(frame)
        yield from self._append(self._resampled(None))
        if self._fifo.samples:
            rest = self._fifo.read(0, partial=True)
            if rest is not None:
                yield from self._encode(rest)
        if self._placed:
            yield from self._encode(None)

    def _decode(self, packet: Any) -> list[AudioFrame]:
        try:
            return list(self._stream.codec_context.decode(packet))
        except EOFError:
            return []
        except PROBLEMS:
            self.counters["audio_decode_errors"] += 1
            return []

    def _place(self, frame: AudioFrame) -> Iterator[tuple[Fraction, Any]]:
        """Put a decoded frame where its time says, then encode what has come together."""
        rate = self._plan.rate_hz
        pts, time_base = frame.pts, frame.time_base
        samples = rescale(frame.samples, Fraction(1, frame.sample_rate), self._time_base)
        parts = self._resampled(frame)
        if pts is not None and time_base is not None:
            start = self._clock.push(round_fraction((pts * time_base - self._origin_s) * rate), samples)
            step = start - self._placed - self._delay(parts, frame)
            jitter = round_fraction(_JITTER_S * rate)
            if self._placed == 0 and step < 0:
                parts = _without_head(parts, -step)
            elif step > jitter and start > self._end:
                self.counters["audio_samples_dropped"] += sum(part.samples for part in parts)
                return
            elif step > jitter or (self._placed == 0 and step > 0):
                yield from self._silence(step)
            elif step < -jitter:
                self.counters["audio_samples_dropped"] += min(-step, sum(p.samples for p in parts))
                parts = _without_head(parts, -step)
        yield from self._append(parts)

    def _delay(self, parts: list[AudioFrame], frame: AudioFrame) -> int:
        """Samples the resampler still held from before when it took this frame, so that its output starts earlier."""
        if frame.sample_rate == self._plan.rate_hz:
            return 0
        expected = rescale(frame.samples, Fraction(1, frame.sample_rate), self._time_base, Rounding.DOWN)
        return max(0, sum(part.samples for part in parts) - expected)

    def _resampled(self, frame: AudioFrame | None) -> list[AudioFrame]:
        if frame is not None:
            frame.pts = None  # samples are placed here, not by the resampler
        try:
            return [part for part in self._resampler.resample(frame) if part.samples]
        except PROBLEMS:
            self.counters["audio_decode_errors"] += 1
            return []

    def _silence(self, samples: int) -> Iterator[tuple[Fraction, Any]]:
        self.counters["audio_samples_silence"] += samples
        while samples > 0:
            part = _silent(self._output, self._plan, min(samples, self._plan.rate_hz))
            samples -= part.samples
            yield from self._append([part])

    def _append(self, parts: list[AudioFrame]) -> Iterator[tuple[Fraction, Any]]:
        for part in parts:
            part.pts = None
            self._placed += part.samples
            self._fifo.write(part)
        size = self._output.codec_context.frame_size or 1024
        while self._fifo.samples >= size:
            block = self._fifo.read(size)
            if block is None:
                break
            yield from self._encode(block)

    def _encode(self, block: AudioFrame | None) -> Iterator[tuple[Fraction, Any]]:
        if block is not None:
            block.pts = self.counters["audio_samples"]
            block.time_base = self._time_base
            self.counters["audio_samples"] += block.samples
        for packet in self._output.encode(block):
            packet.stream = self._output
            self.counters["audio_packets"] += 1
            yield Fraction((packet.pts or 0) * packet.time_base), packet


def _without_head(parts: list[AudioFrame], samples: int) -> list[AudioFrame]:
    """The same sound without its first samples."""
    kept: list[AudioFrame] = []
    for part in parts:
        if samples < part.samples:
            kept.append(_tail(part, samples) if samples > 0 else part)
        samples = max(0, samples - part.samples)
    return kept


def _tail(part: AudioFrame, samples: int) -> AudioFrame:
    width = 1 if part.format.is_planar else len(part.layout.channels)
    sound: Any = np.ascontiguousarray(part.to_ndarray()[:, samples * width :])
    tail = AudioFrame.from_ndarray(sound, format=part.format.name, layout=part.layout.name)
    tail.sample_rate = part.sample_rate
    return tail


def _silent(output: Any, plan: AudioPlan, samples: int) -> AudioFrame:
    part = AudioFrame(format=output.format.name, layout=plan.layout, samples=samples)
    part.sample_rate = plan.rate_hz
    for plane in part.planes:
        plane.update(bytes(plane.buffer_size))
    return part
