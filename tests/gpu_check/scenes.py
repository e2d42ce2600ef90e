# ruff: noqa: B905
"""Every demo scene through both backends: pools of processes, which find their functions here by name."""

from __future__ import annotations

import os
from fractions import Fraction
from pathlib import Path
from typing import Any

from gpu_check.material import SMALL
from gpu_check.portraits import portraits
from gpu_check.steps import MIB, clock, need, say, step


def render_scene(name: str, work: str, seconds: float, seed: int) -> str:
    from dualface_ray.demo import SCENES, render

    path = Path(work) / f"scene-{name}-{seed}-{seconds:g}.mp4"
    if not path.exists():
        partial = path.with_name(f"part-{path.name}")
        render(
            SCENES[name], partial, width_px=960, height_px=540, rate=Fraction(25), duration_s=seconds, seed=seed,
            faces=portraits(), name=name,
        )  # fmt: skip
        partial.rename(path)
    return str(path)


def scene_tracks(path: str, backend: str, every_frame: bool, work: str) -> list[dict[str, Any]]:
    """Faces of every frame as the lane of this backend tells them."""
    import json

    import in_process

    from dualface_ray.backends import DevicePlan, load_backend
    from dualface_ray.settings import resolve

    settings = resolve(every_frame=every_frame, **{**SMALL, "encode.preset": "ultrafast"})
    chosen = load_backend(backend, DevicePlan(orientations=("landscape",)))
    in_process.load_backend = lambda _: chosen
    folder = Path(work) / f"out-{backend}-{int(every_frame)}-{Path(path).stem}"
    folder.mkdir(exist_ok=True)
    with in_process.InProcessLane(settings, streams=1, pool_bytes=160 * MIB) as services:
        status = services.run(in_process.job_for(Path(path), folder, settings), 240)
    if status.error is not None:
        raise RuntimeError(f"{backend} {Path(path).stem}: {status.error}")
    lines = next(folder.glob("*.tracks.jsonl")).read_text().splitlines()[1:]
    return [json.loads(line)["faces"] for line in lines]


def swapped(mine: dict[str, Any], other: dict[str, Any]) -> bool:
    """Whether somebody carries the other's letter: their box lies on the other person's of the CPU lane."""
    import numpy as np

    boxes = {(side, p): faces[p]["box"] for side, faces in (("m", mine), ("o", other)) for p in ("A", "B")}
    if any(box is None for box in boxes.values()):
        return False
    centre = {key: np.array([(b[0] + b[2]) / 2, (b[1] + b[3]) / 2]) for key, b in boxes.items()}
    straight = sum(float(np.linalg.norm(centre["m", p] - centre["o", p])) for p in "AB")
    crossed = sum(float(np.linalg.norm(centre["m", p] - centre["o", q])) for p, q in ("AB", "BA"))
    return crossed < straight


@step(540, extra=True)
def scenes(work: Path) -> None:
    """Every demo scene through both backends, on the grid and on every frame: labels, states, boxes."""
    import multiprocessing
    from concurrent.futures import ProcessPoolExecutor

    import numpy as np

    from dualface_ray.demo import SCENES
    from dualface_ray.hardware import cores

    seconds, seed = (float(word) for word in os.environ.get("GPU_CHECK_SCENES", "8 0").split())
    spawn_context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(max(1, cores() - 1), mp_context=spawn_context) as pool, clock("rendering"):
        names = list(SCENES)
        paths = list(
            pool.map(render_scene, names, [str(work)] * len(names), [seconds] * len(names), [int(seed)] * len(names))
        )
    whole = True
    for every_frame in (False, True):
        found = {}
        for backend, processes in (("cuda", 4), ("cpu", max(1, cores() - 1))):
            with ProcessPoolExecutor(processes, mp_context=spawn_context) as pool, clock(f"{backend} {every_frame=}"):
                count = len(paths)
                jobs = pool.map(scene_tracks, paths, [backend] * count, [every_frame] * count, [str(work)] * count)
                found[backend] = dict(zip(names, jobs))
        apart, states, frames, wrong = [], [], 0, []
        for name in names:
            pairs = list(zip(found["cuda"][name], found["cpu"][name], strict=True))
            frames += len(pairs)
            bad = sum(swapped(a, b) for a, b in pairs)
            same = [a[p]["state"] == b[p]["state"] for a, b in pairs for p in ("A", "B")]
            both = [(a[p]["box"], b[p]["box"]) for a, b in pairs for p in ("A", "B") if a[p]["box"] and b[p]["box"]]
            distance = [max(abs(x - y) for x, y in zip(*one)) for one in both]
            states += same
            apart += distance
            if bad or np.mean(same) < 0.995:
                wrong.append(name)
                worst = max(distance, default=0)
                alike = float(np.mean(same))
                say(f"{name}: {bad} of {len(pairs)} frames swapped, states {alike:.4f}, worst box {worst:.1f} px")
        p50, p95, p99 = np.percentile(apart, (50, 95, 99))
        say(
            f"scenes every_frame={every_frame}: {len(names)} scenes, {frames} frames, "
            f"states equal {np.mean(states):.4f}, "
            f"boxes p50 {p50:.2f} p95 {p95:.2f} p99 {p99:.2f} max {max(apart):.1f} px, "
            f"not alike: {', '.join(wrong) or 'none'}"
        )
        whole = whole and not wrong and np.mean(states) >= 0.995
    need(whole, "the same labels everywhere, the same states in 99.5 % of frames")
