"""What the user names becomes the videos of a job: files, folders, patterns, addresses, lists of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from dualface_ray.errors import AddressError, NameCollisionError, RequestError
from dualface_ray.media import expand_inputs, plan_outputs, read_list, require_text

BUCKET = [
    "s3://b/in/a.mp4",
    "s3://b/in/b.MKV",
    "s3://b/in/notes.txt",
    "s3://b/in/.hidden.mp4",
    "s3://b/in/a.dualface.mp4",
    "s3://b/in/a.report.json",
    "s3://b/in/sub/c.A.mp4",
]


def find(pattern: str) -> list[str]:
    import fnmatch

    pattern = pattern + "*" if pattern.endswith("/") else pattern
    return [name for name in BUCKET if fnmatch.fnmatchcase(name, pattern) and name.count("/") == pattern.count("/")]


@pytest.fixture
def talks(tmp_path: Path) -> Path:
    for name in (
        *("b.mp4", "a.MOV", ".hidden.mp4", "notes.txt", "a.dualface.mp4", "a.report.json", "x.A.mp4"),
        *("sub/deep/c.mkv", "sub/[1].mp4"),
    ):
        path = tmp_path / "talks" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return tmp_path / "talks"


def names(given, below: Path) -> list[str]:
    return [str(path.relative_to(below)) for path in expand_inputs(given, find)]


def test_files_stay_what_they_are_even_when_missing(talks):
    assert names([talks / "b.mp4", str(talks / "none.mp4"), talks / "notes.txt"], talks) == [
        "b.mp4",
        "none.mp4",
        "notes.txt",
    ]


def test_a_folder_gives_its_videos_sorted_without_results(talks):
    assert names([str(talks)], talks) == ["a.MOV", "b.mp4", "x.A.mp4"]
    assert names([talks / "sub" / "deep"], talks) == ["sub/deep/c.mkv"]


def test_patterns_reach_below(talks):
    assert names([f"{talks}/*.mp4"], talks) == ["b.mp4", "x.A.mp4"]
    assert names([f"{talks}/**/*.m*"], talks) == ["b.mp4", "sub/[1].mp4", "sub/deep/c.mkv", "x.A.mp4"]
    assert names([f"{talks}/**"], talks) == ["a.MOV", "b.mp4", "sub/[1].mp4", "sub/deep/c.mkv", "x.A.mp4"]
    assert names([f"{talks}/*"], talks) == ["a.MOV", "b.mp4", "x.A.mp4"]


def test_an_existing_name_is_no_pattern(talks):
    assert names([f"{talks}/sub/[1].mp4"], talks) == ["sub/[1].mp4"]
    (talks / "folder.mp4").mkdir()
    assert names([talks / "folder.mp4"], talks) == ["folder.mp4"]


@pytest.mark.parametrize("name", ["empty", "*.avi", "none/**"])
def test_nothing_found_is_an_error_of_the_request(talks, name):
    (talks / "empty").mkdir()
    with pytest.raises(RequestError, match="video") as caught:
        expand_inputs([f"{talks}/{name}"], find)
    assert caught.value.exit_code == 2
    assert caught.value.where == f"{talks}/{name}"


def test_file_addresses_are_local_paths(talks):
    assert names([f"file://{talks}/b.mp4", f"file://{talks}"], talks) == ["b.mp4", "a.MOV", "b.mp4", "x.A.mp4"]


def test_remote_folders_and_patterns():
    assert expand_inputs(["s3://b/in/"], find) == ["s3://b/in/a.mp4", "s3://b/in/b.MKV"]
    assert expand_inputs(["s3://b/in/*.mp4"], find) == ["s3://b/in/a.mp4"]
    assert expand_inputs(["s3://b/in/*"], find) == ["s3://b/in/a.mp4", "s3://b/in/b.MKV"]
    assert expand_inputs(["s3://b/in/sub/"], find) == ["s3://b/in/sub/c.A.mp4"]
    assert expand_inputs(["s3://b/in/x.mp4"], find) == ["s3://b/in/x.mp4"]
    assert expand_inputs(["https://h/*.mp4?a=[1]"], find) == ["https://h/*.mp4?a=[1]"]
    with pytest.raises(RequestError, match="the pattern matches no video"):
        expand_inputs(["s3://b/none/*"], find)
    with pytest.raises(RequestError, match="there is no video"):
        expand_inputs(["s3://b/none/"], find)


def test_a_list_holds_all_of_that(talks):
    lists = talks / "todo.txt"
    lists.write_bytes("\ufeff# today\n\n  b.mp4 \nsub/**/*.mkv\r\ns3://b/in/a.mp4\n#b.mp4\n/abs/x.mp4\n".encode())
    entries = read_list(lists)
    assert entries == [f"{talks}/b.mp4", f"{talks}/sub/**/*.mkv", "s3://b/in/a.mp4", "/abs/x.mp4"]
    assert len(expand_inputs(entries, find)) == 4


@pytest.mark.parametrize("content", [b"", b"# nothing\n\n", b"a\0b\n"])
def test_a_bad_list_is_one_line(tmp_path, content):
    (tmp_path / "list").write_bytes(content)
    with pytest.raises(RequestError, match="list"):
        read_list(tmp_path / "list")
    with pytest.raises(RequestError, match="cannot be read"):
        read_list(tmp_path / "none")


def plan(inputs, out="out", layout="side_by_side"):
    return plan_outputs(inputs, out, layout, "mp4", scratch=lambda url: Path("/scratch") / url.replace("/", "_"))


def test_folders_of_addresses_are_kept_below_their_common_one(tmp_path):
    plans = plan(["s3://b/in/x/a.mp4", "s3://b/in/y/z/a.mp4"], tmp_path)
    assert [p.folder.relative_to(tmp_path) for p in plans] == [Path("x"), Path("y/z")]
    assert plans[0].source == "s3://b/in/x/a.mp4"
    (single,) = plan(["https://host/p/a%20b.mp4?sig=1"], tmp_path)
    assert single.videos == (tmp_path / "a b.dualface.mp4",)
    mixed = plan(["https://host:81/p/a.mp4", "s3://b/a.mp4", "/data/a.mp4"], tmp_path)
    assert [str(p.folder.relative_to(tmp_path)) for p in mixed] == ["host_81/p", "b", "data"]


def test_results_for_a_remote_folder_lie_in_scratch_meanwhile():
    plans = plan(["/data/x/a.mp4", "/data/y/a.mp4"], "s3://vault/out/")
    assert [p.publish for p in plans] == ["s3://vault/out/x", "s3://vault/out/y"]
    assert plans[0].folder == Path("/scratch/s3:__vault_out_x")
    assert plans[0].targets == (
        "s3://vault/out/x/a.dualface.mp4",
        "s3://vault/out/x/a.tracks.jsonl",
        "s3://vault/out/x/a.report.json",
    )
    assert "s3://" not in repr(plans[0])
    with pytest.raises(NameCollisionError, match=r"s3://vault/out/a\.dualface\.mp4"):
        plan(["/data/a.mp4", "/data/a.mkv"], "s3://vault/out")


def test_an_address_given_twice_or_overwritten_is_an_error():
    with pytest.raises(NameCollisionError, match="given twice") as caught:
        plan(["https://h/a.mp4?t=secret", "https://h/a.mp4?t=secret"])
    assert "secret" not in str(caught.value)
    with pytest.raises(NameCollisionError, match="overwrite an input"):
        plan(["s3://b/a.mp4", "s3://b/a.dualface.mp4"], "s3://b")
    with pytest.raises(AddressError, match="names no file"):
        plan(["s3://b/"])


def test_a_name_that_is_not_utf8_is_one_readable_line():
    require_text(Path("/in/für [1].mp4"))
    with pytest.raises(RequestError, match=r"^in/caf\\xe9\.mp4: the name is not UTF-8\. Rename it") as caught:
        require_text(Path("in/caf\udce9.mp4"))
    assert str(caught.value).isprintable()
