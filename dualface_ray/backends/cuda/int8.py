"""Making the INT8 detector: frames of the user's own clips, easy and hard, half to calibrate on, half to judge by.

    clips ─ decoded on the CPU ─► letterboxed frames ─┬─ even ones, as they are and made hard ─► calibration
                                                      └─ odd ones, likewise ─► held out ─► gate ─► kept or refused

Runs without a GPU. Experimental; the engine is built from the result like any other.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path

import cv2
import numpy as np

from dualface_ray.backends.cpu.decode import CpuDecodeSession
from dualface_ray.backends.cpu.letterbox import letterboxed_rgb
from dualface_ray.detect import Letterbox, decode_outputs, suppress
from dualface_ray.errors import ModelError, ModelMissingError
from dualface_ray.frames import F32
from dualface_ray.models import Found, GateResult, quantise_checked, resolve
from dualface_ray.settings import Settings

MOST_PER_CLIP = 24
_STRIDE = 20
"""Every so many frames one is taken: neighbours teach nothing new."""


def quantised_path(model: Path) -> Path:
    """Where the INT8 version of a model lies, once it was made and passed its gate."""
    return model.with_name(f"{model.stem}-int8.onnx")


def checked_path(model: Path, settings: Settings) -> Path:
    """The INT8 version of a model, as far as what its gate measured suits these settings.

    Raises:
        ModelMissingError: nobody has made it.
        ModelError: it loses more than these settings allow.
    """
    path = quantised_path(model)
    try:
        loss = float(json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))["loss"])
        here = path.is_file()
    except (OSError, ValueError, KeyError, TypeError):
        loss, here = 0.0, False
    if not here:
        raise ModelMissingError(
            "there is no int8 version of the detector",
            where=str(path),
            remedy="Make it with: dualface models build --precision int8 --clips FILE..., or use fp16.",
        )
    if loss > settings.detect.max_ap_loss:
        raise ModelError(
            f"int8 loses {loss:.4f} average precision, detect.max_ap_loss allows {settings.detect.max_ap_loss:.4f}",
            where=str(path),
            remedy="Use detect.precision=fp16, or calibrate on more and harder frames.",
        )
    return path


def make_int8(
    settings: Settings,
    clips: Sequence[Path],
    *,
    progress: Callable[[str], None] = lambda line: None,
) -> tuple[Path, GateResult]:
    """Quantise the detector that the settings name and keep it if it loses no more than allowed.

    Args:
        settings: model, input size, thresholds and the highest loss that is allowed.
        clips: videos with faces, the more varied the better.
        progress: called with one readable line per step.

    Returns:
        The file, and what the gate measured.

    Raises:
        InputError: a clip cannot be read.
        ModelError: too few frames or faces, the loss is too high, or the file cannot be written.
    """
    model = resolve(settings.detect.model, settings.detect.model_path)
    frames = [frame for clip in clips for frame in _frames_of(clip, settings)]
    progress(f"{len(frames)} frames from {len(clips)} clips")
    calibration = [hard for n, frame in enumerate(frames[0::2]) for hard in (frame, make_hard(frame, n))]
    held_out = [hard for n, frame in enumerate(frames[1::2]) for hard in (frame, make_hard(frame, n + 1))]

    def decode(outputs: dict[str, F32], min_score: float) -> list[Found]:
        found = []
        for row in range(len(outputs["heatmap"])):
            maps = [outputs[name][row] for name in ("log_size", "offset", "landmarks")]
            candidates = decode_outputs(outputs["heatmap"][row, 0], maps[0], maps[1], maps[2], min_score)
            kept = suppress(candidates, settings.detect.nms_iou, settings.detect.max_faces)
            found.append(Found(kept.boxes_px, kept.scores))
        return found

    data, result = quantise_checked(
        model.read_bytes(), calibration, held_out, decode, max_ap_loss=settings.detect.max_ap_loss
    )
    path = quantised_path(model)
    try:
        _write(path.with_suffix(".json"), json.dumps({**asdict(result), "loss": result.loss}, indent=1).encode())
        _write(path, data)
    except OSError as error:
        raise ModelError(f"it cannot be written ({error.strerror or error})", where=str(path)) from error
    progress(f"int8 loses {result.loss:.4f} average precision on {result.frames} frames; stored {path}")
    return path, result


def make_hard(frame: F32, kind: int) -> F32:
    """A frame (1, 3, H, W) made dark, back-lit or blurred by motion, by turns."""
    image = frame[0].transpose(1, 2, 0)
    if kind % 3 == 0:
        image = image * 0.25
    elif kind % 3 == 1:
        image = image * 0.4 + np.linspace(0, 140, image.shape[1], dtype=np.float32)[None, :, None]
    else:
        image = cv2.blur(image, (9, 1))
    return np.ascontiguousarray(np.rint(np.clip(image, 0, 255)).transpose(2, 0, 1)[None], np.float32)


def _frames_of(clip: Path, settings: Settings) -> Iterator[F32]:
    """Prepared frames of one clip, evenly spaced from its beginning; landscape and portrait alike."""
    session = CpuDecodeSession(clip, str(clip), settings, 1)
    try:
        info = session.info
        box = Letterbox.fit(info, settings.detect.input_width_px, settings.detect.input_height_px)
        slots = [np.empty((info.slot_height_px * 3 // 2, info.slot_width_px), np.uint8) for _ in range(_STRIDE)]
        for _ in range(MOST_PER_CLIP):
            batch = session.decode(slots)
            if batch.frames:
                out = np.empty((1, 3, box.input_height_px, box.input_width_px), np.float32)
                letterboxed_rgb(slots[0], info, box, out[0])
                yield out
            if batch.end:
                return
    finally:
        session.close()


def _write(path: Path, data: bytes) -> None:
    """Complete or absent."""
    with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", delete=False) as stream:
        temporary = Path(stream.name)
        try:
            stream.write(data)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise
    temporary.chmod(0o644)
    temporary.replace(path)
