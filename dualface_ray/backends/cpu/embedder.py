"""The face embedding on ONNX Runtime, fed with aligned chips cut straight from the slots."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from dualface_ray.backends.cpu.letterbox import Plane, planes_of, to_8_bit, yuv_to_rgb
from dualface_ray.backends.cpu.session import open_session
from dualface_ray.detect import FramePixels, chain, chip_transform, stored_transform
from dualface_ray.errors import DeviceError, ModelError
from dualface_ray.frames import F32, FaceCrop
from dualface_ray.models import InputFacts, embedding_facts, resolve
from dualface_ray.settings import Settings

_BATCH = 8
"""Chips of one call to ONNX Runtime: more only costs memory on a CPU."""


def aligned_chip(frame: FramePixels, crop: FaceCrop, facts: InputFacts) -> npt.NDArray[np.uint8]:
    """The face of ``crop``, upright and aligned, RGB uint8 (height_px, width_px, 3) of the embedding's input size."""
    template = np.array(facts.landmarks_px, np.float64)
    to_shown = chip_transform(crop.landmarks_px, crop.box_px, template)
    to_stored = chain(stored_transform(frame.info), to_shown)
    luma, chroma = planes_of(frame.slot, frame.info)
    size = (facts.width_px, facts.height_px)
    half = to_stored * 0.5  # chroma has half the resolution in both directions
    black = 0.0 if frame.info.colour.full_range else 16.0  # what dlib's own chips show outside the picture
    return yuv_to_rgb(_cut(luma, to_stored, size, black), _cut(chroma, half, size, 128.0), frame.info)


def _cut(
    plane: Plane, transform: npt.NDArray[np.float64], size_px: tuple[int, int], outside: float
) -> npt.NDArray[np.uint8]:
    """An affine cut of a plane; where it shrinks, means over areas come first, so that nothing aliases.

    Args:
        plane: (rows, columns) or (rows, columns, 2).
        transform: (2, 3), from continuous chip to continuous plane coordinates.
        size_px: width and height of the chip.
        outside: the 8-bit value where the chip reaches beyond the picture.
    """
    rows, columns = plane.shape[:2]
    width, height = size_px
    corners = transform @ np.array([[0, width, 0, width], [0, 0, height, height], [1, 1, 1, 1]], np.float64)
    per_px = np.hypot(transform[:, 0], transform[:, 1])  # plane pixels per chip pixel in x and y
    margin = 2.0 + 2.0 * per_px
    low = np.floor(np.clip(corners.min(axis=1) - margin, 0, [columns - 1, rows - 1])).astype(int)
    high = np.ceil(np.clip(corners.max(axis=1) + margin, low + 1, [columns, rows])).astype(int)
    part = plane[low[1] : high[1], low[0] : high[0]]
    target = np.maximum(1, np.round((high - low) / np.maximum(per_px, 1.0))).astype(int)
    shrink = target / (high - low)
    if (target < high - low).any():
        part = cv2.resize(part, (int(target[0]), int(target[1])), interpolation=cv2.INTER_AREA)
    inner = (transform - np.array([[0, 0, low[0]], [0, 0, low[1]]])) * shrink[:, None]
    inner[:, 2] += inner[:, :2].sum(axis=1) * 0.5 - 0.5  # OpenCV counts from pixel centres
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    fill = (outside, outside)
    cut = cv2.warpAffine(to_8_bit(part), inner, size_px, flags=flags, borderMode=cv2.BORDER_CONSTANT, borderValue=fill)
    return np.asarray(cut, np.uint8)


class CpuEmbedder:
    """A face embedding on the CPU; used by one thread at a time."""

    def __init__(self, path: Path, threads: int, facts: InputFacts | None = None) -> None:
        """Load the model.

        Args:
            path: an ONNX file with one picture input (n, 3, height, width) and one output (n, size).
            threads: cores it may use while it computes.
            facts: how it wants its pictures; None = from the YAML file beside it or from its input size.

        Raises:
            ModelError: the file cannot be loaded, is not such a model or lacks a description.
        """
        self._session = open_session(path, threads)
        inputs, outputs = self._session.get_inputs(), self._session.get_outputs()
        found = [(item.type, list(item.shape or ())) for item in inputs]
        shape = found[0][1] if len(found) == 1 and found[0][0] == "tensor(float)" else []
        if len(shape) != 4 or shape[1] != 3 or len(outputs) != 1:
            said = ", ".join(f"{kind} {sides}" for kind, sides in found) or "none"
            raise ModelError(
                f"not an embedding, which has one input and one output: inputs are {said}, outputs {len(outputs)}",
                where=str(path),
            )
        height, width = (side if isinstance(side, int) and side > 0 else 0 for side in shape[2:])
        self._facts = facts or embedding_facts(path, width, height)
        self._one_by_one = isinstance(shape[0], int)
        self._names = ([str(outputs[0].name)], str(inputs[0].name))
        self._closed = False
        size = (outputs[0].shape or [0])[-1]
        probe = np.zeros((1, 3, self._facts.height_px, self._facts.width_px), np.float32)
        self._size = size if isinstance(size, int) else int(self._infer(probe).shape[-1])

    @property
    def size(self) -> int:
        """Length of an embedding."""
        return self._size

    def embed(self, frames: Sequence[FramePixels], crops: Sequence[FaceCrop]) -> F32:
        """Embeddings float32 (len(crops), size), unit length; ``frames[i]`` holds the pixels of ``crops[i]``.

        Raises:
            DeviceError: ONNX Runtime failed, or the embedder is closed.
        """
        if self._closed:
            raise DeviceError("the embedder is closed", where="cpu embedder")
        result = np.zeros((len(crops), self._size), np.float32)
        step = 1 if self._one_by_one else _BATCH
        pairs = list(zip(frames, crops, strict=True))
        for start in range(0, len(pairs), step):
            chips = np.stack([aligned_chip(frame, crop, self._facts) for frame, crop in pairs[start : start + step]])
            result[start : start + len(chips)] = self._infer(self._tensor(chips))
        length = np.linalg.norm(result, axis=1, keepdims=True)
        unit: F32 = result / np.maximum(length, np.float32(1e-12))
        return unit

    def close(self) -> None:
        """Free everything; harmless when called twice."""
        self._closed = True
        self._session = None

    def _tensor(self, chips: npt.NDArray[np.uint8]) -> F32:
        """The network's input of RGB chips (n, rows, columns, 3)."""
        ordered = chips if self._facts.colour == "RGB" else chips[..., ::-1]
        mean, scale = np.array(self._facts.mean, np.float32), np.float32(self._facts.scale)
        return np.ascontiguousarray(((ordered - mean) * scale).transpose(0, 3, 1, 2), np.float32)

    def _infer(self, tensor: F32) -> F32:
        try:
            (rows,) = self._session.run(self._names[0], {self._names[1]: tensor})
        except Exception as error:  # ONNX Runtime's exception classes share no public base
            raise DeviceError(f"ONNX Runtime failed: {error}", where="cpu embedder") from error
        return np.asarray(rows, np.float32).reshape(len(tensor), -1)


def load_embedder(settings: Settings, threads: int) -> CpuEmbedder:
    """The embedding that the settings name; its weights must be in the cache or given by path.

    Raises:
        ModelError: it is missing or damaged, or a model given by path lacks a description.
    """
    identity = settings.identity
    return CpuEmbedder(resolve(identity.embedding_model, identity.embedding_path), threads)
