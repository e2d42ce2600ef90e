"""What NVML knows: driver, cards, who uses them. Each question may fail by itself; the answer then says why."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

from dualface_ray.hardware.facts import CardFacts, DriverFacts, Maybe, Process, Unknown

NO_NVML = -1
_MISSING = "nvidia-ml-py is not installed"


def read_driver(tell: Callable[[Any], None], library: Any = None) -> DriverFacts:
    """Driver and cards of this machine.

    Args:
        tell: unused; what every part gets.
        library: a module with the interface of ``pynvml``; the installed one when missing.
    """
    try:
        nvml = library if library is not None else importlib.import_module("pynvml")
    except ImportError:
        return _nothing(_MISSING, NO_NVML)
    try:
        nvml.nvmlInit()
    except nvml.NVMLError as error:
        return _nothing(_words(error), int(getattr(error, "value", 0) or 0))
    try:
        ask = _Asker(nvml)
        driver = ask("nvmlSystemGetDriverVersion", _text)
        cuda = ask("nvmlSystemGetCudaDriverVersion_v2", lambda n: f"{n // 1000}.{n % 1000 // 10}")
        try:
            count = int(nvml.nvmlDeviceGetCount())
        except nvml.NVMLError as error:
            return DriverFacts(driver, cuda, (), _words(error), int(getattr(error, "value", 0) or 0))
        looked = [_card(nvml, ask, index) for index in range(count)]
        cards = tuple(one for one in looked if isinstance(one, CardFacts))
        text, code = next((one for one in looked if not isinstance(one, CardFacts)), ("", 0))
        return DriverFacts(driver, cuda, cards, text, code)
    finally:
        nvml.nvmlShutdown()


class _Asker:
    """Asks NVML one thing; what it refuses becomes an ``Unknown``."""

    def __init__(self, nvml: Any) -> None:
        self._nvml = nvml

    def __call__(self, call: str, convert: Callable[[Any], Any], *given: Any) -> Any:
        function = getattr(self._nvml, call, None)
        if function is None:
            return Unknown(f"this version of nvidia-ml-py has no {call}")
        try:
            return convert(function(*given))
        except self._nvml.NVMLError as error:
            return Unknown(_words(error))


def _card(nvml: Any, ask: _Asker, index: int) -> CardFacts | tuple[str, int]:
    """One card, or NVML's words and number; its name is the one thing without which it cannot be spoken of."""
    try:
        handle = nvml.nvmlDeviceGetHandleByIndex(index)
        name = _text(nvml.nvmlDeviceGetName(handle))
    except nvml.NVMLError as error:
        return f"card {index}: {_words(error)}", int(getattr(error, "value", 0) or 0)
    uncorrected = getattr(nvml, "NVML_MEMORY_ERROR_TYPE_UNCORRECTED", 1)
    volatile = getattr(nvml, "NVML_VOLATILE_ECC", 0)
    return CardFacts(
        index=index,
        name=name,
        uuid=ask("nvmlDeviceGetUUID", _text, handle),
        vram_bytes=ask("nvmlDeviceGetMemoryInfo", lambda found: int(found.total), handle),
        used_bytes=ask("nvmlDeviceGetMemoryInfo", lambda found: int(found.used), handle),
        compute_capability=ask("nvmlDeviceGetCudaComputeCapability", lambda two: f"{two[0]}.{two[1]}", handle),
        mig=ask("nvmlDeviceGetMigMode", lambda two: bool(two[0]), handle),
        ecc=ask("nvmlDeviceGetEccMode", lambda two: bool(two[0]), handle),
        ecc_errors=ask("nvmlDeviceGetTotalEccErrors", int, handle, uncorrected, volatile),
        gpu_share=ask("nvmlDeviceGetUtilizationRates", lambda found: found.gpu / 100, handle),
        nvdec_share=ask("nvmlDeviceGetDecoderUtilization", lambda two: two[0] / 100, handle),
        nvenc_share=ask("nvmlDeviceGetEncoderUtilization", lambda two: two[0] / 100, handle),
        open_sessions=ask("nvmlDeviceGetEncoderStats", lambda three: int(three[0]), handle),
        processes=_processes(ask, handle),
    )


def _processes(ask: _Asker, handle: Any) -> Maybe[tuple[Process, ...]]:
    """Programs on the card; in a container NVML may list none although there are some."""
    found: list[Process] = []
    for kind in ("Compute", "Graphics"):
        part = ask(f"nvmlDeviceGet{kind}RunningProcesses", list, handle)
        if isinstance(part, Unknown):
            if kind == "Compute":
                return part
            continue
        for one in part:
            used = getattr(one, "usedGpuMemory", None)
            memory: Maybe[int] = Unknown("NVML does not say") if used is None else int(used)
            found.append(Process(int(one.pid), memory, kind.lower()))
    return tuple(found)


def _nothing(why: str, code: int) -> DriverFacts:
    return DriverFacts(Unknown(why), Unknown(why), (), why, code)


def _words(error: Exception) -> str:
    return f"NVML: {str(error) or type(error).__name__}"


def _text(value: str | bytes) -> str:
    """Older versions of the library hand out bytes."""
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
