"""One thread budget over everything that would otherwise take every core for itself."""

from __future__ import annotations

from dataclasses import dataclass

_MAX_ENCODE = 16
"""One x264 with 16 threads reaches 168 frames per second where 16 with one thread reach 454: wider is only worse."""
_MAX_DECODE = 4
"""Decoding is the cheap side of a stream; it only has to stay ahead of the encoder."""
_MAX_INFER = 4
"""A detection takes about 20 core-ms, three a second 6 % of a core: more threads than this serve nobody."""


@dataclass(frozen=True, slots=True)
class ThreadBudget:
    """Threads of each library in one lane.

    ``decode`` (PyAV), ``encode`` (x264) and ``compose`` (OpenCV) count per stream; ``infer`` (ONNX Runtime) counts
    once per lane, for one central session serves all streams.
    """

    decode: int
    infer: int
    encode: int
    compose: int

    def total(self, streams: int) -> int:
        """Threads of a lane with this many streams, if all of them are busy at once."""
        return self.infer + streams * (self.decode + self.encode + self.compose)


def thread_budget(cores: int, streams: int) -> ThreadBudget:
    """Divide a lane's cores over its streams.

    At 1080p the encoder takes by far the most of a frame's core time, then composition and decoding; detection on the
    coarse grid takes a tenth. So the encoder gets a stream's cores and the others one thread each until there are
    cores to spare. Where several videos can run at once, many single-threaded encoders beat few wide ones (x264
    veryfast, 1080p, 16 cores: 16 encoders with 1 thread 454 frames per second, 4 with 4 threads 280, 1 with 16
    threads 168), so cores go to streams first and to threads only when there are fewer streams than cores.

    Threads overlap in time (the encoder waits while a chunk is decoded), so their sum may exceed the cores a little.

    Args:
        cores: cores of the lane, at least 1.
        streams: videos at once in the lane, at least 1.

    Raises:
        ValueError: one of them is below 1.
    """
    if cores < 1 or streams < 1:
        raise ValueError(f"cores={cores} and streams={streams} must be at least 1")
    share = max(1, cores // streams)
    decode = min(_MAX_DECODE, max(1, share // 4))
    compose = 2 if share >= 8 else 1
    encode = min(_MAX_ENCODE, max(1, share - decode + 1))
    infer = min(_MAX_INFER, max(1, cores // 4))
    return ThreadBudget(decode=decode, infer=infer, encode=encode, compose=compose)
