"""Telling two people apart."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from dualface_ray.settings.base import Group


class IdentitySettings(Group):
    """The two-person tracker and re-identification."""

    reid: Literal["auto", "off", "always"] = "auto"
    """auto embeds a face when somebody comes back from another shot or a long absence, and wherever the cheap
    descriptor cannot tell; always embeds after every short occlusion, too; off decides by motion and descriptor
    alone."""
    embedding_model: str = "dlib-resnet"
    """Name of the face embedding in the model registry."""
    embedding_path: str = ""
    """An explicit 112x112 or 150x150 embedding ONNX wins over the registry."""
    max_predict_s: float = Field(1.5, gt=0, le=60)
    """How long a hidden person's box is predicted before the person counts as absent."""
    max_detect_hz: float = Field(10.0, gt=0, le=1000)
    """Detections per second of video, forward grid and questions together, averaged from the first frame on."""
    embed_same_distance: float = Field(0.42, gt=0, lt=2)
    """Unit embeddings nearer than this are the same person when nobody else is nearer (dlib's 0.6 on vectors of
    length about 1.4)."""
    embed_scale: float = Field(0.1, gt=0, lt=2)
    """Distance that counts as one standard deviation between two embeddings of one person."""
    descriptor_same_distance: float = Field(0.45, gt=0, lt=2)
    """Unit descriptors nearer than this may be the same person."""
    descriptor_scale: float = Field(0.2, gt=0, lt=2)
    """Distance that counts as one standard deviation between two descriptors of one person."""
    decide_margin: float = Field(3.0, gt=0, le=50)
    """Evidence in nats (log likelihood ratio) by which one labelling must beat the next before it is decided."""
    replace_after_s: float = Field(20.0, gt=0)
    """A place is given to a third face only when its owner has been away this long and was seen for less time."""
