"""The commands below ``dualface bench``."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from dualface_ray.cli.faults import guarded
from dualface_ray.cli.options import Config, Json, LayoutOption, Sets, finish

bench_app = typer.Typer(name="bench", help="Measurements against a reference in the same run.", no_args_is_help=True)


def _finish(measure: Callable[[], int], as_json: bool) -> None:
    """Measure, and leave with the exit code. SIGTERM counts as Ctrl-C: what was laid out for it goes, too."""

    def call() -> int:
        from dualface_ray.cli.signals import terminated_is_interrupted

        with terminated_is_interrupted():
            return measure()

    finish(guarded(call, as_json=as_json))


@bench_app.command("cpu", short_help="Compare the CPU lane with two fixed crops, and with deface.")
def bench_cpu(
    seconds: Annotated[int, typer.Option("--seconds", metavar="S", help="Length of the clip.")] = 60,
    pairs: Annotated[int, typer.Option("--pairs", metavar="N", help="How often both run in turn.")] = 3,
    deface_seconds: Annotated[int, typer.Option("--deface-seconds", metavar="S", help="Its part; 0 = none.")] = 10,
    memory: Annotated[bool, typer.Option("--memory/--no-memory", help="Peak memory at one and two lengths.")] = True,
    as_json: Json = False,
) -> None:
    """Compare the CPU lane with an ffmpeg that crops two fixed windows, and with deface."""
    from dualface_ray.cli.bench import bench_cpu as measure

    _finish(
        lambda: measure(seconds=seconds, pairs=pairs, deface_seconds=deface_seconds, memory=memory, as_json=as_json),
        as_json,
    )


@bench_app.command("identity", short_help="Score who-is-who and framing on scenes with truth.")
def bench_identity(
    split: Annotated[
        str, typer.Option("--split", metavar="NAME", help="train, or test, which tuning never sees.")
    ] = "test",
    scenes: Annotated[list[str] | None, typer.Option("--scene", metavar="NAME", help="Only this scene.")] = None,
    seeds: Annotated[list[int] | None, typer.Option("--seed", metavar="N", help="Only this variant.")] = None,
    all_seeds: Annotated[bool, typer.Option("--all-seeds", help="Every variant of the split.")] = False,
    seconds: Annotated[float, typer.Option("--seconds", metavar="S", help="Length of each scene.")] = 16.0,
    sets: Sets = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="DIR", help="Also write table and figures there.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Score who-is-who and framing on scenes with truth, beside other trackers."""
    from dualface_ray.cli.bench import IdentityRequest
    from dualface_ray.cli.bench import bench_identity as measure

    request = IdentityRequest(
        split, tuple(scenes or ()), tuple(seeds or ()), all_seeds, seconds, tuple(sets or ()), output
    )
    _finish(lambda: measure(request, as_json=as_json), as_json)


@bench_app.command("record", short_help="Write down what is seen in a video.")
def bench_record(
    source: Annotated[Path, typer.Argument(metavar="VIDEO", help="A file.")],
    output: Annotated[Path, typer.Option("--output", "-o", metavar="FILE", help="The recorded run, a .npz.")],
    config: Config = None,
    sets: Sets = None,
    as_json: Json = False,
) -> None:
    """Write down what is seen in every frame of a video: faces, embeddings, signatures."""
    from dualface_ray.cli.recorded import RecordedRequest, record_video

    request = RecordedRequest(source, output, config, tuple(sets or ()))
    _finish(lambda: record_video(request, as_json=as_json), as_json)


@bench_app.command("replay", short_help="Identity and framing of a recorded run, without pixels.")
def bench_replay(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="What bench record wrote.")],
    output: Annotated[Path, typer.Option("--output", "-o", metavar="DIR", help="Folder of tracks and plans.")],
    config: Config = None,
    sets: Sets = None,
    layout: LayoutOption = None,
    as_json: Json = False,
) -> None:
    """Send a recorded run through identity and framing, without pixels, and write tracks and plans."""
    from dualface_ray.cli.recorded import RecordedRequest, replay_run

    request = RecordedRequest(run, output, config, tuple(sets or ()), layout.value if layout else None)
    _finish(lambda: replay_run(request, as_json=as_json), as_json)


@bench_app.command("schedule", short_help="Run the scheduling code on a virtual clock.")
def bench_schedule(
    lanes: Annotated[int, typer.Option("--lanes", metavar="N", help="Simulated lanes, of three speeds.")] = 1000,
    videos: Annotated[int, typer.Option("--videos", metavar="N", help="Simulated videos of mixed length.")] = 100_000,
    deaths: Annotated[float, typer.Option("--deaths", metavar="R", help="Deaths of a lane in an hour.")] = 0.1,
    seed: Annotated[int, typer.Option("--seed", metavar="N", help="Another job of the same kind.")] = 0,
    picture: Annotated[Path | None, typer.Option("--picture", metavar="SVG", help="Also draw it.")] = None,
    small: Annotated[bool, typer.Option("--small", help="Instead: few videos on the lanes of one rack.")] = False,
    as_json: Json = False,
) -> None:
    """Run the real scheduling code on a virtual clock, beside a lower bound of the time it takes."""
    from dualface_ray.cli.bench import bench_schedule as measure
    from dualface_ray.cli.bench import bench_small

    def call() -> int:
        if small:
            return bench_small(as_json=as_json)
        return measure(lanes=lanes, videos=videos, deaths=deaths, seed=seed, picture=picture, as_json=as_json)

    _finish(call, as_json)


@bench_app.command("chaos", short_help="Kill actors of a job: every video has to come out right.")
def bench_chaos(
    clips: Annotated[int, typer.Option("--clips", metavar="N", help="How many videos.")] = 20,
    every: Annotated[float, typer.Option("--every", metavar="S", help="Seconds between two deaths, on average.")] = 4.0,
    seconds: Annotated[float, typer.Option("--seconds", metavar="S", help="Length of each video.")] = 5.0,
    seed: Annotated[int, typer.Option("--seed", metavar="N", help="Another order of deaths.")] = 0,
    as_json: Json = False,
) -> None:
    """Kill actors of a job, then its driver: every video has to come out right."""
    from dualface_ray.cli.bench import bench_chaos as measure

    _finish(lambda: measure(clips=clips, every_s=every, seconds=seconds, seed=seed, as_json=as_json), as_json)


@bench_app.command("lane", short_help="Compare whole lanes with decoding alone.")
def bench_lane(
    clip: Annotated[
        Path, typer.Argument(metavar="CLIP", help="A video long enough that all streams run together for seconds.")
    ],
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
    sets: Sets = None,
    as_json: Json = False,
) -> None:
    """Compare whole lanes with decoding alone, for several numbers of streams and processes."""
    from dualface_ray.cli.bench import LaneRequest
    from dualface_ray.cli.bench import bench_lane as measure

    request = LaneRequest(clip, streams, processes, modes, repeats, backend, tuple(sets or ()), fresh, output)
    _finish(lambda: measure(request, as_json=as_json), as_json)


@bench_app.command("batching")
def bench_batching(
    clip: Annotated[
        Path | None, typer.Option("--clip", metavar="FILE", help="A video whose frames are the pictures.")
    ] = None,
    rounds: Annotated[int, typer.Option("--rounds", metavar="N", help="Of everything; the medians count.")] = 3,
    build: Annotated[bool, typer.Option("--build/--no-build", help="Build engines that are missing.")] = True,
    as_json: Json = False,
) -> None:
    """On a GPU: one central batch against a context per stream."""
    from dualface_ray.cli.bench import bench_batching as measure

    _finish(lambda: measure(clip=clip, rounds=rounds, build=build, as_json=as_json), as_json)


@bench_app.command("compose", short_help="On a GPU: composing on the card against on the CPU.")
def bench_compose(
    rounds: Annotated[int, typer.Option("--rounds", metavar="N", help="Of everything; the medians count.")] = 3,
    as_json: Json = False,
) -> None:
    """On a GPU: composition on the card against composition on the CPU."""
    from dualface_ray.cli.bench import bench_compose as measure

    _finish(lambda: measure(rounds=rounds, as_json=as_json), as_json)
