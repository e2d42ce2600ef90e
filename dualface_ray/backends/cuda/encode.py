"""Which encoder a card gets: NVENC where there is one, else the CPU behind pinned memory."""

from __future__ import annotations

import os
from functools import lru_cache

from dualface_ray.backends.cuda.gate import SessionGate, lacks_encoder, session_limit
from dualface_ray.backends.cuda.hostenc import host_encoder
from dualface_ray.backends.cuda.launch import new_stream
from dualface_ray.backends.cuda.nvdec import LIFE_LOCK
from dualface_ray.backends.cuda.nvenc import NvencSession
from dualface_ray.backends.cuda.vendor import context_handle, device, video_codec
from dualface_ray.hardware import cores
from dualface_ray.media import EncodeSession, EncodeSpec

ENVIRONMENT = "DUALFACE_ENCODER"
"""auto (default), nvenc or cpu: overrides the choice for a node."""


@lru_cache(maxsize=8)
def has_nvenc(codec: str) -> bool:
    """Whether this card encodes this codec; asks the driver at most once a process.

    The answer for data-centre cards comes from their name: asking opens a session, which is what they cannot do.
    """
    choice = os.environ.get(ENVIRONMENT, "auto").strip().lower()
    if choice in ("cpu", "nvenc"):
        return choice == "nvenc"
    if lacks_encoder(device().name):
        return False
    context_handle()
    with LIFE_LOCK:
        try:
            caps = dict(video_codec().GetEncoderCaps(gpuid=0, codec=codec))
        except Exception:  # whatever the reason, encoding on the CPU works; the report names the encoder used
            return False
    return bool(caps)


def open_encoder(spec: EncodeSpec) -> EncodeSession:
    """One encoder session for canvases on the device.

    Raises:
        EncoderSessionsExhausted: NVENC allows no further session.
        EncodeError: it cannot be opened.
    """
    if has_nvenc(spec.codec):
        return NvencSession(spec, SessionGate(session_limit()), video_codec(), new_stream(), context_handle())
    return host_encoder(spec, cores())
