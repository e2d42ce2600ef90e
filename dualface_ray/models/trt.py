"""TensorRT as far as its versions differ: 8.5, 10 and 11; nowhere else does the code ask which one it has."""

from __future__ import annotations

import contextlib
import threading
from collections import deque
from collections.abc import Iterator
from functools import cache
from typing import Any

import numpy as np

from dualface_ray.errors import DeviceError, DualfaceError, ModelError, VramBudgetError, is_out_of_memory


class Api:
    """TensorRT as far as versions differ.

    8.5: explicit batch must be asked for; half and int8 need builder flags beside a graph that says so; engines tell
    their scratch size as ``device_memory_size``. 10: networks may be strongly typed, ``EXPLICIT_BATCH`` is deprecated,
    scratch as ``device_memory_size_v2``. 11: every network is strongly typed, precision flags are gone.
    """

    def __init__(self) -> None:
        try:
            import tensorrt
        except ImportError as error:
            raise DeviceError(
                f"TensorRT cannot be imported ({error})",
                where="tensorrt",
                remedy="Install the GPU extra: pip install 'dualface-ray[gpu]', or set lane.backend=cpu.",
            ) from error
        self.trt: Any = tensorrt
        self.version = str(tensorrt.__version__)
        self.major = int(self.version.split(".")[0])
        self.complaints: deque[str] = deque(maxlen=8)
        self.logger: Any = _listener(tensorrt, self.complaints)

    def failure(self, what: str, where: str, remedy: str = "", kind: type[DualfaceError] = ModelError) -> DualfaceError:
        """The error of a call that gave nothing: TensorRT says why in its log only."""
        said = "; ".join(self.complaints)
        self.complaints.clear()
        if is_out_of_memory(said):
            return out_of_memory(what)
        return kind(f"{what} ({first_sentence(said)})" if said else what, where=where, remedy=remedy)

    @property
    def contexts_share_profiles(self) -> bool:
        """Whether several contexts may use one optimisation profile (TensorRT 10 and later)."""
        return self.major >= 10

    def network_flags(self) -> int:
        """For ``create_network``."""
        flags = self.trt.NetworkDefinitionCreationFlag
        if self.major < 10:
            return 1 << int(flags.EXPLICIT_BATCH)
        strong = getattr(flags, "STRONGLY_TYPED", None)
        return 0 if strong is None else 1 << int(strong)

    def set_precision(self, config: Any, precision: str) -> None:
        """Builder flags beside what the graph says.

        TF32 is on by default in every version, strongly typed or not: float32 would be multiplied with 10 bits.
        """
        flags = self.trt.BuilderFlag
        if precision == "fp32":
            config.clear_flag(flags.TF32)
        if self.major >= 10:
            return  # the graph alone decides
        if precision in ("fp16", "int8"):
            config.set_flag(flags.FP16)
        if precision == "int8":
            config.set_flag(flags.INT8)

    @staticmethod
    def dtype(kind: Any) -> np.dtype[Any]:
        """NumPy's type for TensorRT's; its own ``nptype`` breaks with some NumPy versions."""
        name = str(kind).rsplit(".", 1)[-1]
        known = {"FLOAT": np.float32, "HALF": np.float16}
        if name not in known:
            raise ModelError(f"a tensor of type {name}", where="tensorrt")
        return np.dtype(known[name])

    def scratch_bytes(self, engine: Any) -> int:
        """Device memory that running takes beside weights and tensors."""
        size = getattr(engine, "device_memory_size_v2", None)
        return int(engine.device_memory_size if size is None else size)

    def context(self, engine: Any, scratch: int, size_bytes: int) -> Any:
        """A context on scratch memory of ours."""
        strategies = getattr(self.trt, "ExecutionContextAllocationStrategy", None)
        if strategies is None:
            made = engine.create_execution_context_without_device_memory()
        else:
            made = engine.create_execution_context(strategies.USER_MANAGED)
        if made is None:
            raise VramBudgetError("TensorRT has no memory for an execution context", where="tensorrt")
        if not size_bytes:
            return made
        if hasattr(made, "set_device_memory"):
            made.set_device_memory(scratch, size_bytes)
        else:
            made.device_memory = scratch
        return made


def _listener(trt: Any, complaints: deque[str]) -> Any:
    """A logger that keeps what went wrong; TensorRT's own would print it."""

    class Listener(trt.ILogger):  # type: ignore[misc]
        def __init__(self) -> None:
            trt.ILogger.__init__(self)

        def log(self, severity: Any, text: str) -> None:
            if severity in (trt.Logger.INTERNAL_ERROR, trt.Logger.ERROR):
                complaints.append(str(text))

    return Listener()


def first_sentence(text: str) -> str:
    """What was said, short enough for one line."""
    line = " ".join(text.split())
    return line if len(line) <= 300 else f"{line[:300]}..."


def out_of_memory(what: str) -> VramBudgetError:
    """The error that lets a lane start again with a smaller plan."""
    return VramBudgetError(
        f"{what}: device memory is used up",
        where="tensorrt",
        remedy="Lower lane.streams, detect.batch_max or lane.vram_share.",
    )


@contextlib.contextmanager
def device_faults(what: str) -> Iterator[None]:
    """Translate what CuPy, CUDA and TensorRT raise in the enclosed block.

    Raises:
        VramBudgetError: device memory is used up.
        DeviceError: anything else.
    """
    try:
        yield
    except DualfaceError:
        raise
    except Exception as error:  # RuntimeErrors, MemoryErrors, and pybind's TypeError when there is no device
        if isinstance(error, MemoryError) or is_out_of_memory(f"{type(error).__name__} {error}"):
            raise out_of_memory(what) from error
        raise DeviceError(
            f"{what} failed ({first_sentence(str(error))})", where="tensorrt", remedy="See nvidia-smi."
        ) from error


_lock = threading.Lock()


def tensorrt() -> Api:
    """The one of this process.

    Raises:
        DeviceError: it is not installed.
    """
    with _lock:
        return _made()


@cache
def _made() -> Api:
    return Api()


def tensorrt_version() -> str:
    """Version of the installed TensorRT.

    Raises:
        DeviceError: it is not installed.
    """
    return tensorrt().version
