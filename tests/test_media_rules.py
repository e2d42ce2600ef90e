"""Names, atomic files, disk space, the audio table, colour, and what may be opened: rules without any codec."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

import pytest

from dualface_ray.errors import (
    DiskFullError,
    InputMissingError,
    NameCollisionError,
    NotAVideoError,
    OutputError,
    RequestError,
)
from dualface_ray.frames import Colour
from dualface_ray.media import (
    AtomicFile,
    Workspace,
    all_or_none,
    check_input,
    free_bytes,
    is_disk_full,
    is_under_way,
    output_error,
    plan_audio,
    plan_outputs,
    remove_half_named,
    remove_partials,
    remove_parts,
    require_free,
    segment_path,
    settled_colour,
    write_atomic,
)


# --- names ----------------------------------------------------------------------------------------------------------
def test_one_input_has_no_folder_of_its_own(tmp_path):
    (plan,) = plan_outputs([tmp_path / "in" / "talk.mp4"], tmp_path / "out", "side_by_side", "mp4")
    assert [path.name for path in plan.files] == ["talk.dualface.mp4", "talk.tracks.jsonl", "talk.report.json"]
    assert plan.folder == tmp_path / "out"


def test_separate_makes_two_videos(tmp_path):
    (plan,) = plan_outputs([tmp_path / "talk.mov"], tmp_path / "out", "separate", "mkv")
    assert [path.name for path in plan.videos] == ["talk.A.mkv", "talk.B.mkv"]


def test_folders_below_the_common_parent_are_kept(tmp_path):
    plans = plan_outputs(
        [tmp_path / "in/mon/talk.mp4", tmp_path / "in/tue/talk.mp4", tmp_path / "in/a.mp4"], tmp_path / "o", "s", "mp4"
    )
    assert [p.folder.relative_to(tmp_path / "o").as_posix() for p in plans] == ["mon", "tue", "."]


def test_relative_paths_and_dots_do_not_escape(tmp_path, monkeypatch):
    (tmp_path / "deep/er").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "deep/er")
    plans = plan_outputs([Path("../x.mp4"), Path("../../y.mp4")], Path("out"), "side_by_side", "mp4")
    for plan in plans:
        assert plan.folder.is_relative_to(tmp_path / "deep/er/out")


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (["a/talk.mp4", "a/talk.mov"], "both be written"),
        (["a/talk.mp4", "a/talk.mp4"], "twice"),
        (["a/talk.mp4", "a/b/../talk.mp4"], "also as"),
    ],
)
def test_collisions_are_refused(tmp_path, names, words):
    with pytest.raises(NameCollisionError, match=words):
        plan_outputs([tmp_path / name for name in names], tmp_path / "out", "side_by_side", "mp4")


def test_an_output_never_overwrites_an_input(tmp_path):
    inputs = [tmp_path / "talk.mp4", tmp_path / "talk.dualface.mp4"]
    with pytest.raises(NameCollisionError, match="overwrite an input"):
        plan_outputs(inputs, tmp_path, "side_by_side", "mp4")


def test_an_input_reached_through_a_link_is_not_overwritten(tmp_path):
    real = tmp_path / "real"
    real.mkdir()
    (real / "talk.mp4").write_bytes(b"x")
    (real / "talk.dualface.mp4").write_bytes(b"y")
    (tmp_path / "link").symlink_to(real)
    inputs = [tmp_path / "link/talk.mp4", tmp_path / "link/talk.dualface.mp4"]
    with pytest.raises(NameCollisionError, match="overwrite an input"):
        plan_outputs(inputs, real, "side_by_side", "mp4")


def test_a_link_in_the_output_folder_must_not_lead_out(tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "out/a").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(RequestError, match="leads out"):
        plan_outputs([tmp_path / "in/a/x.mp4", tmp_path / "in/y.mp4"], tmp_path / "out", "side_by_side", "mp4")


def test_a_folder_in_the_way_and_a_long_name_are_noticed(tmp_path):
    (tmp_path / "x.report.json").mkdir()
    with pytest.raises(RequestError, match="in the way"):
        plan_outputs([tmp_path / "in/x.mp4"], tmp_path, "side_by_side", "mp4")
    with pytest.raises(RequestError, match="too long"):
        plan_outputs([tmp_path / ("ä" * 110 + ".mp4")], tmp_path / "out", "side_by_side", "mp4")


def test_no_inputs_and_unknown_containers(tmp_path):
    with pytest.raises(RequestError, match="no inputs"):
        plan_outputs([], tmp_path, "side_by_side", "mp4")
    with pytest.raises(RequestError, match="unknown container"):
        plan_outputs([tmp_path / "a.mp4"], tmp_path, "side_by_side", "avi")


# --- atomic files ---------------------------------------------------------------------------------------------------
def test_a_file_appears_only_when_complete(tmp_path):
    target = tmp_path / "sub/x.json"
    with pytest.raises(OutputError, match="No such file"), AtomicFile(target):
        pass
    assert not target.parent.exists(), "a folder that was deleted does not come back by itself"
    with AtomicFile(target, make_folder=True) as file:
        file.part.write_text("half")
        assert not target.exists()
        assert file.part.parent == target.parent
        assert stat.S_IMODE(file.part.stat().st_mode) == 0o600
        file.part.write_text("whole")
    assert target.read_text() == "whole"
    assert [p.name for p in target.parent.iterdir()] == ["x.json"]


def test_the_finished_file_has_the_usual_mode(tmp_path):
    write_atomic(tmp_path / "a", b"1")
    (tmp_path / "b").write_bytes(b"2")
    assert (tmp_path / "a").stat().st_mode == (tmp_path / "b").stat().st_mode


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_an_error_leaves_the_old_file_and_no_part(tmp_path, error):
    target = tmp_path / "x"
    target.write_text("old")

    def write_half() -> None:
        with AtomicFile(target) as file:
            file.part.write_text("new")
            raise error

    with pytest.raises(error):
        write_half()
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


def test_a_full_disk_inside_the_body_is_named(tmp_path):
    with pytest.raises(DiskFullError, match="no space left"), AtomicFile(tmp_path / "x"):
        raise OSError(errno.ENOSPC, "No space left on device")
    assert list(tmp_path.iterdir()) == []


def test_a_target_that_is_a_link_is_replaced_not_followed(tmp_path):
    victim = tmp_path / "victim"
    victim.write_text("precious")
    (tmp_path / "x").symlink_to(victim)
    write_atomic(tmp_path / "x", b"new")
    assert victim.read_text() == "precious"
    assert (tmp_path / "x").read_bytes() == b"new"
    assert not (tmp_path / "x").is_symlink()


def test_a_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot be written"):
        write_atomic(tmp_path / "file/x", b"")


def test_leftovers_are_removed_and_nothing_else(tmp_path):
    target = tmp_path / "talk[1].mp4"
    keep = ["talk[1].mp4", "talk1.mp4.0123abcd.part", "talk[1].mp4.part", "talk[1].mp4.0123ABCD.part", "talk[1].mp4.x"]
    for name in [*keep, "talk[1].mp4.0123abcd.part", "talk[1].mp4.ffffffff.part"]:
        (tmp_path / name).write_text("")
    assert remove_parts(target) == 2
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted(keep)
    assert remove_parts(tmp_path / "none/x") == 0


def test_an_interrupted_run_leaves_nothing(tmp_path):
    plan, other = plan_outputs([tmp_path / "i/a.mp4", tmp_path / "i/ab.mp4"], tmp_path / "o", "separate", "mp4")
    plan.folder.mkdir()
    segment = segment_path(plan.videos[1], 3)
    assert segment.parent == plan.folder
    foreign = segment_path(other.videos[0], 0)
    for path in (segment, foreign, AtomicFile(segment).part, AtomicFile(plan.tracks).part, plan.report):
        path.write_text("")
    remove_partials(plan)
    assert sorted(plan.folder.iterdir()) == sorted([foreign, plan.report])


def test_files_get_their_names_together_or_not_at_all(tmp_path):
    (plan,) = plan_outputs([tmp_path / "i/a.mp4"], tmp_path / "o", "separate", "mp4")
    plan.folder.mkdir()
    plan.videos[1].write_text("old")
    plan.report.write_text("of the old one")

    def fail() -> None:
        with all_or_none(plan):
            assert not plan.report.exists(), "it does not speak of what comes"
            write_atomic(plan.videos[0], b"new")
            raise OutputError("full")

    with pytest.raises(OutputError):
        fail()
    assert [path.name for path in plan.folder.iterdir()] == [plan.videos[1].name], "the other was not replaced yet"
    with all_or_none(plan):
        for path in plan.files:
            write_atomic(path, b"new")
    assert [path.read_bytes() for path in plan.files] == [b"new"] * 4


@pytest.mark.parametrize("left", ["part", "segment", "work"])
def test_a_run_that_was_killed_while_it_named_its_files(tmp_path, left):
    plan, other = plan_outputs([tmp_path / "i/a.mp4", tmp_path / "i/ab.mp4"], tmp_path / "o", "separate", "mp4")
    plan.folder.mkdir()
    for path in (plan.videos[0], other.videos[0]):
        path.write_text("named")
    assert not is_under_way(plan)
    remove_half_named(plan)
    assert plan.videos[0].exists(), "nothing says that it is not the user's"
    if left == "work":
        Workspace.of(plan).folder.mkdir()
    else:
        (AtomicFile(plan.tracks).part if left == "part" else segment_path(plan.videos[1], 0)).write_text("")
    assert is_under_way(plan)
    assert not is_under_way(other)
    plan.report.write_text("done, or failed")
    remove_half_named(plan)
    assert plan.videos[0].exists()
    plan.report.unlink()
    remove_half_named(plan)
    assert not plan.videos[0].exists()
    assert other.videos[0].exists()


# --- disk -----------------------------------------------------------------------------------------------------------
def test_free_space_is_that_of_the_nearest_parent(tmp_path):
    assert free_bytes(tmp_path / "not/yet/there") == pytest.approx(free_bytes(tmp_path), rel=0.2)
    require_free(tmp_path / "x", 1)
    with pytest.raises(DiskFullError, match="are needed"):
        require_free(tmp_path / "x", 1 << 60)


def test_a_full_disk_is_recognised_through_causes():
    error = ValueError("vendor")
    error.__cause__ = OSError(errno.EDQUOT, "quota")
    assert is_disk_full(error)
    assert isinstance(output_error(error, Path("x")), DiskFullError)
    assert not is_disk_full(OSError(errno.EACCES, "no"))
    assert not isinstance(output_error(OSError(errno.EACCES, "no"), Path("x")), DiskFullError)


# --- audio and colour -----------------------------------------------------------------------------------------------
@pytest.mark.parametrize("container", ["mp4", "mov"])
@pytest.mark.parametrize("codec", ["aac", "alac", "mp3"])
def test_what_mp4_copies(container, codec):
    assert plan_audio(codec, container, 44100, "stereo", 2, 160_000).copy


@pytest.mark.parametrize("codec", ["opus", "vorbis", "pcm_s16le", "ac3", "flac", "dts"])
def test_what_mp4_encodes_and_mkv_copies(codec):
    plan = plan_audio(codec, "mp4", 48000, "stereo", 2, 160_000)
    assert (plan.copy, plan.rate_hz, plan.layout, plan.bitrate_bps) == (False, 48000, "stereo", 160_000)
    assert plan_audio(codec, "mkv", 48000, "stereo", 2, 160_000).copy


def test_rates_and_layouts_that_aac_lacks():
    assert plan_audio("pcm_s16le", "mp4", 192000, "stereo", 2, 160_000).rate_hz == 48000
    assert plan_audio("pcm_s16le", "mp4", 176400, "stereo", 2, 160_000).rate_hz == 44100
    assert plan_audio("pcm_s16le", "mp4", 48000, "5.1", 6, 160_000).bitrate_bps == 480_000
    assert plan_audio("pcm_s16le", "mp4", 48000, "22.2", 24, 160_000).layout == "stereo"
    assert plan_audio("pcm_s16le", "mp4", 48000, "FC", 1, 160_000).layout == "mono"
    assert plan_audio("pcm_s16le", "mp4", 8000, "mono", 1, 512_000).bitrate_bps <= 6 * 8000


def test_unspecified_colour_is_settled_by_height():
    assert settled_colour(Colour(), 360) == Colour(6, 6, 6)
    assert settled_colour(Colour(), 576) == Colour(5, 5, 6)
    assert settled_colour(Colour(), 1080) == Colour(1, 1, 1)
    assert settled_colour(Colour(9, 9, 16, full_range=True), 2160) == Colour(9, 9, 16, full_range=True)
    assert settled_colour(Colour(1, 2, 2), 360) == Colour(1, 6, 6)


# --- what may be opened ---------------------------------------------------------------------------------------------
def test_missing_directory_empty_and_pipe(tmp_path):
    (tmp_path / "empty.mp4").write_bytes(b"")
    os.mkfifo(tmp_path / "pipe.mp4")
    (tmp_path / "text").write_text("x")
    cases = {
        tmp_path / "none.mp4": (InputMissingError, "no such file"),
        tmp_path / "text/none.mp4": (InputMissingError, "no such file"),
        tmp_path: (InputMissingError, "a directory"),
        tmp_path / "pipe.mp4": (InputMissingError, "a pipe"),
        Path("/dev/zero"): (InputMissingError, "a device"),
        tmp_path / "empty.mp4": (NotAVideoError, "empty"),
        tmp_path / ("x" * 300): (InputMissingError, "cannot be examined"),
        tmp_path / "nul\0": (InputMissingError, "cannot be examined"),
    }
    for path, (kind, words) in cases.items():
        with pytest.raises(kind, match=words) as caught:
            check_input(path)
        assert "\n" not in str(caught.value)
    assert check_input(tmp_path / "text") == 1


def test_links_only_when_allowed_and_never_to_devices(tmp_path):
    (tmp_path / "file").write_text("abc")
    (tmp_path / "link").symlink_to(tmp_path / "file")
    (tmp_path / "device").symlink_to("/dev/zero")
    (tmp_path / "dangling").symlink_to(tmp_path / "nothing")
    with pytest.raises(InputMissingError, match="symbolic link"):
        check_input(tmp_path / "link")
    assert check_input(tmp_path / "link", allow_symlinks=True) == 3
    with pytest.raises(InputMissingError, match="a device"):
        check_input(tmp_path / "device", allow_symlinks=True)
    with pytest.raises(InputMissingError, match="no such file"):
        check_input(tmp_path / "dangling", allow_symlinks=True)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_an_unreadable_file(tmp_path):
    (tmp_path / "x").write_text("x")
    (tmp_path / "x").chmod(0)
    with pytest.raises(InputMissingError, match="cannot be read"):
        check_input(tmp_path / "x")
