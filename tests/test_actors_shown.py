"""At a constant rate a picture waits for the next one's time: its canvases stay what they are, and are never copied."""

from __future__ import annotations

import threading
from fractions import Fraction
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from in_process import job_for

from actors.work.outputs import OutputFiles
from dualface_ray.errors import VramBudgetError
from dualface_ray.frames import StreamInfo
from dualface_ray.framing import CanvasPlan, DirectedFrame, FramePlan, TilePlan
from dualface_ray.identity import PersonState, PersonTrack, TrackedFrame
from dualface_ray.settings import resolve

INFO = StreamInfo("v", 64, 48, Fraction(1, 100), Fraction(25))
SETTINGS = resolve(**{"timing.mode": "cfr", "timing.rate": "50", "job.min_free_disk_bytes": 0})
NOBODY = PersonTrack(PersonState.ABSENT, None)


class DeviceCanvas(np.ndarray):
    """On a card that is full."""

    def copy(self, *_given: Any, **_more: Any) -> Any:
        raise MemoryError("out of memory allocating 3,110,400 bytes")


class Lane:
    """Composing runs as far ahead of encoding as the pipe lets it: the worst that can happen to a canvas."""

    def __init__(self, groups: int, depth: int) -> None:
        self.groups, self.depth = groups, depth
        self.composed = self.encoded = 0
        self.changed = threading.Condition()

    def count(self, *, composed: int = 0, encoded: int = 0) -> None:
        with self.changed:
            self.composed += composed
            self.encoded += encoded
            self.changed.notify_all()

    def wait(self) -> None:
        with self.changed:
            assert self.changed.wait_for(lambda: self.composed >= min(self.groups, self.encoded + self.depth), 20)


class Compositor:
    """Draws a frame's number into canvases of its own, which its next call rewrites."""

    def __init__(self, lane: Lane) -> None:
        self._lane = lane
        self._canvases: dict[int, Any] = {}
        self.full = False

    def compose(self, _info: StreamInfo, _slots: Any, plans: Any) -> list[list[Any]]:
        if self.full:
            raise VramBudgetError("composing: device memory is used up")
        for position, plan in enumerate(plans):
            made = self._canvases.setdefault(position, np.zeros((72, 64), np.uint8).view(DeviceCanvas))
            made[:] = plan.frame_index
        self._lane.count(composed=1)
        return [[self._canvases[position]] for position in range(len(plans))]

    def close(self) -> None:
        self._canvases.clear()


class Encoder:
    """Notes which picture it gets at which time."""

    def __init__(self, spec: Any, lane: Lane) -> None:
        self.spec = spec
        self.extradata = b""
        self.seen: list[tuple[int, int]] = []
        self._lane = lane

    def encode(self, canvas: Any, pts_ticks: int) -> list[Any]:
        self._lane.wait()
        self.seen.append((int(canvas[0, 0]), pts_ticks))
        return []

    def finish(self) -> list[Any]:
        return []

    def close(self) -> None:
        pass


def frames(first: int, count: int) -> list[DirectedFrame]:
    tile = TilePlan((0.0, 0.0, 64.0, 48.0), 0, 0, 64, 48, "A")
    return [
        DirectedFrame(
            TrackedFrame(index, 4 * index, 0, NOBODY, NOBODY),
            FramePlan(index, 4 * index, (CanvasPlan(64, 48, (tile,)),)),
        )
        for index in range(first, first + count)
    ]


def outputs_on(folder: Path, group: int, lane: Lane) -> tuple[OutputFiles, list[Compositor], list[Encoder]]:
    compositors: list[Compositor] = []
    encoders: list[Encoder] = []

    def opened(made: Any, kept: list[Any]) -> Any:
        kept.append(made)
        return made

    backend = SimpleNamespace(
        compose_frames=group,
        open_compositor=lambda _settings: opened(Compositor(lane), compositors),
        open_encoder=lambda spec: opened(Encoder(spec, lane), encoders),
    )
    source = folder / "talk.mp4"
    source.write_bytes(b"x")
    job = job_for(source, folder / "out", SETTINGS)
    return OutputFiles(job, INFO, backend, SETTINGS, 1), compositors, encoders  # type: ignore[arg-type]


@pytest.mark.parametrize(("group", "depth"), [(1, 3), (4, 2)])
def test_pictures_stay_until_they_are_shown_and_are_never_copied(tmp_path: Path, group: int, depth: int) -> None:
    lane = Lane(24 // group, depth)
    outputs, _, encoders = outputs_on(tmp_path, group, lane)
    for first in range(0, 24, group):
        outputs.write(frames(first, group), [None] * group, partial(lane.count, encoded=1))
    outputs.finish()
    assert encoders[0].seen == [(number // 2, number) for number in range(48)]
    outputs.discard()
    assert outputs.frames == 48


def test_a_card_that_is_full_is_the_same_error_as_elsewhere(tmp_path: Path) -> None:
    outputs, compositors, _ = outputs_on(tmp_path, 4, Lane(1, 1))
    outputs.write(frames(0, 4), [None] * 4, lambda: None)
    for compositor in compositors:
        compositor.full = True
    with pytest.raises(VramBudgetError, match="device memory is used up"):
        outputs.write(frames(4, 4), [None] * 4, lambda: None)
    outputs.discard()
