# ruff: noqa: B905, PERF203
"""NVDEC against the CPU decoder: codecs, parts of videos, what the card refuses, damage."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from gpu_check.material import clip, cropped, resized
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
def decode_cropped(work: Path) -> None:
    """Cropping at the left and the top, which NVDEC itself does not apply: equal to the CPU's pictures."""
    for codec, encoder in (("h264", "libx264"), ("hevc", "libx265")):
        whole = clip(work, f"{codec}-whole.ts", frames=30, width=640, height=368, codec=encoder, b_frames=2)
        for left, top in ((64, 16), (2, 6)):
            path = cropped(whole, work / f"{codec}-cropped-{left}.ts", codec, left, top)
            compare_decoders(path, exact=True)


def compare_sizes(path: Path, first: int) -> None:
    """A stream of two sizes: as on the CPU, the pictures of the first size to the byte, the scaled ones nearly."""
    import numpy as np

    from dualface_ray.backends.cpu.decode import CpuDecodeSession
    from dualface_ray.backends.cuda.decode import CudaDecodeSession
    from dualface_ray.settings import Settings

    settings = Settings.model_validate({"input": {"on_damage": "stop"}})
    expected = decode_all(CpuDecodeSession(path, "s", settings, 2))
    found = decode_all(CudaDecodeSession(path, "s", settings), 7)
    pairs = list(zip(found[1], expected[1]))
    same = sum(bool(np.array_equal(a, b)) for a, b in pairs[:first])
    nearest = min(psnr(a, b) for a, b in pairs[first:])
    say(f"{path.name}: {len(found[0])} frames, {same} of {first} equal to the byte, the others {nearest:.1f} dB")
    say(f"counters {found[3]}, the CPU's {expected[3]}")
    need([f.pts_ticks for f in found[0]] == [f.pts_ticks for f in expected[0]], "time stamps equal the CPU lane's")
    need(found[3].get("resolution_changes") == expected[3].get("resolution_changes") == 1, "one change is counted")
    need(same == first, "pictures before the change")
    need(nearest > 30, "pictures after the change")


def changing(work: Path, sizes: tuple[tuple[int, int], tuple[int, int]]) -> None:
    """H.264, HEVC and VP9 that change from one size to another at a key frame."""
    for codec, suffix, options in (
        ("libx264", "ts", {}),
        ("libx265", "ts", {}),
        ("libvpx-vp9", "mkv", {"deadline": "realtime", "cpu-used": "8"}),
    ):
        name = f"{codec}-{sizes[0][0]}-{sizes[1][0]}.{suffix}"
        compare_sizes(resized(work, name, codec, sizes, frames=20, **options), 20)


@step()
def decode_growing(work: Path) -> None:
    """NVDEC's library refuses to grow; a new decoder takes over."""
    changing(work, ((640, 360), (960, 544)))


@step()
def decode_shrinking(work: Path) -> None:
    """NVDEC's library scales to the old size by itself, uncounted; a new decoder takes over."""
    changing(work, ((960, 544), (640, 360)))


@step()
def decode_refused(work: Path) -> None:
    """Kinds of H.264 that no NVDEC of these cards takes: a line, or the CPU where it may."""
    from dualface_ray.backends import load_backend
    from dualface_ray.backends.cuda.nvdec import capabilities
    from dualface_ray.errors import UnsupportedMediaError
    from dualface_ray.settings import Settings

    backend, allowed = load_backend("cuda"), Settings.model_validate({"lane": {"allow_cpu_decode": True}})
    for pixels in ("yuv422p", "yuv444p", "yuv420p10le"):
        if pixels == "yuv420p10le" and capabilities("h264", 10).get("supported"):
            say("H.264 with 10 bits is decoded by this card")
            continue
        path = clip(work, f"refused-{pixels}.mp4", frames=20, pixels=pixels)
        try:
            decode_all(backend.open_decoder(path, "s", Settings(), 2))
        except UnsupportedMediaError as error:
            say("refused:", error)
        else:
            raise AssertionError(f"{pixels} was accepted")
        frames, _, _, counters = decode_all(backend.open_decoder(path, "s", allowed, 2))
        need(len(frames) == 20 and counters == {"frames_decoded_on_cpu": 20}, f"{pixels} on the CPU: {counters}")
    path = clip(work, "taken.mp4", frames=20)
    frames, _, _, counters = decode_all(backend.open_decoder(path, "s", allowed, 2))
    need(len(frames) == 20 and not counters, f"what NVDEC takes stays there: {counters}")


@step()
def decode_past_support(work: Path) -> None:
    """What the library itself says to H.264 with 10 bits, past our own question: by when, and as which error."""
    from dualface_ray.backends.cuda import decode
    from dualface_ray.backends.cuda.nvdec import capabilities
    from dualface_ray.errors import InputError, UnsupportedMediaError
    from dualface_ray.settings import Settings

    if capabilities("h264", 10).get("supported"):
        say("H.264 with 10 bits is decoded by this card")
        return
    decode.require_support = lambda *arguments: None
    path = clip(work, "refused-yuv420p10le.mp4", frames=20, pixels="yuv420p10le")
    try:
        session = decode.open_decoder(path, "s", Settings.model_validate({"lane": {"allow_cpu_decode": True}}))
    except InputError as error:
        say(f"{type(error).__name__}: {error}")
        need(isinstance(error, UnsupportedMediaError), "known as what the card does not do, so the CPU takes over")
    else:
        session.close()
        raise AssertionError("a picture came, or nothing was said, where the card decodes none")


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
