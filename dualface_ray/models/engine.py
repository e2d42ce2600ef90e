"""Engine: a TensorRT engine with its buffers, run on addresses in place.

    ONNX (precision in the graph) + profile + card + TensorRT ─► EngineKey ─► cache ─ hit ─────────────► Engine
                                                                   └─ miss ─► lock ─► build (a minute or two) ┘

CUDA graphs: one execution context for each usual batch size, all of them sharing one piece of scratch memory, because a
context must not change its shapes while a graph of its work is alive.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from dualface_ray.errors import DeviceError, ModelError
from dualface_ray.models.engine_key import Profile
from dualface_ray.models.trt import device_faults, tensorrt

GRAPH_BATCHES = (1, 2, 4, 8, 16, 32, 64)
"""Batch sizes that are recorded as CUDA graphs."""


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

        self._api = tensorrt()
        self._cupy = cupy
        self._profile = profile
        self._stream = stream
        self._use_graphs = graphs and self._api.contexts_share_profiles
        self._graphs: dict[int, tuple[Any, Any]] = {}
        with device_faults("loading an engine"):
            self._load(path)
            self._allocate(path)
            self._bind(self._any)
            cupy.cuda.runtime.deviceSynchronize()  # the buffers were cleared on another stream

    def _load(self, path: Path) -> None:
        trt = self._api.trt
        self._runtime: Any = trt.Runtime(self._api.logger)
        self._engine: Any = self._runtime.deserialize_cuda_engine(path.read_bytes())
        if self._engine is None:
            raise self._api.failure("TensorRT cannot load the engine", str(path), "Delete it to build it again.")
        names = [self._engine.get_tensor_name(index) for index in range(self._engine.num_io_tensors)]
        inputs = [n for n in names if self._engine.get_tensor_mode(n) == trt.TensorIOMode.INPUT]
        if len(inputs) != 1:
            raise ModelError(f"an engine with {len(inputs)} inputs", where=str(path))
        self.input_name = inputs[0]
        self.output_names = [n for n in names if n not in inputs]

    def _allocate(self, path: Path) -> None:
        profile, cupy = self._profile, self._cupy
        dtype = self._api.dtype(self._engine.get_tensor_dtype(self.input_name))
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
        with device_faults("running the network"):
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
            raise self._api.failure("TensorRT could not run the network", "tensorrt", "See nvidia-smi.", DeviceError)
