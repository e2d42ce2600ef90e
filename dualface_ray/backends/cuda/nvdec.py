"""The thin edge to PyNvVideoCodec's decoder: codec names, capabilities, opening and closing under one lock, packets.

Facts this module rests on (the library's documentation and its behaviour with 2.2.4):

* Several decoders may run in threads of one process, but opening or closing them at the same time may crash it; one
  process-wide lock serialises both. A driver error inside ``CreateDecoder`` may end the process: check with CuPy first.
* ``PacketData`` takes the address of a packet's bytes; an empty one drains the decoder.
* With a stream of ours the decoder queues its copies on that stream and does not wait, so our copies on the same
  stream follow in order and its next ``Decode`` may be queued behind them.
"""

from __future__ import annotations

import ctypes
import threading
from dataclasses import dataclass, replace
from typing import Any

from dualface_ray.backends.cuda.vendor import context_handle, first_line, ran_out, video_codec
from dualface_ray.errors import DamagedInputError, DeviceError, UnsupportedMediaError, VramBudgetError

LIFE_LOCK = threading.Lock()
"""Held while a decoder or encoder of this process is opened or closed."""

_CODECS = {
    "h264": "H264",
    "hevc": "HEVC",
    "av1": "AV1",
    "vp8": "VP8",
    "vp9": "VP9",
    "mpeg1video": "MPEG1",
    "mpeg2video": "MPEG2",
}
_REMEDY = "Set lane.allow_cpu_decode=true to decode it on the CPU, or convert it to H.264 of 8 bits (yuv420p)."

_DEVICE_FAULTS = ("illegal", "launch", "ecc", "invalid context", "initialized", "system not ready", "unknown error")
"""Words in an error's text that speak of the device rather than of the video."""

_caps: dict[tuple[str, int], dict[str, int]] = {}


@dataclass(frozen=True, slots=True)
class Surface:
    """One decoded picture in the decoder's memory, valid until the next ``Decode``."""

    luma: int
    chroma: int
    pitch_bytes: int
    width_px: int
    height_px: int
    stamp: int

    def part(self, left_px: int, top_px: int, sample_bytes: int) -> Surface:
        """The same picture without so many columns and rows, both even, at its left and its top."""
        return replace(
            self,
            luma=self.luma + top_px * self.pitch_bytes + left_px * sample_bytes,
            chroma=self.chroma + top_px // 2 * self.pitch_bytes + left_px * sample_bytes,
            width_px=self.width_px - left_px,
            height_px=self.height_px - top_px,
        )


def capabilities(codec: str, bits: int) -> dict[str, int]:
    """What the card can decode of this codec at this depth (4:2:0), by the library's names; cached.

    Raises:
        UnsupportedMediaError: the codec is not one NVDEC knows at all.
        DeviceError: the query itself failed.
    """
    if codec not in _CODECS:
        raise UnsupportedMediaError(f"the codec {codec} cannot be decoded on a GPU", where="nvdec", remedy=_REMEDY)
    key = (codec, bits)
    with LIFE_LOCK:  # the query makes a context of its own for a moment
        if key not in _caps:
            nvc = video_codec()
            context_handle()
            try:
                found = nvc.GetDecoderCaps(
                    gpuid=0,
                    codec=getattr(nvc.cudaVideoCodec, _CODECS[codec]),
                    chromaformat=getattr(nvc.cudaVideoChromaFormat, "420"),
                    bitdepth=bits,
                )
            except Exception as error:
                if ran_out(error):
                    raise _no_memory("nvdec", first_line(error)) from error
                raise DeviceError(f"NVDEC cannot be asked ({first_line(error)})", where="nvdec") from error
            _caps[key] = {name: int(value) for name, value in dict(found).items()}
    return _caps[key]


def require_support(where: str, codec: str, bits: int, width_px: int, height_px: int) -> None:
    """Check a video against the card.

    Raises:
        UnsupportedMediaError: codec, depth or size is beyond it; with the limits.
    """
    caps = capabilities(codec, bits)
    if not caps.get("supported"):
        raise UnsupportedMediaError(f"this card does not decode {codec} with {bits} bits", where=where, remedy=_REMEDY)
    high_w, high_h = caps.get("width_max", width_px), caps.get("height_max", height_px)
    low_w, low_h = caps.get("width_min", 0), caps.get("height_min", 0)
    blocks = -(-width_px // 16) * -(-height_px // 16)
    if not (low_w <= width_px <= high_w and low_h <= height_px <= high_h) or blocks > caps.get("mb_num_max", blocks):
        raise UnsupportedMediaError(
            f"this card decodes {codec} from {low_w}x{low_h} to {high_w}x{high_h}, not {width_px}x{height_px}",
            where=where,
            remedy=_REMEDY,
        )


def _no_memory(where: str, text: str) -> VramBudgetError:
    return VramBudgetError(f"NVDEC found no memory ({text})", where=where, remedy="Lower lane.streams.")


class Decoder:
    """One NVDEC session on one stream; used by one thread at a time.

    Raises:
        UnsupportedMediaError: the card refuses the configuration.
        VramBudgetError: device memory is used up.
        DeviceError: anything else.
    """

    def __init__(self, where: str, codec: str, stream_handle: int) -> None:
        self._where = where
        context = context_handle()
        nvc = video_codec()
        self._unsupported: type[BaseException] = nvc.PyNvVCExceptionUnsupported
        self._packet: Any = nvc.PacketData()
        with LIFE_LOCK:
            try:
                self._decoder: Any = nvc.CreateDecoder(
                    gpuid=0,
                    codec=getattr(nvc.cudaVideoCodec, _CODECS[codec]),
                    cudacontext=context,
                    cudastream=stream_handle,
                    usedevicememory=True,
                )
            except Exception as error:
                raise self._translated(error) from error
        self._opened = False

    def decode(self, data: bytes, stamp: int, *, key: bool) -> list[Surface]:
        """Feed one packet.

        Raises:
            DamagedInputError: the decoder refuses the packet; the next ones may do.
            UnsupportedMediaError, VramBudgetError: as on opening (the real session is made with the first packets).
        """
        packet = self._packet
        packet.bsl_data = ctypes.cast(ctypes.c_char_p(data), ctypes.c_void_p).value or 0
        packet.bsl = len(data)
        packet.pts = packet.dts = stamp
        packet.key = int(key)
        return self._run(packet)

    def drain(self) -> list[Surface]:
        """The pictures still inside; no ``decode`` may follow."""
        return self._run(video_codec().PacketData())

    def close(self) -> None:
        """Free the session; harmless when called twice."""
        decoder, self._decoder = self._decoder, None
        if decoder is not None:
            context_handle()
            with LIFE_LOCK:
                del decoder

    def _run(self, packet: Any) -> list[Surface]:
        # The parser opens the hardware's session when it has read the first sequence header, for H.264 and HEVC at
        # the end of that picture: when the second packet comes, or a later one, or none. A surface proves that it has.
        if self._opened:
            return self._decode(packet)
        with LIFE_LOCK:
            surfaces = self._decode(packet)
        self._opened = bool(surfaces)
        return surfaces

    def _decode(self, packet: Any) -> list[Surface]:
        try:
            frames = self._decoder.Decode(packet)
            return [self._surface(frame) for frame in frames]
        except Exception as error:
            raise self._translated(error) from error

    def _surface(self, frame: Any) -> Surface:
        luma_view = frame.cuda()[0]
        height, width = (int(n) for n in tuple(luma_view.shape)[:2])
        luma, chroma = int(frame.GetPtrToPlane(0)), int(frame.GetPtrToPlane(1))
        pitch, rest = divmod(chroma - luma, height)
        if rest or pitch < width:
            raise DeviceError(f"a surface with planes {chroma - luma} bytes apart for {height} rows", where="nvdec")
        return Surface(luma, chroma, pitch, width, height, int(frame.getPTS()))

    def _translated(self, error: Exception) -> Exception:
        if isinstance(error, (DeviceError, UnsupportedMediaError)):
            return error
        text = first_line(error)
        if ran_out(error):
            return _no_memory(self._where, text)
        lowered = text.lower()
        if isinstance(error, self._unsupported) or "not supported" in lowered or "801" in lowered:
            return UnsupportedMediaError(f"NVDEC does not take it ({text})", where=self._where, remedy=_REMEDY)
        if any(word in lowered for word in _DEVICE_FAULTS):
            return DeviceError(f"NVDEC failed ({text})", where=self._where, remedy="See nvidia-smi and dmesg.")
        remedy = "Copy it again, or set input.on_damage=conceal to go on."
        return DamagedInputError(f"NVDEC could not decode a packet ({text})", where=self._where, remedy=remedy)
