"""NvencSession: H.264, HEVC and AV1 by NVENC; thin, parameters fixed for the whole run.

Not measured: the GPU hosts at hand have no NVENC. What is known comes from the module's own signatures (2.2.4):
``Encode`` takes an object whose ``cuda()`` gives one array interface a plane, queues a copy of it on the encoder's
stream, and answers with dicts of ``data``, ``timestamp`` (the ``inputTimeStamp`` given) and ``picture_type``. The
stream is ours, so waiting for it after the call means that the canvas has been read.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from fractions import Fraction
from typing import Any

from dualface_ray.backends.cuda.arena import address_of
from dualface_ray.backends.cuda.gate import SessionGate, Slot, exhausted
from dualface_ray.backends.cuda.nvdec import LIFE_LOCK
from dualface_ray.backends.cuda.vendor import first_line, ran_out
from dualface_ray.errors import EncodeError, OutputError, ResourceError, VramBudgetError
from dualface_ray.media import Canvas, EncodeSpec, Packet

_EXHAUSTED = re.compile(r"(?:returned error|error code|error)\D{0,4}(10|21)\b", re.IGNORECASE)
"""NV_ENC_ERR_OUT_OF_MEMORY (10: old drivers) and NV_ENC_ERR_INCOMPATIBLE_CLIENT_KEY (21: new ones) on opening."""
_KEY_PICTURES = frozenset({2, 3})
"""NV_ENC_PIC_TYPE_I and NV_ENC_PIC_TYPE_IDR."""
_FORMATS = {"h264": {8: "NV12"}, "hevc": {8: "NV12", 10: "P010"}, "av1": {8: "NV12"}}
"""What canvases are called, by codec and bits; 10 bits as on the CPU, for HEVC alone."""
_PRESETS = {
    "ultrafast": "P1",
    "superfast": "P1",
    "veryfast": "P2",
    "faster": "P3",
    "fast": "P3",
    "medium": "P4",
    "slow": "P5",
    "slower": "P6",
    "veryslow": "P7",
    "placebo": "P7",
    **dict.fromkeys(("13", "12", "11"), "P1"),
    "10": "P2",
    **dict.fromkeys(("9", "8"), "P3"),
    **dict.fromkeys(("7", "6"), "P4"),
    "5": "P5",
    "4": "P6",
    **dict.fromkeys(("3", "2", "1", "0"), "P7"),
}
"""x264's names and SVT-AV1's numbers on NVENC's scale, as the CPU's lanes read the names; P1 to P7 are taken as they
are."""


class Planes:
    """A canvas in the form the encoder reads: luma (h, w, 1) and chroma (h / 2, w / 2, 2)."""

    def __init__(self, canvas: Canvas, width_px: int, height_px: int) -> None:
        bytes_per_sample = int(canvas.dtype.itemsize)
        kind, address = f"|u{bytes_per_sample}", address_of(canvas)
        chroma = address + width_px * bytes_per_sample * height_px
        self._keep = canvas
        self._planes = [
            _Plane((height_px, width_px, 1), kind, address),
            _Plane((height_px // 2, width_px // 2, 2), kind, chroma),
        ]

    def cuda(self) -> list[_Plane]:
        """What PyNvVideoCodec calls."""
        return self._planes


class _Plane:
    """Dense, which no strides say: those the library wants for P010 (2.2.4: ``(2 * width, 2, 1)``) are of no array."""

    def __init__(self, shape: tuple[int, ...], kind: str, address: int) -> None:
        self.__cuda_array_interface__ = {
            "shape": shape,
            "strides": None,
            "typestr": kind,
            "data": (address, False),
            "version": 3,
        }


def parameters(spec: EncodeSpec) -> dict[str, str]:
    """Everything ``CreateEncoder`` is told; the same for the whole run.

    Constant quality as variable bit rate with a target (``cq``), no B-frames, no look-ahead, closed groups of fixed
    length, parameter sets with every key frame so that segments can be joined. Colours are not said here: the library's
    one option for them marks AV1 as full range and writes nothing for the others (see ``backends.pyav.tagging``).
    """
    fps = spec.rate if spec.rate > 0 else Fraction(25)
    options = {
        "codec": spec.codec,
        "gpu_id": "0",
        "preset": spec.preset.upper() if re.fullmatch(r"[pP][1-7]", spec.preset) else _PRESETS.get(spec.preset, "P4"),
        "tuning_info": "high_quality",
        "rc": "vbr",
        "cq": str(spec.quality),
        "fps": str(max(1, round(fps))),  # an integer: the library cuts decimals off; time stamps come with each frame
        "gop": str(spec.gop_frames),
        "idrperiod": str(spec.gop_frames),
        "bf": "0",
        "lookahead": "0",
        "repeatspspps": "1",
    }
    if spec.codec == "av1":
        options["use_ivf_container"] = "0"
        del options["repeatspspps"]
    return options


class NvencSession:
    """The ``EncodeSession`` port over NVENC; used by one thread at a time.

    Args:
        spec: what to encode.
        gate: counts the sessions of this machine.
        library: the module PyNvVideoCodec, or a double with its interface.
        stream: CUDA stream for the copies; has ``ptr`` and ``synchronize``.
        context: CUcontext of this process, so that the encoder makes none of its own.
        give_back: gets the stream when the encoder is gone.

    Raises:
        EncoderSessionsExhausted: the gate or the driver allows no further session; open the next one in a new process.
        EncodeError: the encoder refuses the parameters.
    """

    def __init__(
        self,
        spec: EncodeSpec,
        gate: SessionGate,
        library: Any,
        stream: Any,
        context: int,
        give_back: Callable[[Any], None] = lambda stream: None,
    ) -> None:
        if spec.bits not in _FORMATS.get(spec.codec, {}):
            raise EncodeError(f"{spec.codec} is not written with {spec.bits} bits", remedy="Use encode.codec=hevc.")
        self.spec = spec
        self._sample = "uint8" if spec.bits == 8 else "uint16"
        self._library = library
        self._stream = stream
        self._give_back = give_back
        self._where = f"nvenc {spec.codec} {spec.width_px}x{spec.height_px}"
        self._place: Slot = gate.enter(self._where)
        self._frames: list[int] = []
        self._sent = self._received = 0
        self._finished = False
        self._encoder: Any = None
        try:
            with LIFE_LOCK:
                self._encoder = library.CreateEncoder(
                    spec.width_px,
                    spec.height_px,
                    _FORMATS[spec.codec][spec.bits],
                    False,
                    cudacontext=context,
                    cudastream=stream.ptr,
                    **parameters(spec),
                )
            self._extradata = bytes(self._encoder.GetSequenceParams())
        except Exception as error:
            self.close()
            raise self._translated(error) from error

    @property
    def name(self) -> str:
        """The codec, and the preset on NVENC's own scale."""
        return f"nvenc {self.spec.codec}, {parameters(self.spec)['preset']}"

    @property
    def extradata(self) -> bytes:
        """SPS and PPS (Annex B), VPS too for HEVC, the sequence header for AV1; known from opening on."""
        return self._extradata

    def encode(self, canvas: Canvas, pts_ticks: int) -> list[Packet]:
        """Encode one picture; it has been copied on return.

        Raises:
            EncodeError: wrong shape or order, or the encoder failed.
        """
        if self._encoder is None or self._finished:
            raise EncodeError("the encoder is closed", where=self._where)
        if self._frames and pts_ticks <= self._frames[-1]:
            raise EncodeError(f"time stamps must increase: {pts_ticks} after {self._frames[-1]}", where=self._where)
        width, height = self.spec.width_px, self.spec.height_px
        if tuple(canvas.shape) != (height * 3 // 2, width) or canvas.dtype != self._sample:
            wanted = f"{self._sample} ({height * 3 // 2}, {width})"
            raise EncodeError(f"a canvas must be {wanted}, not {canvas.dtype} {canvas.shape}", where=self._where)
        picture = self._library.NV_ENC_PIC_PARAMS()
        picture.inputTimeStamp = self._sent
        self._frames.append(pts_ticks)
        self._sent += 1
        try:
            found = self._encoder.Encode(Planes(canvas, width, height), picture)
            self._stream.synchronize()
            return self._packets(found)
        except Exception as error:
            raise self._translated(error) from error

    def finish(self) -> list[Packet]:
        """Drain; no ``encode`` may follow.

        Raises:
            EncodeError: the encoder failed, or kept a picture.
        """
        if self._encoder is None or self._finished:
            return []
        self._finished = True
        try:
            packets = self._packets(self._encoder.EndEncode())
        except Exception as error:
            raise self._translated(error) from error
        if self._received != self._sent:
            raise EncodeError(f"{self._sent} pictures went in, {self._received} came out", where=self._where)
        return packets

    def close(self) -> None:
        """Free everything; harmless when called twice."""
        encoder, self._encoder = self._encoder, None
        if encoder is not None:
            with LIFE_LOCK:
                del encoder
        stream, self._stream = self._stream, None
        if stream is not None:
            self._give_back(stream)
        self._place.leave()

    def _packets(self, found: list[dict[str, Any]]) -> list[Packet]:
        """Without B-frames coding order is display order, so the decoding time is the presentation time."""
        packets = []
        for one in found:
            pts = self._frames[int(one["timestamp"])]
            packets.append(Packet(bytes(one["data"]), pts, pts, int(one["picture_type"]) in _KEY_PICTURES))
            self._received += 1
        return packets

    def _translated(self, error: Exception) -> OutputError | ResourceError:
        if isinstance(error, (OutputError, ResourceError)):
            return error
        text = first_line(error)
        if self._sent == 0 and _EXHAUSTED.search(str(error)):
            return exhausted(self._where, f"the driver allows no further encoder session ({text})")
        if ran_out(error):
            return VramBudgetError(f"NVENC found no memory ({text})", where=self._where, remedy="Lower lane.streams.")
        return EncodeError(f"NVENC failed ({text})", where=self._where, remedy="Check the encode settings.")
