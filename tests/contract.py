"""What every backend must do, as plain checks over a rig: the same for the CPU, a card and its stand-in.

``test_backend_contract.py`` runs them by pytest; nothing here needs pytest or a package of the development extra, so a
GPU host without either can call them, too.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from dualface_ray.backends import Backend
from dualface_ray.frames import PixelLayout, StreamInfo
from dualface_ray.media import DecodedFrame
from dualface_ray.settings import Settings

FACES = "DUALFACE_FACES"
"""Environment: a folder with astronaut.png and grace_hopper.jpg, for hosts without the packages that bring them."""


@dataclass(frozen=True)
class Rig:
    """A backend and the way to and from its pixels."""

    name: str
    backend: Backend
    settings: Settings
    xp: Any
    """NumPy, CuPy or what stands in for it."""

    @property
    def on_device(self) -> bool:
        return self.name != "cpu"

    def slots(self, info: StreamInfo, count: int) -> list[Any]:
        """Fresh slots full of nonsense."""
        kind = np.uint8 if info.layout is PixelLayout.NV12 else np.uint16
        made = [self.xp.full((info.slot_height_px * 3 // 2, info.slot_width_px), 77, kind) for _ in range(count)]
        self.wait()
        return made

    def up(self, array: np.ndarray) -> Any:
        """A host array where this backend's pixels live."""
        moved = self.xp.asarray(np.ascontiguousarray(array)) if self.on_device else array
        self.wait()
        return moved

    def down(self, array: Any) -> np.ndarray:
        """The same on the host."""
        self.wait()
        return np.array(self.xp.asnumpy(array) if self.on_device else array)

    def wait(self) -> None:
        """Whatever was queued on the card's default stream has happened."""
        if self.on_device:
            self.xp.cuda.runtime.deviceSynchronize()


@dataclass
class Decoded:
    """Everything a session gave."""

    info: StreamInfo
    frames: list[DecodedFrame]
    slots: list[np.ndarray]
    signatures: np.ndarray
    counters: dict[str, int]

    @property
    def pts(self) -> list[int]:
        return [frame.pts_ticks for frame in self.frames]


def decode(rig: Rig, path: Path, *, batch: int = 5, **changes: object) -> Decoded:
    """Decode a whole file; the session is closed twice, also after an error."""
    settings = Settings.model_validate({"input": changes}) if changes else rig.settings
    session = rig.backend.open_decoder(path, "s", settings, 1)
    try:
        found = Decoded(session.info, [], [], np.empty((0, 0)), {})
        signatures = []
        while True:
            fresh = rig.slots(session.info, batch)
            part = session.decode(fresh)
            found.frames += part.frames
            found.slots += [rig.down(slot) for slot in fresh[: len(part.frames)]]
            signatures.append(part.signatures)
            if part.end:
                found.signatures, found.counters = np.concatenate(signatures), session.counters()
                return found
            assert len(part.frames) == batch, "only the last batch may be short"
    finally:
        session.close()
        session.close()


@cache
def face(name: str) -> np.ndarray:
    """RGB of ``astronaut.png`` (NASA) or ``grace_hopper.jpg`` (US Navy): from the folder, else from their packages."""
    folder = os.environ.get(FACES, "")
    if folder:
        return np.ascontiguousarray(cv2.imread(str(Path(folder) / name))[..., ::-1])
    import detect_pictures

    return detect_pictures.astronaut() if name == "astronaut.png" else detect_pictures.hopper()


def has_faces() -> bool:
    """Whether the two portraits are here."""
    try:
        return face("astronaut.png") is not None and face("grace_hopper.jpg") is not None
    except (ImportError, TypeError, OSError):
        return False


def scene(
    width: int, height: int, people: Sequence[tuple[str, float, float, float]]
) -> tuple[np.ndarray, list[tuple[float, float]]]:
    """RGB with portraits on grey, and where their faces' centres are.

    Args:
        width: of the picture.
        height: of the picture.
        people: portrait, factor, and the place of its face's centre as parts of width and height.
    """
    centre_px = {"astronaut.png": (226, 120), "grace_hopper.jpg": (266, 228)}
    canvas, places = np.full((height, width, 3), 70, np.uint8), []
    for name, factor, x, y in people:
        way = cv2.INTER_AREA if factor < 1 else cv2.INTER_CUBIC
        part = cv2.resize(face(name), None, fx=factor, fy=factor, interpolation=way)
        dx, dy = centre_px[name]
        left, top = round(x * width - dx * factor), round(y * height - dy * factor)
        to_x, to_y = max(0, left), max(0, top)
        cut = part[to_y - top : height - top, to_x - left : width - left]
        canvas[to_y : to_y + cut.shape[0], to_x : to_x + cut.shape[1]] = cut
        places.append((x * width, y * height))
    return canvas, places


def slot_of(rgb: np.ndarray, layout: PixelLayout = PixelLayout.NV12) -> tuple[np.ndarray, StreamInfo]:
    """An RGB picture as its decoder would deliver it: BT.709, limited range."""
    from detect_pictures import frame

    made = frame(rgb, layout=layout)
    return made.slot, made.info
