"""One ONNX Runtime session within a thread budget."""

from __future__ import annotations

from pathlib import Path

import onnxruntime

from dualface_ray.errors import ModelError


def open_session(path: Path, threads: int) -> onnxruntime.InferenceSession:
    """A CPU session that uses ``threads`` threads while it computes and none while it waits.

    Raises:
        ModelError: ONNX Runtime cannot load the file.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = max(1, threads)
    options.inter_op_num_threads = 1
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # waiting threads must not burn the cores
    options.log_severity_level = 3
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # its exception classes share no public base
        raise ModelError(f"ONNX Runtime cannot load it: {error}", where=str(path)) from error
