"""What a request decides before anything starts: remote inputs examined, earlier results found, paths checked."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import fsspec
import pytest

from actors.messages import SegmentJob, Work
from actors.work.places import remove_replaced
from dualface_ray.backends.storage import buckets
from dualface_ray.backends.storage import faults as faults_module
from dualface_ray.errors import AddressError, NotAVideoError, OutputExistsError, ProfileError, RequestError
from dualface_ray.media import AtomicFile, join_address
from dualface_ray.report import RunReport, VideoState, input_record
from dualface_ray.request import examining, places, prepare, preparing, settle, waiting
from dualface_ray.settings import Settings, resolve
from tests.storage_servers import Server, Web


@pytest.fixture(autouse=True)
def without_models(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preparing, "ensure", lambda *_args: None)
    monkeypatch.setattr(faults_module, "PAUSE_S", 0.01)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return resolve(**{"storage.scratch_dir": str(tmp_path / "scratch"), "storage.timeout_s": 10, "storage.attempts": 2})


@pytest.fixture
def web(talk: Path) -> Iterator[Server]:
    with Server(Web) as server:
        server.files["/in/talk.mp4"] = talk.read_bytes()
        yield server


@pytest.fixture
def memory(talk: Path) -> Iterator[fsspec.AbstractFileSystem]:
    files = fsspec.filesystem("memory")
    files.pipe_file("/place/in/talk.mp4", talk.read_bytes())
    yield files
    files.store.clear()
    files.pseudo_dirs[:] = [""]


def test_a_remote_input_is_examined_without_fetching_all_of_it(web, talk, tmp_path, settings, monkeypatch):
    monkeypatch.setattr("dualface_ray.backends.storage.reader._BLOCK_BYTES", 4096)
    (task,) = prepare(f"{web.url}/in/talk.mp4?t=secret", tmp_path / "out", settings)
    (local,) = prepare(talk, tmp_path / "out2", settings)
    assert task.state is VideoState.WAITING
    assert (task.frames_estimate, task.duration_s) == (local.frames_estimate, local.duration_s) == (120, 4.0)
    assert task.picture_px == local.picture_px == 640 * 360
    assert task.ring_bytes == local.ring_bytes
    assert task.origin.endswith("?t=secret")
    assert task.identity
    assert task.source.is_relative_to(tmp_path / "scratch")
    assert task.source.name == "talk.mp4"
    assert task.shown.endswith("/in/talk.mp4?***")
    assert "secret" not in repr(task)
    assert "secret" not in repr(task.initial_progress())
    assert not (tmp_path / "scratch").exists()
    asked = [line.partition("bytes=")[2].split("-") for line in web.seen]
    fetched = sum(int(end) + 1 - int(start) for start, end in asked)
    assert fetched < talk.stat().st_size * 0.9


def test_the_content_decides_the_fingerprint(web, talk, tmp_path, settings):
    def mark(**more):
        (task,) = prepare(f"{web.url}/in/talk.mp4", tmp_path / "out", settings, **more)
        return task.fingerprint

    first = mark()
    assert mark() == first
    web.files["/in/talk.mp4"] = talk.read_bytes() + b"\0" * 8
    assert mark() != first

    def without_etag(handler):
        handler.part(web.files["/in/talk.mp4"])
        return True

    web.habits["/in/talk.mp4"] = without_etag
    second = mark()
    assert second != first
    assert mark() == second
    web.files["/in/talk.mp4"] = talk.read_bytes() + b"\1" * 8
    assert mark() != second


def test_a_server_without_parts_sends_it_once_for_the_examination(web, talk, tmp_path, settings):
    web.habits["/in/talk.mp4"] = lambda handler: handler.answer(200, talk.read_bytes()) is None
    (task,) = prepare(f"{web.url}/in/talk.mp4", tmp_path / "out", settings)
    assert task.frames_estimate == 120
    assert [path for path in (tmp_path / "scratch").rglob("*") if path.is_file()] == []


def test_what_is_no_video_fails_alone(web, tmp_path, settings):
    web.files["/in/page.mp4"] = b"<html>sign in</html>" * 100
    web.files["/in/empty.mp4"] = b""
    tasks = prepare(
        [f"{web.url}/in/{name}.mp4" for name in ("page", "talk", "none", "empty")], tmp_path / "out", settings
    )
    assert [task.state.value for task in tasks] == ["failed", "waiting", "failed", "failed"]
    assert isinstance(tasks[0].error, NotAVideoError)
    assert str(tasks[0].error).startswith(f"{web.url}/in/page.mp4: is no video file")
    assert "no such file" in str(tasks[2].error)
    assert "it is empty" in str(tasks[3].error)


def test_a_playlist_from_a_server_reaches_nobody_else(web, tmp_path, settings):
    """Formats are restricted over the network as well: what names other addresses is not opened."""
    web.files["/in/list.mp4"] = f"#EXTM3U\n#EXTINF:10,\n{web.url}/in/talk.mp4\n#EXT-X-ENDLIST\n".encode()
    (task,) = prepare(f"{web.url}/in/list.mp4", tmp_path / "out", settings)
    assert task.state is VideoState.FAILED
    assert not [line for line in web.seen if "talk.mp4" in line]


def test_examination_reads_no_more_than_is_allowed(web, tmp_path, settings, monkeypatch):
    monkeypatch.setattr("dualface_ray.backends.storage.reader._BLOCK_BYTES", 4096)
    small = settings.model_copy(update={"storage": settings.storage.model_copy(update={"probe_bytes": 8192})})
    (task,) = prepare(f"{web.url}/in/talk.mp4", tmp_path / "out", small)
    assert "storage.probe_bytes" in str(task.error)


def test_folders_and_patterns_of_a_store(memory, talk, settings):
    memory.pipe_file("/place/in/sub/other.mp4", talk.read_bytes())
    memory.pipe_file("/place/in/readme.txt", b"x")
    tasks = prepare("memory://place/in/**/*.mp4", "memory://place/out", settings)
    assert [task.origin for task in tasks] == ["memory://place/in/sub/other.mp4", "memory://place/in/talk.mp4"]
    assert [task.publish for task in tasks] == ["memory://place/out/sub", "memory://place/out"]
    assert [task.outputs.publish_root for task in tasks] == ["memory://place/out"] * 2
    (single,) = prepare("memory://place/in/", "memory://place/out", settings)
    assert single.initial_progress().outputs == ("memory://place/out/talk.dualface.mp4",)
    with pytest.raises(RequestError, match="matches no video"):
        prepare("memory://place/*.avi", "memory://place/out", settings)


def finish(memory: fsspec.AbstractFileSystem, task, mark: str = "") -> None:
    """As a lane would leave it."""
    report = RunReport(state=VideoState.DONE, input=input_record(task.source), fingerprint=mark or task.fingerprint)
    for path in task.outputs.files:
        url = join_address(task.publish, path.name)
        memory.pipe_file(url, report.to_json() if path == task.outputs.report else b"x")


def test_the_report_at_the_remote_place_says_done(memory, talk, settings):
    (task,) = prepare(talk, "memory://place/out/", settings)
    assert task.state is VideoState.WAITING
    finish(memory, task)
    assert prepare(talk, "memory://place/out", settings)[0].state is VideoState.SKIPPED
    assert [done.state for done in settle([task], settings)] == [VideoState.SKIPPED]
    memory.rm_file("/place/out/talk.tracks.jsonl")
    assert prepare(talk, "memory://place/out", settings)[0].state is VideoState.WAITING
    finish(memory, task, mark="another")
    with pytest.raises(OutputExistsError, match=r"memory://place/out/talk\.dualface\.mp4: was made from another"):
        prepare(talk, "memory://place/out", settings)
    over = resolve(**{"job.overwrite": True, "storage.scratch_dir": settings.storage.scratch_dir})
    assert prepare(talk, "memory://place/out", over)[0].state is VideoState.WAITING
    memory.rm_file("/place/out/talk.report.json")
    with pytest.raises(OutputExistsError, match="no report beside it"):
        prepare(talk, "memory://place/out", settings)


def test_a_video_finished_meanwhile_is_not_made_again(talk, tmp_path, settings):
    (task,) = prepare(talk, tmp_path / "out", settings)
    assert settle([task], settings) == (task,)
    for path in task.outputs.files:
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"x")
    report = RunReport(state=VideoState.DONE, input=input_record(talk), fingerprint=task.fingerprint)
    report.save(task.outputs.report)
    assert settle([task], settings) == (replace(task, state=VideoState.SKIPPED),)


def test_results_cannot_go_to_the_web_or_to_nowhere(talk, tmp_path, settings):
    with pytest.raises(AddressError, match="cannot be written there"):
        prepare(talk, "https://host/out", settings)
    with pytest.raises(AddressError, match="unknown protocol"):
        prepare(talk, "ftp://host/out", settings)
    with pytest.raises(RequestError, match="an output folder is needed"):
        prepare("memory://place/in/talk.mp4", None, settings)
    (tmp_path / "file").touch()
    with pytest.raises(RequestError, match="is a file"):
        prepare(talk, f"file://{tmp_path}/file", settings)
    (task,) = prepare(f"file://{talk}", f"file://{tmp_path}/out", settings)
    assert task.outputs.folder == tmp_path / "out"
    assert task.source == talk
    assert not task.origin


def test_a_cluster_wants_absolute_paths(talk, tmp_path, settings, monkeypatch):
    monkeypatch.chdir(talk.parent)
    for inputs, output in ((["talk.mp4"], tmp_path / "out"), ([talk], "out")):
        with pytest.raises(RequestError, match="relative path") as caught:
            prepare(inputs, output, settings, shared=True)
        assert str(Path.cwd()) in caught.value.remedy
    assert prepare([talk], tmp_path / "out", settings, shared=True)[0].state is VideoState.WAITING
    (tmp_path / "list").write_text(f"{talk}\n")
    assert len(prepare((), tmp_path / "out", settings, list_file=tmp_path / "list", shared=True)) == 1
    with pytest.raises(RequestError, match="no input"):
        prepare((), tmp_path / "out", settings)


def test_names_that_are_not_utf8_are_refused_before_anything_starts(talk, tmp_path, settings):
    odd = tmp_path / "in" / "caf\udce9.mp4"
    odd.parent.mkdir()
    odd.write_bytes(talk.read_bytes())
    for inputs, output in ((odd, tmp_path / "out"), (odd.parent, tmp_path / "out"), (talk, tmp_path / "\udcff")):
        with pytest.raises(RequestError, match="not UTF-8"):
            prepare(inputs, output, settings)


def test_whoever_interrupts_the_examination_waits_for_no_server(talk, tmp_path, settings, monkeypatch):
    web_stops = threading.Event()

    def hanging(url, _settings, stop):
        assert "hang" in url
        web_stops.wait(60)
        return examining.Found(None, "", talk)  # nobody waits for this any more

    def fetching(_source, _settings):
        raise KeyboardInterrupt

    monkeypatch.setattr(preparing, "examine_remote", hanging)
    monkeypatch.setattr(preparing, "examine_local", fetching)
    monkeypatch.setattr(waiting, "_LEAVE_S", 0.1)
    began_s = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        prepare([talk, "https://host/hang.mp4"], tmp_path / "out", settings)
    web_stops.set()
    assert time.monotonic() - began_s < 30


def test_who_waits_long_hears_for_what(talk, tmp_path, settings, monkeypatch):
    slow = tmp_path / "slow.mp4"
    slow.write_bytes(talk.read_bytes())
    heard, said = threading.Event(), []

    def examine(source, resolved, real=examining.examine_local):
        if source == slow:
            assert heard.wait(60)
        return real(source, resolved)

    def looking(line: str) -> None:
        said.append(line)
        if "1 of 2" in line:
            heard.set()

    monkeypatch.setattr(waiting, "_QUIET_S", 60.0)
    prepare([talk], tmp_path / "out", settings, looking=looking)
    assert said == [], "a quick one says nothing"
    monkeypatch.setattr(preparing, "examine_local", examine)
    monkeypatch.setattr(waiting, "_QUIET_S", 0.02)
    monkeypatch.setattr(waiting, "_TELL_S", 0.02)
    prepare([talk, slow], tmp_path / "out", settings, looking=looking)
    assert f"looking at the inputs: 1 of 2 done, waiting for {slow}" in said


def test_who_waits_for_a_listing_hears_of_it_without_its_secrets(settings, monkeypatch):
    heard, said = threading.Event(), []

    class Slow:
        def find(self, pattern: str) -> list[str]:
            assert heard.wait(60)
            return [pattern]

    monkeypatch.setattr(places, "open_store", lambda *_: Slow())
    monkeypatch.setattr(waiting, "_QUIET_S", 0.02)
    where = "https://me:secret@host/*.mp4"
    found = places._find(settings, lambda line: (said.append(line), heard.set()), where)
    assert found == [where]
    assert said[0].startswith("looking for inputs at https://")
    assert "secret" not in said[0]


def test_an_unknown_profile_is_refused_before_anything_is_looked_at(tmp_path):
    with pytest.raises(ProfileError, match=r"'nosuch': is no profile. Known are .*rtx4090") as caught:
        prepare([tmp_path / "missing.mp4"], tmp_path / "out", resolve(**{"lane.profile": "nosuch"}))
    assert caught.value.exit_code == 2
    with pytest.raises(ProfileError, match=r"mine.yaml"):
        prepare([tmp_path / "missing.mp4"], tmp_path / "out", resolve(**{"lane.profile": str(tmp_path / "mine.yaml")}))
    prepare([tmp_path / "missing.mp4"], tmp_path / "out", resolve(**{"lane.profile": "rtx4090"}))


def test_a_fetch_for_the_examination_ends_with_it(web, talk, tmp_path, settings, monkeypatch):
    def endless(request):
        request.send_response(200)
        request.end_headers()
        with contextlib.suppress(OSError):
            while True:
                request.wfile.write(bytes(1 << 16))

    def interrupted(_source, _settings):
        end_s = time.monotonic() + 30
        while not list((tmp_path / "scratch").rglob("*.part")) and time.monotonic() < end_s:
            time.sleep(0.02)
        raise KeyboardInterrupt

    web.habits["/in/endless.mp4"] = endless
    monkeypatch.setattr(preparing, "examine_local", interrupted)
    monkeypatch.setattr(waiting, "_LEAVE_S", 30.0)
    with pytest.raises(KeyboardInterrupt):
        prepare([talk, f"{web.url}/in/endless.mp4"], tmp_path / "out", settings)
    assert [path for path in (tmp_path / "scratch").rglob("*") if path.is_file()] == []


def test_memory_is_no_place_for_users(talk, settings, monkeypatch):
    monkeypatch.delitem(buckets.PACKAGES, "memory")
    with pytest.raises(AddressError, match="unknown protocol 'memory'"):
        prepare(talk, "memory://place/out", settings)


def test_a_killed_run_is_no_reason_to_refuse_the_next(talk, tmp_path, settings):
    """It had named one of its files; the report was still to come."""
    (task,) = prepare(talk, tmp_path / "out", settings)
    task.outputs.folder.mkdir()
    task.outputs.videos[0].write_text("half of the result")
    with pytest.raises(OutputExistsError, match="no report beside it"):
        prepare(talk, tmp_path / "out", settings)
    AtomicFile(task.outputs.tracks).part.touch()
    assert prepare(talk, tmp_path / "out", settings)[0].state is VideoState.WAITING


def test_videos_of_a_replaced_result_go_from_a_remote_place_too(memory, talk, settings):
    """Those that its report names, once the new ones are complete; inputs stay."""
    (task,) = prepare(talk, "memory://place/out", settings)
    for path in (*task.outputs.videos, task.outputs.tracks, task.outputs.folder / "other.mp4"):
        memory.pipe_file(f"/place/out/{path.name}", b"old")
    report = RunReport(
        state=VideoState.DONE, input=input_record(talk), outputs=("talk.dualface.mp4", "other.mp4", "../in/talk.mp4")
    )
    memory.pipe_file(f"/place/out/{task.outputs.report.name}", report.to_json())
    over = settings.model_copy(
        update={
            "job": settings.job.model_copy(update={"overwrite": True}),
            "encode": settings.encode.model_copy(update={"container": "mkv"}),
        }
    )
    also = settle(prepare([talk, "memory://place/out/talk.dualface.mp4"], "memory://place/out", over), over)
    assert also[0].replaced == (), "it is an input"
    (task,) = settle(prepare(talk, "memory://place/out", over), over)
    assert task.replaced == ("talk.dualface.mp4",)
    job = SegmentJob("v0", 0, talk, task.outputs, "f" * 64, publish=task.publish, replaced=task.replaced)
    remove_replaced(replace(job, work=Work.SURVEY), over)
    assert memory.exists("/place/out/talk.dualface.mp4")
    remove_replaced(job, over)
    left = sorted(path.rpartition("/")[2] for path in memory.find("/place/out"))
    assert left == ["other.mp4", "talk.report.json", "talk.tracks.jsonl"]
