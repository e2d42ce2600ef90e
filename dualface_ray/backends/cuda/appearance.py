"""From cell means to descriptors: the last, small part of the work, on the host for a whole batch at once."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from dualface_ray.detect import describe_appearance
from dualface_ray.frames import DESCRIPTOR_SIZE, F32, StreamInfo


def descriptors_of(patches: F32, infos: Sequence[StreamInfo]) -> F32:
    """Descriptors of n faces from their cell means in stored orientation.

    Args:
        patches: float32 (n, 3, 16, 16, 3), NaN where a cell is not wholly inside the picture.
        infos: the stream of each face.

    Returns:
        float32 (n, DESCRIPTOR_SIZE), unit length.
    """
    result = np.zeros((len(patches), DESCRIPTOR_SIZE), np.float32)
    keys = [(info.rotation_deg // 90, info.colour.full_range) for info in infos]
    for turns, full_range in sorted(set(keys)):
        rows = [index for index, key in enumerate(keys) if key == (turns, full_range)]
        upright = np.rot90(patches[rows], -turns, axes=(2, 3))
        result[rows] = describe_appearance(upright, full_range=full_range)
    return result
