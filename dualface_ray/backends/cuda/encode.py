"""Which encoder a card gets: the plan's word, else NVENC where there is one, else the CPU behind pinned memory."""

from __future__ import annotations

from functools import lru_cache

from dualface_ray.backends.cuda.gate import SessionGate, gate_folder, known_machine_cap, lacks_encoder, machine_folder
from dualface_ray.backends.cuda.hostenc import host_encoder
from dualface_ray.backends.cuda.launch import give_back_stream, new_stream
from dualface_ray.backends.cuda.nvdec import LIFE_LOCK
from dualface_ray.backends.cuda.nvenc import NvencSession
from dualface_ray.backends.cuda.vendor import context_handle, device, video_codec
from dualface_ray.backends.device import DevicePlan
from dualface_ray.hardware import cores, gpus
from dualface_ray.media import EncodeSession, EncodeSpec


@lru_cache(maxsize=8)
def has_nvenc(codec: str, bits: int = 8) -> bool:
    """Whether this card encodes this codec with so many bits a sample; asks the driver at most once a process.

    The answer for data-centre cards comes from their name: asking opens a session, which is what they cannot do.
    """
    if lacks_encoder(device().name):
        return False
    context_handle()
    with LIFE_LOCK:
        try:
            caps = dict(video_codec().GetEncoderCaps(gpuid=0, codec=codec))
        except Exception:  # whatever the reason, encoding on the CPU works; the report names the encoder used
            return False
    return bool(caps) and (bits == 8 or bool(caps.get("support_10bit_encode", 1)))


@lru_cache(maxsize=1)
def _machine_cap() -> int:
    return known_machine_cap(device().name, next((card.driver for card in gpus()), ""))


def open_encoder(spec: EncodeSpec, plan: DevicePlan) -> EncodeSession:
    """One encoder session for canvases on the device.

    Raises:
        EncoderSessionsExhausted: NVENC allows no further session, or the plan does not.
        EncodeError: it cannot be opened.
    """
    if plan.encoder == "nvenc" or (not plan.encoder and has_nvenc(spec.codec, spec.bits)):
        most = plan.machine_sessions if plan.machine_sessions >= 0 else _machine_cap()
        machine = SessionGate(most, machine_folder(), of="machine")
        gate = SessionGate(plan.encoder_sessions, gate_folder(device().uuid), wider=machine)
        return NvencSession(spec, gate, video_codec(), new_stream(), context_handle(), give_back_stream)
    return host_encoder(spec, plan.encode_at_once or cores() // max(1, spec.threads))
