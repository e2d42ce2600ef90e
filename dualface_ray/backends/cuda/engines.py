"""The detector's engines: one for each shape of its input, built once and cached.

settings ─► input_shapes ─► detector_engine: model (int8 only through its gate) + shape + card ─► key ─► file
         └► at_hand: a smaller batch that needs no building ─► settings, for a lane that starts again
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from dualface_ray.backends.cuda.int8 import checked_path
from dualface_ray.backends.cuda.plan import USUAL_BATCHES
from dualface_ray.backends.cuda.vendor import device
from dualface_ray.errors import ModelMissingError
from dualface_ray.models import EngineKey, Profile, built_engine, engine_key, is_built, resolve
from dualface_ray.settings import Settings

DEFAULT_BATCH = 64
"""Throughput of the measured engine flattens beyond this."""

Progress = Callable[[str], None]


def input_shapes(settings: Settings, orientations: Sequence[str] = ("landscape", "portrait")) -> list[tuple[int, int]]:
    """Heights and widths of the inputs of these orientations: landscape first, then portrait where it differs."""
    long_px, short_px = settings.detect.input_width_px, settings.detect.input_height_px
    known = {"landscape": (short_px, long_px), "portrait": (long_px, short_px)}
    return list(dict.fromkeys(shape for name, shape in known.items() if name in orientations))


def detector_engine(
    settings: Settings, profile: Profile, progress: Progress = lambda line: None, *, build: bool = True
) -> Path:
    """The detector's engine file for these shapes, built now if it is missing.

    Args:
        settings: model and precision are read from ``settings.detect``.
        profile: the shapes.
        progress: called with one readable line per step.
        build: False = an engine that is missing is an error.

    Raises:
        ModelMissingError: the model is missing, or the engine is and may not be built.
        ModelError: TensorRT refuses the model.
        DeviceError: TensorRT or the device is missing.
    """
    model, key = _engine(settings, profile)
    if not build and not key.path().is_file():
        raise ModelMissingError(
            f"the engine for batches up to {profile.max_batch} is not in the cache",
            where=str(key.path()),
            remedy="Build it with: dualface models build.",
        )
    return built_engine(model, key, progress=progress, what="detector engine")


def _engine(settings: Settings, profile: Profile) -> tuple[Path, EngineKey]:
    """The model that these settings mean, and the key of its engine for these shapes."""
    model = resolve(settings.detect.model, settings.detect.model_path)
    precision = settings.detect.precision
    if precision == "int8":
        model = checked_path(model, settings)
    card = device()
    return model, engine_key(model, precision, profile, card.name, card.compute_capability)


def at_hand(settings: Settings, orientations: Sequence[str]) -> Settings:
    """These settings with the largest batch, up to theirs, for which all engines are in the cache.

    Where there is none, the settings as they are: theirs is built. A larger engine is no help to a lane that has run
    out of memory: it is given the scratch of the largest batch it was built for (``models.Engine``), whatever runs.

    Raises:
        ModelError: the model is missing.
        DeviceError: TensorRT or the device is missing.
    """
    wanted = settings.detect.batch_max or DEFAULT_BATCH
    shapes = input_shapes(settings, orientations)
    for batch in (wanted, *(size for size in USUAL_BATCHES if size < wanted)):
        if all(is_built(_engine(settings, Profile(batch, *shape))[1]) for shape in shapes):
            return settings.model_copy(update={"detect": settings.detect.model_copy(update={"batch_max": batch})})
    return settings


def build_engines(
    settings: Settings,
    progress: Progress = lambda line: None,
    orientations: Sequence[str] = ("landscape", "portrait"),
) -> dict[tuple[int, int], Path]:
    """Engine files for the input shapes of these orientations, built now where they are missing.

    Raises:
        ModelError: the model is missing, or TensorRT refuses it.
        DeviceError: TensorRT or the device is missing.
    """
    batch = settings.detect.batch_max or DEFAULT_BATCH
    shapes = input_shapes(settings, orientations)
    return {shape: detector_engine(settings, Profile(batch, *shape), progress) for shape in shapes}
