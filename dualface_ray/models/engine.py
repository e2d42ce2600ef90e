"""TensorRT engines: built from an ONNX file under a lock, kept on disk by content key, run on addresses in place.

    ONNX (precision in the graph) + profile + card + TensorRT ─► EngineKey ─► cache ─ hit ─────────────► Engine
                                                                   └─ miss ─► lock ─► build (a minute or two) ┘

The differences of TensorRT 8.5, 10 and 11 live in ``_Api`` and nowhere else. CUDA graphs: one execution context for
each usual batch size, all of them sharing one piece of scratch memory, because a context must not change its shapes
while a graph of its work is alive.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from dualface_ray.errors import DeviceError, DualfaceError, ModelError, VramBudgetError
from dualface_ray.models.locks import one_at_a_time
from dualface_ray.models.precision import to_half
from dualface_ray.models.store import cache_dir, model_sha256

Progress = Callable[[str], None]

_RECIPE = 1
"""Part of every key; raise it when building changes."""
GRAPH_BATCHES = (1, 2, 4, 8, 16, 32, 64)
"""Batch sizes that are recorded as CUDA graphs."""
_BEAT_S = 5.0


@dataclass(frozen=True, slots=True)
class Profile:
    """Shapes of the first input: any batch up to the largest, one height and width."""

    max_batch: int
    height_px: int
    width_px: int

    @property
    def best_batch(self) -> int:
        """The size the builder optimises for: half the largest, where the measured curve flattens."""
        return max(1, self.max_batch // 2)


@dataclass(frozen=True, slots=True)
class EngineKey:
    """Everything an engine depends on."""

    model_sha256: str
    precision: str
    profile: Profile
    device: str
    compute_capability: tuple[int, int]
    tensorrt: str

    @property
    def digest(self) -> str:
        """Hex digest for a file name."""
        text = json.dumps([_RECIPE, asdict(self)], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:20]

    def path(self, folder: Path | None = None) -> Path:
        """Where this engine is kept."""
        size = f"{self.profile.max_batch}x{self.profile.width_px}x{self.profile.height_px}"
        name = f"{self.model_sha256[:8]}-{self.precision}-{size}-{self.digest}.engine"
        return (folder or cache_dir() / "engines") / name


class _Api:
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
                remedy="Install the GPU extra: pip install 'dualface-ray[gpu]', or use --set lane.backend=cpu.",
            ) from error
        self.trt: Any = tensorrt
        self.version = str(tensorrt.__version__)
        self.major = int(self.version.split(".")[0])
        self.logger: Any = tensorrt.Logger(tensorrt.Logger.ERROR)

    @property
    def contexts_share_profiles(self) -> bool:
        """Whether several contexts may use one optimisation profile (TensorRT 10 and later)."""
        return self.major >= 10

    def network_flags(self) -> int:
        flags = self.trt.NetworkDefinitionCreationFlag
        if self.major < 10:
            return 1 << int(flags.EXPLICIT_BATCH)
        strong = getattr(flags, "STRONGLY_TYPED", None)
        return 0 if strong is None else 1 << int(strong)

    def set_precision(self, config: Any, precision: str) -> None:
        if self.major >= 10:
            return  # the graph alone decides
        flags = self.trt.BuilderFlag
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


_api: _Api | None = None
_api_lock = threading.Lock()


def _tensorrt() -> _Api:
    global _api
    with _api_lock:
        if _api is None:
            _api = _Api()
        return _api


def tensorrt_version() -> str:
    """Version of the installed TensorRT.

    Raises:
        DeviceError: it is not installed.
    """
    return _tensorrt().version


def engine_key(
    model: Path, precision: str, profile: Profile, device: str, compute_capability: tuple[int, int]
) -> EngineKey:
    """The key of an engine on this machine.

    Raises:
        DeviceError: TensorRT is not installed.
        ModelError: the precision is unknown.
    """
    if precision not in ("fp32", "fp16", "int8"):
        raise ModelError(f"unknown precision {precision!r}", where=str(model), remedy="Use fp32, fp16 or int8.")
    return EngineKey(model_sha256(model), precision, profile, device, compute_capability, tensorrt_version())


def built_engine(
    model: Path,
    key: EngineKey,
    *,
    folder: Path | None = None,
    progress: Progress = lambda line: None,
    workspace_bytes: int = 1 << 30,
) -> Path:
    """The engine file of this key, built now if it is not there; processes that need the same one wait for the first.

    Args:
        model: ONNX file; float32 for ``fp32`` and ``fp16`` (converted here), Q/DQ for ``int8``.
        key: from ``engine_key``.
        folder: of the cache; None = the usual one.
        progress: called with one readable line per step.
        workspace_bytes: scratch memory the builder may plan for.

    Raises:
        ModelError: TensorRT refuses the model, or the cache cannot be written.
        DeviceError: TensorRT or the device is missing.
    """
    path = key.path(folder)
    if _whole(path):
        return path
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with one_at_a_time(path.with_suffix(".lock"), "builds the same engine", progress):
            if _whole(path):
                return path
            started = time.monotonic()
            progress(f"building a TensorRT {key.precision} engine for {key.device} (a minute or two, once)")
            with _beating(progress, started):
                data = _build(model, key, workspace_bytes)
            _store(path, data, key)
            progress(f"built {path.name} in {time.monotonic() - started:.0f} s")
    except OSError as error:
        raise ModelError(
            f"the engine cache cannot be written ({error.strerror or error})",
            where=str(path.parent),
            remedy="Free some space or point DUALFACE_CACHE to a folder you may write.",
        ) from error
    return path


def _build(model: Path, key: EngineKey, workspace_bytes: int) -> bytes:
    api = _tensorrt()
    trt = api.trt
    data = model.read_bytes()
    if key.precision == "fp16":
        data, _ = to_half(data)
    try:
        builder = trt.Builder(api.logger)
        network = builder.create_network(api.network_flags())
        parser = trt.OnnxParser(network, api.logger)
        if not parser.parse(data):
            reasons = "; ".join(str(parser.get_error(index)) for index in range(parser.num_errors))
            raise ModelError(f"TensorRT cannot read the graph: {reasons}", where=str(model))
        config = builder.create_builder_config()
        config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, workspace_bytes)
        config.set_tactic_sources(_own_tactics(trt))
        api.set_precision(config, key.precision)
        profile = builder.create_optimization_profile()
        given = network.get_input(0)
        tail = (3, key.profile.height_px, key.profile.width_px)
        profile.set_shape(given.name, (1, *tail), (key.profile.best_batch, *tail), (key.profile.max_batch, *tail))
        config.add_optimization_profile(profile)
        plan = builder.build_serialized_network(network, config)
    except DualfaceError:
        raise
    except Exception as error:  # pybind's TypeError when the builder cannot reach a device, RuntimeErrors otherwise
        raise DeviceError(f"TensorRT's builder failed ({error})", where="tensorrt", remedy="See nvidia-smi.") from error
    if plan is None:
        raise ModelError("TensorRT found no implementation for the graph", where=str(model))
    return bytes(memoryview(plan))


def _own_tactics(trt: Any) -> int:
    """TensorRT's own kernels as a bit mask: convolution networks need neither cuBLAS nor cuDNN.

    TensorRT 8 would load both (gigabytes that need not be installed); later versions leave them out by themselves.
    """
    names = ("EDGE_MASK_CONVOLUTIONS", "JIT_CONVOLUTIONS")
    return sum(1 << int(getattr(trt.TacticSource, name)) for name in names if hasattr(trt.TacticSource, name))


def _store(path: Path, data: bytes, key: EngineKey) -> None:
    """The stamp first, then the engine, each complete or absent."""
    stamp = {"sha256": hashlib.sha256(data).hexdigest(), "bytes": len(data), "key": asdict(key)}
    for target, content in ((path.with_suffix(".json"), json.dumps(stamp, indent=1).encode()), (path, data)):
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{target.name}.")
        temporary = Path(name)
        try:
            with os.fdopen(handle, "wb") as stream:
                stream.write(content)
                stream.flush()
                os.fsync(stream.fileno())
            temporary.replace(target)
        except BaseException:
            temporary.unlink(missing_ok=True)
            raise


def _whole(path: Path) -> bool:
    try:
        stamp = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
        return bool(stamp["sha256"] == model_sha256(path))
    except (OSError, ValueError, KeyError, TypeError):
        return False


@contextlib.contextmanager
def _beating(progress: Progress, started: float) -> Iterator[None]:
    """A line every few seconds while the builder is silent."""
    done = threading.Event()

    def beat() -> None:
        while not done.wait(_BEAT_S):
            progress(f"still building ({time.monotonic() - started:.0f} s)")

    thread = threading.Thread(target=beat, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()


class Engine:
    """A loaded engine with its input and output buffers on the device; used by one thread at a time.

    Attributes:
        input: CuPy array (max_batch, 3, height, width) in the engine's own type; write here, then ``run``.
        outputs: CuPy float32 arrays by name, each with the largest batch in front; rows beyond the batch are stale.

    Args:
        path: from ``built_engine``.
        profile: the shapes it was built with.
        stream: CuPy stream that everything is queued on.
        graphs: record CUDA graphs for the usual batch sizes on their first use. A graph needs a context of its own:
            its kernels read shapes that the context keeps. TensorRT 8.5 lets a profile serve only one context, so
            there the switch has no effect.

    Raises:
        ModelError: the file does not load on this machine.
        VramBudgetError: no memory for its buffers.
        DeviceError: anything else.
    """

    def __init__(self, path: Path, profile: Profile, stream: Any, *, graphs: bool = True) -> None:
        import cupy

        self._api = _tensorrt()
        self._cupy = cupy
        self._profile = profile
        self._stream = stream
        self._use_graphs = graphs and self._api.contexts_share_profiles
        trt = self._api.trt
        runtime = trt.Runtime(self._api.logger)
        self._engine: Any = runtime.deserialize_cuda_engine(path.read_bytes())
        if self._engine is None:
            raise ModelError("TensorRT cannot load the engine", where=str(path), remedy="Delete it to build it again.")
        self._runtime = runtime
        names = [self._engine.get_tensor_name(index) for index in range(self._engine.num_io_tensors)]
        inputs = [n for n in names if self._engine.get_tensor_mode(n) == trt.TensorIOMode.INPUT]
        if len(inputs) != 1:
            raise ModelError(f"an engine with {len(inputs)} inputs", where=str(path))
        self.input_name = inputs[0]
        self.output_names = [n for n in names if n not in inputs]
        dtype = self._api.dtype(self._engine.get_tensor_dtype(self.input_name))
        try:
            self._scratch_bytes = self._api.scratch_bytes(self._engine)
            self._scratch = cupy.empty(max(1, self._scratch_bytes), np.uint8)
            self.input = cupy.zeros((profile.max_batch, 3, profile.height_px, profile.width_px), dtype)
            self._any = self._context(profile.max_batch)
            self.outputs: dict[str, Any] = {}
            for name in self.output_names:
                if self._api.dtype(self._engine.get_tensor_dtype(name)) != np.float32:
                    raise ModelError(f"the output {name} is not float32", where=str(path))
                shape = tuple(int(side) for side in self._any.get_tensor_shape(name))
                self.outputs[name] = cupy.zeros(shape, np.float32)
        except MemoryError as error:
            raise VramBudgetError("no device memory for the engine's buffers", where=str(path)) from error
        self._bind(self._any)
        cupy.cuda.runtime.deviceSynchronize()  # the buffers were cleared on another stream
        self._graphs: dict[int, tuple[Any, Any]] = {}

    @property
    def scratch_bytes(self) -> int:
        """Device memory that running takes beside weights, inputs and outputs."""
        return self._scratch_bytes

    def run(self, batch: int) -> dict[str, Any]:
        """Queue the network on the first ``batch`` rows of ``input``; the caller synchronises.

        Returns:
            ``outputs``, whose first ``batch`` rows will hold the result.

        Raises:
            ValueError: the batch is empty or too large.
            DeviceError: TensorRT failed.
        """
        if not 1 <= batch <= self._profile.max_batch:
            raise ValueError(f"a batch of {batch}, the engine takes 1 to {self._profile.max_batch}")
        if self._use_graphs and batch in GRAPH_BATCHES:
            self._graph(batch).launch(self._stream)
        else:
            self._set_batch(self._any, batch)
            self._enqueue(self._any)
        return self.outputs

    def close(self) -> None:
        """Free everything; harmless when called twice. The stream must have been synchronised."""
        self._graphs = {}
        self._any = None
        self.outputs = {}
        self.input = self._scratch = None
        self._engine = self._runtime = None

    def _graph(self, batch: int) -> Any:
        found = self._graphs.get(batch)
        if found is None:
            context = self._context(batch)
            self._bind(context)
            self._enqueue(context)  # the first run of a shape sets things up that must not be part of a graph
            self._stream.synchronize()
            with self._stream:
                self._stream.begin_capture()
                try:
                    self._enqueue(context)
                finally:
                    graph = self._stream.end_capture()
            found = self._graphs[batch] = (graph, context)
        return found[0]

    def _context(self, batch: int) -> Any:
        context = self._api.context(self._engine, int(self._scratch.data.ptr), self._scratch_bytes)
        self._set_batch(context, batch)
        return context

    def _set_batch(self, context: Any, batch: int) -> None:
        if not context.set_input_shape(self.input_name, (batch, *self.input.shape[1:])):
            raise DeviceError(f"TensorRT refuses a batch of {batch}", where="tensorrt")

    def _bind(self, context: Any) -> None:
        addresses = {self.input_name: self.input, **self.outputs}
        for name, array in addresses.items():
            if not context.set_tensor_address(name, int(array.data.ptr)):
                raise DeviceError(f"TensorRT refuses the address of {name}", where="tensorrt")

    def _enqueue(self, context: Any) -> None:
        if not context.execute_async_v3(self._stream.ptr):
            raise DeviceError("TensorRT could not run the network", where="tensorrt", remedy="See nvidia-smi.")


def cached_engines(folder: Path | None = None) -> Sequence[dict[str, Any]]:
    """What the engine cache holds: the stamp of every whole engine, for lists and VRAM plans."""
    root = folder or cache_dir() / "engines"
    whole = [path for path in sorted(root.glob("*.engine")) if _whole(path)]
    return [{**json.loads(path.with_suffix(".json").read_text(encoding="utf-8")), "path": str(path)} for path in whole]
