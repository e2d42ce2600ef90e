"""A recorded run in parts: surveyed, cut into spans that know nothing of each other, joined by blended overlaps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from identity_world import World
from pydantic import TypeAdapter

from actors.backlog.cutting import overlap_s
from dualface_ray.bench.recorded import RecordedRun
from dualface_ray.bench.replaying import replay
from dualface_ray.frames import EMBEDDING_SIZE, Ask, FaceCrop
from dualface_ray.framing import DirectedFrame, PathPoint, blend, check_seam, shot_offset
from dualface_ray.identity import Cast, PersonState, SurveyedFrame, build_cast, faces_to_embed, iou
from dualface_ray.settings import Settings

_POINTS = TypeAdapter(tuple[PathPoint, ...])


def recorded(world: World) -> RecordedRun:
    """A world as it would be recorded: every frame examined, every face embedded."""
    facts = world.facts()
    faces = [world.detect(k) for k in range(len(facts))]
    embeddings = []
    for k, found in enumerate(faces):
        crops = [FaceCrop(k, tuple(found.boxes_px[i].tolist()), found.landmarks_px[i]) for i in range(len(found))]
        embeddings.append(embedded(world, crops) if crops else np.zeros((0, EMBEDDING_SIZE), np.float32))
    return RecordedRun(
        world.info(), np.array(world.pts, np.int64), np.array([int(f.flags) for f in facts], np.int32),
        np.stack([f.signature for f in facts]), tuple(faces), tuple(embeddings),
    )  # fmt: skip


def embedded(world: World, crops: Sequence[FaceCrop]) -> np.ndarray:
    return world.embed(Ask(0, embed=tuple(crops)))


def part(run: RecordedRun, first: int, end: int) -> RecordedRun:
    """The frames from ``first`` to before ``end``, as a decoder that began there would give them."""
    flags = run.flags[first:end].copy()
    flags[0] |= run.flags[0]
    return replace(
        run, pts_ticks=run.pts_ticks[first:end], flags=flags, signatures=run.signatures[first:end],
        faces=run.faces[first:end], embeddings=run.embeddings[first:end],
    )  # fmt: skip


def survey(run: RecordedRun, settings: Settings, every_s: float = 0.7) -> Cast | str:
    """The cast from sparse frames."""
    tick = float(run.info.time_base)
    times = (run.pts_ticks - run.pts_ticks[0]) * tick
    chosen, due = [], 0.0
    for k, t in enumerate(times):
        if t >= due:
            chosen.append(SurveyedFrame(k, float(t), run.faces[k]))
            due = float(t) + every_s
    crops = faces_to_embed(chosen)
    rows = []
    for crop in crops:
        apart = np.abs(run.faces[crop.frame_index].boxes_px - np.array(crop.box_px, np.float32)).sum(axis=1)
        rows.append(run.embeddings[crop.frame_index][int(np.argmin(apart))])
    return build_cast(chosen, np.array(rows, np.float32).reshape(len(rows), EMBEDDING_SIZE), settings)


def swapped(cast: Cast) -> Cast:
    """The same two with each other's letter."""
    return replace(cast, a=replace(cast.b, name="A"), b=replace(cast.a, name="B"))


@dataclass
class Joined:
    """A video made of parts."""

    frames: list[DirectedFrame] = field(default_factory=list)
    overlaps: list[range] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)
    embedded: int = 0
    detected: int = 0


def joined(run: RecordedRun, settings: Settings, cast: Cast, cuts: Sequence[int], other: Cast | None = None) -> Joined:
    """Spans that begin at these frames, each on its own, and bridges between them; ``other``: cast of odd spans."""
    rate = float(run.info.average_rate)
    overlap = round(overlap_s(settings) * rate)
    firsts = [0, *cuts]
    ends = [min(len(run), c + overlap) for c in cuts] + [len(run)]
    result = Joined()
    shot = 0
    coda: list[PathPoint] = []
    for number, (first, end) in enumerate(zip(firsts, ends, strict=True)):
        begin_s = float((run.pts_ticks[first] - run.pts_ticks[0]) * run.info.time_base)
        mine = other if other is not None and number % 2 else cast
        done = replay(part(run, first, end), settings, cast=mine, begin_s=begin_s)
        result.embedded += done.embedded
        result.detected += done.detected
        points = list(_POINTS.validate_json(_POINTS.dump_json(tuple(PathPoint.of(f, first) for f in done.frames))))
        write, seam = first, end
        if coda:
            overture = points[: len(coda)]
            result.complaints.append(check_seam(coda, overture))
            shift = shot_offset(coda, overture)
            bridge = blend(coda, overture, settings)
            result.overlaps.append(range(first, first + len(coda)))
            result.frames += [replace(f, tracked=replace(f.tracked, shot=f.tracked.shot + shot)) for f in bridge]
            shot += shift
            write = first + len(coda)
        if number + 1 < len(firsts):
            seam = firsts[number + 1]
        for frame in done.frames[write - first : seam - first]:
            tracked = replace(frame.tracked, frame_index=frame.frame_index + first, shot=frame.tracked.shot + shot)
            plan = replace(frame.plan, frame_index=frame.frame_index + first)
            result.frames.append(DirectedFrame(tracked, plan))
        coda = points[seam - first :] if number + 1 < len(firsts) else []
    assert [f.frame_index for f in result.frames] == list(range(len(run)))
    assert [f.plan.pts_ticks for f in result.frames] == run.pts_ticks.tolist()
    return result


@dataclass
class Difference:
    """What the parts decided otherwise than the whole."""

    seen: int = 0
    """Persons detected by both."""
    wrong: int = 0
    """Of these: the parts' box lies on the whole's other person."""
    elsewhere: int = 0
    """Of these: it lies elsewhere."""
    states: float = 0.0
    """Share of persons in frames with the same state."""
    shots: int = 0
    """Frames of another shot number."""
    step: float = 0.0
    """Largest step of a crop's centre or edge from frame to frame in the overlaps, within a shot, in px."""
    step_whole: float = 0.0
    """Largest one of the whole run, anywhere."""
    bend: float = 0.0
    """Largest second difference in the overlaps and the frames around them."""
    bend_whole: float = 0.0


def difference(whole: Sequence[DirectedFrame], parts: Joined) -> Difference:
    d = Difference()
    same = 0
    for w, p in zip(whole, parts.frames, strict=True):
        d.shots += w.tracked.shot != p.tracked.shot
        for name in "ab":
            mine, yours = getattr(w.tracked, name), getattr(p.tracked, name)
            same += mine.state is yours.state
            if mine.state is PersonState.DETECTED and yours.state is PersonState.DETECTED:
                d.seen += 1
                other = getattr(w.tracked, "b" if name == "a" else "a")
                fit = iou(mine.box_px, yours.box_px)
                if other.box_px is not None and iou(other.box_px, yours.box_px) > max(fit, 0.3):
                    d.wrong += 1
                elif fit < 0.5:
                    d.elsewhere += 1
    d.states = same / (2 * len(whole))
    step, bend = motion(whole)
    d.step_whole, d.bend_whole = float(step.max(initial=0.0)), float(bend.max(initial=0.0))
    step, bend = motion(parts.frames)
    near = np.zeros(len(whole), bool)
    for overlap in parts.overlaps:
        near[max(0, overlap.start - 2) : overlap.stop + 2] = True
    d.step, d.bend = float(step[near[1:]].max(initial=0.0)), float(bend[near[2:]].max(initial=0.0))
    return d


def crops(frames: Sequence[DirectedFrame]) -> np.ndarray:
    """What each tile shows, by frame and person."""
    return np.array(
        [
            [t.source_px for t in sorted((t for c in f.plan.canvases for t in c.tiles), key=lambda t: t.person)]
            for f in frames
        ]
    )


def motion(frames: Sequence[DirectedFrame]) -> tuple[np.ndarray, np.ndarray]:
    """Largest first and second difference of any edge of any crop, per frame, 0 at cuts."""
    edges = crops(frames)
    shots = np.array([f.tracked.shot for f in frames])
    step = np.abs(np.diff(edges, axis=0)).max(axis=(1, 2))
    bend = np.abs(np.diff(edges, 2, axis=0)).max(axis=(1, 2))
    step[shots[1:] != shots[:-1]] = 0
    bend[(shots[2:] != shots[1:-1]) | (shots[1:-1] != shots[:-2])] = 0
    return step, bend
