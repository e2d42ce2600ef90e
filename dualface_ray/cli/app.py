"""The typer application: every command with its options; the work is done in the module of the command."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from dualface_ray.cli.app_bench import bench_app
from dualface_ray.cli.app_models import models_app
from dualface_ray.cli.faults import guarded
from dualface_ray.cli.options import Address, Config, Json, LayoutOption, Overwrite, Quiet, Sets, finish

app = typer.Typer(
    name="dualface",
    help="Two faces in, one split screen out: videos of two people become steady split-screen videos.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # plain help: Typer's tables show flags as if they took a value, and fold at 80 columns
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.add_typer(models_app)
app.add_typer(bench_app)


def _show_version(wanted: bool) -> None:
    if wanted:
        from dualface_ray import __version__

        typer.echo(f"dualface {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and leave.")
    ] = False,
) -> None:
    """Take the options that stand before a command."""


@app.command()
def run(
    output: Annotated[str, typer.Option("--output", "-o", metavar="DIR", help="Folder of the results.")],
    inputs: Annotated[
        list[str] | None,
        typer.Argument(metavar="INPUT", help="Videos, folders, quoted patterns, addresses.", show_default=False),
    ] = None,
    list_file: Annotated[
        Path | None, typer.Option("--list", metavar="FILE", help="A file with one INPUT a line.")
    ] = None,
    config: Config = None,
    sets: Sets = None,
    layout: LayoutOption = None,
    overwrite: Overwrite = False,
    as_json: Json = False,
    quiet: Quiet = False,
    address: Address = None,
) -> None:
    """Make the split-screen video of each INPUT.

    An INPUT is a file, a folder (all videos in it), a pattern ('talks/**/*.mp4') or an address
    (s3://bucket/talks/*.mp4, gs://..., https://host/talk.mp4). A name that begins with a dash is written ./-talk.mp4.

    Exit code 0: every video is done, or was done before.

    Exit code 1: some videos failed; the others are complete.

    Exit code 2: the request itself was wrong; nothing was started or written.
    """
    from dualface_ray.cli.run import Request, run_request

    if not inputs and list_file is None:
        raise typer.BadParameter("no input was named", param_hint="INPUT")
    request = Request(
        inputs=tuple(inputs or ()),
        output=output,
        list_file=list_file,
        config=config,
        sets=tuple(sets or ()),
        layout=layout.value if layout else None,
        overwrite=overwrite,
        address=address,
    )
    finish(guarded(lambda: run_request(request, as_json=as_json, quiet=quiet), as_json=as_json))


@app.command(short_help="Run the job on a cluster; it goes on without this terminal.")
def submit(
    inputs: Annotated[
        list[str] | None, typer.Argument(metavar="INPUT", help="As for run, as the cluster's machines know them.")
    ] = None,
    output: Annotated[
        str | None, typer.Option("--output", "-o", metavar="DIR", help="Folder of the results, likewise.")
    ] = None,
    config: Config = None,
    sets: Sets = None,
    layout: LayoutOption = None,
    overwrite: Overwrite = False,
    as_json: Json = False,
    quiet: Quiet = False,
    address: Annotated[
        str | None, typer.Option("--address", metavar="URL", help="The dashboard; default: http://127.0.0.1:8265.")
    ] = None,
    list_file: Annotated[
        Path | None, typer.Option("--list", metavar="FILE", help="A file here with one INPUT a line.")
    ] = None,
    no_follow: Annotated[bool, typer.Option("--no-follow", help="Only send it; do not show its log.")] = False,
    working_dir: Annotated[
        Path | None, typer.Option("--working-dir", metavar="DIR", help="Send this checkout along.")
    ] = None,
    name: Annotated[str | None, typer.Option("--id", metavar="NAME", help="The job's name on the cluster.")] = None,
    follow: Annotated[str | None, typer.Option("--follow", metavar="ID", help="Follow a job that is there.")] = None,
    stop: Annotated[str | None, typer.Option("--stop", metavar="ID", help="Stop a job that is there.")] = None,
    status: Annotated[str | None, typer.Option("--status", metavar="ID", help="Say how a job stands.")] = None,
) -> None:
    """Run the job on a cluster, where it goes on when this terminal closes.

    The exit code is that of run; 130 when it was stopped, or left running by Ctrl-C.

    Exit code 2: the request was wrong, or the cluster does not take it; nothing was submitted.
    """
    from dualface_ray.cli.run import Request
    from dualface_ray.cli.submit import SubmitRequest, check_one_job, run_submit

    new = {"INPUT": inputs, "--list": list_file, "--output": output, "--id": name, "--working-dir": working_dir}
    check_one_job({"--follow": follow, "--stop": stop, "--status": status}, new)
    wanted = None
    if inputs or list_file:
        if output is None:
            raise typer.BadParameter("name the folder of the results", param_hint="'--output' / '-o'")
        wanted = Request(
            inputs=tuple(inputs or ()),
            output=output,
            list_file=list_file,
            config=config,
            sets=tuple(sets or ()),
            layout=layout.value if layout else None,
            overwrite=overwrite,
        )
    request = SubmitRequest(
        run=wanted,
        address=address,
        stay=not no_follow,
        working_dir=working_dir,
        name=name,
        follow=follow,
        stop=stop,
        status=status,
    )
    finish(guarded(lambda: run_submit(request, as_json=as_json, quiet=quiet), as_json=as_json))


@app.command(short_help="Make a clip of two people and run the pipeline on it.")
def demo(
    output: Annotated[Path, typer.Option("--output", "-o", metavar="DIR", help="Folder of clip and results.")] = Path(
        "demo-out"
    ),
    scene: Annotated[
        str, typer.Option("--scene", metavar="NAME", help="Which scene; a wrong name lists them.")
    ] = "conversation",
    faces: Annotated[
        Path | None, typer.Option("--faces", metavar="DIR", help="Photographs of your own people.")
    ] = None,
    seconds: Annotated[float, typer.Option("--seconds", metavar="S", help="Length of the clip.")] = 20.0,
    seed: Annotated[int, typer.Option("--seed", metavar="N", help="Another variant of the scene.")] = 0,
    render_only: Annotated[bool, typer.Option("--render-only", help="Make the clip and its truth, no more.")] = False,
    sets: Sets = None,
    layout: LayoutOption = None,
    overwrite: Overwrite = False,
    as_json: Json = False,
    quiet: Quiet = False,
) -> None:
    """Make a clip of two people with sound and run the real pipeline on it."""
    from dualface_ray.cli.demo import DemoRequest, run_demo

    request = DemoRequest(
        output=output,
        scene=scene,
        faces=faces,
        seconds=seconds,
        seed=seed,
        layout=layout.value if layout else None,
        sets=tuple(sets or ()),
        render_only=render_only,
        overwrite=overwrite,
    )
    finish(guarded(lambda: run_demo(request, as_json=as_json, quiet=quiet), as_json=as_json))


@app.command("inspect")
def inspect_command(
    tracks: Annotated[Path, typer.Argument(metavar="TRACKS", help="A .tracks.jsonl that a finished run wrote.")],
    source: Annotated[
        Path | None, typer.Option("--source", metavar="FILE", help="The source video, if it has moved.")
    ] = None,
    picture: Annotated[bool, typer.Option("--picture/--no-picture", help="Write contact sheet and timeline.")] = True,
    overlay: Annotated[bool, typer.Option("--overlay", help="Write the source with boxes and crops over it.")] = False,
    as_json: Json = False,
) -> None:
    """Say and show who was where in a finished video."""
    from dualface_ray.cli.inspect import InspectRequest, inspect_tracks

    request = InspectRequest(tracks, source, picture, overlay)
    finish(guarded(lambda: inspect_tracks(request, as_json=as_json), as_json=as_json))


@app.command(short_help="Say what this machine has: cores, memory, disks, cards.")
def probe(
    name: Annotated[
        str,
        typer.Argument(metavar="NAME", help="Profile to hold it against; default: the card's.", show_default=False),
    ] = "",
    verify: Annotated[bool, typer.Option("--verify", help="Compare with the profile, figure by figure.")] = False,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", help="Write a static profile (YAML).")
    ] = None,
    input_folder: Annotated[
        Path | None, typer.Option("--input", metavar="DIR", help="Also measure how fast this folder reads.")
    ] = None,
    scratch: Annotated[
        Path | None, typer.Option("--scratch", metavar="DIR", help="The same; may get a file of its own for it.")
    ] = None,
    card: Annotated[
        int | None, typer.Option("--card", metavar="N", help="Only this card, as nvidia-smi counts.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Say what this machine has: cores, memory, disks, cards, engines, codecs, encoder sessions.

    Exit code 1: with --verify, a figure of the profile differs or could not be found out.
    """
    from dualface_ray.cli.machine import ProbeRequest, probe_machine

    request = ProbeRequest(name, verify, input_folder, scratch, output, card)
    finish(guarded(lambda: probe_machine(request, as_json=as_json), as_json=as_json))


@app.command(short_help="Check that everything a run needs is there.")
def doctor(
    profile: Annotated[
        str, typer.Option("--profile", metavar="NAME", help="Hold the cards against it; default: each card's own.")
    ] = "",
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="DIR", help="Where results shall go; default: here.")
    ] = None,
    scratch: Annotated[Path | None, typer.Option("--scratch", metavar="DIR", help="A scratch folder to check.")] = None,
    config: Config = None,
    sets: Sets = None,
    as_json: Json = False,
) -> None:
    """Check that everything a run needs is there; name the remedy of what is not."""
    from dualface_ray.cli.doctor import DoctorRequest, examine

    request = DoctorRequest(profile, output, scratch, config, tuple(sets or ()))
    finish(guarded(lambda: examine(request, as_json=as_json), as_json=as_json))


def execute(argv: Sequence[str]) -> int:
    """Run the command line and return its exit code; nothing escapes but the end of the interpreter."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")  # a name that the terminal cannot write is no reason to fail
    command = typer.main.get_command(app)

    def call() -> int:
        result = command.main(args=list(argv), prog_name="dualface", standalone_mode=False)
        return result if isinstance(result, int) else 0

    return guarded(call, as_json="--json" in argv, argv=argv)
