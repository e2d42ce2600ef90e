"""``dualface demo``: make a clip of two people, run the real pipeline on it, say where the result is."""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path

from dualface_ray.backends import check_networks
from dualface_ray.cli.display import working
from dualface_ray.cli.run import Request, run_request
from dualface_ray.cli.signals import terminated_is_interrupted
from dualface_ray.cli.text import shown
from dualface_ray.errors import OutputExistsError, RequestError
from dualface_ray.hardware import profile_named


@dataclass(frozen=True, slots=True)
class DemoRequest:
    """What clip to make, and what to do with it."""

    output: Path
    scene: str = "conversation"
    faces: Path | None = None
    seconds: float = 20.0
    seed: int = 0
    layout: str | None = None
    sets: tuple[str, ...] = ()
    render_only: bool = False
    overwrite: bool = False


def run_demo(request: DemoRequest, *, as_json: bool = False, quiet: bool = False) -> int:
    """Render the clip, then process it like any other video; returns the exit code.

    Raises:
        DualfaceError: the request is wrong, or the clip cannot be made.
    """
    pipeline = Request(
        inputs=(str(request.output / f"{request.scene}.mp4"),),
        output=request.output,
        sets=request.sets,
        layout=request.layout,
        overwrite=True,  # the results of a demo are the demo's own, and it shall run each time
    )
    settings = pipeline.settings()  # a wrong one shall be known before half a minute of rendering
    profile_named(settings.lane.profile)
    check_networks(settings)
    talk = not (as_json or quiet)
    with terminated_is_interrupted():
        clip = render_clip(request, talk=talk)
    if as_json:
        sys.stdout.write(json.dumps({"event": "rendered", "clip": str(clip)}) + "\n")
        sys.stdout.flush()
    if request.render_only:
        if talk:
            sys.stdout.write(f"{shown(clip)}\n")
        return 0
    code = run_request(pipeline, as_json=as_json, quiet=quiet)
    if code == 0 and talk:
        from dualface_ray.media import plan_outputs

        (paths,) = plan_outputs(
            [clip], request.output, layout=settings.framing.layout, container=settings.encode.container
        )
        results = ", ".join(shown(path) for path in paths.videos)
        sys.stdout.write(f"\nThe clip:   {shown(clip.resolve())}\nThe result: {results}\n")
    return code


def render_clip(request: DemoRequest, *, talk: bool = True) -> Path:
    """Render the clip and its truth into the output folder; both appear complete or not at all.

    Raises:
        RequestError: no such scene, no such folder, a duration that makes no video.
        OutputExistsError: a file of that name is there and no earlier demo made it.
        DeviceError: the demo extra is not installed.
        EncodeError: the file cannot be written.
    """
    from dualface_ray.demo import SCENES, make_demo, truth_path

    if request.scene not in SCENES:
        remedy = f"Use one of {', '.join(SCENES)}."
        raise RequestError("no such scene", where=f"--scene {request.scene}", remedy=remedy)
    if not 0.5 <= request.seconds <= 3600:
        raise RequestError(
            "a demo lasts 0.5 to 3600 seconds", where=f"--seconds {request.seconds:g}", remedy="Choose another length."
        )
    if request.faces is not None and not request.faces.is_dir():
        raise RequestError("no such folder", where=f"--faces {request.faces}", remedy="Name a folder of photographs.")
    clip = request.output / f"{request.scene}.mp4"
    if clip.exists() and not truth_path(clip).exists() and not request.overwrite:
        raise OutputExistsError(
            "this file is there and no demo made it", where=str(clip), remedy="Use another -o folder or --overwrite."
        )
    doing = f"rendering {request.seconds:g} s of the scene {request.scene}"
    try:
        with (
            working(doing, sys.stderr) if talk else nullcontext(),
            _made(request.output),
            tempfile.TemporaryDirectory(prefix=".render-", dir=request.output) as folder,
        ):
            draft = Path(folder) / clip.name
            make_demo(draft, request.scene, seconds=request.seconds, seed=request.seed, faces_dir=request.faces)
            truth_path(draft).replace(truth_path(clip))
            draft.replace(clip)
    except OSError as error:
        raise RequestError(
            f"the folder cannot be written: {error.strerror or error}",
            where=str(request.output),
            remedy="Use another -o folder.",
        ) from error
    return clip


@contextmanager
def _made(folder: Path) -> Iterator[None]:
    """The folder is there within this block; after a failure a new one that is empty goes again."""
    new = not folder.exists()
    folder.mkdir(parents=True, exist_ok=True)
    try:
        yield
    except Exception:
        if new:
            with suppress(OSError):
                folder.rmdir()
        raise
