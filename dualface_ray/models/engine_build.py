"""Building an engine: ONNX with the precision in the graph becomes TensorRT's plan; a minute or two on the card."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from dualface_ray.errors import ModelError
from dualface_ray.models.engine_key import EngineKey
from dualface_ray.models.precision import to_half
from dualface_ray.models.trt import device_faults, tensorrt

Progress = Callable[[str], None]

_BEAT_S = 10.0


def build_engine(model: Path, key: EngineKey, workspace_bytes: int, progress: Progress = lambda line: None) -> bytes:
    """The plan of this key's engine.

    Raises:
        ModelError: TensorRT refuses the model.
        VramBudgetError: the card has no memory for building.
        DeviceError: TensorRT or the device is missing, or failed.
    """
    api, steps = tensorrt(), Steps(progress)
    trt = api.trt
    data = model.read_bytes()
    if key.precision == "fp16":
        data, _ = to_half(data)
        steps.done("weights rounded to fp16")
    with device_faults("building an engine"):
        builder = trt.Builder(api.logger)
        network = builder.create_network(api.network_flags())
        parser = trt.OnnxParser(network, api.logger)
        if not parser.parse(data):
            reasons = "; ".join(str(parser.get_error(index)) for index in range(parser.num_errors))
            raise ModelError(f"TensorRT cannot read the graph: {reasons}", where=str(model))
        steps.done(f"graph of {network.num_layers} layers read")
        config = builder.create_builder_config()
        config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, workspace_bytes)
        config.set_tactic_sources(_own_tactics(trt))
        api.set_precision(config, key.precision)
        profile = builder.create_optimization_profile()
        given = network.get_input(0)
        tail = (3, key.profile.height_px, key.profile.width_px)
        profile.set_shape(given.name, (1, *tail), (key.profile.best_batch, *tail), (key.profile.max_batch, *tail))
        config.add_optimization_profile(profile)
        with _beating(steps):
            plan = builder.build_serialized_network(network, config)
    if plan is None:
        raise api.failure("TensorRT found no implementation for the graph", str(model))
    steps.done("kernels chosen")
    return bytes(memoryview(plan))


class Steps:
    """Says each step with the seconds it took."""

    def __init__(self, progress: Progress) -> None:
        self._say = progress
        self._began_s = time.monotonic()

    @property
    def seconds(self) -> float:
        """Since the last step."""
        return time.monotonic() - self._began_s

    def done(self, what: str) -> None:
        """A step has ended."""
        self._say(f"{what} ({self.seconds:.1f} s)")
        self._began_s = time.monotonic()

    def going_on(self, what: str) -> None:
        """A step takes its time."""
        self._say(f"{what} ({self.seconds:.0f} s so far)")


def _own_tactics(trt: Any) -> int:
    """TensorRT's own kernels as a bit mask: convolution networks need neither cuBLAS nor cuDNN.

    TensorRT 8 would load both (gigabytes that need not be installed); later versions leave them out by themselves.
    """
    names = ("EDGE_MASK_CONVOLUTIONS", "JIT_CONVOLUTIONS")
    return sum(1 << int(getattr(trt.TacticSource, name)) for name in names if hasattr(trt.TacticSource, name))


@contextlib.contextmanager
def _beating(steps: Steps) -> Iterator[None]:
    """A line every few seconds while the builder is silent."""
    done = threading.Event()

    def beat() -> None:
        while not done.wait(_BEAT_S):
            steps.going_on("choosing kernels")

    thread = threading.Thread(target=beat, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
