"""``dualface inspect`` tells what a tracks file holds, and refuses what is none."""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path

import pytest

from dualface_ray.cli.app import execute
from dualface_ray.cli.inspect import _NO_LIMITS, _Course, _source, facts, timeline
from dualface_ray.demo import make_demo
from dualface_ray.report import (
    EventRecord,
    InputRecord,
    RunReport,
    VideoState,
    input_record,
    read_tracks,
)
from dualface_ray.settings import Settings

BOX = [10.0, 10.0, 60.0, 80.0]


def write_tracks(path, a: str, b: str, cuts: tuple[int, ...] = ()) -> None:
    """One letter per frame: d(etected), p(redicted) or a(bsent)."""
    names = {"d": "detected", "p": "predicted", "a": "absent"}
    head = {"schema": 1, "source": "talk.mp4", "width": 1280, "height": 720}
    lines = [json.dumps({**head, "time_base": "1/30000", "persons": ["A", "B"]})]
    for index, states in enumerate(zip(a, b, strict=True)):
        faces = {
            person: {"box": None if state == "a" else BOX, "state": names[state], "score": 0.9}
            for person, state in zip("AB", states, strict=True)
        }
        lines.append(
            json.dumps(
                {
                    "frame": index,
                    "pts": index * 1001,
                    "time": float(Fraction(index * 1001, 30000)),
                    "shot": sum(index >= cut for cut in cuts),
                    "faces": faces,
                    "crops": {"A": BOX, "B": BOX},
                }
            )
        )
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def test_sums_and_timeline(tmp_path, capfd):
    path = tmp_path / "talk.tracks.jsonl"
    write_tracks(path, "d" * 300, "d" * 150 + "p" * 30 + "a" * 120, cuts=(200,))
    tracks = read_tracks(path)
    sums = facts(tracks)
    assert sums["persons"]["B"] == {"detected": 0.5, "predicted": 0.1, "absent": 0.4}
    assert (sums["frames"], sums["shots"]) == (300, 2)
    rows, cuts = timeline(tracks, columns=10)
    assert rows == ["##########", "#####~...."]
    assert cuts == "      |   "
    assert execute(["inspect", str(path)]) == 0
    out, err = capfd.readouterr()
    assert "name it with --source" in err
    assert (tmp_path / "talk.timeline.png").read_bytes().startswith(b"\x89PNG")
    assert not (tmp_path / "talk.sheet.png").exists()
    assert "talk.mp4, 1280x720, 300 frames, 10.01 s, 2 shots" in out
    assert "B: detected 50.0 %, predicted 10.0 %, absent 40.0 %" in out
    assert "absent, | a cut" in out
    assert max(len(line) for line in out.splitlines()[1:5]) <= 80


def test_one_lost_frame_is_not_lost_in_the_timeline(tmp_path):
    path = tmp_path / "x.tracks.jsonl"
    write_tracks(path, "d" * 5000, "d" * 2500 + "a" + "d" * 2499)
    rows, _ = timeline(read_tracks(path))
    assert rows[1].count(".") == 1
    assert rows[0] == "#" * 72


def test_events_come_from_the_report_beside_it(tmp_path, capfd):
    path = tmp_path / "talk.tracks.jsonl"
    write_tracks(path, "ddd", "dda")
    event = EventRecord(frame=2, time=0.067, kind="left", person="B", detail={"side": "right\x1b[31m"})
    report = RunReport(state=VideoState.DONE, input=InputRecord(path="talk.mp4"), events=(event,))
    (tmp_path / "talk.report.json").write_bytes(report.to_json())
    assert execute(["inspect", str(path), "--json"]) == 0
    assert json.loads(capfd.readouterr().out)["events"][0]["kind"] == "left"
    assert execute(["inspect", str(path)]) == 0
    out = capfd.readouterr().out
    assert "0.07 s, frame 2: left B (side=right" in out
    assert "\x1b" not in out
    (tmp_path / "talk.report.json").write_text("{}")
    assert execute(["inspect", str(path)]) == 0


def test_events_stand_in_the_order_of_the_video_and_without_empty_details(tmp_path, capfd):
    path = tmp_path / "talk.tracks.jsonl"
    write_tracks(path, "dddd", "ddda")
    late = EventRecord(frame=3, time=0.1, kind="left", person="B", detail={"over": "", "unseen_s": 1.5})
    about_before = EventRecord(frame=1, time=0.033, kind="entered", person="A", detail={"over": ""})
    report = RunReport(state=VideoState.DONE, input=InputRecord(path="talk.mp4"), events=(late, about_before))
    (tmp_path / "talk.report.json").write_bytes(report.to_json())
    assert execute(["inspect", str(path), "--no-picture"]) == 0
    told = [line for line in capfd.readouterr().out.splitlines() if "frame " in line]
    assert told == ["0.03 s, frame 1: entered A", "0.10 s, frame 3: left B (unseen_s=1.5)"]
    assert execute(["inspect", str(path), "--no-picture", "--json"]) == 0
    assert [event["frame"] for event in json.loads(capfd.readouterr().out)["events"]] == [1, 3]


def test_what_the_tracks_say_is_said_even_where_no_picture_can_be_written(tmp_path, capfd):
    path = tmp_path / "talk.tracks.jsonl"
    write_tracks(path, "ddd", "ddd")
    (tmp_path / "talk.timeline.png").mkdir()
    assert execute(["inspect", str(path)]) == 1
    out, err = capfd.readouterr()
    assert "3 frames" in out
    assert err.startswith("dualface: ")
    assert err.count("\n") == 1


def test_a_long_video_shows_how_far_reading_it_is():
    now, said = [0.0], []
    course = _Course("overlay", 1000, said.append, clock=lambda: now[0])
    for done in range(1, 1001):
        now[0] = done / 40
        course(done)
    assert said == ["overlay: 400/1000 frames", "overlay: 800/1000 frames"]


def test_pictures_of_a_real_clip(tmp_path, capfd):
    clip = tmp_path / "talk.mp4"
    truth = make_demo(clip, seconds=0.6, width_px=640, height_px=360)
    path = tmp_path / "talk.tracks.jsonl"
    states = "d" * len(truth.frames)
    write_tracks(path, states, states)
    text = path.read_text().replace('"width": 1280, "height": 720', '"width": 640, "height": 360')
    path.write_text(text)
    assert execute(["inspect", str(path), "--overlay", "--json"]) == 0
    pictures = json.loads(capfd.readouterr().out)["pictures"]
    assert set(pictures) == {"timeline", "contact sheet", "overlay"}
    assert all(Path(file).stat().st_size > 1000 for file in pictures.values())
    assert execute(["inspect", str(path), "--no-picture"]) == 0
    clip.unlink()
    assert execute(["inspect", str(path), "--overlay"]) == 2
    assert "--source" in capfd.readouterr().err


def tracks_of(clip: Path, path: Path) -> None:
    """A short clip, and tracks of it."""
    clip.parent.mkdir(exist_ok=True)
    path.parent.mkdir(exist_ok=True)
    states = "d" * len(make_demo(clip, seconds=0.2, width_px=320, height_px=180).frames)
    write_tracks(path, states, states)
    path.write_text(path.read_text().replace('"width": 1280, "height": 720', '"width": 320, "height": 180'))


def test_what_a_run_has_let_pass_is_shown(tmp_path, capfd):
    """A link, a long or large video: the run had settings for it, which are not asked for again."""
    clip, path = tmp_path / "in" / "talk.mp4", tmp_path / "out" / "talk.tracks.jsonl"
    tracks_of(clip, path)
    link = tmp_path / "link.mp4"
    link.symlink_to(clip)
    assert execute(["inspect", str(path), "--source", str(link), "--overlay"]) == 0, capfd.readouterr().err
    assert (tmp_path / "out" / "talk.sheet.png").is_file()
    assert (tmp_path / "out" / "talk.overlay.mp4").is_file()
    limits = {key for key in type(Settings().input).model_fields if key.startswith(("max_", "min_", "allow_"))}
    assert set(_NO_LIMITS) == limits - {"max_fps"}, "of which only the look-ahead follows"


def test_the_source_is_found_from_another_folder(tmp_path, monkeypatch, capfd):
    clip, path = tmp_path / "in" / "talk.mp4", tmp_path / "out" / "talk.tracks.jsonl"
    tracks_of(clip, path)
    (tmp_path / "elsewhere").mkdir()
    report, sheet = tmp_path / "out" / "talk.report.json", tmp_path / "out" / "talk.sheet.png"

    def shown(record: InputRecord, source: Path) -> bool:
        report.write_bytes(RunReport(state=VideoState.DONE, input=record).to_json())
        sheet.unlink(missing_ok=True)
        assert _source(path, read_tracks(path)) == source
        assert execute(["inspect", str(path)]) == 0
        return sheet.is_file()

    monkeypatch.chdir(tmp_path)
    record = input_record(Path("in/talk.mp4"))
    assert (record.path, record.absolute) == ("in/talk.mp4", str(clip))
    assert input_record(Path("in/talk.mp4"), shown="https://host/talk.mp4").absolute == ""
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert shown(record, clip)
    old = record.model_copy(update={"absolute": ""})
    assert shown(old, clip), "of an older version: beside the folder of the results"
    assert shown(record.model_copy(update={"absolute": "/moved/in/talk.mp4"}), clip)
    report.write_bytes(RunReport(state=VideoState.DONE, input=old.model_copy(update={"size_bytes": 1})).to_json())
    assert _source(path, read_tracks(path)) is None, "another file of that name"
    capfd.readouterr()


def test_a_video_without_frames(tmp_path, capfd):
    path = tmp_path / "talk.tracks.jsonl"
    write_tracks(path, "", "")
    assert execute(["inspect", str(path)]) == 0
    assert "0 frames" in capfd.readouterr().out


@pytest.mark.parametrize("text", ["", "{}", "null\n", "\x00\x01", '{"schema": 99}\n', "[1]\n"])
def test_other_files_are_one_line(tmp_path, text, capfd):
    path = tmp_path / "x.tracks.jsonl"
    path.write_text(text)
    assert execute(["inspect", str(path)]) == 1
    out, err = capfd.readouterr()
    assert (out, err.count("\n")) == ("", 1)
