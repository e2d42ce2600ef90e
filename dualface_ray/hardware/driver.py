"""What NVML knows: driver, cards, who uses them. Each question may fail by itself; the answer then says why."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

from dualface_ray.hardware.facts import CardFacts, DriverFacts, Maybe, Process, Unknown
from dualface_ray.hardware.mig import instance_name, instances

NO_NVML = -1
_MISSING = "nvidia-ml-py is not installed"
_MODES = {0: "default", 2: "prohibited", 3: "exclusive"}
"""``NVML_COMPUTEMODE_…``; 1 is no longer supported."""
_SLOWDOWNS = {0x20: "heat", 0x40: "heat", 0x80: "power brake"}
"""``nvmlClocksEventReason…`` that speak of cooling or power supply; the power cap under load is no fault."""
_CAUSES = (0, 1)
"""``NVML_PAGE_RETIREMENT_CAUSE_…``: several single-bit errors, a double-bit error."""


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
        looked = [one for index in range(count) for one in _cards(nvml, ask, index)]
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


def _cards(nvml: Any, ask: _Asker, index: int) -> list[CardFacts | tuple[str, int]]:
    """A card, its instances, or NVML's words and number; the name is what cannot be done without."""
    try:
        handle = nvml.nvmlDeviceGetHandleByIndex(index)
        name = _text(nvml.nvmlDeviceGetName(handle))
        parts = instances(nvml, handle)
        if not parts:  # a whole card, or one in MIG mode that nothing was cut from
            return [_facts(nvml, ask, index, name, handle, handle)]
        named = [(one, instance_name(name, _text(nvml.nvmlDeviceGetName(one)))) for one in parts]
    except nvml.NVMLError as error:
        return [(f"card {index}: {_words(error)}", int(getattr(error, "value", 0) or 0))]
    return [_facts(nvml, ask, index, own, handle, one) for one, own in named]


def _facts(nvml: Any, ask: _Asker, index: int, name: str, card: Any, part: Any) -> CardFacts:
    """What is the instance's own (or the whole card's, where ``part`` is ``card``), and what its card says."""
    uncorrected = getattr(nvml, "NVML_MEMORY_ERROR_TYPE_UNCORRECTED", 1)
    volatile = getattr(nvml, "NVML_VOLATILE_ECC", 0)
    retired, retiring = _retired(ask, card)
    decoders: Maybe[int] = Unknown("its decoder knows")
    if part is not card:
        decoders = ask("nvmlDeviceGetAttributes", lambda found: int(found.sharedDecoderCount), part)
    return CardFacts(
        index=index,
        name=name,
        uuid=ask("nvmlDeviceGetUUID", _text, part),
        vram_bytes=ask("nvmlDeviceGetMemoryInfo", lambda found: int(found.total), part),
        used_bytes=ask("nvmlDeviceGetMemoryInfo", lambda found: int(found.used), part),
        compute_capability=ask("nvmlDeviceGetCudaComputeCapability", lambda two: f"{two[0]}.{two[1]}", card),
        mig=ask("nvmlDeviceGetMigMode", lambda two: bool(two[0]), card),
        decoders=decoders,
        compute_mode=ask("nvmlDeviceGetComputeMode", lambda mode: _MODES.get(mode, f"mode {mode}"), card),
        persistence=ask("nvmlDeviceGetPersistenceMode", bool, card),
        slowed=_slowed(ask, card),
        temperature_c=ask("nvmlDeviceGetTemperature", int, card, getattr(nvml, "NVML_TEMPERATURE_GPU", 0)),
        ecc=ask("nvmlDeviceGetEccMode", lambda two: bool(two[0]), card),
        ecc_errors=ask("nvmlDeviceGetTotalEccErrors", int, card, uncorrected, volatile),
        retired=retired,
        retiring=retiring,
        gpu_share=ask("nvmlDeviceGetUtilizationRates", lambda found: found.gpu / 100, part),
        nvdec_share=ask("nvmlDeviceGetDecoderUtilization", lambda two: two[0] / 100, part),
        nvenc_share=ask("nvmlDeviceGetEncoderUtilization", lambda two: two[0] / 100, part),
        open_sessions=ask("nvmlDeviceGetEncoderStats", lambda three: int(three[0]), part),
        processes=_processes(ask, part),
    )


def _slowed(ask: _Asker, card: Any) -> Maybe[str]:
    def named(bits: int) -> str:
        return ", ".join(dict.fromkeys(word for bit, word in _SLOWDOWNS.items() if bits & bit))

    found: Maybe[str] = ask("nvmlDeviceGetCurrentClocksEventReasons", named, card)
    if isinstance(found, Unknown):  # what older drivers call it
        found = ask("nvmlDeviceGetCurrentClocksThrottleReasons", named, card)
    return found


def _retired(ask: _Asker, card: Any) -> tuple[Maybe[int], Maybe[str]]:
    """Rows that were replaced (from Ampere on), else pages that were taken out; GeForce cards tell neither."""
    rows = ask("nvmlDeviceGetRemappedRows", tuple, card)
    if not isinstance(rows, Unknown):
        corrected, uncorrected, pending, failed = rows
        return int(corrected) + int(uncorrected), "failed" if failed else "pending" if pending else ""
    pages = [ask("nvmlDeviceGetRetiredPages", len, card, cause) for cause in _CAUSES]
    count: Maybe[int] = next((one for one in pages if isinstance(one, Unknown)), 0)
    if not isinstance(count, Unknown):
        count = sum(pages)
    waits = ask("nvmlDeviceGetRetiredPagesPendingStatus", lambda state: "pending" if state else "", card)
    return count, waits


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
