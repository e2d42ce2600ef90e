"""Render: a scene to an MP4 with sound, and its truth beside it."""

from __future__ import annotations

import contextlib
import zlib
from collections.abc import Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import numpy.typing as npt

from dualface_ray.demo.faces import FaceImage, load_faces, twin_of
from dualface_ray.demo.person import make_person, make_stranger
from dualface_ray.demo.scene import Context, Scene, SceneFactory, Timing
from dualface_ray.demo.scenes import SCENES
from dualface_ray.demo.stage import Stage
from dualface_ray.demo.talk import SAMPLE_RATE_HZ, Talk
from dualface_ray.demo.truth import SceneTruth, TruthFrame
from dualface_ray.errors import EncodeError, SettingsError

F32 = npt.NDArray[np.float32]


def truth_path(video: Path) -> Path:
    """Where the truth of a rendered clip lies: ``talk.mp4`` has ``talk.truth.jsonl``."""
    return video.with_suffix(".truth.jsonl")


def make_demo(
    path: Path,
    scene: str = "conversation",
    *,
    seconds: float = 20.0,
    width_px: int = 1280,
    height_px: int = 720,
    rate: Fraction = Fraction(30),
    seed: int = 0,
    faces_dir: Path | None = None,
) -> SceneTruth:
    """Render a scene by name; see ``render``.

    Raises:
        SettingsError: there is no such scene, or the numbers make no video.
        DeviceError: the demo extra is not installed.
        InputError: the folder holds no two faces.
        EncodeError: the file cannot be written.
    """
    if scene not in SCENES:
        raise SettingsError(f"unknown scene {scene!r}", where="--scene", remedy=f"Use one of: {', '.join(SCENES)}.")
    return render(
        SCENES[scene], path, width_px=width_px, height_px=height_px, rate=rate, duration_s=seconds, seed=seed,
        faces=load_faces(faces_dir), name=scene,
    )  # fmt: skip


def render(
    scene: SceneFactory,
    path: Path,
    *,
    width_px: int,
    height_px: int,
    rate: Fraction,
    duration_s: float,
    seed: int,
    faces: Sequence[FaceImage],
    name: str = "",
    threads: int = 1,
) -> SceneTruth:
    """Render a scene to ``path`` (H.264 and AAC in MP4) and its truth to ``truth_path(path)``.

    The same arguments give the same pixels. ``faces[0]`` and ``faces[1]`` are the two who talk.

    Raises:
        SettingsError: sizes that are odd or tiny, no duration, fewer than two faces.
        EncodeError: the file cannot be written.
    """
    if width_px % 2 or height_px % 2 or min(width_px, height_px) < 96:
        raise SettingsError(
            f"{width_px}x{height_px} cannot be rendered", where="size", remedy="Use even sides of at least 96 px."
        )
    if not (duration_s > 0 and 1 <= rate <= 240):
        raise SettingsError(
            f"{duration_s} s at {rate} frames per second cannot be rendered", where="duration, rate",
            remedy="Use a positive duration and 1 to 240 frames per second.",
        )  # fmt: skip
    if len(faces) < 2:
        raise SettingsError(f"{len(faces)} face(s)", where="faces", remedy="Give at least two different people.")
    rng = np.random.default_rng(seed)
    talk = Talk.make(rng, duration_s)
    plan = scene(Context(rng, width_px / height_px, duration_s, len(faces), talk))
    if plan.lookalikes:
        faces = [faces[0], twin_of(faces[0]), *faces[2:]]
    timing = Timing.variable(rng, rate, duration_s) if plan.variable_rate else Timing.constant(rate, duration_s)
    people = [make_person(face, _style(seed, index)) for index, face in enumerate(faces)]
    people.append(make_stranger(_style(seed, len(faces))))
    stage = Stage(people, width_px, height_px, seed * 101 + zlib.crc32(scene.__name__.encode()) % 101)
    sound = talk.voices(rng, duration_s)
    _add_clicks(sound, plan.click_s)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with av.open(str(path), "w", format="mp4") as container:
            frames = _write(container, plan, stage, timing, rate, sound, (width_px, height_px), threads)
    except (av.error.FFmpegError, OSError) as error:
        with contextlib.suppress(OSError):
            path.unlink(missing_ok=True)
        raise EncodeError(
            f"cannot be written ({error})", where=str(path), remedy="Check the folder and its free space."
        ) from error
    truth = SceneTruth(
        path, name or getattr(scene, "__name__", "scene"), seed, width_px, height_px, timing.time_base,
        tuple(face.name for face in faces), (0, 1), tuple(frames), plan.click_s,
        tuple((t.speaker, t.start_s, t.end_s) for t in talk.turns),
    )  # fmt: skip
    truth.save(truth_path(path))
    return truth


def _style(seed: int, person: int) -> int:
    """Clothes: different people wear different ones, except where the seed puts both into the same (every fifth)."""
    return seed if seed % 5 == 4 and person < 2 else seed + 3 * person


def _write(
    container: av.container.OutputContainer,
    plan: Scene,
    stage: Stage,
    timing: Timing,
    rate: Fraction,
    sound: F32,
    size: tuple[int, int],
    threads: int,
) -> list[TruthFrame]:
    video = container.add_stream("libx264", rate=rate, options={"preset": "superfast", "crf": "20", "profile": "high"})
    video.width, video.height = size
    video.pix_fmt = "nv12"  # x264 takes it as it is; the stream is plain 4:2:0
    video.time_base = timing.time_base
    video.codec_context.time_base = timing.time_base
    video.codec_context.gop_size = max(1, round(rate * 2))
    video.codec_context.thread_count = threads
    for attribute, value in (("color_primaries", 1), ("color_trc", 1), ("colorspace", 1), ("color_range", 1)):
        setattr(video.codec_context, attribute, value)
    audio = container.add_stream("aac", rate=SAMPLE_RATE_HZ, layout="stereo", options={"b": "128000"})
    frames, sent = [], 0
    for index, pts in enumerate(timing.pts_ticks):
        now = timing.seconds(index)
        camera, look = plan.camera(now), plan.look(now)
        if any(0 <= now - click < 1.5 / float(rate) for click in plan.click_s):
            look = replace(look, flash=0.9)
        pixels, faces = stage.draw(plan.poses(now), camera, look, index, plan.panes(now))
        frame = av.VideoFrame.from_ndarray(pixels, format="nv12")
        frame.pts, frame.time_base = pts, timing.time_base
        container.mux(video.encode(frame))
        frames.append(TruthFrame(index, pts, plan.shot(now), tuple(faces)))
        upto = min(sound.shape[1], round((now + 0.5) * SAMPLE_RATE_HZ))
        sent = _send_sound(container, audio, sound, sent, upto)
    _send_sound(container, audio, sound, sent, sound.shape[1], last=True)
    container.mux(video.encode(None))
    container.mux(audio.encode(None))
    return frames


def _send_sound(
    container: av.container.OutputContainer, audio: av.AudioStream, sound: F32, sent: int, upto: int, last: bool = False
) -> int:
    """Encode whole AAC frames of 1024 samples up to a sample (and the rest at the end)."""
    while upto - sent >= 1024 or (last and upto > sent):
        part = np.ascontiguousarray(sound[:, sent : min(upto, sent + 1024)])
        frame = av.AudioFrame.from_ndarray(part, format="fltp", layout="stereo")
        frame.sample_rate, frame.pts, frame.time_base = SAMPLE_RATE_HZ, sent, Fraction(1, SAMPLE_RATE_HZ)
        container.mux(audio.encode(frame))
        sent += part.shape[1]
    return sent


def _add_clicks(sound: F32, clicks_s: Sequence[float]) -> None:
    """A soft click: 4 ms of a decaying 2 kHz tone."""
    time = np.arange(round(0.004 * SAMPLE_RATE_HZ)) / SAMPLE_RATE_HZ
    click = (0.6 * np.sin(2 * np.pi * 2000 * time) * np.exp(-time * 900)).astype(np.float32)
    for moment in clicks_s:
        start = round(moment * SAMPLE_RATE_HZ)
        part = sound[:, start : start + click.size]
        part += click[: part.shape[1]]
    np.clip(sound, -0.95, 0.95, out=sound)
