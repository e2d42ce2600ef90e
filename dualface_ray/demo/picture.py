"""Picture: persons in a room as a lens sees them, and where their faces are."""

from __future__ import annotations

import math
from collections.abc import Sequence

import cv2
import numpy as np
import numpy.typing as npt

from dualface_ray.demo.faces import FACE_HEIGHT_PX
from dualface_ray.demo.person import MOUTH_LEVELS, Person
from dualface_ray.demo.room import OVERSCAN, paint_room
from dualface_ray.demo.scene import PHOTO, SCREEN, SLIDE, WALL, Camera, Pose
from dualface_ray.demo.slide import paint_screen, paint_slide, paint_wall
from dualface_ray.demo.sprite import U8, Affine, Canvas, Sprite, halved, to_planes
from dualface_ray.demo.truth import Box, TruthFace

_SAMPLES = 10  # per axis: visibility is counted on the points of this grid that lie inside the face's ellipse


def ellipse_points() -> npt.NDArray[np.float64]:
    """Points float64 (n, 2) evenly inside the unit circle: where a face's visibility is counted."""
    grid = (np.arange(_SAMPLES) + 0.5) / _SAMPLES * 2 - 1
    xs, ys = np.meshgrid(grid, grid)
    return np.stack((xs, ys), axis=-1)[xs**2 + ys**2 <= 1.0]


class Picture:
    """Draws persons in rooms; keeps backgrounds and sprites.

    Args:
        people: the cast.
        width_px: picture width, even.
        height_px: picture height, even.
        seed: of the rooms.

    Attributes:
        canvas: what was drawn last.
    """

    def __init__(self, people: Sequence[Person], width_px: int, height_px: int, seed: int) -> None:
        self._people = people
        self._size = width_px, height_px
        self._seed = seed
        self._rooms: dict[int, tuple[U8, U8]] = {}
        self._still: tuple[Camera, tuple[U8, U8]] | None = None
        self.canvas = Canvas.empty(width_px, height_px)
        self._photo_frame: Sprite | None = None
        self._ellipse = ellipse_points()

    def draw(self, poses: Sequence[Pose], camera: Camera) -> list[TruthFace]:
        """Draw onto the canvas; returns the faces that touch the picture."""
        canvas = self.canvas
        luma, chroma = self._background(camera)
        canvas.luma[:], canvas.chroma[:] = luma, chroma
        layers: list[tuple[float, Pose, list[tuple[Sprite, Affine]]]] = []
        for pose in sorted(poses, key=lambda p: -p.depth):
            person = self._people[pose.person]
            head = self._head(person, pose, camera)
            sprite = person.heads[round(min(1.0, max(0.0, pose.mouth)) * (MOUTH_LEVELS - 1))]
            parts = [(sprite, head)]
            if pose.flat:
                parts.insert(0, self._frame_around(pose, camera))
            else:
                body = self._body(person, pose, camera)
                shift = body.copy()
                shift[:, 2] += 0.22 * pose.size * camera.zoom * self._size[1] * np.array([0.9, 0.35])
                person.shadow.draw(canvas, shift)
                parts.insert(0, (person.body, body))
            for part, affine in parts:
                part.draw(canvas, affine)
            layers.append((pose.depth, pose, parts))
        return self._truth(layers)

    # --- geometry -----------------------------------------------------------------------------------------------
    def _place(self, pose: Pose, camera: Camera) -> tuple[float, float, float]:
        """Face centre and height in pixels."""
        width, height = self._size
        aspect = width / height
        x = (pose.x - aspect / 2) * (-1 if camera.mirror else 1) * camera.zoom + aspect / 2 + camera.dx
        y = (pose.y - 0.5) * camera.zoom + 0.5 + camera.dy
        return x * height, y * height, pose.size * camera.zoom * height

    def _head(self, person: Person, pose: Pose, camera: Camera) -> Affine:
        x, y, size = self._place(pose, camera)
        scale = size / FACE_HEIGHT_PX
        side = -1 if camera.mirror else 1
        fx0, fy0, fx1, fy1 = person.face_px
        cos, sin = math.cos(pose.tilt_rad * side) * scale, math.sin(pose.tilt_rad * side) * scale
        turn = np.array([[cos, -sin], [sin, cos]]) @ np.array([[pose.squeeze, pose.shear * side], [0.0, 1.0]])
        offset = np.array([x, y]) - turn @ [(fx0 + fx1) / 2, (fy0 + fy1) / 2]
        return np.column_stack((turn, offset))

    def _body(self, person: Person, pose: Pose, camera: Camera) -> Affine:
        x, y, size = self._place(pose, camera)
        scale = size / FACE_HEIGHT_PX
        neck_x = x + pose.body[0] * size * (-1 if camera.mirror else 1)
        neck_y = y + (0.52 + pose.body[1]) * size
        turn = np.array([[scale * (0.75 + 0.25 * pose.squeeze), 0.0], [0.0, scale]])
        return np.column_stack((turn, np.array([neck_x, neck_y]) - turn @ person.body_neck_px))

    def _frame_around(self, pose: Pose, camera: Camera) -> tuple[Sprite, Affine]:
        """The picture frame and mount of a photograph on the wall."""
        if self._photo_frame is None:
            picture = np.full((840, 640, 3), (46, 60, 74), np.uint8)
            picture[40:-40, 40:-40] = (178, 170, 150)
            cv2.GaussianBlur(picture, (0, 0), 2.0, dst=picture)
            self._photo_frame = Sprite.make(picture, np.full((840, 640), 255, np.uint8))
        x, y, size = self._place(pose, camera)
        scale = size * 2.3 / 840
        return self._photo_frame, np.array([[scale, 0, x - 320 * scale], [0, scale, y - 400 * scale]], np.float64)

    # --- pixels -------------------------------------------------------------------------------------------------
    def _background(self, camera: Camera) -> tuple[U8, U8]:
        if self._still is not None and self._still[0] == camera:
            return self._still[1]
        width, height = self._size
        if camera.room not in self._rooms:
            painters = {WALL: paint_wall, SCREEN: paint_screen, SLIDE: paint_slide, 0: paint_room}
            paint = next(painter for first, painter in painters.items() if camera.room >= first)
            self._rooms[camera.room] = to_planes(paint(width, height, self._seed * 97 + camera.room))
        luma, chroma = self._rooms[camera.room]
        zoom = 1 + (camera.zoom - 1) * camera.wall
        side = -1 if camera.mirror else 1
        centre = np.array([luma.shape[1] / 2, luma.shape[0] / 2])
        limit = (OVERSCAN * zoom - 1) / 2
        dx, dy = (max(-limit * s, min(limit * s, d * height)) for s, d in ((width, camera.dx), (height, camera.dy)))
        scale = np.array([[zoom * side, 0.0], [0.0, zoom]])
        offset = np.array([width / 2 + dx, height / 2 + dy]) - scale @ centre
        move = np.column_stack((scale, offset))
        planes = (
            np.asarray(cv2.warpAffine(luma, move, (width, height), borderMode=cv2.BORDER_REFLECT), np.uint8),
            np.asarray(
                cv2.warpAffine(chroma, halved(move), (width // 2, height // 2), borderMode=cv2.BORDER_REFLECT), np.uint8
            ),
        )
        self._still = (camera, planes)
        return planes

    # --- truth --------------------------------------------------------------------------------------------------
    def _truth(self, layers: Sequence[tuple[float, Pose, list[tuple[Sprite, Affine]]]]) -> list[TruthFace]:
        width, height = self._size
        faces = []
        for place, (_, pose, parts) in enumerate(layers):
            head = parts[-1][1]
            if self._people[pose.person].behind:
                continue
            fx0, fy0, fx1, fy1 = self._people[pose.person].face_px
            centre = head[:, :2] @ [(fx0 + fx1) / 2, (fy0 + fy1) / 2] + head[:, 2]
            half = np.array([math.hypot(head[0, 0], head[1, 0]) * (fx1 - fx0), float(head[1, 1]) * (fy1 - fy0)]) / 2
            box: Box = (
                float(centre[0] - half[0]), float(centre[1] - half[1]),
                float(centre[0] + half[0]), float(centre[1] + half[1]),
            )  # fmt: skip
            if box[2] <= 0 or box[3] <= 0 or box[0] >= width or box[1] >= height:
                continue
            points = centre + self._ellipse * half
            seen = ((points >= 0) & (points < (width, height))).all(axis=1).astype(np.float64)
            for _, _, nearer in layers[place + 1 :]:
                for sprite, affine in nearer:
                    seen *= 1 - sprite.alpha_at(affine, points)
            faces.append(TruthFace(pose.person + (PHOTO if pose.flat else 0), box, float(seen.mean())))
        return faces
