"""Demo: scenes with truth, made from two portraits.

    portraits ─► FaceImage ─► Person (sprites) ─┐
    SCENES[name] ─► poses, camera, look, talk ──┴─► Stage ─► frames + voices ─► MP4
                                                       └─► SceneTruth (exact boxes, visibility, who is who)

Knows how to make clips; may not know how they are processed. Needs the extra ``demo`` for the two portraits.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dualface_ray.demo.clip import make_demo, render, truth_path
    from dualface_ray.demo.faces import FaceImage, load_faces
    from dualface_ray.demo.scene import Context, Scene, SceneFactory
    from dualface_ray.demo.scenes import SCENES
    from dualface_ray.demo.truth import SceneTruth, TruthFace, TruthFrame

_HOME = {
    "Context": "scene",
    "FaceImage": "faces",
    "SCENES": "scenes",
    "Scene": "scene",
    "SceneFactory": "scene",
    "SceneTruth": "truth",
    "TruthFace": "truth",
    "TruthFrame": "truth",
    "load_faces": "faces",
    "make_demo": "clip",
    "render": "clip",
    "truth_path": "clip",
}


def __getattr__(name: str) -> Any:
    """Load a name when it is first used: drawing and encoding libraries are not needed to import the package."""
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)


__all__ = [
    "SCENES",
    "Context",
    "FaceImage",
    "Scene",
    "SceneFactory",
    "SceneTruth",
    "TruthFace",
    "TruthFrame",
    "load_faces",
    "make_demo",
    "render",
    "truth_path",
]
