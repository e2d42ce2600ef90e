"""RecordedRun: what was seen in a video, in one file; replayable through identity and framing without pixels.

video ─► decoder ─► detector, embedder on every frame ─► RecordedRun ─► .npz
                                                              └─► replay(settings) ─► Director ─► Replay
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import numpy as np
import numpy.typing as npt

from dualface_ray.backends import load_backend
from dualface_ray.detect import FramePixels
from dualface_ray.errors import InputError
from dualface_ray.frames import F32, FaceCrop, Faces, PixelLayout, StreamInfo
from dualface_ray.media import AtomicFile, DecodedFrame, Slot, check_input
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
        with AtomicFile(path, make_folder=True) as file, file.part.open("wb") as out:
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
        except Exception as error:  # damaged bytes come out of NumPy, zipfile and zlib as a dozen kinds
            raise InputError(f"not a recorded run ({error})", where=str(path), remedy="Record it again.") from error


def _stack(parts: list[F32], shape: tuple[int, ...]) -> F32:
    return np.concatenate(parts) if parts else np.zeros((0, *shape), np.float32)


def _info(meta: npt.NDArray[np.str_]) -> StreamInfo:
    name, width, height, base, rate, rotation, aspect, duration, codec = (str(item) for item in meta)
    return StreamInfo(
        name, int(width), int(height), Fraction(base), Fraction(rate), rotation_deg=int(rotation),
        sample_aspect=Fraction(aspect), duration_ticks=int(duration), codec=codec,
    )  # fmt: skip


def record(
    path: Path,
    settings: Settings,
    *,
    threads: int = 1,
    embed: bool = True,
    progress: Callable[[int], None] = lambda _frames: None,
) -> RecordedRun:
    """Decode a video and examine every frame of it on the CPU.

    Args:
        path: of the video.
        settings: ``input``, ``detect`` and the models; the rest is chosen at replay.
        threads: of decoder, detector and embedder each.
        embed: embed every face, too; without it a replay that asks for an embedding fails.
        progress: gets the count of frames done, after each.

    Raises:
        InputError: it cannot be decoded, or holds no frame.
        ModelError: a model is missing.
    """
    backend = load_backend("cpu")
    check_input(path, allow_symlinks=settings.input.allow_symlinks)
    decoder = backend.open_decoder(path, path.name, settings, threads)
    detector = backend.load_detector(settings, threads)
    embedder = backend.load_embedder(settings, threads) if embed else None
    info = decoder.info
    sample = np.uint16 if info.layout is PixelLayout.P010 else np.uint8
    slot: Slot = np.empty((info.slot_height_px * 3 // 2, info.slot_width_px), sample)
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
                progress(len(frames))
    finally:
        decoder.close()
        detector.close()
        if embedder is not None:
            embedder.close()
    if not frames:
        raise InputError("holds no frame that can be decoded", where=str(path), remedy="Check the file in a player.")
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
