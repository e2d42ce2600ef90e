"""SceneTruth: where every face really is, in a JSONL file beside the video."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

Box = tuple[float, float, float, float]


@dataclass(frozen=True, slots=True)
class TruthFace:
    """One face in one frame.

    ``box_px``: x0, y0, x1, y1 in displayed pixels, may reach beyond the picture. ``visible``: share 0..1 of the face
    that is inside the picture and not covered.
    """

    person: int
    box_px: Box
    visible: float


@dataclass(frozen=True, slots=True)
class TruthFrame:
    """One frame."""

    frame: int
    pts: int
    shot: int
    faces: tuple[TruthFace, ...]


@dataclass(frozen=True, slots=True)
class SceneTruth:
    """The truth of one clip.

    ``people``: the name of each person, by index; ``principals``: the indices of those who talk and must be framed.
    ``clicks_s``: moments of a click with a flash. ``turns``: (speaker, start, end) in seconds.
    """

    path: Path
    scene: str
    seed: int
    width_px: int
    height_px: int
    time_base: Fraction
    people: tuple[str, ...]
    principals: tuple[int, ...]
    frames: tuple[TruthFrame, ...]
    clicks_s: tuple[float, ...] = ()
    turns: tuple[tuple[int, float, float], ...] = ()

    def save(self, path: Path) -> None:
        """Write as JSONL: one header line, one line per frame."""
        header = {
            "schema": 1, "video": self.path.name, "scene": self.scene, "seed": self.seed, "width": self.width_px,
            "height": self.height_px, "time_base": str(self.time_base), "people": self.people,
            "principals": self.principals, "clicks": self.clicks_s, "turns": self.turns,
        }  # fmt: skip
        with path.open("w", encoding="utf-8") as out:
            out.write(json.dumps(header) + "\n")
            for frame in self.frames:
                out.write(json.dumps(_rounded(asdict(frame)), separators=(",", ":")) + "\n")

    @staticmethod
    def load(path: Path) -> SceneTruth:
        """Read what ``save`` wrote; the video is looked for beside the file."""
        with path.open(encoding="utf-8") as lines:
            head: dict[str, Any] = json.loads(next(lines))
            frames = tuple(_frame(json.loads(line)) for line in lines)
        return SceneTruth(
            path.parent / head["video"], head["scene"], head["seed"], head["width"], head["height"],
            Fraction(head["time_base"]), tuple(head["people"]), tuple(head["principals"]), frames,
            tuple(head["clicks"]), tuple((int(s), float(a), float(b)) for s, a, b in head["turns"]),
        )  # fmt: skip


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        return round(value, 3)
    if isinstance(value, dict):
        return {key: _rounded(item) for key, item in value.items()}
    return [_rounded(item) for item in value] if isinstance(value, list | tuple) else value


def _frame(row: dict[str, Any]) -> TruthFrame:
    faces = tuple(
        TruthFace(f["person"], (f["box_px"][0], f["box_px"][1], f["box_px"][2], f["box_px"][3]), f["visible"])
        for f in row["faces"]
    )
    return TruthFrame(row["frame"], row["pts"], row["shot"], faces)
