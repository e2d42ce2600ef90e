# ruff: noqa: B905
"""Packets: two streams through the pool as a lane does it, and NVENC where there is one."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

from gpu_check.material import clip
from gpu_check.steps import MIB, need, say, step

TILES = ((0, 0, 320, 360), 0, 0, 320, 360), ((200, 20, 440, 290), 320, 0, 320, 360)
WHOLE = (((0, 0, 640, 360), 0, 0, 640, 360),)


def through(path: Path, settings: Any, tiles: Any, colour: Any = None, **encoding: Any) -> tuple[Any, bytes, Any]:
    """Decode, compose and encode two streams to packets through the pool, as a lane does.

    Args:
        path: a clip of 640x360.
        settings: of the lane.
        tiles: of every picture.
        colour: of the stream, where the file does not say it.
        encoding: what else the specification holds.

    Returns:
        The specification, the encoder's configuration, and its packets.
    """
    import cupy

    from dualface_ray.backends import load_backend
    from dualface_ray.frames import FramePool, PoolReader
    from dualface_ray.framing import CanvasPlan, FramePlan, TilePlan
    from dualface_ray.media import EncodeSpec

    backend = load_backend("cuda")
    pool = FramePool(backend.create_arena(64 * MIB, 64))
    reader = PoolReader(backend.attach_arena(pool.arena.handle))
    session = backend.open_decoder(path, "s", settings, 1)
    info = session.info if colour is None else replace(session.info, colour=colour)
    ring = pool.open_stream("s", 0, info, 48)
    compositor = backend.open_compositor(settings)
    spec = EncodeSpec(640, 360, info.time_base, info.average_rate, gop_frames=30, **encoding)
    encoder = backend.open_encoder(spec)
    say("encoder:", encoder.name)
    canvas_plan = CanvasPlan(640, 360, tuple(TilePlan(*tile) for tile in tiles))
    packets, position, end = [], 0, False
    while not end:
        batch = session.decode(pool.begin_many(ring, position, 16))
        tickets = pool.commit_many(ring, position, batch.frames)
        if len(batch.frames) < 16:
            pool.abandon(ring)
        with reader.read_many([(ticket, ring, info) for ticket in tickets]) as slots:
            plans = [FramePlan(t.frame_index, t.pts_ticks, (canvas_plan,)) for t in tickets]
            for (canvas,), plan in zip(compositor.compose(info, slots, plans), plans):
                packets += encoder.encode(canvas, plan.pts_ticks)
        position, end = position + len(batch.frames), batch.end
    packets += encoder.finish()
    head = encoder.extradata
    encoder.close()
    compositor.close()
    session.close()
    reader.close()
    pool.close()
    cupy.cuda.runtime.deviceSynchronize()
    need(len(packets) == 60 and packets[0].key, f"{len(packets)} packets")
    need([p.pts_ticks for p in packets] == [1001 * n for n in range(60)], "time stamps")
    return spec, head, packets


@step(120)
def encode(work: Path) -> None:
    """Decode, compose and encode two streams to packets through the pool, as a lane does."""
    import av

    from dualface_ray.backends.cuda.encode import has_nvenc
    from dualface_ray.settings import Settings

    say("NVENC for h264:", has_nvenc("h264"))
    _, head, packets = through(clip(work, "plain.mp4"), Settings(), TILES)
    codec = av.CodecContext.create("h264", "r")
    pictures = [f for p in packets for f in codec.decode(av.Packet(head * p.key + p.data))]
    pictures += codec.decode(None)
    need(len(pictures) == 60, f"{len(pictures)} pictures decode again")


@step(120)
def encode_ten_bits(work: Path) -> None:
    """HDR that is kept: ten bits from NVDEC through the pool, composition and encoder into a file that says so."""
    import av
    import numpy as np

    from dualface_ray.backends.cuda.encode import has_nvenc
    from dualface_ray.backends.pyav import SegmentWriter
    from dualface_ray.frames import Colour
    from dualface_ray.settings import Settings

    say("NVENC for hevc with 10 bits:", has_nvenc("hevc", 10))
    path = clip(work, "deep.mp4", codec="libx265", pixels="yuv420p10le")
    keep = Settings.model_validate({"encode": {"hdr": "keep", "codec": "hevc"}})
    colours = {"colour_matrix": 9, "colour_primaries": 9, "colour_transfer": 18}
    hlg = Colour(matrix=9, primaries=9, transfer=18)
    spec, head, packets = through(path, keep, WHOLE, hlg, codec="hevc", bits=10, quality=8, **colours)
    target = work / "deep.segment.mp4"
    target.unlink(missing_ok=True)
    writer = SegmentWriter(target, spec, head)
    for packet in packets:
        writer.write(packet)
    writer.finish()
    with av.open(str(path)) as given, av.open(str(target)) as made:
        told = made.streams.video[0].codec_context
        need((told.profile, told.pix_fmt) == ("Main 10", "yuv420p10le"), f"{told.profile} {told.pix_fmt}")
        said = (told.colorspace, told.color_primaries, told.color_trc, told.color_range)
        need(said == (9, 9, 18, 1), f"colours {said}")
        worst = 0.0
        for pair in zip(given.decode(video=0), made.decode(video=0)):
            for plane in range(3):
                one, other = (np.frombuffer(p.planes[plane], "<u2").reshape(p.planes[plane].height, -1) for p in pair)
                width = pair[0].planes[plane].width
                apart = np.abs(one[:, :width].astype(int) - other[:, :width])
                worst = max(worst, float(apart.mean()))
    say(f"largest mean difference to the source: {worst:.2f} of 1023")
    need(worst < 6, "pictures differ from the source")


@step()
def nvenc(work: Path) -> None:
    """With NVENC: 30 pictures. Without: a typed error, not a crash."""
    import cupy

    from dualface_ray.backends.cuda.encode import has_nvenc
    from dualface_ray.backends.cuda.gate import SessionGate, gate_folder
    from dualface_ray.backends.cuda.launch import new_stream
    from dualface_ray.backends.cuda.nvenc import NvencSession
    from dualface_ray.backends.cuda.vendor import context_handle, device, video_codec
    from dualface_ray.errors import EncodeError
    from dualface_ray.media import EncodeSpec

    spec = EncodeSpec(640, 360, Fraction(1, 30), Fraction(30))
    try:
        gate = SessionGate(0, gate_folder(device().uuid))
        session = NvencSession(spec, gate, video_codec(), new_stream(), context_handle())
    except EncodeError as error:
        say("refused:", error)
        need(not has_nvenc("h264"), "the name table says so too")
        return
    canvas = cupy.full((540, 640), 90, "u1")
    packets = [p for n in range(30) for p in session.encode(canvas, n)] + session.finish()
    session.close()
    need(len(packets) == 30, f"{len(packets)} packets")
