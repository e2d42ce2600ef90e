"""Pretend NVIDIA modules for probing processes: a folder for PYTHONPATH, steered by environment variables.

FAKE_CARD (h200, a100, rtx4090, l4, t4, other), FAKE_MIG (instances that it is cut into, with their NVDEC engines, such
as 1g.5gb:0,3g.20gb:2; none = MIG is on without any), FAKE_MODE (NVML's number of the compute mode), FAKE_DRIVER,
FAKE_CAP (sessions), FAKE_CRASH (decoder, encoder, session, nvml, cupy), FAKE_HANG (the same), FAKE_BUSY (1 = another
program and three open sessions). Calls are logged to FAKE_LOG.
"""

from __future__ import annotations

import os
import types
from pathlib import Path
from typing import Any
from unittest import mock

ROOT = Path(__file__).resolve().parent.parent

_COMMON = """
import os, signal, time

CARDS = {
    "h200": ("NVIDIA H200", 143771, ["H264", "HEVC", "VP9"], 7, [], 0),
    "a100": ("NVIDIA A100-SXM4-40GB", 40960, ["H264", "HEVC", "VP9"], 5, [], 0),
    "rtx4090": ("NVIDIA GeForce RTX 4090", 24564, ["H264", "HEVC", "VP9", "AV1"], 1, ["h264", "hevc", "av1"], 2),
    "l4": ("NVIDIA L4", 23034, ["H264", "HEVC", "VP9", "AV1"], 4, ["h264", "hevc", "av1"], 2),
    "t4": ("Tesla T4", 15360, ["H264", "HEVC", "VP9"], 2, ["h264", "hevc"], 1),
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

NVML_ERROR_NOT_SUPPORTED, NVML_ERROR_NO_PERMISSION, NVML_ERROR_NOT_FOUND = 3, 4, 6
_MIG = os.environ.get("FAKE_MIG", "")
_PARTS = [part.split(":") for part in _MIG.split(",") if ":" in part]


class NVMLError(Exception):
    def __init__(self, value):
        super().__init__({3: "Not Supported", 4: "Insufficient Permissions", 6: "Not Found"}[value])
        self.value = value


def _whole(handle):
    '''What NVML does not tell of instances, nor, to just anybody, of a card that is cut into them.'''
    if _MIG:
        raise NVMLError(NVML_ERROR_NOT_SUPPORTED)


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
    return NAME if handle == 0 else f"{NAME} MIG {_PARTS[handle - 1][0]}"


def nvmlDeviceGetUUID(handle):
    return "GPU-0123" if handle == 0 else f"MIG-{handle:08d}-0000-5000-8000-000000000000"


def nvmlDeviceGetMemoryInfo(handle):
    if handle == 0 and _MIG:
        raise NVMLError(NVML_ERROR_NO_PERMISSION)
    mib = MIB if handle == 0 else int(_PARTS[handle - 1][0].partition(".")[2].removesuffix("gb")) * 1024 - 256
    return SimpleNamespace(total=mib << 20, used=1 << 20)


def nvmlDeviceGetCudaComputeCapability(handle):
    return (9, 0)


def nvmlDeviceGetMigMode(device):
    if NAME != "NVIDIA A100-SXM4-40GB":
        raise NVMLError(NVML_ERROR_NOT_SUPPORTED)
    return [int(bool(_MIG)), int(bool(_MIG))]


def nvmlDeviceGetMaxMigDeviceCount(device):
    return 7


def nvmlDeviceGetMigDeviceHandleByIndex(device, index):
    if index >= len(_PARTS):
        raise NVMLError(NVML_ERROR_NOT_FOUND)
    return index + 1


def nvmlDeviceGetAttributes(device):
    return SimpleNamespace(sharedDecoderCount=int(_PARTS[device - 1][1]), sharedEncoderCount=0)


def nvmlDeviceGetComputeMode(handle):
    return int(os.environ.get("FAKE_MODE", "0"))


def nvmlDeviceGetPersistenceMode(handle):
    return 1


def nvmlDeviceGetCurrentClocksEventReasons(handle):
    return 1


def nvmlDeviceGetTemperature(handle, sensor):
    return 40


def nvmlDeviceGetRemappedRows(device):
    return (0, 0, 0, 0)


def nvmlDeviceGetEccMode(handle):
    return (1, 1)


def nvmlDeviceGetTotalEccErrors(handle, errorType, counterType):
    return 0


def nvmlDeviceGetUtilizationRates(handle):
    _whole(handle)
    return SimpleNamespace(gpu=3)


def nvmlDeviceGetDecoderUtilization(handle):
    _whole(handle)
    return [0, 100]


def nvmlDeviceGetEncoderUtilization(handle):
    _whole(handle)
    return [0, 100]


def nvmlDeviceGetEncoderStats(handle):
    _whole(handle)
    return (3 if os.environ.get("FAKE_BUSY") else 0, 0, 0)


def nvmlDeviceGetComputeRunningProcesses(handle):
    return [SimpleNamespace(pid=4242, usedGpuMemory=None)] if os.environ.get("FAKE_BUSY") else []


def nvmlDeviceGetGraphicsRunningProcesses(handle):
    return []
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
    if codec not in ENCODES:
        raise RuntimeError("GetCapabilityValue : m_nvenc.nvEncGetEncodeCaps(hEncoder, guid, &p, &v) returned error 8")
    return {"num_encoder_engines": ENCODERS, "width_max": 4096, "height_max": 4096}


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


def fake_pynvml(**steering: str) -> Any:
    """The pretend ``pynvml`` in this process."""
    common, module = types.ModuleType("fake_common"), types.ModuleType("pynvml")
    with mock.patch.dict(os.environ, {f"FAKE_{name.upper()}": value for name, value in steering.items()}):
        exec(_COMMON, common.__dict__)
        with mock.patch.dict("sys.modules", {"fake_common": common}):
            exec(_PYNVML, module.__dict__)
    return module
