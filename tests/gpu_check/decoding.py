# ruff: noqa: B905, PERF203
"""NVDEC against the CPU decoder: codecs, parts of videos, what the card refuses, damage."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from gpu_check.material import clip
from gpu_check.steps import need, psnr, say, step


def decode_all(session: Any, batch: int = 16) -> tuple[list[Any], list[Any], Any, dict[str, int]]:
    """Frames, slots on the host, signatures and counters of a session; closes it."""
    import cupy
    import numpy as np

    info = session.info
    kind = np.uint8 if info.layout.bytes_per_sample == 1 else np.uint16
    on_device = type(session).__name__ != "CpuDecodeSession"
    frames, slots, signatures = [], [], []
    shape = (info.slot_height_px * 3 // 2, info.slot_width_px)
    try:
        while True:
            fresh = [cupy.zeros(shape, kind) if on_device else np.zeros(shape, kind) for _ in range(batch)]
            if on_device:
                cupy.cuda.runtime.deviceSynchronize()
            part = session.decode(fresh)
            frames += part.frames
            slots += [cupy.asnumpy(s) if on_device else s for s in fresh[: len(part.frames)]]
            signatures.append(part.signatures)
            if part.end:
                return frames, slots, np.concatenate(signatures), session.counters()
    finally:
        session.close()


@step()
def decoder_capabilities(work: Path) -> None:
    from dualface_ray.backends.cuda.nvdec import capabilities

    for codec in ("h264", "hevc", "vp9", "vp8", "av1", "mpeg2video"):
        for bits in (8, 10):
            try:
                caps = capabilities(codec, bits)
                say(codec, bits, "yes" if caps.get("supported") else "no", caps)
            except Exception as error:
                say(codec, bits, type(error).__name__, error)
    need(capabilities("h264", 8).get("supported"), "H.264 in 8 bits")


def compare_decoders(path: Path, *, exact: bool) -> None:
    import numpy as np

    from dualface_ray.backends.cpu.decode import CpuDecodeSession
    from dualface_ray.backends.cuda.decode import CudaDecodeSession
    from dualface_ray.frames import PixelLayout
    from dualface_ray.settings import Settings

    settings = Settings()
    expected = decode_all(CpuDecodeSession(path, "s", settings, 2))
    session = CudaDecodeSession(path, "s", settings)
    layout = session.info.layout
    found = decode_all(session, 7)
    say(f"{path.name}: {len(found[0])} frames, {layout.value}, counters {found[3]}")
    need([f.pts_ticks for f in found[0]] == [f.pts_ticks for f in expected[0]], "time stamps equal the CPU lane's")
    need([f.flags for f in found[0]] == [f.flags for f in expected[0]], "flags equal the CPU lane's")
    if layout is PixelLayout.P010:
        worst = min(psnr(a >> 8, b) for a, b in zip(found[1], expected[1]))
        say(f"against the CPU lane's 8 bits: {worst:.1f} dB")
        need(worst > 45, "pixels")
        return
    same = sum(bool(np.array_equal(a, b)) for a, b in zip(found[1], expected[1]))
    say(f"{same} of {len(found[1])} frames equal to the byte")
    need(same == len(found[1]) if exact else min(map(psnr, found[1], expected[1])) > 45, "pixels")
    need(not exact or np.array_equal(found[2], expected[2]), "signatures")


@step()
def decode_h264(work: Path) -> None:
    compare_decoders(clip(work, "plain.mp4"), exact=True)
    compare_decoders(clip(work, "b.mp4", b_frames=3, frames=95), exact=True)
    compare_decoders(clip(work, "b.mkv", b_frames=2), exact=True)


@step()
def decode_odd_size(work: Path) -> None:
    compare_decoders(clip(work, "odd.mkv", width=321, height=181, codec="libvpx-vp9", deadline="realtime"), exact=True)


@step()
def decode_hevc(work: Path) -> None:
    compare_decoders(clip(work, "hevc.mp4", codec="libx265", b_frames=3), exact=True)
    compare_decoders(clip(work, "hevc10.mp4", codec="libx265", pixels="yuv420p10le"), exact=False)


@step()
def decode_vp9(work: Path) -> None:
    compare_decoders(clip(work, "vp9.mkv", codec="libvpx-vp9", frames=40, deadline="realtime"), exact=True)


@step(120.0)
def decode_ranges(work: Path) -> None:
    """Parts of videos from every key frame on, open groups too: the frames that the whole gives."""
    import numpy as np

    from dualface_ray.backends import load_backend
    from dualface_ray.backends.pyav import probe, survey_file
    from dualface_ray.media import FrameRange
    from dualface_ray.settings import Settings

    backend, settings = load_backend("cuda"), Settings()
    x264, x265 = {"x264-params": "open-gop=1:b-pyramid=normal"}, {"x265-params": "log-level=none:open-gop=1:keyint=30"}
    for path in (
        clip(work, "range.mp4", b_frames=3, frames=120),
        clip(work, "range-open.mp4", b_frames=3, frames=120, **x264),
        clip(work, "range-open.mkv", b_frames=3, frames=120, **x264),
        clip(work, "range-hevc.mp4", codec="libx265", b_frames=3, frames=120, **x265),
        clip(work, "range-hevc.mkv", codec="libx265", b_frames=3, frames=120, **x265),
        clip(work, "range-vp9.mkv", codec="libvpx-vp9", frames=90, deadline="realtime"),
    ):
        whole = decode_all(backend.open_decoder(path, "s", settings, 1))
        survey = survey_file(probe(path, settings), settings)
        need(not survey.refusal and len(survey.key_frames) > 1, f"{path.name} may be cut {survey.refusal}")
        for first, pts in zip(survey.key_frames, survey.key_pts_ticks):
            for count in (1, len(whole[0]) - first):
                frames, slots, _, counters = decode_all(
                    backend.open_decoder(path, "s", settings, 1, FrameRange(first, pts, count))
                )
                stamps = [f.pts_ticks for f in whole[0][first : first + count]]
                need([f.pts_ticks for f in frames] == stamps, f"{path.name}, frame {first}: time stamps")
                same = sum(bool(np.array_equal(a, b)) for a, b in zip(slots, whole[1][first : first + count]))
                need(same == count, f"{path.name}, frame {first}: {same} of {count} frames equal to the byte")
                need(not counters, f"{path.name}, frame {first}: {counters}")
        keys = decode_all(backend.open_key_frames(path, "s", settings, 1, survey.key_pts_ticks))
        need([f.pts_ticks for f in keys[0]] == list(survey.key_pts_ticks), f"{path.name}: key frames alone")
        say(f"{path.name}: {len(survey.key_frames)} places to cut at, exact from each")


@step()
def decode_av1(work: Path) -> None:
    """Where the card cannot (Hopper), a clear refusal and the CPU's way; elsewhere the pixels."""
    from dualface_ray.backends import load_backend
    from dualface_ray.backends.cuda.nvdec import capabilities
    from dualface_ray.errors import UnsupportedMediaError
    from dualface_ray.settings import Settings

    path = clip(work, "av1.mkv", codec="libsvtav1", frames=40, preset="10")
    if capabilities("av1", 8).get("supported"):
        compare_decoders(path, exact=True)
        return
    backend = load_backend("cuda")
    try:
        backend.open_decoder(path, "s", Settings(), 1)
    except UnsupportedMediaError as error:
        say("refused:", error)
    else:
        raise AssertionError("AV1 was accepted by a card that does not decode it")
    allowed = Settings.model_validate({"lane": {"allow_cpu_decode": True}})
    frames, _, _, counters = decode_all(backend.open_decoder(path, "s", allowed, 2))
    say(f"on the CPU: {len(frames)} frames, {counters}")
    need(len(frames) == 40 and counters["frames_decoded_on_cpu"] == 40, "decoded on the CPU and said so")


@step()
def decode_damage(work: Path) -> None:
    from dualface_ray.backends.cuda.decode import CudaDecodeSession
    from dualface_ray.settings import Settings

    whole = clip(work, "b.mp4", b_frames=3, frames=95)
    data = bytearray(whole.read_bytes())
    for name, change in {
        "noise": lambda d: d.__setitem__(slice(len(d) // 3, len(d) // 3 + 400), os.urandom(400)),
        "cut": lambda d: d.__delitem__(slice(len(d) * 2 // 3, len(d))),
    }.items():
        broken = bytearray(clip(work, "b.mkv", b_frames=2).read_bytes() if name == "cut" else data)
        change(broken)
        path = work / f"broken-{name}.{'mkv' if name == 'cut' else 'mp4'}"
        path.write_bytes(broken)
        frames, _, _, counters = decode_all(CudaDecodeSession(path, "s", Settings()))
        stamps = [f.pts_ticks for f in frames]
        say(f"{name}: {len(frames)} frames, {counters}")
        need(stamps == sorted(set(stamps)), "time stamps rise")
        need(len(frames) > 10, "what is left is shown")
