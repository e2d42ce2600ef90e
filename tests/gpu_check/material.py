"""What the steps work on: clips made on the spot and repeated, photographs, and pictures in slots."""

from __future__ import annotations

import os
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

SMALL: dict[str, Any] = {"framing.width_px": 480, "framing.height_px": 272, "encode.quality": 40, "job.overwrite": True}
"""Settings of jobs whose encoding costs next to nothing."""


def pattern(width: int, height: int, number: int) -> Any:
    """A moving picture, NV12 uint8 (height * 3 // 2, width)."""
    import numpy as np

    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    luma = 120 + 60 * np.sin((x + 4 * number) / 37) * np.cos((y - 3 * number) / 29) + 20 * ((x // 64 + y // 48) % 2)
    cy, cx = np.mgrid[0 : height // 2, 0 : width // 2].astype(np.float32)
    u, v = 128 + 40 * np.sin((cx + number) / 41), 128 + 40 * np.cos((cy + 2 * number) / 23)
    chroma = np.stack([u, v], axis=-1).reshape(height // 2, width)
    return np.clip(np.concatenate([luma, chroma]), 16, 235).astype(np.uint8)


def clip(
    folder: Path,
    name: str,
    *,
    frames: int = 60,
    width: int = 640,
    height: int = 360,
    codec: str = "libx264",
    pixels: str = "yuv420p",
    b_frames: int = 0,
    **options: str,
) -> Path:
    """Encode a clip with regular time stamps in 1/30000, once."""
    import av

    path = folder / name
    if path.exists():
        return path
    base = Fraction(1, 30000)
    quiet = {"libx265": {"x265-params": "log-level=none"}, "libx264": {"preset": "veryfast"}}.get(codec, {})
    partial = path.with_name(f"part-{name}")
    with av.open(str(partial), "w", format="matroska" if name.endswith(".mkv") else None) as out:
        stream = out.add_stream(codec, rate=30, options={**quiet, **options})
        stream.width, stream.height, stream.pix_fmt = width, height, pixels
        stream.time_base = stream.codec_context.time_base = base
        stream.codec_context.gop_size = 30
        stream.codec_context.max_b_frames = b_frames
        for number in range(frames):
            frame = av.VideoFrame.from_ndarray(pattern(width & ~1, height & ~1, number), format="nv12")
            frame = frame.reformat(width=width, height=height, format=pixels)
            frame.pts, frame.time_base = 1001 * number, base
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    partial.rename(path)
    return path


def looped(path: Path, target: Path, times: int) -> Path:
    """The packets of a clip so many times in a row."""
    import av

    if target.exists():
        return target
    with av.open(str(path)) as given, av.open(str(target), "w") as out:
        stream = given.streams.video[0]
        copy = out.add_stream_from_template(stream) if hasattr(out, "add_stream_from_template") else None
        copy = copy or out.add_stream(template=stream)
        packets = [p for p in given.demux(stream) if p.size]
        length = max(p.pts + p.duration for p in packets) - min(p.pts for p in packets)
        for turn in range(times):
            given.seek(0, stream=stream)
            for packet in given.demux(stream):
                if packet.size:
                    packet.pts += turn * length
                    packet.dts += turn * length
                    packet.stream = copy
                    out.mux(packet)
    return target


def resized(
    folder: Path, name: str, codec: str, sizes: Sequence[tuple[int, int]], *, frames: int = 30, **options: str
) -> Path:
    """One stream whose pictures change their size, so many frames of each; without B-frames.

    Args:
        folder: where it goes.
        name: of the file: .ts for H.264 and HEVC, whose parameter sets then lie in the stream, .mkv for VP9.
        codec: the encoder.
        sizes: width and height, even.
        frames: of each size.
        options: of the encoder.
    """
    import av

    path, base = folder / name, Fraction(1, 90000)
    quiet = {"libx265": {"x265-params": "log-level=none"}, "libx264": {"preset": "veryfast"}}.get(codec, {})
    with av.open(str(path), "w", format="matroska" if name.endswith(".mkv") else "mpegts") as out:
        stream = out.add_stream(codec, rate=30, options={**quiet, **options})
        contexts = [stream.codec_context, *(av.CodecContext.create(codec, "w") for _ in sizes[1:])]
        stream.time_base = base
        for turn, ((width, height), context) in enumerate(zip(sizes, contexts, strict=True)):
            context.width, context.height, context.pix_fmt = width, height, "yuv420p"
            context.time_base, context.framerate = base, Fraction(30)
            context.gop_size, context.max_b_frames = 15, 0
            context.options = {**quiet, **options}
            for number in range(frames + 1):
                frame = None
                if number < frames:
                    frame = av.VideoFrame.from_ndarray(pattern(width, height, number), format="nv12")
                    frame = frame.reformat(format="yuv420p")
                    frame.pts, frame.time_base = 3000 * (frames * turn + number), base
                for packet in context.encode(frame):
                    packet.stream = stream
                    out.mux(packet)
    return path


def cropped(path: Path, target: Path, codec: str, left: int, top: int) -> Path:
    """A transport stream of H.264 or HEVC that shows less at the left and the top, and 2 and 4 less elsewhere."""
    import av
    from av.bitstream import BitStreamFilterContext

    with av.open(str(path)) as given, av.open(str(target), "w", format="mpegts") as out:
        stream = given.streams.video[0]
        copy = out.add_stream_from_template(stream)
        window = f"crop_left={left}:crop_top={top}:crop_right=2:crop_bottom=4"
        change = BitStreamFilterContext(f"{codec}_metadata={window}", stream)
        for packet in given.demux(stream):
            if packet.size:
                for part in change.filter(packet):
                    part.stream = copy
                    out.mux(part)
    return target


def people(work: Path, frames: int) -> tuple[Path, int]:
    """The clip that ``--clip`` names, else a pattern, repeated to about so many frames; and how many it has then."""
    import av

    given = os.environ.get("GPU_CHECK_CLIP", "")
    path = Path(given) if given else clip(work, "hd-120.mp4", frames=120, width=1920, height=1080)
    with av.open(str(path)) as container:
        each = sum(1 for packet in container.demux(video=0) if packet.size)
    times = max(1, round(frames / each))
    return looped(path, work / f"people-{times}.mp4", times), each * times


def links(path: Path, folder: Path, count: int) -> list[Path]:
    """The same file under many names."""
    folder.mkdir(parents=True, exist_ok=True)
    made = [folder / f"{path.stem}-{number:04d}{path.suffix}" for number in range(count)]
    for one in made:
        if not one.exists():
            os.link(path, one)
    return made


def fresh(folder: Path) -> Path:
    """An empty folder of this name."""
    import shutil

    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


def photographs() -> list[Any]:
    """RGB pictures with faces: photographs and frames of clips from the media folder, else the demo's portraits."""
    import cv2

    media = Path(os.environ.get("GPU_CHECK_MEDIA", ""))
    pictures = [
        cv2.cvtColor(cv2.imread(str(p)), cv2.COLOR_BGR2RGB) for p in sorted(media.rglob("*.jpg")) if media.is_dir()
    ]
    if not pictures:
        try:
            import skimage.data

            pictures = [skimage.data.astronaut()]
        except ImportError as error:
            raise RuntimeError("no photographs: pass --media with a folder of .jpg files") from error
    return pictures


def as_slot(rgb: Any, width: int, height: int, *, wide: bool = False) -> tuple[Any, Any]:
    """An RGB picture scaled into a slot of this size, and its StreamInfo (BT.709, limited range)."""
    import cv2
    import numpy as np

    from dualface_ray.frames import Colour, PixelLayout, StreamInfo

    scale = min(width / rgb.shape[1], height / rgb.shape[0])
    small = cv2.resize(rgb, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    canvas = np.full((height, width, 3), 90, np.uint8)
    canvas[: small.shape[0], : small.shape[1]] = small
    r, g, b = (canvas[..., k].astype(np.float32) for k in range(3))
    y = 0.2126 * r + 0.7152 * g + 0.0722 * b
    u, v = (b - y) / 1.8556 * 224 / 255 + 128, (r - y) / 1.5748 * 224 / 255 + 128
    luma = 16 + y * 219 / 255
    chroma = np.stack([cv2.resize(p, (width // 2, height // 2), interpolation=cv2.INTER_AREA) for p in (u, v)], -1)
    whole = np.concatenate([luma, chroma.reshape(height // 2, width)])
    layout = PixelLayout.P010 if wide else PixelLayout.NV12
    info = StreamInfo("s", width, height, Fraction(1, 30000), Fraction(30), layout=layout, colour=Colour(matrix=1))
    if wide:
        return np.ascontiguousarray(np.rint(whole * 4).clip(0, 1023).astype(np.uint16) << 6), info
    return np.ascontiguousarray(np.rint(whole).clip(0, 255).astype(np.uint8)), info


def upload(slot: Any) -> Any:
    """The same slot on the card."""
    import cupy

    return cupy.asarray(slot)
