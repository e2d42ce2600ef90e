"""What a user, a log and a machine see of a job."""

from __future__ import annotations

import io
import json
import re
from dataclasses import asdict
from itertools import count

import pytest
from rich.console import Console

from dualface_ray.cli.display import open_display
from dualface_ray.cli.follow import follow
from dualface_ray.cli.json_lines import JsonDisplay
from dualface_ray.cli.live import LiveDisplay, picture
from dualface_ray.cli.plain import PlainDisplay, QuietDisplay
from dualface_ray.cli.summary import closing_line, print_summary
from dualface_ray.cli.text import duration, shown, size
from dualface_ray.cli.totals import totals
from dualface_ray.report import JobSnapshot, VideoProgress, VideoState
from tests.cli_jobs import PlayedJob, story, video

HOSTILE = "in/\x1b[31mred\n\u202egnp.\udcff[bold]x[red].mp4"


def every_tick():
    ticks = count()
    return lambda: float(next(ticks)) * 11


def events(display_of, snapshots):
    out, err = io.StringIO(), io.StringIO()
    code = follow(PlayedJob(snapshots), display_of(out, err))
    return code, [json.loads(line) for line in out.getvalue().splitlines()], err.getvalue()


def test_json_is_one_object_per_line_from_start_to_summary():
    code, lines, err = events(lambda out, err: JsonDisplay(out, err, clock=every_tick()), story(2, fail=1))
    assert code == 1
    kinds = [line["event"] for line in lines]
    assert kinds[0] == "started"
    assert kinds[-1] == "summary"
    assert set(kinds) == {"started", "video", "progress", "note", "summary"}
    changes = [(line["index"], line["state"]) for line in lines if line["event"] == "video"]
    assert changes == [(0, "running"), (0, "done"), (1, "running"), (1, "failed")]
    middle = [line for line in lines if line["event"] == "progress" and line["videos"]]
    assert middle[2]["videos"][0]["frames_done"] == 150
    assert middle[2]["fps"] == 30.0
    summary = lines[-1]
    assert summary["exit_code"] == 1
    assert [v["state"] for v in summary["videos"]] == ["done", "failed"]
    assert summary["videos"][1]["error_code"] == "not_a_video"
    assert err == "dualface: in/talk1.mp4: no video stream in this file. Name a video file.\n"


def test_json_progress_comes_at_most_once_a_second():
    stopped = JsonDisplay(io.StringIO(), io.StringIO(), clock=lambda: 5.0)
    out = io.StringIO()
    stopped._out = out
    for snapshot in story(3):
        stopped.update(snapshot)
    assert out.getvalue().count('"progress"') == 1


def test_json_survives_names_that_are_no_text():
    snapshot = JobSnapshot((video(source=HOSTILE, state=VideoState.FAILED, error=HOSTILE),), final=True)
    _, lines, err = events(JsonDisplay, [snapshot])
    assert lines[-1]["videos"][0]["source"] == HOSTILE
    assert "\x1b" not in err
    assert err.count("\n") == 1


def test_plain_lines_say_what_changed_and_the_table_what_came_out():
    out, err = io.StringIO(), io.StringIO()
    assert follow(PlayedJob(story(2, fail=1)), PlainDisplay(out, err, clock=every_tick())) == 1
    said = err.getvalue().splitlines()
    assert said.count("dualface: lane 0: cpu, 2 cores") == 1
    assert "dualface: in/talk0.mp4: running" in said
    assert "dualface: in/talk0.mp4: 150/300 frames, 30.0 fps, 0:05 left" in said
    assert "dualface: in/talk0.mp4: done, 300 frames" in said
    assert "dualface: failed: in/talk1.mp4: no video stream in this file. Name a video file." in said
    assert said.count("dualface: note: lane 0 was started again") == 1
    table = out.getvalue()
    assert "out/talk0.dualface.mp4" in table
    assert "out/talk1.dualface.mp4" not in table
    assert "no video stream in this file" in table
    assert "1 done, 1 failed: 300 frames in 0:10 (30.0 frames per second)" in table
    assert "\x1b" not in table + err.getvalue()


def test_plain_progress_is_rare():
    err = io.StringIO()
    display = PlainDisplay(io.StringIO(), err, clock=lambda: 0.0)
    for snapshot in story(1):
        display.update(snapshot)
    assert " left" not in err.getvalue()


def test_the_log_of_a_long_job_stays_readable():
    busy = JobSnapshot(tuple(video(i, frames_done=1, frames_total=9, fps=1.0, eta_s=8.0) for i in range(100)))
    err, now = io.StringIO(), [0.0]
    display = PlainDisplay(io.StringIO(), err, clock=lambda: now[0])
    for tick in range(3600):
        now[0] = float(tick)
        display.update(busy)
    said = err.getvalue().splitlines()
    assert said.count("dualface: and 92 more running") == 60 + 49, "every ten seconds, after ten minutes every minute"
    assert len(said) == 100 + (60 + 49) * 10


def test_a_lane_speaks_when_it_changes_and_the_others_do_not():
    err = io.StringIO()
    display = PlainDisplay(io.StringIO(), err, clock=lambda: 0.0)
    for lanes in (("lane-0: placing", "lane-1: placing"), ("lane-0: ready", "lane-1: placing"), ("lane-0: ready",)):
        display.update(JobSnapshot((), lanes=lanes))
    said = [line.partition(": ")[2] for line in err.getvalue().splitlines()]
    assert said == ["lane-0: placing", "lane-1: placing", "lane-0: ready"]


def test_the_table_never_cuts_a_long_path():
    long = "in/" + "very-long-folder-name/" * 12 + "talk.mp4"
    done = video(source=long, outputs=(long + ".out",), state=VideoState.DONE, frames_done=1)
    out = io.StringIO()
    PlainDisplay(out, io.StringIO()).finish(JobSnapshot((done,), final=True))
    assert long in out.getvalue()
    assert long + ".out" in out.getvalue()


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def finished(*names: str) -> JobSnapshot:
    outputs = [f"/srv/video/results-of-the-year/{name}.dualface.mp4" for name in names]
    videos = [video(i, VideoState.DONE, outputs=(path,), frames_done=9) for i, path in enumerate(outputs)]
    return JobSnapshot(tuple(videos), final=True)


def test_a_narrow_terminal_gets_the_results_folder_once_and_names_that_are_whole(monkeypatch):
    monkeypatch.setenv("COLUMNS", "70")
    print_summary(out := Terminal(), finished("a/one", "a/two", "b"))
    lines = re.sub(r"\x1b\[[0-9;]*m", "", out.getvalue()).splitlines()
    assert max(len(line) for line in lines) <= 70
    assert "results in /srv/video/results-of-the-year/" in lines
    assert sum("a/one.dualface.mp4" in line for line in lines) == 1
    monkeypatch.setenv("COLUMNS", "200")
    print_summary(wide := Terminal(), finished("a/one"))
    assert "/srv/video/results-of-the-year/a/one.dualface.mp4" in wide.getvalue()
    assert "results in" not in wide.getvalue()


def test_results_without_a_common_folder_are_folded(monkeypatch):
    monkeypatch.setenv("COLUMNS", "40")
    for paths in (("/srv/a.mp4", "/opt/b.mp4"), ("s3://one/a.mp4", "s3://two/b.mp4"), ()):
        videos = [video(i, VideoState.DONE, outputs=(path,)) for i, path in enumerate(paths)]
        print_summary(out := Terminal(), JobSnapshot((*videos, video(9, VideoState.CANCELLED, source="x" * 50))))
        assert "results in" not in out.getvalue()


def test_what_goes_into_a_file_is_whole_and_ends_where_it_ends(monkeypatch):
    monkeypatch.setenv("COLUMNS", "40")
    out, err = io.StringIO(), Terminal()
    with LiveDisplay(out, err) as display:
        display.finish(finished("a/one", "a/two-longer"))
    lines = out.getvalue().splitlines()
    assert any(line.endswith("/srv/video/results-of-the-year/a/one.dualface.mp4") for line in lines)
    assert not any(line.endswith(" ") for line in lines)


@pytest.mark.parametrize(("term", "kind"), [("dumb", PlainDisplay), ("unknown", PlainDisplay), ("xterm", LiveDisplay)])
def test_a_terminal_that_cannot_be_redrawn_gets_lines(monkeypatch, term, kind):
    monkeypatch.setenv("TERM", term)
    with open_display(as_json=False, quiet=False, out=Terminal(), err=Terminal()) as display:
        assert isinstance(display, kind)


def test_a_ray_that_takes_long_to_start_is_named_and_nothing_else():
    err = io.StringIO()
    display = PlainDisplay(io.StringIO(), err, overdue_s=0.0)
    display.say_starting()
    assert display._overdue is None, "a request that is not looked at yet may be refused, in one line"
    display.say_looking("")
    display._overdue.join()
    assert err.getvalue() == "dualface: starting Ray\n"
    for quick in (lambda display: display.update(story(1)[0]), PlainDisplay.close):
        display = PlainDisplay(io.StringIO(), err, overdue_s=3600.0)
        display.say_looking("")
        timer = display._overdue
        quick(display)
        timer.join()  # it has ended without a word
    assert err.getvalue() == "dualface: starting Ray\n"


def test_what_is_not_known_is_not_shown():
    waiting = JobSnapshot((video(0, VideoState.WAITING), video(1, frames_total=45)))
    for text in (drawn(waiting), plain_progress(waiting)):
        assert "fps" not in text
        assert "left" not in text
    assert "talk1.mp4: 0/45 frames\n" in plain_progress(waiting)
    assert "total: 1 waiting, 1 running\n" in plain_progress(waiting)


def plain_progress(snapshot: JobSnapshot) -> str:
    err = io.StringIO()
    PlainDisplay(io.StringIO(), err, clock=every_tick()).update(snapshot)
    return err.getvalue()


def test_what_was_done_before_says_so():
    before = JobSnapshot((video(0, VideoState.SKIPPED),), final=True)
    assert "talk0.mp4: skipped, it was done before\n" in plain_progress(before)
    with LiveDisplay(io.StringIO(), err := io.StringIO()) as display:
        display.update(before)
    assert "skipped in/talk0.mp4: done before" in err.getvalue()


def test_quiet_shows_failures_only():
    out, err = io.StringIO(), io.StringIO()
    with open_display(as_json=False, quiet=True, out=out, err=err) as display:
        assert isinstance(display, QuietDisplay)
        display.say_starting()
        follow(PlayedJob(story(2, fail=0)), display)
    assert out.getvalue() == ""
    assert err.getvalue() == "dualface: in/talk0.mp4: no video stream in this file. Name a video file.\n"


def drawn(snapshot: JobSnapshot, width: int = 120) -> str:
    console = Console(file=io.StringIO(), width=width, color_system=None)
    console.print(picture(snapshot, width))
    return console.file.getvalue()


def test_the_live_picture_shows_running_videos_and_the_total():
    text = drawn(story(3)[3])
    assert "talk0.mp4" in text
    assert "150/300 frames" in text
    assert "30.0 fps" in text
    assert "0:05 left" in text
    assert "running" in text
    assert "talk1.mp4" not in text
    assert "3 videos: 2 waiting, 1 running" in text
    assert "lane 0: cpu, 2 cores" in text


def test_the_live_picture_fits_a_terminal_whatever_runs():
    many = JobSnapshot(tuple(video(i, frames_done=i, frames_total=1000, fps=1.0) for i in range(1000)))
    lines = drawn(many, width=100).splitlines()
    assert len(lines) < 20
    assert max(len(line) for line in lines) <= 100
    assert "and 988 more" in "".join(lines)
    narrow = drawn(JobSnapshot((video(source="x" * 300 + ".mp4"),)), width=60)
    assert max(len(line) for line in narrow.splitlines()) <= 60


def test_on_80_columns_the_name_gives_way_and_the_numbers_stay():
    long = video(0, VideoState.FINISHING, frames_done=100_000, frames_total=150_000, fps=123.4, eta_s=5025)
    one = VideoProgress(**{**asdict(long), "source": "in/a-name-that-is-longer-than-there-is-room-for.mp4"})
    line = drawn(JobSnapshot((one,), elapsed_s=60.0), width=80).splitlines()[0]
    assert line.startswith("a-name")
    assert line.rstrip().endswith("100000/150000 frames 123.4 fps 1:23:45 left finishing")
    assert len(line) <= 80


def test_more_lanes_than_there_is_room_for_are_counted():
    lanes = tuple(f"lane-{i}: cpu" for i in range(9))
    text = drawn(JobSnapshot((video(),), lanes=lanes))
    assert "lane-3: cpu" in text
    assert "lane-4" not in text
    assert "and 5 more lanes" in text


def test_names_cannot_steer_the_terminal():
    snapshot = JobSnapshot((video(source=HOSTILE),), notes=(HOSTILE,))
    assert "\x1b" not in drawn(snapshot)
    assert "[bold]" in drawn(snapshot)
    out, err = io.StringIO(), io.StringIO()
    PlainDisplay(out, err).finish(JobSnapshot((video(source=HOSTILE, state=VideoState.DONE),), final=True))
    assert "\x1b" not in out.getvalue() + err.getvalue()
    assert "\u202e" not in out.getvalue() + err.getvalue()


def test_live_display_leaves_the_summary_behind():
    out, err = io.StringIO(), io.StringIO()
    with LiveDisplay(out, err) as display:
        display.say_starting()
        assert follow(PlayedJob(story(2)), display) == 0
    assert "2 done" in out.getvalue()
    assert "talk1.dualface.mp4" in out.getvalue()


def test_totals_know_what_they_do_not_know():
    running = video(0, frames_done=100, frames_total=300, fps=20.0)
    sums = totals(JobSnapshot((running, video(1, VideoState.WAITING))))
    assert (sums.frames_done, sums.frames_total, sums.eta_s) == (100, 0, None)
    sums = totals(JobSnapshot((running, video(1, VideoState.FAILED, frames_done=7), video(2, VideoState.SKIPPED))))
    assert (sums.frames_done, sums.frames_total, sums.eta_s) == (100, 300, 10.0)
    assert sums.sentence() == "1 running, 1 skipped, 1 failed"
    stalled = totals(JobSnapshot((video(0, frames_done=1, frames_total=2, fps=0.0),)))
    assert stalled.eta_s is None
    assert closing_line(JobSnapshot(())) == "nothing to do"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0:00"), (59.6, "1:00"), (61, "1:01"), (3723, "1:02:03"), (None, "–"), (float("nan"), "–"), (-1, "–")],
)
def test_durations(seconds, text):
    assert duration(seconds) == text


@pytest.mark.parametrize(
    ("count_bytes", "text"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1536, "1.5 KiB"),
        (2**30, "1.0 GiB"),
        (200 * 2**20, "200 MiB"),
        (2**53, "8192 TiB"),
    ],
)
def test_sizes(count_bytes, text):
    assert size(count_bytes) == text


def test_shown_is_one_printable_line():
    assert shown("a\tb\nc") == "a b c"
    assert shown(HOSTILE).isprintable()


def test_waiting_for_servers_shows_beside_the_spinner_sparsely_in_a_log_and_not_to_machines():
    lines = [f"looking at the inputs: {done} of 99 done" for done in range(25)] + [""]
    ticks = count()
    out, err = io.StringIO(), io.StringIO()
    plain = PlainDisplay(out, err, clock=lambda: float(next(ticks)))
    for line in lines:
        plain.say_looking(line)
    assert out.getvalue() == ""
    said = err.getvalue().splitlines()
    assert said[0] == f"dualface: {lines[0]}"
    assert 2 <= len(said) <= 5
    for silent in (QuietDisplay(err := io.StringIO()), JsonDisplay(out, err)):
        silent.say_looking(lines[0])
    assert (out.getvalue(), err.getvalue()) == ("", "")
    live = LiveDisplay(out, err)
    live.say_looking("looking at [red]1 of 2\x1b[2J")
    assert "looking at [red]1 of 2\N{REPLACEMENT CHARACTER}[2J" in rendered(live)
    live.say_starting()
    assert rendered(live).strip().endswith("starting")
    live.say_looking("")
    assert rendered(live).strip().endswith("starting Ray")


def rendered(live: LiveDisplay) -> str:
    console = Console(file=io.StringIO(), width=100)
    console.print(live._live.get_renderable())
    return console.file.getvalue()
