"""The TensorRT engines: built, and held against the models they were built from."""

from __future__ import annotations

import time
from pathlib import Path

from gpu_check.material import photographs
from gpu_check.steps import MIB, clock, need, say, step


@step(400)
def engine_build(work: Path) -> None:
    from dualface_ray.backends.cuda.vendor import device
    from dualface_ray.models import Profile, built_engine, engine_key, resolve

    model, card = resolve("centerface"), device()
    for precision in ("fp16",):
        key = engine_key(model, precision, Profile(64, 384, 640), card.name, card.compute_capability)
        with clock(f"{precision} engine"):
            say(built_engine(model, key, progress=say).name)


@step(400)
def embedder_build(work: Path) -> None:
    from dualface_ray.backends.cuda.embedder import load_embedder
    from dualface_ray.settings import Settings

    with clock("fp32 engine of the embedding, built and loaded"):
        load_embedder(Settings()).close()


@step(120)
def engine_run(work: Path) -> None:
    import cupy
    import numpy as np

    from dualface_ray.backends.cuda.launch import new_stream
    from dualface_ray.backends.cuda.vendor import device
    from dualface_ray.models import Engine, Profile, built_engine, engine_key, resolve
    from dualface_ray.models.quantise import run_model

    model, card, profile = resolve("centerface"), device(), Profile(64, 384, 640)
    path = built_engine(model, engine_key(model, "fp16", profile, card.name, card.compute_capability), progress=say)
    picture = np.zeros((1, 3, 384, 640), np.float32)
    photo = photographs()[0]
    part = photo[:384, :640].transpose(2, 0, 1)
    picture[0, :, : part.shape[1], : part.shape[2]] = part
    expected = run_model(model.read_bytes(), [picture])[0]
    for graphs in (False, True):
        stream = new_stream()
        engine = Engine(path, profile, stream, graphs=graphs)
        say("input", engine.input.dtype, "outputs", {n: a.shape for n, a in engine.outputs.items()})
        say(f"graphs={graphs}, scratch {engine.scratch_bytes / MIB:.0f} MiB")
        for batch in (1, 7, 16, 64, 2):
            engine.input[:batch] = cupy.asarray(picture.astype(engine.input.dtype))
            cupy.cuda.runtime.deviceSynchronize()
            engine.run(batch)
            stream.synchronize()
            for name, limit in (("heatmap", 0.02), ("log_size", 0.02), ("landmarks", 0.02), ("offset", 0.08)):
                for row in {0, batch - 1}:
                    got = cupy.asnumpy(engine.outputs[name][row])
                    loss = float(np.linalg.norm(got - expected[name][0]) / np.linalg.norm(expected[name][0]))
                    need(loss < limit, f"batch {batch} row {row} {name}: relative L2 {loss:.4f}")
        for batch in (1, 8, 32, 64):
            engine.run(batch)
            stream.synchronize()
            started, rounds = time.perf_counter(), 100
            for _ in range(rounds):
                engine.run(batch)
            stream.synchronize()
            say(f"batch {batch}: {rounds * batch / (time.perf_counter() - started):.0f} frames/s")
        engine.close()
