"""Recorded runs made by hand, for tests that need no detector."""

from __future__ import annotations

from fractions import Fraction

import numpy as np

from dualface_ray.bench.recorded import RecordedRun
from dualface_ray.frames import DESCRIPTOR_SIZE, EMBEDDING_SIZE, SIGNATURE_BYTES, Faces, FrameFlag, StreamInfo
from dualface_ray.identity import Box

LEFT: Box = (100.0, 100.0, 200.0, 220.0)
RIGHT: Box = (500.0, 100.0, 600.0, 220.0)


def made_up_run(frames: int = 60) -> RecordedRun:
    """Two people who stand still, as a detector would see them; noise from a fixed seed."""
    rng = np.random.default_rng(4)
    looks = rng.normal(0, 1, (2, DESCRIPTOR_SIZE)), rng.normal(0, 1, (2, EMBEDDING_SIZE))
    faces, embeddings = [], []
    for _ in range(frames):
        boxes = np.array([LEFT, RIGHT]) + rng.normal(0, 1, (2, 4))
        marks = boxes[:, None, :2] + (boxes[:, None, 2:] - boxes[:, None, :2]) * np.array(
            [[0.3, 0.35], [0.7, 0.35], [0.5, 0.55], [0.35, 0.75], [0.65, 0.75]]
        )
        unit = [look / np.linalg.norm(look, axis=1, keepdims=True) for look in looks]
        scores = np.array([0.9, 0.8], np.float32)
        faces.append(Faces(boxes.astype(np.float32), marks.astype(np.float32), scores, unit[0].astype(np.float32)))
        embeddings.append(unit[1].astype(np.float32))
    flags = np.zeros(frames, np.int32)
    flags[0] = int(FrameFlag.KEY | FrameFlag.CUT_CANDIDATE)
    info = StreamInfo("made up", 1280, 720, Fraction(1, 25), Fraction(25), duration_ticks=frames)
    signatures = np.full((frames, SIGNATURE_BYTES), 100, np.uint8)
    return RecordedRun(info, np.arange(frames), flags, signatures, tuple(faces), tuple(embeddings))
