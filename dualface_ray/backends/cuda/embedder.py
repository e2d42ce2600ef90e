"""CudaEmbedder: aligned chips straight from slots into a TensorRT engine."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from dualface_ray.backends.cuda.arena import address_of
from dualface_ray.backends.cuda.launch import Staging, kernel, new_stream
from dualface_ray.backends.cuda.records import chip_item, chip_items
from dualface_ray.backends.cuda.vendor import COPY_DEVICE_TO_HOST, cupy, device, enter_device, translated
from dualface_ray.backends.cuda.waiting import wait_for
from dualface_ray.detect import FramePixels
from dualface_ray.errors import DeviceError, ModelError
from dualface_ray.frames import F32, FaceCrop
from dualface_ray.models import Engine, InputFacts, Profile, built_engine, embedding_facts, engine_key, resolve
from dualface_ray.settings import Settings

MAX_BATCH = 16
"""Faces of one call: two people, a handful of frames, several videos."""
_THREADS = 256


class CudaEmbedder:
    """The ``detect.Embedder`` of a GPU; used by one thread at a time.

    Embeddings are computed in float32: there are few of them, and their distances decide who is who.

    Args:
        path: an ONNX file with one picture input (n, 3, height, width) and one output (n, size).
        facts: how it wants its pictures; None = from the YAML file beside it or from its input size.
        progress: called with one readable line per step of building the engine.

    Raises:
        ModelError: the file is no such model or lacks a description.
        DeviceError, VramBudgetError: the device or its memory.
    """

    def __init__(
        self, path: Path, facts: InputFacts | None = None, progress: Callable[[str], None] = lambda line: None
    ) -> None:
        enter_device()
        self._facts, profile = _wishes(path, facts)
        self._template = np.array(self._facts.landmarks_px, np.float64)
        self._max_batch = profile.max_batch
        self._stream = new_stream()
        engine_path = _built(path, profile, progress)
        self._engine = Engine(engine_path, profile, self._stream, graphs=False)
        if len(self._engine.outputs) != 1:
            raise ModelError(f"an embedding with {len(self._engine.outputs)} outputs", where=str(path))
        (self._output,) = self._engine.outputs.values()
        self._size = int(np.prod(self._output.shape[1:]))
        self._items = Staging()
        with translated("allocating the embedder's results"):
            self._host: Any = cupy().cuda.alloc_pinned_memory(self._max_batch * self._size * 4)
        self._closed = False

    @property
    def size(self) -> int:
        """Length of an embedding."""
        return self._size

    def embed(self, frames: Sequence[FramePixels], crops: Sequence[FaceCrop]) -> F32:
        """Embeddings float32 (len(crops), size), unit length; ``frames[i]`` holds the pixels of ``crops[i]``.

        Raises:
            DeviceError: CUDA or TensorRT failed, or the embedder is closed.
        """
        if self._closed:
            raise DeviceError("the embedder is closed", where="cuda embedder")
        enter_device()
        pairs = list(zip(frames, crops, strict=True))
        result = np.zeros((len(pairs), self._size), np.float32)
        for start in range(0, len(pairs), self._max_batch):
            part = pairs[start : start + self._max_batch]
            result[start : start + len(part)] = self._run(part)
        length = np.linalg.norm(result, axis=1, keepdims=True)
        return np.asarray(result / np.maximum(length, np.float32(1e-12)), np.float32)

    def close(self) -> None:
        """Free everything; harmless when called twice."""
        if not self._closed:
            self._closed = True
            self._stream.synchronize()
            self._engine.close()
            self._output = None

    def _run(self, pairs: list[tuple[FramePixels, FaceCrop]]) -> F32:
        facts, count = self._facts, len(pairs)
        records = chip_items([chip_item(address_of(f.slot), f.info, crop, self._template) for f, crop in pairs])
        with translated("embedding faces"), self._stream:
            items = self._items.upload(records, self._stream)
            into = self._engine.input
            name = "chips_half" if into.dtype == np.float16 else "chips_float"
            arguments = (
                np.uint64(items.data.ptr),
                np.uint64(into.data.ptr),
                np.int32(facts.width_px),
                np.int32(facts.height_px),
                *(np.float32(mean) for mean in facts.mean),
                np.float32(facts.scale),
                np.int32(facts.colour == "BGR"),
            )
            pixels = facts.width_px * facts.height_px
            kernel(name)((-(-pixels // _THREADS), 1, count), (_THREADS,), arguments)
            self._engine.run(count)
            cupy().cuda.runtime.memcpyAsync(
                self._host.ptr, self._output.data.ptr, count * self._size * 4, COPY_DEVICE_TO_HOST, self._stream.ptr
            )
            wait_for(self._stream)
        return np.array(np.frombuffer(self._host, np.float32, count * self._size).reshape(count, self._size))


def _input_shape(path: Path) -> tuple[int, int, int]:
    """Batch, height and width that the graph states; 0 where it leaves them open."""
    import onnx

    try:
        model = onnx.load(str(path), load_external_data=False)
    except Exception as error:  # protobuf raises its own exception classes for damaged bytes
        raise ModelError(f"not an ONNX model: {error}", where=str(path)) from error
    weights = {tensor.name for tensor in model.graph.initializer}
    inputs = [value for value in model.graph.input if value.name not in weights]
    sides = [int(side.dim_value) for side in inputs[0].type.tensor_type.shape.dim] if len(inputs) == 1 else []
    if len(sides) != 4 or sides[1] != 3:
        raise ModelError(f"not an embedding: its inputs have the shapes {sides}", where=str(path))
    return sides[0], sides[2], sides[3]


def _wishes(path: Path, facts: InputFacts | None) -> tuple[InputFacts, Profile]:
    """How the model wants its pictures, and the engine's shapes that follow."""
    batch, height, width = _input_shape(path)
    facts = facts or embedding_facts(path, width, height)
    return facts, Profile(batch or MAX_BATCH, facts.height_px, facts.width_px)


def _built(path: Path, profile: Profile, progress: Callable[[str], None]) -> Path:
    card = device()
    key = engine_key(path, "fp32", profile, card.name, card.compute_capability)
    return built_engine(path, key, progress=progress, what="face embedding's engine")


def build_engine(settings: Settings, progress: Callable[[str], None]) -> Path:
    """The engine file of the embedding that the settings name, built now where it is missing.

    Raises:
        ModelError: the model is missing, damaged or refused.
        DeviceError: TensorRT or the device is missing.
    """
    path = resolve(settings.identity.embedding_model, settings.identity.embedding_path)
    return _built(path, _wishes(path, None)[1], progress)


def load_embedder(settings: Settings) -> CudaEmbedder:
    """The embedding that the settings name; its weights must be in the cache or given by path.

    Raises:
        ModelError: it is missing or damaged, or a model given by path lacks a description.
    """
    identity = settings.identity
    return CudaEmbedder(resolve(identity.embedding_model, identity.embedding_path))
