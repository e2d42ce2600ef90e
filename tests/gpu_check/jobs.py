"""Whole jobs, minutes each: many short clips, a long time, a second card, one long video."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

from gpu_check.material import SMALL, clip, fresh, links, looped, people
from gpu_check.steps import MIB, need, say, step


def card_mib() -> float:
    """Memory in use on the card, whoever uses it."""
    from dualface_ray.hardware import GpuMeter

    meter = GpuMeter.open()
    need(meter is not None, "NVML answers")
    reading = meter.read()
    meter.close()
    return float(reading.memory_bytes / MIB)


@step(300, extra=True)
def short_clips(work: Path) -> None:
    """200 short clips through one lane of a real job: the card's memory stays flat."""
    from dualface_ray import run

    clips = links(clip(work, "short-30.mp4", frames=30), work / "short", 200)
    memory, started = [], time.monotonic()
    with run(clips, fresh(work / "short-out"), backend="cuda", **SMALL) as job:
        while True:
            snapshot = job.wait(0.3)
            done = sum(video.state.final for video in snapshot.videos)
            if done >= 20 * (len(memory) + 1) and not snapshot.final:
                memory.append(card_mib())
            if snapshot.final:
                break
    took = time.monotonic() - started
    failed = [video.error for video in snapshot.videos if video.state.value != "done"]
    need(not failed, f"{len(failed)} clips failed: {failed[:1]}")
    say(f"200 clips in {took:.0f} s; MiB after each 20: {' '.join(f'{one:.0f}' for one in memory)}")
    steady = memory[2:]
    need(len(steady) >= 3, "there were readings while it ran")
    say(f"short_clips: 200 clips, {took:.0f} s, memory {min(steady):.0f}..{max(steady):.0f} MiB after the first 60")
    need(steady[-1] - steady[0] < 64 and max(steady) - min(steady) < 256, "memory stays flat")


@step(420, extra=True)
def soak(work: Path) -> None:
    """16 streams for minutes: nothing dies, and the rate at the end is that of the beginning."""
    import statistics

    from dualface_ray import run

    minutes = float(os.environ.get("GPU_CHECK_SOAK_MIN", "3"))
    source = looped(clip(work, "hd-120.mp4", frames=120, width=1920, height=1080), work / "hd-long.mp4", 15)
    files = links(source, work / "soak", int(40 + 120 * minutes))
    rates, mark, began = [], None, 0.0
    with run(files, fresh(work / "soak-out"), backend="cuda", streams=16, **SMALL) as job:
        while True:
            snapshot = job.wait(0.5)
            frames = sum(video.frames_done for video in snapshot.videos)
            running = sum(video.state.value == "running" for video in snapshot.videos)
            now = time.monotonic()
            if mark is None and frames:
                mark, began = (now, frames), now
            elif mark is not None and now - mark[0] >= 10 and not snapshot.final:
                rates.append((frames - mark[1]) / (now - mark[0]))
                say(f"{now - began:.0f} s: {rates[-1]:.0f} fps, {running} running, {card_mib():.0f} MiB")
                mark = (now, frames)
            if snapshot.final or (began and now - began > minutes * 60):
                break
        failed = [video.error for video in snapshot.videos if video.state.value == "failed"]
        need(not failed, f"{len(failed)} videos failed: {failed[:1]}")
        need(not snapshot.notes, f"nothing died: {snapshot.notes[:2]}")
    need(len(rates) >= 6, "a minute at least")
    first, last = statistics.mean(rates[1:4]), statistics.mean(rates[-4:-1])
    usual, least = statistics.median(rates), min(rates[1:])
    say(f"soak: {minutes:g} min, {usual:.0f} fps, first {first:.0f}, last {last:.0f}, least {least:.0f}")
    need(last > 0.85 * first, "the rate stays")


def steady_rate(files: list[Path], out: Path, frames_each: int, **changes: Any) -> tuple[float, list[str]]:
    """Frames a second between a fifth and four fifths of a job's frames, and the notes of its reports."""
    from dualface_ray import run
    from dualface_ray.report import read_report

    whole, readings = frames_each * len(files), []
    with run(files, fresh(out), backend="cuda", **{**SMALL, "encode.preset": "ultrafast", **changes}) as job:
        while not (snapshot := job.wait(0.2)).final:
            done = sum(video.frames_done for video in snapshot.videos)
            if 0.2 * whole <= done <= 0.8 * whole:
                readings.append((time.monotonic(), done))
    failed = [video.error for video in snapshot.videos if video.state.value != "done"]
    need(not failed, f"{len(failed)} videos failed: {failed[:1]}")
    need(len(readings) > 4, f"only {len(readings)} readings in the middle of the job")
    (began, first), (ended, last) = readings[0], readings[-1]
    reports = [read_report(path) for path in out.glob("*.report.json")]
    return (last - first) / (ended - began), sorted({n for one in reports if one for n in one.degradations})


HALF: dict[str, Any] = {
    "lane.profile": "h200",
    "lane.allow_unverified_profile": True,
    "lane.cores": 16,
    "lane.streams": 16,
    "identity.reid": "off",  # spares building the embedder's engine
}


@step(500, extra=True)
def second_card(work: Path) -> None:
    """One lane on one card, two lanes on two, the same cores for each lane."""
    import cupy

    need(cupy.cuda.runtime.getDeviceCount() >= 2, "two cards")
    source, frames = people(work, 2400)
    files, rates = links(source, work / "second", 32), {}
    for lanes in (1, 2):
        some = files[: 16 * lanes]
        rates[lanes], notes = steady_rate(some, work / "second-out", frames, **HALF, **{"lane.count": lanes})
        say(f"{lanes} lanes: {rates[lanes]:.0f} fps {'; '.join(notes)}")
    say(f"second_card: one {rates[1]:.0f}, two {rates[2]:.0f} fps: {rates[2] / rates[1]:.2f} times")
    need(rates[2] > 1.6 * rates[1], "a second card adds most of itself")


@step(500, extra=True)
def one_long(work: Path) -> None:
    """One long video on one card: cut into parts for its decoders, and in one piece."""
    from dualface_ray import run
    from dualface_ray.report import read_report

    source, total = people(work, 21600)
    took, frames = {}, {}
    for name, least in (("cut", 60.0), ("whole", 5000.0)):
        changes = {
            **SMALL,
            **HALF,
            "lane.count": 1,
            "encode.preset": "ultrafast",
            "job.segment_min_s": least,
            "job.segment_max_s": 5000,
            "identity.reid": "auto",  # without it faces of different parts cannot be compared, and nothing is cut
        }
        out, first = fresh(work / f"long-{name}"), 0.0
        started = time.monotonic()
        with run([source], out, backend="cuda", **changes) as job:
            while not (snapshot := job.wait(0.2)).final:
                first = first or (time.monotonic() if snapshot.videos[0].state.value == "running" else 0.0)
        took[name] = time.monotonic() - first
        video = snapshot.videos[0]
        need(video.state.value == "done", f"{name}: {video.error}")
        report = read_report(next(out.glob("*.report.json")))
        frames[name] = video.frames_done
        parts, whole = report.spans if report else 0, time.monotonic() - started
        say(f"{name}: {parts} parts, {took[name]:.1f} s since it was begun, {whole:.1f} s in all")
        for note in report.degradations if report else ():
            say("  ", note)
    need(frames["cut"] == frames["whole"] == total, f"every frame: {frames}")
    say(f"one_long: {took['cut']:.1f} s cut, {took['whole']:.1f} s whole: {took['cut'] / took['whole']:.2f}")
    need(took["cut"] < 0.7 * took["whole"], "several decoders are used")
