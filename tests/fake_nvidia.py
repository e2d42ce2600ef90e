"""Pretend NVIDIA modules for probing processes: a folder for PYTHONPATH, steered by environment variables.

FAKE_CARD (h200, rtx4090, l4, other), FAKE_DRIVER, FAKE_CAP (sessions), FAKE_CRASH (decoder, encoder, session, nvml,
cupy), FAKE_HANG (the same), FAKE_BUSY (1 = another program and three open sessions). Calls are logged to FAKE_LOG.
"""

from __future__ import annotations

import os
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

_COMMON = """
import os, signal, time

CARDS = {
    "h200": ("NVIDIA H200", 143771, ["H264", "HEVC", "VP9"], 7, [], 0),
    "rtx4090": ("NVIDIA GeForce RTX 4090", 24564, ["H264", "HEVC", "VP9", "AV1"], 1, ["h264", "hevc", "av1"], 2),
    "l4": ("NVIDIA L4", 23034, ["H264", "HEVC", "VP9", "AV1"], 4, ["h264", "hevc", "av1"], 2),
    "other": ("NVIDIA GeForce RTX 4060", 8188, ["H264", "HEVC", "VP9", "AV1"], 1, ["h264", "hevc", "av1"], 1),
}
NAME, MIB, DECODES, DECODERS, ENCODES, ENCODERS = CARDS[os.environ.get("FAKE_CARD", "h200")]


def log(*words):
    if os.environ.get("FAKE_LOG"):
        with open(os.environ["FAKE_LOG"], "a") as file:
            print(*words, os.environ.get("CUDA_VISIBLE_DEVICES"), file=file)


def trouble(place):
    if os.environ.get("FAKE_CRASH") == place:
        os.kill(os.getpid(), signal.SIGSEGV)
    if os.environ.get("FAKE_HANG") == place:
        time.sleep(600)
"""

_PYNVML = """
from fake_common import MIB, NAME, os, trouble
from types import SimpleNamespace


class NVMLError(Exception):
    value = 3


def nvmlInit():
    trouble("nvml")


def nvmlShutdown():
    pass


def nvmlSystemGetDriverVersion():
    return os.environ.get("FAKE_DRIVER", "580.65.06")


def nvmlSystemGetCudaDriverVersion_v2():
    return 13000


def nvmlDeviceGetCount():
    return 1


def nvmlDeviceGetHandleByIndex(index):
    return index


def nvmlDeviceGetName(handle):
    return NAME


def nvmlDeviceGetUUID(handle):
    return "GPU-0123"


def nvmlDeviceGetMemoryInfo(handle):
    return SimpleNamespace(total=MIB << 20, used=1 << 20)


def nvmlDeviceGetCudaComputeCapability(handle):
    return (9, 0)


def nvmlDeviceGetMigMode(handle):
    raise NVMLError("Not Supported")


def nvmlDeviceGetEccMode(handle):
    return (1, 1)


def nvmlDeviceGetTotalEccErrors(handle, kind, counter):
    return 0


def nvmlDeviceGetUtilizationRates(handle):
    return SimpleNamespace(gpu=3)


def nvmlDeviceGetDecoderUtilization(handle):
    return (0, 100)


nvmlDeviceGetEncoderUtilization = nvmlDeviceGetDecoderUtilization


def nvmlDeviceGetEncoderStats(handle):
    return (3 if os.environ.get("FAKE_BUSY") else 0, 0, 0)


def nvmlDeviceGetComputeRunningProcesses(handle):
    return [SimpleNamespace(pid=4242, usedGpuMemory=None)] if os.environ.get("FAKE_BUSY") else []


nvmlDeviceGetGraphicsRunningProcesses = lambda handle: []
"""

_CODEC = """
from fake_common import DECODERS, DECODES, ENCODERS, ENCODES, log, os, trouble

__version__ = "2.2.4"
print("a library that talks on standard output")


class _Names:
    def __getattr__(self, name):
        return name


cudaVideoCodec = _Names()
cudaVideoChromaFormat = _Names()
_open = []


def GetDecoderCaps(gpuid, codec, chromaformat, bitdepth):
    if codec == "VP9":
        trouble("decoder")
    supported = codec in DECODES and not (codec == "H264" and bitdepth == 10)
    return {"supported": int(supported), "num_decoder_engines": DECODERS, "width_max": 4096, "height_max": 4096}


def GetEncoderCaps(gpuid, codec):
    log("caps", codec)
    trouble("encoder")
    if not ENCODES:
        raise RuntimeError("nvEncOpenEncodeSessionEx(...) returned error 2\\n\\n=== TROUBLESHOOTING ===\\nadvice")
    return {"num_encoder_engines": ENCODERS, "width_max": 4096, "height_max": 4096} if codec in ENCODES else {}


def CreateEncoder(width, height, fmt, cpu, **options):
    log("open", len(_open))
    beside = 3 if os.environ.get("FAKE_BUSY") else 0
    if len(_open) + beside >= int(os.environ.get("FAKE_CAP", "1000")):
        trouble("session")
        raise RuntimeError("PyNvEncoder constructor failed: nvEncOpenEncodeSessionEx returned error 21")
    _open.append(object())
    return _open[-1]
"""

_CUPY = """
from fake_common import trouble
from types import SimpleNamespace

__version__ = "14.2.0"
trouble("cupy")
cuda = SimpleNamespace(runtime=SimpleNamespace(runtimeGetVersion=lambda: 13000))
"""


def fake_environment(folder: Path, **steering: str) -> dict[str, str]:
    """Environment in which the pretend modules are found first; they are written to this folder."""
    folder.mkdir(parents=True, exist_ok=True)
    texts = {"fake_common": _COMMON, "pynvml": _PYNVML, "PyNvVideoCodec": _CODEC, "cupy": _CUPY}
    texts["tensorrt"] = '__version__ = "10.13.0"\n'
    for name, text in texts.items():
        (folder / f"{name}.py").write_text(text, encoding="utf-8")
    path = os.pathsep.join([str(folder), *filter(None, [os.environ.get("PYTHONPATH")])])
    return {"PYTHONPATH": path, **{f"FAKE_{name.upper()}": value for name, value in steering.items()}}
