"""RecordedRun: what was seen in a video, in one file; replayable through identity and framing without pixels.

video ─► decoder ─► detector, embedder on every frame ─► RecordedRun ─► .npz
                                                              └─► replay(settings) ─► Director ─► Replay
"""

from __future__ import annotations

import time
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from dualface_ray.backends import load_backend
from dualface_ray.detect import DetectionGrid, FramePixels
from dualface_ray.errors import InputError
from dualface_ray.frames import (
    F32,
    Answer,
    Ask,
    Detections,
    FaceCrop,
    Faces,
    FrameFlag,
    FrameTicket,
    StreamInfo,
)
from dualface_ray.framing import DirectedFrame, Director
from dualface_ray.identity import FrameFact, IdentityEvent
from dualface_ray.media import AtomicFile, DecodedFrame
from dualface_ray.settings import Settings

SCHEMA = 1


@dataclass(frozen=True, slots=True, eq=False)
class RecordedRun:
    """A video as its detector, embedder and decoder saw it, every frame of it.

    Attributes:
        info: of the stream.
        pts_ticks: int64 (n,).
        flags: int32 (n,), ``FrameFlag`` values.
        signatures: uint8 (n, SIGNATURE_BYTES).
        faces: of each frame.
        embeddings: of each frame, float32 (faces, E), in the order of its faces; E is 0 when none were recorded.
    """

    info: StreamInfo
    pts_ticks: npt.NDArray[np.int64]
    flags: npt.NDArray[np.int32]
    signatures: npt.NDArray[np.uint8]
    faces: tuple[Faces, ...]
    embeddings: tuple[F32, ...]

    def __len__(self) -> int:
        return len(self.pts_ticks)

    def save(self, path: Path) -> None:
        """Write one compressed file, complete or not at all.

        Raises:
            OutputError: it cannot be written.
        """
        counts = np.array([len(faces) for faces in self.faces], np.int64)
        info = self.info
        meta = np.array(
            [info.stream_id, info.width_px, info.height_px, info.time_base, info.average_rate, info.rotation_deg,
             info.sample_aspect, info.duration_ticks, info.codec]
        ).astype(str)  # fmt: skip
        with AtomicFile(path) as file, file.part.open("wb") as out:
            np.savez_compressed(
                out, schema=np.array(SCHEMA), meta=meta, pts_ticks=self.pts_ticks, flags=self.flags,
                signatures=self.signatures, counts=counts,
                boxes=_stack([f.boxes_px for f in self.faces], (4,)),
                landmarks=_stack([f.landmarks_px for f in self.faces], (5, 2)),
                scores=_stack([f.scores for f in self.faces], ()),
                descriptors=_stack([f.descriptors for f in self.faces if len(f)], (0,)),
                embeddings=_stack([e for e in self.embeddings if len(e)], (0,)),
            )  # fmt: skip

    @staticmethod
    def load(path: Path) -> RecordedRun:
        """Read what ``save`` wrote.

        Raises:
            InputError: it is no recorded run, or damaged.
        """
        try:
            with path.open("rb") as file, np.load(file, allow_pickle=False) as data:
                if int(data["schema"]) != SCHEMA:
                    raise ValueError(f"schema {data['schema']}")
                ends = np.cumsum(data["counts"])[:-1]
                parts = {
                    key: np.split(data[key], ends) if len(data[key]) else [data[key]] * len(data["counts"])
                    for key in ("boxes", "landmarks", "scores", "descriptors", "embeddings")
                }
                rows = zip(parts["boxes"], parts["landmarks"], parts["scores"], parts["descriptors"], strict=True)
                return RecordedRun(
                    _info(data["meta"]), data["pts_ticks"], data["flags"], data["signatures"],
                    tuple(Faces(*row) for row in rows), tuple(parts["embeddings"]),
                )  # fmt: skip
        except (OSError, ValueError, KeyError, IndexError, EOFError, TypeError, zipfile.BadZipFile) as error:
            raise InputError(f"not a recorded run ({error})", where=str(path), remedy="Record it again.") from error


def _stack(parts: list[F32], shape: tuple[int, ...]) -> F32:
    return np.concatenate(parts) if parts else np.zeros((0, *shape), np.float32)


def _info(meta: npt.NDArray[np.str_]) -> StreamInfo:
    name, width, height, base, rate, rotation, aspect, duration, codec = (str(item) for item in meta)
    return StreamInfo(
        name, int(width), int(height), Fraction(base), Fraction(rate), rotation_deg=int(rotation),
        sample_aspect=Fraction(aspect), duration_ticks=int(duration), codec=codec,
    )  # fmt: skip


def record(path: Path, settings: Settings, *, threads: int = 1, embed: bool = True) -> RecordedRun:
    """Decode a video and examine every frame of it on the CPU.

    Raises:
        InputError: it cannot be decoded.
        ModelError: a model is missing.
    """
    backend = load_backend("cpu")
    decoder = backend.open_decoder(path, path.stem, settings, threads)
    detector = backend.load_detector(settings, threads)
    embedder = backend.load_embedder(settings, threads) if embed else None
    info = decoder.info
    slot = np.empty((info.slot_height_px * 3 // 2, info.slot_width_px), np.uint8)
    pixels = FramePixels(slot, info)
    frames: list[DecodedFrame] = []
    signatures, faces, embeddings = [], [], []
    try:
        end = False
        while not end:
            batch = decoder.decode([slot])
            end = batch.end
            for frame in batch.frames:
                frames.append(frame)
                signatures.append(batch.signatures[0].copy())
                found = detector.detect([pixels])[0]
                faces.append(found)
                crops = [_crop(len(frames) - 1, found, row) for row in range(len(found))]
                nothing = np.zeros((len(crops), 0), np.float32)
                embeddings.append(embedder.embed([pixels] * len(crops), crops) if embedder and crops else nothing)
    finally:
        decoder.close()
        detector.close()
        if embedder is not None:
            embedder.close()
    return RecordedRun(
        info,
        np.array([frame.pts_ticks for frame in frames], np.int64),
        np.array([int(frame.flags) for frame in frames], np.int32),
        np.stack(signatures),
        tuple(faces),
        tuple(embeddings),
    )


def _crop(index: int, faces: Faces, row: int) -> FaceCrop:
    x0, y0, x1, y1 = (float(v) for v in faces.boxes_px[row])
    return FaceCrop(index, (x0, y0, x1, y1), faces.landmarks_px[row])


@dataclass(frozen=True, slots=True, eq=False)
class Replay:
    """What identity and framing made of a recorded run.

    ``detected`` and ``embedded`` count what was really looked at, on the grid and on demand; ``director_s`` is the
    time spent inside identity and framing.
    """

    frames: tuple[DirectedFrame, ...]
    events: tuple[IdentityEvent, ...]
    detected: int
    embedded: int
    director_s: float


def replay(run: RecordedRun, settings: Settings, *, chunk_frames: int = 16) -> Replay:
    """Send a recorded run through the Director as the actors do: grid frames first, the rest only when asked for."""
    return _Replayer(run, settings).go(chunk_frames)


class _Replayer:
    def __init__(self, run: RecordedRun, settings: Settings) -> None:
        self._run = run
        info, detect = run.info, settings.detect
        self._grid = DetectionGrid(info.time_base, detect.grid_hz, every_frame=detect.every_frame)
        self._director = Director(settings, info, settings.lookahead_frames(info.average_rate))
        self._frames: list[DirectedFrame] = []
        self._events: list[IdentityEvent] = []
        self._looked: set[int] = set()
        self._embedded = 0
        self._spent_s = 0.0

    def go(self, chunk_frames: int) -> Replay:
        run = self._run
        for start in range(0, len(run), chunk_frames):
            rows = range(start, min(len(run), start + chunk_frames))
            facts = [FrameFact(i, int(run.pts_ticks[i]), FrameFlag(int(run.flags[i])), run.signatures[i]) for i in rows]
            due = {i: run.faces[i] for i, fact in zip(rows, facts, strict=True) if self._due(fact)}
            self._looked.update(due)
            self._settle(lambda facts=facts, due=due: self._director.push(facts, Detections(due)))  # type: ignore[misc]
        self._settle(self._director.finish)
        return Replay(tuple(self._frames), tuple(self._events), len(self._looked), self._embedded, self._spent_s)

    def _due(self, fact: FrameFact) -> bool:
        return self._grid.due(FrameTicket("", 0, 0, fact.frame_index, fact.pts_ticks, fact.flags))

    def _settle(self, call: Callable[[], Any]) -> None:
        """One call into the Director, and all questions that follow from it."""
        while True:
            began_s = time.perf_counter()
            step = call()
            self._spent_s += time.perf_counter() - began_s
            self._frames += step.frames
            self._events += step.events
            if not step.asks:
                return
            answers = [self._answer(ask) for ask in step.asks]
            call = lambda answers=answers: self._director.answer(answers)  # type: ignore[misc]  # noqa: E731

    def _answer(self, ask: Ask) -> Answer:
        self._looked.update(ask.detect)
        self._embedded += len(ask.embed)
        found: Mapping[int, Faces] = {index: self._run.faces[index] for index in ask.detect}
        if not ask.embed:
            return Answer(ask.ask_id, Detections(dict(found)))
        return Answer(ask.ask_id, Detections(dict(found)), np.stack([self._embedding(crop) for crop in ask.embed]))

    def _embedding(self, crop: FaceCrop) -> F32:
        """The recorded embedding of the face nearest to the one asked for (the same one: crops come from detections).

        Raises:
            InputError: no embeddings were recorded, or no face was found in that frame.
        """
        faces, known = self._run.faces[crop.frame_index], self._run.embeddings[crop.frame_index]
        if not len(known) or not known.shape[1]:
            raise InputError("the recorded run holds no embedding of this face", where=f"frame {crop.frame_index}")
        distance = np.abs(faces.boxes_px - np.array(crop.box_px, np.float32)).sum(axis=1)
        embedding: F32 = known[int(np.argmin(distance))]
        return embedding
