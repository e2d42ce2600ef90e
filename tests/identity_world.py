"""Synthetic scenes with truth for identity and framing: moving boxes, a noisy detector, descriptors, embeddings."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from fractions import Fraction

import numpy as np

from dualface_ray.frames import (
    DESCRIPTOR_SIZE,
    EMBEDDING_SIZE,
    SIGNATURE_BYTES,
    Answer,
    Ask,
    Detections,
    Faces,
    FrameFlag,
    StreamInfo,
)
from dualface_ray.framing import DirectedFrame, Director
from dualface_ray.identity import FrameFact, IdentityEvent
from dualface_ray.settings import Settings

Path = Callable[[float], tuple[float, float, float] | None]
"""Seconds -> centre x, centre y, face height in px, or None when not in the picture."""


def still(x: float, y: float, h: float, sway: float = 0.0, hz: float = 0.3, phase: float = 0.0) -> Path:
    """Somebody who sits and sways a little (sway in face heights)."""
    return lambda t: (
        x + sway * h * math.sin(2 * math.pi * hz * t + phase),
        y + 0.4 * sway * h * math.sin(2 * math.pi * 1.3 * hz * t + phase),
        h,
    )


def keys(*points: tuple[float, float, float, float]) -> Path:
    """Smooth motion through (t, x, y, h); absent before the first and after the last point."""

    def path(t: float) -> tuple[float, float, float] | None:
        if t < points[0][0] or t > points[-1][0]:
            return None
        for a, b in itertools.pairwise(points):
            if a[0] <= t <= b[0]:
                w = (t - a[0]) / max(b[0] - a[0], 1e-9)
                w = w * w * (3 - 2 * w)
                return tuple(p + (q - p) * w for p, q in zip(a[1:], b[1:], strict=True))  # type: ignore[return-value]
        return None

    return path


def during(path: Path, *spans: tuple[float, float]) -> Path:
    """Visible only within these spans."""
    return lambda t: path(t) if any(a <= t < b for a, b in spans) else None


def unit(v: np.ndarray) -> np.ndarray:
    return v / np.linalg.norm(v)


def spread(rng: np.random.Generator, size: int, count: int, distance: float) -> list[np.ndarray]:
    """Unit vectors about ``distance`` from each other."""
    common = unit(rng.standard_normal(size))
    share = math.sqrt(max(0.0, 1 - distance * distance / 2))
    return [unit(share * common + math.sqrt(1 - share * share) * unit(rng.standard_normal(size))) for _ in range(count)]


@dataclass
class World:
    """A scene. ``actors``: name -> path; later names are in front. ``cuts``: times of hard cuts.

    With ``dissolve_s`` shots fade into one another for so long around the cuts, with ``black_s`` through black; with
    ``plain`` all shots have the same picture, so that nothing but the faces tells where the cuts are.
    """

    actors: dict[str, Path]
    seconds: float = 10.0
    fps: Fraction = Fraction(30)
    width: int = 1280
    height: int = 720
    cuts: tuple[float, ...] = ()
    flashes: tuple[float, ...] = ()
    whips: tuple[tuple[float, float], ...] = ()
    dissolve_s: float = 0.0
    black_s: float = 0.0
    plain: bool = False
    seed: int = 0
    noise: float = 0.012
    """Detector noise over the face height."""
    miss: float = 0.0
    """Share of faces the detector misses."""
    look_distance: float = 0.55
    look_noise: float = 0.15
    face_distance: float = 0.65
    face_noise: float = 0.22
    static: tuple[str, ...] = ()
    vfr: bool = False
    time_base: Fraction = Fraction(1, 30000)
    look_shift: float = 0.0
    """Change of all descriptors after the first cut (light, angle)."""
    pts: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        rng = np.random.default_rng(self.seed)
        names = list(self.actors)
        self.looks = dict(zip(names, spread(rng, DESCRIPTOR_SIZE, len(names), self.look_distance), strict=True))
        self.faces_ = dict(zip(names, spread(rng, EMBEDDING_SIZE, len(names), self.face_distance), strict=True))
        self.shifts = [unit(rng.standard_normal(DESCRIPTOR_SIZE)) for _ in range(len(self.cuts) + 1)]
        self.pictures = [rng.integers(20, 230, (4, 8)) for _ in range(len(self.cuts) + 2)]
        if self.plain:
            self.pictures = self.pictures[:1] * len(self.pictures)
        if not self.pts:
            t = Fraction(0)
            while t < self.seconds:
                self.pts.append(round(t / self.time_base) + 1000)
                step = 1 / self.fps
                t += step * (Fraction(int(rng.integers(1, 4))) if self.vfr else 1)

    def time(self, frame: int) -> float:
        return (self.pts[frame] - self.pts[0]) * float(self.time_base)

    def shot(self, t: float) -> int:
        return sum(t >= cut - 1e-9 for cut in self.cuts)

    def box(self, name: str, t: float) -> tuple[float, float, float, float] | None:
        at = self.actors[name](t)
        if at is None:
            return None
        x, y, h = at
        w = 0.78 * h
        if x + w / 2 <= 0 or x - w / 2 >= self.width:
            return None
        return x - w / 2, y - h / 2, x + w / 2, y + h / 2

    def truth(self, frame: int) -> dict[str, tuple[float, float, float, float]]:
        """Boxes of all faces that are mostly visible."""
        t = self.time(frame)
        shown: dict[str, tuple[float, float, float, float]] = {}
        if self.light(t) < 0.1:
            return shown
        names = list(self.actors)
        for i, name in enumerate(names):
            box = self.box(name, t)
            if box is None:
                continue
            area = (box[2] - box[0]) * (box[3] - box[1])
            inside = max(0.0, min(box[2], self.width) - max(box[0], 0.0)) * (box[3] - box[1])
            covered = 0.0
            for front in names[i + 1 :]:
                other = self.box(front, t)
                if other is not None:
                    w = min(box[2], other[2]) - max(box[0], other[0])
                    h = min(box[3], other[3]) - max(box[1], other[1])
                    covered = max(covered, max(0.0, w) * max(0.0, h) / area)
            if inside / area > 0.5 and covered < 0.55:
                shown[name] = box
        return shown

    def detect(self, frame: int) -> Faces:
        rng = np.random.default_rng((self.seed, frame, 7))
        t = self.time(frame)
        boxes, looks, scores, marks = [], [], [], []
        for name, box in self.truth(frame).items():
            if rng.random() < self.miss:
                continue
            h = box[3] - box[1]
            noise = rng.standard_normal(4) * self.noise * h * (0.1 if name in self.static else 1.0)
            b = np.array(box) + noise
            boxes.append(b)
            look = self.looks[name] + self.look_shift * self.shifts[self.shot(t)]
            looks.append(unit(unit(look) + self.look_noise * unit(rng.standard_normal(DESCRIPTOR_SIZE))))
            scores.append(0.7 + 0.25 * rng.random())
            cx, cy, w = (b[0] + b[2]) / 2, (b[1] + b[3]) / 2, b[2] - b[0]
            marks.append(
                [
                    [cx - w / 4, cy],
                    [cx + w / 4, cy],
                    [cx, cy + h / 8],
                    [cx - w / 5, cy + h / 4],
                    [cx + w / 5, cy + h / 4],
                ]
            )
        for i in range(len(boxes) - 1, -1, -1):  # non-maximum suppression, the front one wins
            if any(overlap(boxes[i], other) > 0.3 for other in boxes[i + 1 :]):
                for row in (boxes, looks, scores, marks):
                    del row[i]
        if not boxes:
            return Faces.none()
        order = np.argsort(-np.array(scores), kind="stable")
        return Faces(
            np.array(boxes, np.float32)[order],
            np.array(marks, np.float32)[order],
            np.array(scores, np.float32)[order],
            np.array(looks, np.float32)[order],
        )

    def embed(self, ask: Ask) -> np.ndarray:
        rows = []
        for crop in ask.embed:
            truth = self.truth(crop.frame_index)
            cx, cy = (crop.box_px[0] + crop.box_px[2]) / 2, (crop.box_px[1] + crop.box_px[3]) / 2
            name = min(
                truth,
                key=lambda n: math.hypot((truth[n][0] + truth[n][2]) / 2 - cx, (truth[n][1] + truth[n][3]) / 2 - cy),
            )
            rng = np.random.default_rng((self.seed, crop.frame_index, int(cx), 11))
            rows.append(unit(self.faces_[name] + self.face_noise * unit(rng.standard_normal(EMBEDDING_SIZE))))
        return np.array(rows, np.float32)

    def signature(self, frame: int) -> np.ndarray:
        t = self.time(frame)
        picture = self.picture(self.shot(t))
        for k, cut in enumerate(self.cuts):
            if abs(t - cut) < 0.5 * self.dissolve_s:
                share = 0.5 + (t - cut) / self.dissolve_s
                picture = (1 - share) * self.picture(k) + share * self.picture(k + 1)
        picture = picture * self.light(t)
        for a, b in self.whips:
            if a <= t < b:
                picture = np.roll(picture, int((t - a) * 90), axis=1)
            elif t >= b:
                picture = np.roll(picture, int((b - a) * 90), axis=1)
        if any(f <= t < f + 0.08 for f in self.flashes):
            picture = picture * 0.2 + 200
        rng = np.random.default_rng((self.seed, frame, 3))
        luma = np.clip(picture + rng.standard_normal(picture.shape) * 2, 0, 255).astype(np.uint8)
        return np.concatenate([luma.ravel(), np.zeros(SIGNATURE_BYTES - luma.size, np.uint8)])

    def light(self, t: float) -> float:
        """Brightness while shots fade through black."""
        light = 1.0
        for cut in self.cuts:
            if abs(t - cut) < 0.5 * self.black_s:
                light = max(0.0, (2 * abs(t - cut) / self.black_s - 0.3) / 0.7)
        return light

    def picture(self, shot: int) -> np.ndarray:
        """Luma of a shot."""
        return np.kron(self.pictures[shot], np.ones((5, 4)))[:18, :32].astype(float)

    def info(self) -> StreamInfo:
        rate = Fraction(len(self.pts) - 1) / (Fraction(self.pts[-1] - self.pts[0]) * self.time_base)
        return StreamInfo("v", self.width, self.height, self.time_base, rate.limit_denominator(1000))

    def facts(self) -> list[FrameFact]:
        facts, last = [], None
        for frame, pts in enumerate(self.pts):
            signature = self.signature(frame)
            jump = last is None or np.abs(signature.astype(int) - last.astype(int))[:576].mean() > 10
            last = signature
            facts.append(FrameFact(frame, pts, FrameFlag.CUT_CANDIDATE if jump else FrameFlag.NONE, signature))
        return facts

    def grid(self, facts: list[FrameFact], settings: Settings) -> list[int]:
        """The forward grid as the inference side keeps it: first frame of each cell, candidates, frame 0."""
        frames, cell = [], -1
        for fact in facts:
            now = math.floor(self.time(fact.frame_index) * settings.detect.grid_hz + 1e-9)
            if settings.detect.every_frame or now != cell or fact.flags & FrameFlag.CUT_CANDIDATE:
                frames.append(fact.frame_index)
            cell = now
        return frames


@dataclass
class Result:
    """What a drive brought."""

    world: World
    frames: list[DirectedFrame]
    events: list[IdentityEvent]
    detect_asks: list[int]
    embeds: int
    detections: int

    def kinds(self) -> list[str]:
        return [event.kind for event in self.events]

    @property
    def detect_hz(self) -> float:
        return self.detections / self.world.seconds

    def owners(self, a: str, b: str) -> dict[str, dict[str, int]]:
        """For each letter: how many frames its box lies on which actor (certain frames with a visible actor only)."""
        counts: dict[str, dict[str, int]] = {"A": {}, "B": {}}
        for frame in self.frames:
            truth = self.world.truth(frame.frame_index)
            for letter, track in (("A", frame.tracked.a), ("B", frame.tracked.b)):
                if track.box_px is None:
                    name = "absent"
                else:
                    box = track.box_px
                    scored = {n: overlap(box, truth[n]) for n in truth}
                    best = max(scored, key=scored.__getitem__, default="")
                    name = best if best and scored[best] > 0.3 else "nobody"
                if track.state.value == "predicted" and name != {"A": a, "B": b}[letter]:
                    name = "hidden"
                counts[letter][name] = counts[letter].get(name, 0) + 1
        return counts

    def hits(self, letter: str, name: str) -> float:
        """Share of the frames with this actor visible in which the letter's box is on them (IoU > 0.5)."""
        good = total = 0
        for frame in self.frames:
            truth = self.world.truth(frame.frame_index)
            if name in truth:
                total += 1
                track = frame.tracked.a if letter == "A" else frame.tracked.b
                good += track.box_px is not None and overlap(track.box_px, truth[name]) > 0.5
        return good / max(total, 1)

    def inside(self, letter: str, name: str) -> float:
        """Share of visible frames with at least 90 % of the face's visible area in the letter's tile."""
        good = total = 0
        for frame in self.frames:
            box = self.world.truth(frame.frame_index).get(name)
            if box is None:
                continue
            total += 1
            tile = next(t for c in frame.plan.canvases for t in c.tiles if t.person == letter)
            box = max(box[0], 0.0), box[1], min(box[2], self.world.width), box[3]
            s = tile.source_px
            w, h = min(box[2], s[2]) - max(box[0], s[0]), min(box[3], s[3]) - max(box[1], s[1])
            good += max(w, 0) * max(h, 0) >= 0.9 * (box[2] - box[0]) * (box[3] - box[1])
        return good / max(total, 1)


def overlap(a: tuple[float, ...], b: tuple[float, ...]) -> float:
    w, h = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    if w <= 0 or h <= 0:
        return 0.0
    return w * h / ((a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - w * h)


def drive(
    world: World,
    settings: Settings | None = None,
    chunks: list[int] | None = None,
    lookahead: int = 0,
    save_every: int = 0,
    late: int = 0,
) -> Result:
    """Run a Director over a world, checking its contract on the way.

    ``chunks``: message sizes, repeated; ``late``: further chunks pushed before a question is answered.
    """
    settings = settings or Settings()
    info = world.info()
    lookahead = lookahead or settings.lookahead_frames(info.average_rate)
    director = Director(settings, info, lookahead)
    facts = world.facts()
    grid = set(world.grid(facts, settings))
    frames: list[DirectedFrame] = []
    events: list[IdentityEvent] = []
    asked: list[int] = []
    embeds = calls = 0
    pending: list[tuple[int, Ask]] = []
    pushed = chunk_no = 0
    sizes = chunks or [16]
    done = False

    def take(step) -> None:
        nonlocal embeds, done
        frames.extend(step.frames)
        events.extend(step.events)
        assert [f.frame_index for f in frames] == list(range(len(frames)))
        for ask in step.asks:
            assert bool(ask.detect) != bool(ask.embed)
            for frame in [*ask.detect, *(crop.frame_index for crop in ask.embed)]:
                assert len(frames) <= frame < pushed, "asked for a frame that is not held"
            assert not set(ask.detect) & (grid | set(asked)), "asked twice"
            asked.extend(ask.detect)
            embeds += len(ask.embed)
            pending.append((chunk_no, ask))
        done = step.done

    def answer_due(everything: bool) -> None:
        nonlocal director, calls
        while pending and (everything or pending[0][0] + late <= chunk_no):
            _, ask = pending.pop(0)
            if ask.detect:
                reply = Answer(ask.ask_id, Detections({f: world.detect(f) for f in ask.detect}))
            else:
                reply = Answer(ask.ask_id, embeddings=world.embed(ask))
            calls += 1
            if save_every and calls % save_every == 0:
                director = Director.restore(director.save(), settings, info)
            take(director.answer([reply]))
        if not pending:
            assert pushed - len(frames) <= lookahead, "held longer than the look-ahead"

    while pushed < len(facts):
        size = sizes[chunk_no % len(sizes)]
        part = facts[pushed : pushed + size]
        pushed += len(part)
        seen = {f.frame_index: world.detect(f.frame_index) for f in part if f.frame_index in grid}
        calls += 1
        if save_every and calls % save_every == 0:
            director = Director.restore(director.save(), settings, info)
        take(director.push(part, Detections(seen)))
        answer_due(everything=False)
        chunk_no += 1
    answer_due(everything=True)
    take(director.finish())
    answer_due(everything=True)
    assert done
    assert len(frames) == len(facts)
    return Result(world, frames, events, asked, embeds, len(grid) + len(asked))
