"""Stage: pictures over one another and what the sensor makes of them, for one frame."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import cv2
import numpy as np

from dualface_ray.demo.person import Person
from dualface_ray.demo.picture import Picture, ellipse_points
from dualface_ray.demo.scene import Camera, Look, Pane, Pose
from dualface_ray.demo.sprite import U8
from dualface_ray.demo.truth import Box, TruthFace


class Stage:
    """Draws frames of one scene.

    Args:
        people: the cast.
        width_px: picture width, even.
        height_px: picture height, even.
        seed: of the rooms.
    """

    def __init__(self, people: Sequence[Person], width_px: int, height_px: int, seed: int) -> None:
        self._size = width_px, height_px
        self._seed = seed
        self._base, self._over = (Picture(people, width_px, height_px, seed) for _ in range(2))
        self._noise: list[U8] = []
        self._ellipse = ellipse_points()

    def draw(
        self, poses: Sequence[Pose], camera: Camera, look: Look, index: int, panes: Sequence[Pane] = ()
    ) -> tuple[U8, list[TruthFace]]:
        """One frame: NV12 pixels (valid until the next call) and the faces that touch the picture.

        While one shot fades into another the same person may be there twice.
        """
        faces = self._base.draw(poses, camera)
        for pane in panes:
            faces = self._lay_over(faces, pane)
        self._sense(look, index)
        if look.black > 0:
            faces = [replace(face, visible=face.visible * (1 - look.black)) for face in faces]
        return self._base.canvas.data, sorted(faces, key=lambda f: (f.person, -f.visible))

    def _lay_over(self, faces: Sequence[TruthFace], pane: Pane) -> list[TruthFace]:
        """Another picture over what is there; returns the faces of both."""
        width, height = self._size
        x0, x1 = (round(share * width / 2) * 2 for share in pane.place[::2])
        y0, y1 = (round(share * height / 2) * 2 for share in pane.place[1::2])
        scale = max((x1 - x0) / width, (y1 - y0) / height)
        inside = self._over.draw(pane.poses, pane.camera)
        inner, canvas = self._over.canvas, self._base.canvas
        full = (math.ceil(width * scale / 2) * 2, math.ceil(height * scale / 2) * 2)
        left, top = (full[0] - (x1 - x0)) // 4 * 2, (full[1] - (y1 - y0)) // 4 * 2
        for below, above, half in ((canvas.luma, inner.luma, 1), (canvas.chroma, inner.chroma, 2)):
            if scale != 1:
                size = (full[0] // half, full[1] // half)
                above = np.asarray(cv2.resize(above, size, interpolation=cv2.INTER_AREA), np.uint8)  # noqa: PLW2901
            part = below[y0 // half : y1 // half, x0 // half : x1 // half]
            cut = above[top // half :, left // half :][: part.shape[0], : part.shape[1]]
            part[:] = cv2.addWeighted(part, 1 - pane.opacity, cut, pane.opacity, 0.0)
        place: Box = float(x0), float(y0), float(x1), float(y1)
        covered = [replace(f, visible=f.visible * (1 - pane.opacity * self._share(f.box_px, place))) for f in faces]
        for face in inside:
            b = [v * scale for v in face.box_px]
            box = b[0] - left + x0, b[1] - top + y0, b[2] - left + x0, b[3] - top + y0
            if box[0] < x1 and box[2] > x0 and box[1] < y1 and box[3] > y0:
                seen = min(face.visible, self._share(box, place)) * pane.opacity
                covered.append(TruthFace(face.person, box, seen))
        return covered

    def _share(self, box: Box, place: Box) -> float:
        """Share of a face's ellipse that lies within a rectangle."""
        half = np.array([box[2] - box[0], box[3] - box[1]]) / 2
        points = np.array(box[:2]) + half + self._ellipse * half
        return float(((points >= place[:2]) & (points < place[2:])).all(axis=1).mean())

    def _sense(self, look: Look, index: int) -> None:
        canvas = self._base.canvas
        width, height = self._size
        if look.smear * height >= 2:
            length = max(1, round(look.smear * height))
            canvas.luma[:] = cv2.blur(canvas.luma, (length, 1))
            canvas.chroma[:] = cv2.blur(canvas.chroma, (max(1, length // 2), 1))
        if look.gain != 1.0:
            canvas.luma[:] = cv2.addWeighted(canvas.luma, look.gain, canvas.luma, 0.0, 16 * (1 - look.gain))
            canvas.chroma[:] = cv2.addWeighted(
                canvas.chroma, 0.5 + 0.5 * look.gain, canvas.chroma, 0.0, 64 * (1 - look.gain)
            )
        if look.noise > 0:
            if not self._noise:  # a few patterns, shifted by frame: drawing fresh noise costs more than all the rest
                rng = np.random.default_rng(self._seed)
                self._noise = [
                    np.asarray(rng.normal(128, look.noise, (height, width)).clip(0, 255), np.uint8) for _ in range(3)
                ]
            pattern = np.roll(self._noise[index % 3], (index * 37 % height, index * 101 % width), (0, 1))
            canvas.luma[:] = np.asarray(cv2.addWeighted(canvas.luma, 1.0, pattern, 1.0, -128.0))
        if look.flash > 0:
            canvas.luma[:] = cv2.addWeighted(canvas.luma, 1 - look.flash, canvas.luma, 0.0, 235 * look.flash)
            canvas.chroma[:] = cv2.addWeighted(canvas.chroma, 1 - look.flash, canvas.chroma, 0.0, 128 * look.flash)
        if look.black > 0:
            canvas.luma[:] = cv2.addWeighted(canvas.luma, 1 - look.black, canvas.luma, 0.0, 16 * look.black)
            canvas.chroma[:] = cv2.addWeighted(canvas.chroma, 1 - look.black, canvas.chroma, 0.0, 128 * look.black)
