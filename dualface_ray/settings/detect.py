"""Finding faces."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, field_validator

from dualface_ray.settings.base import Group


class DetectSettings(Group):
    """The detector and how often it looks."""

    model: str = "centerface"
    """Name in the model registry."""
    model_path: str = ""
    """An explicit file always wins over the registry."""
    input_width_px: int = Field(640, ge=64, le=2048)
    """Long side of the detector's input for landscape video; multiple of 32; portrait video swaps both."""
    input_height_px: int = Field(384, ge=64, le=2048)
    """Short side of the detector's input for landscape video; multiple of 32."""
    grid_hz: float = Field(3.0, gt=0, le=1000)
    """Detections per second on the forward way; more are asked for where the content needs them."""
    every_frame: bool = False
    """Detect on every frame instead of on the grid: for measurements."""
    min_score: float = Field(0.5, gt=0, lt=1)
    """Faces the detector is less sure of do not count."""
    nms_iou: float = Field(0.3, gt=0, lt=1)
    """Two boxes that overlap more than this (area of intersection over union) are one face."""
    max_faces: int = Field(32, ge=2, le=256)
    """Faces kept per frame, best score first."""
    batch_max: int = Field(0, ge=0, le=256)
    """Largest batch; 0 = what suits the backend (1 on a CPU, 64 on a GPU)."""
    batch_wait_s: float = Field(0.002, ge=0, le=1)
    """A batch leaves when it is full, or this long after its first item."""
    precision: Literal["fp32", "fp16", "int8"] = "fp16"
    """On GPUs; the CPU always computes in fp32."""
    max_ap_loss: float = Field(0.005, ge=0, le=1)
    """Most average precision that int8 may lose against fp32 on held-out frames; beyond it the engine is refused."""

    @field_validator("input_width_px", "input_height_px")
    @classmethod
    def _multiple_of_32(cls, value: int) -> int:
        if value % 32:
            raise ValueError(f"must be a multiple of 32, not {value}")
        return value
