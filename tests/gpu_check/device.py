"""What the machine has: versions of everything that a report should name."""

from __future__ import annotations

import sys
from pathlib import Path

from gpu_check.steps import need, say, step


@step()
def versions(work: Path) -> None:
    import cupy
    import numpy

    from dualface_ray.backends.cuda.vendor import context_handle, device, video_codec
    from dualface_ray.models.trt import tensorrt_version

    runtime = cupy.cuda.runtime
    say("python", sys.version.split()[0], "numpy", numpy.__version__, "cupy", cupy.__version__)
    say("driver", runtime.driverGetVersion(), "runtime", runtime.runtimeGetVersion(), "device", device())
    say("TensorRT", tensorrt_version())
    nvc = video_codec()
    say("PyNvVideoCodec", getattr(nvc, "__version__", "?"), "context", hex(context_handle()))
    need(len(device().uuid) == 16, "the device has a uuid")
    packet = nvc.PacketData()
    packet.bsl_data, packet.bsl, packet.pts = 1 << 46, 5, -7
    need((packet.bsl_data, packet.bsl, packet.pts) == (1 << 46, 5, -7), "PacketData takes addresses and negative pts")
