# ruff: noqa: T201
"""The demo's two heads in a folder, for machines without the packages that bring them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any


def portraits() -> list[Any]:
    """The demo's two heads, from the folder where the packages that bring them are missing."""
    from dualface_ray.demo import faces

    folder = os.environ.get("DUALFACE_FACES", "")
    if folder:
        paths = {"astronaut": Path(folder) / "astronaut.png", "grace_hopper": Path(folder) / "grace_hopper.jpg"}
        faces._packaged = lambda: paths
    return faces.load_faces()


def export_faces(folder: Path) -> int:
    """Write that folder from the packages here, and name its files."""
    import shutil

    from dualface_ray.demo import faces

    folder.mkdir(parents=True, exist_ok=True)
    for path in faces._packaged().values():
        shutil.copy(path, folder / path.name)
        print(folder / path.name)
    return 0
