"""What was seen in a video goes into a file, and identity and framing out of it again; plans survive as JSON."""

from __future__ import annotations

import contextlib
import json
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from in_process import InProcessLane, job_for
from media_maker import Clip
from recorded_runs import made_up_run

from dualface_ray import resolve
from dualface_ray.bench import RecordedRun, record, replay
from dualface_ray.bench import recorded as recorded_room
from dualface_ray.cli.app import execute
from dualface_ray.errors import InputError
from dualface_ray.frames import Faces
from dualface_ray.framing import CanvasPlan, FramePlan, TilePlan
from dualface_ray.report import VideoState

edge = st.floats(allow_nan=False, allow_infinity=False)
pixels = st.integers(-4, 1 << 14)
tiles = st.builds(
    TilePlan, st.tuples(edge, edge, edge, edge), pixels, pixels, pixels, pixels, st.sampled_from(["A", "B", ""])
)
canvases = st.builds(CanvasPlan, pixels, pixels, st.lists(tiles, max_size=3).map(tuple))
plans = st.builds(FramePlan, st.integers(0), st.integers(), st.lists(canvases, max_size=2).map(tuple))


@given(plans)
def test_a_plan_survives_as_json_to_the_last_digit(plan: FramePlan) -> None:
    line = plan.to_json()
    assert "\n" not in line
    again = FramePlan.from_json(line)
    assert again == plan
    assert again.to_json() == line
    assert FramePlan.from_json(line.encode()) == plan


TILE = {"person": "A", "source": [0, 0.5, 64, 48], "target": [0, 0, 32, 24]}


def line(**changes: object) -> str:
    canvas = {"width": 32, "height": 24, "tiles": [{**TILE, **changes}]}
    return json.dumps({"frame": 3, "pts": 120, "canvases": [canvas]})


def test_the_schema_is_that_of_the_docs() -> None:
    plan = FramePlan(3, 120, (CanvasPlan(32, 24, (TilePlan((0.0, 0.5, 64.0, 48.0), 0, 0, 32, 24, "A"),)),))
    assert FramePlan.from_json(line()) == plan
    assert json.loads(plan.to_json()) == json.loads(line())
    page = (Path(__file__).resolve().parent.parent / "docs" / "recorded.md").read_text(encoding="utf-8")
    shown = FramePlan.from_json(page.partition("```json")[2].partition("```")[0])
    assert [tile.person for tile in shown.canvases[0].tiles] == ["A", "B"]
    assert shown.canvases[0].tiles[1].x_px == 960


@pytest.mark.parametrize(
    "text",
    [
        "", "null", "[]", "{}", '{"frame":1,"pts":1}', '{"frame":1.5,"pts":1,"canvases":[]}',
        '{"frame":true,"pts":1,"canvases":[]}', '{"frame":1,"pts":1,"canvases":[1]}', "\x00", "[" * 100000,
        line(person="C"), line(source=[0, 0, 1]), line(source=[0, 0, 1, None]), line(source=[0, 0, 1, float("nan")]),
        line(source="0011"), line(target=[0, 0, 1.0, 1]), line(target={}), line(source=[0, 0, 1, 10**400]),
    ],
)  # fmt: skip
def test_what_is_no_plan_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="not the plan of a frame"):
        FramePlan.from_json(text)


def test_a_number_that_is_not_finite_is_not_written() -> None:
    with pytest.raises(ValueError, match="JSON"):
        FramePlan(0, 0, (CanvasPlan(2, 2, (TilePlan((0.0, 0.0, np.inf, 1.0), 0, 0, 2, 2),)),)).to_json()


# --- the commands -------------------------------------------------------------------------------------------------
def test_a_recorded_run_is_replayed_from_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = made_up_run()
    run.save(tmp_path / "talk.npz")
    out = tmp_path / "out"
    argv = ["bench", "replay", str(tmp_path / "talk.npz"), "-o", str(out), "--json"]
    assert execute([*argv, "--layout", "separate", "--set", "grid_hz=5"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert (facts["frames"], facts["shots"]) == (60, 1)
    expected = replay(run, resolve(layout="separate", grid_hz=5.0))
    assert facts["frames_detected"] == expected.detected
    head, *rows = Path(facts["plans"]).read_text().splitlines()
    assert json.loads(head)["time_base"] == "1/25"
    assert [FramePlan.from_json(row) for row in rows] == [frame.plan for frame in expected.frames]
    assert len(rows[0].split("source")) == 3, "two canvases of a tile each"
    assert sorted(path.name for path in out.iterdir()) == ["talk.replay.plans.jsonl", "talk.replay.tracks.jsonl"]
    assert execute(["inspect", facts["tracks"], "--no-picture"]) == 0
    assert execute(argv[:-1]) == 0
    assert "director us per frame" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("argv", "code", "part"),
    [
        (["replay", "none.npz", "-o", "out"], 2, "none.npz: no such file. Name a .npz"),
        (["replay", "bad.npz", "-o", "out"], 1, "bad.npz: not a recorded run"),
        (["record", "bad.npz", "-o", "talk.mp4"], 2, "talk.mp4: a recorded run is a .npz"),
        (["record", "none.mp4", "-o", "talk.npz"], 1, "none.mp4"),
    ],
)
def test_wrong_files_are_one_line(argv, code, part, tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "bad.npz").write_bytes(b"nothing")
    assert execute(["bench", *argv]) == code
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert part in err
    assert [path.name for path in tmp_path.iterdir()] == ["bad.npz"]


def test_a_run_with_broken_bytes_inside_is_refused(tmp_path: Path) -> None:
    made_up_run().save(tmp_path / "run.npz")
    whole = (tmp_path / "run.npz").read_bytes()
    for place in range(40, len(whole), max(1, len(whole) // 200)):
        (tmp_path / "bad.npz").write_bytes(whole[:place] + bytes([whole[place] ^ 0x55]) + whole[place + 1 :])
        with contextlib.suppress(InputError):  # anything else escapes
            RecordedRun.load(tmp_path / "bad.npz")


def test_ten_bits_are_recorded_as_they_lie_in_slots(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Sees:
        def detect(self, pixels):
            seen.append((pixels[0].slot.dtype, int(pixels[0].slot.max())))
            return [Faces.none()]

        def close(self):
            pass

    seen: list[tuple[np.dtype, int]] = []
    backend = recorded_room.load_backend("cpu")
    monkeypatch.setattr(type(backend), "load_detector", lambda *_: Sees())
    recipe = {"codec": "libx265", "pixel_format": "yuv420p10le", "colour": (9, 9, 16)}
    source = Clip(frames=3, width_px=64, height_px=48, **recipe).write(tmp_path / "a.mp4")
    done: list[int] = []
    run = record(source, resolve(**{"encode.hdr": "keep", "encode.codec": "hevc"}), embed=False, progress=done.append)
    assert len(run) == len(seen) == 3
    assert all(kind == np.uint16 and highest > 255 for kind, highest in seen)
    assert done == [1, 2, 3]
    assert run.info.stream_id == "a.mp4"
    assert run.info.average_rate == Fraction(25)


def test_a_replay_gives_the_tracks_of_the_run(models: None, talk: Path, tmp_path: Path) -> None:
    """Bit for bit what a lane of the CPU made, from a file alone."""
    settings = resolve(preset="ultrafast")
    job = job_for(talk, tmp_path / "out", settings)
    with InProcessLane(settings) as lane:
        assert lane.run(job).state is VideoState.DONE
    record(talk, settings).save(tmp_path / "talk.npz")
    argv = ["bench", "replay", str(tmp_path / "talk.npz"), "-o", str(tmp_path), "--set", "preset=ultrafast"]
    assert execute(argv) == 0
    assert (tmp_path / "talk.replay.tracks.jsonl").read_bytes() == job.outputs.tracks.read_bytes()
