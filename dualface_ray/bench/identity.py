"""The identity benchmark: every scene with truth through detection, identity and framing; peers in the same table.

    SCENES x seeds ─► clip + truth ─► RecordedRun (cached) ─► replay ─► score ─┐
                                            └─► peers' trackers ───────────────┴─► table

The split ``test`` uses faces and seeds that tuning never sees. ``dualface bench identity`` runs it; so does
``python -m dualface_ray.bench.identity``, without the rest of the command line.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path

from dualface_ray.bench import peers
from dualface_ray.bench.portraits import SEEDS, SPLITS, cast
from dualface_ray.bench.recorded import RecordedRun, record
from dualface_ray.bench.replaying import replay
from dualface_ray.bench.scoreboard import IdentityBench, SceneResult
from dualface_ray.bench.scoring import identities, score
from dualface_ray.demo import SCENES, FaceImage, SceneTruth, render, truth_path
from dualface_ray.errors import DualfaceError, InputError, SettingsError
from dualface_ray.media import write_atomic
from dualface_ray.models import cache_dir, ensure, model_sha256
from dualface_ray.settings import Settings, resolve

Say = Callable[[str], None]

WIDTH_PX, HEIGHT_PX, RATE, SECONDS = 1280, 720, Fraction(25), 16.0
_SEES = (
    "detect",
    *(
        f"backends/cpu/{part}.py"
        for part in ("detector", "descriptor", "embedder", "letterbox", "session", "signature")
    ),
)
"""Source code that decides what a recorded run holds."""


def run_identity_bench(
    split: str = "test",
    out: Path | None = None,
    *,
    scenes: Sequence[str] = (),
    seeds: Sequence[int] = (),
    all_seeds: bool = False,
    seconds: float = SECONDS,
    settings: Settings | None = None,
    say: Say = lambda _line: None,
) -> IdentityBench:
    """Measure; the first run renders and records every scene (a minute each), later ones replay.

    Args:
        split: ``train`` or ``test``.
        out: a folder for ``identity-SPLIT.json`` and ``.txt``; None = nothing is written.
        scenes: names; empty = all.
        seeds: variants; empty = the first of the split.
        all_seeds: every variant of the split, and ``seeds`` besides.
        seconds: length of each scene.
        settings: to be measured; detection settings that change what is seen make new recordings.
        say: gets a line per step.

    Raises:
        SettingsError: an unknown split or scene.
        DualfaceError: an extra, a model or the additional portraits are missing.
    """
    wanted = list(scenes) or [name for name in SCENES if name != "sync"]
    unknown = [name for name in wanted if name not in SCENES]
    if unknown:
        raise SettingsError(f"unknown scene {unknown[0]!r}", where="scenes", remedy=f"Use any of: {', '.join(SCENES)}.")
    resolved = settings or resolve()
    faces = cast(split)
    variants = dict.fromkeys((*(SEEDS[split] if all_seeds else ()), *seeds)) or SEEDS[split][:1]
    results = []
    for name in wanted:
        for seed in variants:
            say(f"{name}, seed {seed}")
            truth, run = recorded_scene(name, seed, faces, seconds, resolved, say)
            done = replay(run, resolved)
            ours = score(truth, done.frames, detected=done.detected, embedded=done.embedded, director_s=done.director_s)
            others = {
                peer: identities(truth, peers.claims(peer, run), others_allowed=True) for peer in peers.available()
            }
            results.append(SceneResult(name, seed, ours, others))
    bench = IdentityBench(split, tuple(results))
    if out is not None:
        write_atomic(out / f"identity-{split}.json", bench.to_json(), make_folder=True)
        write_atomic(out / f"identity-{split}.txt", bench.text().encode())
    return bench


def recorded_scene(
    name: str, seed: int, faces: Sequence[FaceImage], seconds: float, settings: Settings, say: Say = lambda _line: None
) -> tuple[SceneTruth, RecordedRun]:
    """A rendered and recorded scene, from the cache when the same was made before.

    Raises:
        DualfaceError: it cannot be rendered, decoded or examined.
    """
    clip_key = _digest([name, seed, seconds, WIDTH_PX, HEIGHT_PX, str(RATE)], faces, ("demo",))
    clip = cache_dir() / "scenes" / f"{name}-{seed}-{clip_key}" / f"{name}.mp4"
    try:
        truth = SceneTruth.load(truth_path(clip))
    except (OSError, ValueError):
        say("  rendering")
        truth = render(
            SCENES[name], clip, width_px=WIDTH_PX, height_px=HEIGHT_PX, rate=RATE, duration_s=seconds, seed=seed,
            faces=faces, name=name,
        )  # fmt: skip
    detect, identity = settings.detect, settings.identity
    models = [
        model_sha256(ensure(detect.model, detect.model_path)),
        model_sha256(ensure(identity.embedding_model, identity.embedding_path)),
    ]
    seen_by = [detect.input_width_px, detect.input_height_px, detect.min_score, detect.nms_iou, detect.max_faces]
    recording = clip.with_name(f"run-{_digest([*models, *seen_by], (), _SEES)}.npz")
    try:
        return truth, RecordedRun.load(recording)
    except InputError:
        say("  recording")
    run = record(clip, settings)
    run.save(recording)
    return truth, run


def _digest(facts: Sequence[object], faces: Sequence[FaceImage], sources: Sequence[str]) -> str:
    """Changes with everything that a cached file depends on: parameters, faces and source code."""
    digest = hashlib.sha256(json.dumps(facts).encode())
    for face in faces:
        digest.update(face.name.encode() + face.bgr.tobytes() + face.alpha.tobytes())
    package = Path(__file__).resolve().parent.parent
    for source in sources:
        path = package / source
        for file in sorted(path.glob("*.py")) if path.is_dir() else [path]:
            digest.update(file.read_bytes())
    return digest.hexdigest()[:16]


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m dualface_ray.bench.identity", description=__doc__)
    parser.add_argument("--split", choices=SPLITS, default="test")
    parser.add_argument("--scene", action="append", default=[], help="a scene's name; may be given several times")
    parser.add_argument("--seed", action="append", type=int, default=[], help="a variant; may be given several times")
    parser.add_argument("--all-seeds", action="store_true", help="every variant of the split")
    parser.add_argument("--seconds", type=float, default=SECONDS)
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="a setting to measure")
    parser.add_argument("--output", "-o", type=Path, help="folder for the table and the figures")
    chosen = parser.parse_args(arguments)
    try:
        bench = run_identity_bench(
            chosen.split,
            chosen.output,
            scenes=chosen.scene,
            seeds=chosen.seed,
            all_seeds=chosen.all_seeds,
            seconds=chosen.seconds,
            settings=resolve(sets=chosen.set),
            say=lambda line: print(line, file=sys.stderr, flush=True),  # noqa: T201 - this is the command itself
        )
    except DualfaceError as error:
        print(f"error: {error}", file=sys.stderr)  # noqa: T201
        return error.exit_code
    sys.stdout.write(bench.text())
    return 0


if __name__ == "__main__":
    sys.exit(main())
