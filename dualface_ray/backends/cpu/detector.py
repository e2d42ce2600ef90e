"""The face detector on ONNX Runtime."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import onnxruntime

from dualface_ray.backends.cpu.descriptor import appearance
from dualface_ray.backends.cpu.letterbox import letterboxed_rgb
from dualface_ray.backends.cpu.session import open_session
from dualface_ray.detect import Candidates, FramePixels, Letterbox, decode_outputs, suppress
from dualface_ray.errors import DeviceError, ModelError
from dualface_ray.frames import F32, Faces
from dualface_ray.models import clean_centerface, resolve
from dualface_ray.settings import Settings


class CpuDetector:
    """CenterFace on the CPU; used by one thread at a time."""

    def __init__(self, path: Path, settings: Settings, threads: int) -> None:
        """Load the model.

        Args:
            path: an ONNX file of CenterFace, cleaned as ours or as published.
            settings: thresholds and the input's size are read from ``settings.detect``.
            threads: cores it may use while it computes.

        Raises:
            ModelError: the file cannot be loaded or is not such a model.
        """
        self._settings = settings.detect
        self._session = open_session(path, threads)
        if not _is_dynamic(self._session):  # perhaps the graph as published: fixed dims, weights among the inputs
            try:
                self._session = open_session(clean_centerface(path.read_bytes()), threads, str(path))
            except (ModelError, OSError) as error:
                raise ModelError(
                    "not a CenterFace graph",
                    where=str(path),
                    remedy="Leave detect.model_path empty to use the registered model.",
                ) from error
        self._input_name = str(self._session.get_inputs()[0].name)
        self._tensor = np.empty((0,), np.float32)
        self._closed = False

    @property
    def max_batch(self) -> int:
        """The setting, else 1: on a CPU a batch costs as much per frame and only adds latency."""
        return self._settings.batch_max or 1

    @property
    def ahead(self) -> int:
        """The caller's thread computes: nothing is won by beginning early."""
        return 0

    def begin(self, batch: Sequence[FramePixels]) -> Callable[[], list[Faces]]:
        """See the port; the work is done when the faces are fetched."""
        return partial(self.detect, batch)

    def detect(self, batch: Sequence[FramePixels]) -> list[Faces]:
        """Faces of each frame in displayed pixels, with appearance descriptors, best score first.

        Frames of the same input shape run together.

        Raises:
            DeviceError: ONNX Runtime failed, or the detector is closed.
        """
        if self._closed:
            raise DeviceError("the detector is closed", where="cpu detector")
        boxes = [Letterbox.fit(f.info, self._settings.input_width_px, self._settings.input_height_px) for f in batch]
        results: dict[int, Faces] = {}
        for shape in sorted({(box.input_height_px, box.input_width_px) for box in boxes}):
            members = [i for i, box in enumerate(boxes) if (box.input_height_px, box.input_width_px) == shape]
            tensor = self._buffer((len(members), 3, *shape))
            for row, index in enumerate(members):
                letterboxed_rgb(batch[index].slot, batch[index].info, boxes[index], tensor[row])
            maps = self._infer(tensor)
            for row, index in enumerate(members):
                found = decode_outputs(
                    maps[0][row, 0], maps[1][row], maps[2][row], maps[3][row], self._settings.min_score
                )
                kept = suppress(found, self._settings.nms_iou, self._settings.max_faces)
                results[index] = self._faces(kept, boxes[index], batch[index])
        return [results[index] for index in range(len(batch))]

    def close(self) -> None:
        """Free everything; harmless when called twice."""
        self._closed = True
        self._session = None

    def _buffer(self, shape: tuple[int, ...]) -> F32:
        """Memory for an input, kept from call to call: fresh pages cost as much as the picture's colours."""
        size = int(np.prod(shape))
        if self._tensor.size < size:
            self._tensor = np.empty((size,), np.float32)
        return self._tensor[:size].reshape(shape)

    def _infer(self, tensor: F32) -> list[F32]:
        try:
            maps: list[F32] = self._session.run(None, {self._input_name: tensor})
        except Exception as error:  # ONNX Runtime's exception classes share no public base
            raise DeviceError(f"ONNX Runtime failed: {error}", where="cpu detector") from error
        return maps

    def _faces(self, kept: Candidates, box: Letterbox, frame: FramePixels) -> Faces:
        if not len(kept):
            return Faces.none()
        boxes = box.boxes_to_display(kept.boxes_px)
        descriptors = appearance(frame, boxes)
        return Faces(boxes, box.points_to_display(kept.landmarks_px), kept.scores, descriptors)


def _is_dynamic(session: onnxruntime.InferenceSession) -> bool:
    """Whether it has CenterFace's outputs and one picture input of any height and width."""
    inputs = session.get_inputs()
    channels = [output.shape[1] for output in session.get_outputs() if len(output.shape) == 4]
    return len(inputs) == 1 and channels == [1, 2, 2, 10] and not any(isinstance(d, int) for d in inputs[0].shape[2:])


def load_detector(settings: Settings, threads: int) -> CpuDetector:
    """The detector that the settings name; its weights must be in the cache or given by path.

    Raises:
        ModelError: it is missing or damaged.
    """
    return CpuDetector(resolve(settings.detect.model, settings.detect.model_path), settings, threads)
