"""One ONNX Runtime session within a thread budget."""

from __future__ import annotations

from pathlib import Path

import onnxruntime

from dualface_ray.errors import ModelError


def open_session(model: Path | bytes, threads: int, where: str = "") -> onnxruntime.InferenceSession:
    """A CPU session that uses ``threads`` threads while it computes and none while it waits.

    Args:
        model: an ONNX file or its content.
        threads: cores it may use.
        where: what to call the model in an error; a file's own path when empty.

    Raises:
        ModelError: ONNX Runtime cannot load it.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = max(1, threads)
    options.inter_op_num_threads = 1
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # waiting threads must not burn the cores
    options.log_severity_level = 3
    try:
        source = model if isinstance(model, bytes) else str(model)
        return onnxruntime.InferenceSession(source, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # its exception classes share no public base
        raise ModelError(f"ONNX Runtime cannot load it: {error}", where=where or str(model)) from error
