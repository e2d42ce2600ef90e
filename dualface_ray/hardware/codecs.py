"""What NVDEC and NVENC say of themselves through PyNvVideoCodec; runs in a probing process, on device 0 of it.

``GetDecoderCaps(gpuid, codec, chromaformat, bitdepth)`` answers with a dict (supported, num_decoder_engines, width_max
…); ``GetEncoderCaps(gpuid, codec)`` opens an encoder session for a moment and raises where there is none.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Callable
from typing import Any

from dualface_ray.hardware.facts import Unknown

CODECS = {"h264": "H264", "hevc": "HEVC", "vp9": "VP9", "av1": "AV1"}
"""Ours and the library's names of the codecs that profiles speak of."""
ENCODED = ("h264", "hevc", "av1")
_ABSENT = re.compile(
    r"NO_ENCODE_DEVICE|UNSUPPORTED_DEVICE|(?:returned error|error code|error)\D{0,4}0?[12]\b", re.IGNORECASE
)
"""NV_ENC_ERR_NO_ENCODE_DEVICE (1) and NV_ENC_ERR_UNSUPPORTED_DEVICE (2): the card has no encoder."""
_NOT_THIS_ONE = re.compile(r"CUDA_ERROR_NOT_SUPPORTED|\b801\b")
"""How the driver answers for AV1 on a Hopper card."""
_UNKNOWN_CODEC = re.compile(r"(?:returned error|error code|error)\D{0,4}0?(?:8|12)\b", re.IGNORECASE)
"""NV_ENC_ERR_INVALID_PARAM (8) and NV_ENC_ERR_UNSUPPORTED_PARAM (12): an encoder is asked about a codec that it lacks,
such as AV1 before Ada. Only beside a codec that it knows: by itself it may be the library's mistake."""


def ask_decoder(tell: Callable[[Any], None], library: Any = None) -> int:
    """Tell one dict per codec and depth; returns how many.

    Args:
        tell: gets ``codec``, ``bits``, ``engines``, ``supported``, ``max_width_px`` and ``max_height_px``.
        library: a module with the interface of PyNvVideoCodec; the installed one when missing.
    """
    nvc = library if library is not None else importlib.import_module("PyNvVideoCodec")
    chroma = getattr(nvc.cudaVideoChromaFormat, "420")
    for codec, name in CODECS.items():
        for bits in (8, 10):
            found: dict[str, Any] = {"codec": codec, "bits": bits}
            try:
                kind = getattr(nvc.cudaVideoCodec, name)
                caps = dict(nvc.GetDecoderCaps(gpuid=0, codec=kind, chromaformat=chroma, bitdepth=bits))
            except Exception as error:  # pybind raises types of its own
                why = Unknown(words(error))
                found["engines"], found["supported"] = why, False if _NOT_THIS_ONE.search(str(error)) else why
            else:
                found["supported"] = bool(caps["supported"]) if "supported" in caps else Unknown("the library is mute")
                engines = int(caps.get("num_decoder_engines", 0))
                found["engines"] = engines or Unknown("the driver does not say")
                found["max_width_px"], found["max_height_px"] = caps.get("width_max", 0), caps.get("height_max", 0)
            tell(found)
    return len(CODECS) * 2


def ask_encoder(tell: Callable[[Any], None], library: Any = None) -> int:
    """Tell one dict per codec, as ``ask_decoder`` does; ``absent`` is true when the card has no encoder at all."""
    nvc = library if library is not None else importlib.import_module("PyNvVideoCodec")
    answered = False
    for codec in ENCODED:  # H.264 first, which every encoder has
        found: dict[str, Any] = {"codec": codec, "bits": 8}
        try:
            caps = dict(nvc.GetEncoderCaps(gpuid=0, codec=codec))
        except Exception as error:
            why, text = Unknown(words(error)), str(error).split("===")[0]  # what follows is advice
            lacks = answered and _UNKNOWN_CODEC.search(text)
            found.update({"engines": why, "supported": False if lacks else why, "absent": lacks_encoder(text)})
        else:
            answered = True
            engines = int(caps.get("num_encoder_engines", 0))
            found["supported"] = any(bool(value) for value in caps.values())
            found["engines"] = engines or Unknown("the driver does not say")
            found["max_width_px"], found["max_height_px"] = caps.get("width_max", 0), caps.get("height_max", 0)
        tell(found)
    return len(ENCODED)


def lacks_encoder(text: str) -> bool:
    """Whether these words of the driver mean that the card has no NVENC."""
    return bool(_ABSENT.search(text.split("===")[0]))  # what follows is advice, which may mention other errors


def words(error: BaseException) -> str:
    """The telling lines of an exception without its page of advice."""
    text = " ".join(str(error).split("===")[0].split())
    return (text or type(error).__name__)[:240]
