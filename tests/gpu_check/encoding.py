# ruff: noqa: B905
"""Packets: two streams through the pool as a lane does it, and NVENC where there is one."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

from gpu_check.material import clip
from gpu_check.steps import MIB, need, say, step


@step(120)
def encode(work: Path) -> None:
    """Decode, compose and encode two streams to packets through the pool, as a lane does."""
    import av
    import cupy

    from dualface_ray.backends import load_backend
    from dualface_ray.backends.cuda.encode import has_nvenc
    from dualface_ray.frames import FramePool, PoolReader
    from dualface_ray.framing import CanvasPlan, FramePlan, TilePlan
    from dualface_ray.media import EncodeSpec
    from dualface_ray.settings import Settings

    backend, settings = load_backend("cuda"), Settings()
    say("NVENC for h264:", has_nvenc("h264"))
    path = clip(work, "plain.mp4")
    pool = FramePool(backend.create_arena(64 * MIB, 64))
    reader = PoolReader(backend.attach_arena(pool.arena.handle))
    session = backend.open_decoder(path, "s", settings, 1)
    info = session.info
    ring = pool.open_stream("s", 0, info, 48)
    compositor = backend.open_compositor(settings)
    spec = EncodeSpec(640, 360, info.time_base, info.average_rate, gop_frames=30)
    encoder = backend.open_encoder(spec)
    say("encoder:", type(encoder).__name__)
    tiles = (TilePlan((0, 0, 320, 360), 0, 0, 320, 360), TilePlan((200, 20, 440, 290), 320, 0, 320, 360))
    packets, position, end = [], 0, False
    while not end:
        batch = session.decode(pool.begin_many(ring, position, 16))
        tickets = pool.commit_many(ring, position, batch.frames)
        if len(batch.frames) < 16:
            pool.abandon(ring)
        with reader.read_many([(ticket, ring, info) for ticket in tickets]) as slots:
            plans = [FramePlan(t.frame_index, t.pts_ticks, (CanvasPlan(640, 360, tiles),)) for t in tickets]
            for (canvas,), plan in zip(compositor.compose(info, slots, plans), plans):
                packets += encoder.encode(canvas, plan.pts_ticks)
        position, end = position + len(batch.frames), batch.end
    packets += encoder.finish()
    head = encoder.extradata
    encoder.close()
    need(len(packets) == 60 and packets[0].key, f"{len(packets)} packets")
    need([p.pts_ticks for p in packets] == [1001 * n for n in range(60)], "time stamps")
    codec = av.CodecContext.create("h264", "r")
    pictures = [f for p in packets for f in codec.decode(av.Packet(head * p.key + p.data))]
    pictures += codec.decode(None)
    need(len(pictures) == 60, f"{len(pictures)} pictures decode again")
    compositor.close()
    session.close()
    reader.close()
    pool.close()
    cupy.cuda.runtime.deviceSynchronize()


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
