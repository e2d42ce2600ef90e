"""A whole lane in one process: real files through the three services."""

from __future__ import annotations

import json
import shutil
import threading
import time
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import pytest
from in_process import InProcessLane, job_for

from actors.messages import SegmentJob
from actors.work.outputs import OutputFiles
from dualface_ray.backends.pyav import assemble
from dualface_ray.errors import Cancelled, DiskFullError, OutputError, ResourceError
from dualface_ray.frames import FramePool, PixelLayout, StreamInfo, slot_stride_bytes
from dualface_ray.models import cached_path, model_sha256
from dualface_ray.report import TracksWriter, VideoState, read_report, read_tracks
from dualface_ray.settings import resolve

pytestmark = pytest.mark.usefixtures("models")


def frames_of(path: Path) -> list[int]:
    with av.open(str(path)) as container:
        return [frame.pts for frame in container.decode(video=0) if frame.pts is not None]


def test_a_video_goes_through_complete(talk: Path, tmp_path: Path) -> None:
    settings = resolve()
    job = job_for(talk, tmp_path, settings)
    with InProcessLane(settings) as lane:
        status = lane.run(job)
        assert status.error is None
        assert status.state is VideoState.DONE
    (video,) = job.outputs.videos
    source, made = frames_of(talk), frames_of(video)
    assert len(made) == len(source) == status.frames_done
    with av.open(str(talk)) as a, av.open(str(video)) as b:
        ratio = b.streams.video[0].time_base / a.streams.video[0].time_base
        assert [p - source[0] for p in source] == [p * ratio for p in made]
        assert (b.streams.video[0].width, b.streams.video[0].height) == (1920, 1080)
        assert len(b.streams.audio) == 1
    report = read_report(job.outputs.report)
    assert report.state is VideoState.DONE
    assert report.frames.frames_in == report.frames.frames_out == len(source)
    assert set(report.latency_s) == {"detect", "decide", "encode", "total"}
    tracks = read_tracks(job.outputs.tracks)
    assert len(tracks) == len(source)
    assert (tracks.states == 0).mean() > 0.95, "both persons are in plain view"
    left, right = tracks.boxes_px[:, 0], tracks.boxes_px[:, 1]
    assert (left[:, 2] < right[:, 0]).all(), "A stays the person on the left"
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(path.name for path in job.outputs.files)


def test_two_runs_give_the_same_tracks(talk: Path, tmp_path: Path) -> None:
    settings = resolve()
    tracks = []
    for name, chunk in (("one", 16), ("two", 5)):
        job = job_for(talk, tmp_path / name, resolve(chunk_frames=chunk))
        with InProcessLane(resolve(chunk_frames=chunk)) as lane:
            assert lane.run(job).state is VideoState.DONE
        tracks.append(job.outputs.tracks.read_text())
    assert tracks[0] == tracks[1], "what is decided depends on the content alone, not on the size of the messages"
    assert settings.lane.chunk_frames == 16


def test_separate_makes_two_files(talk: Path, tmp_path: Path) -> None:
    settings = resolve(layout="separate")
    job = job_for(talk, tmp_path, settings)
    with InProcessLane(settings) as lane:
        assert lane.run(job).state is VideoState.DONE
    assert [path.name for path in job.outputs.videos] == ["talk.A.mp4", "talk.B.mp4"]
    assert len(frames_of(job.outputs.videos[0])) == len(frames_of(job.outputs.videos[1]))


def test_a_replaced_result_goes_when_the_new_one_is_complete(talk: Path, tmp_path: Path) -> None:
    settings = resolve(container="mkv", overwrite=True)
    job = replace(
        job_for(talk, tmp_path / "out", settings),
        replaced=("talk.dualface.mp4", "talk.A.mp4", "talk.B.mp4", "other.mp4", "../mine.mp4", "talk.dualface.mkv"),
    )
    stay = [tmp_path / "mine.mp4", tmp_path / "out" / "other.mp4", tmp_path / "out" / "talk.B.mp4"]
    for path in (tmp_path / "out" / "talk.dualface.mp4", *stay[:2]):
        path.write_bytes(b"old")
    stay[2].mkdir()
    with InProcessLane(settings) as lane:
        lane.start(job)
        assert (tmp_path / "out" / "talk.dualface.mp4").exists()
        assert lane.wait(job).state is VideoState.DONE
    assert all(path.exists() for path in stay)
    made = {path.name for path in job.outputs.files}
    assert {path.name for path in job.outputs.folder.iterdir()} == made | {"other.mp4", "talk.B.mp4"}


def test_giving_up_between_two_files_leaves_neither(
    talk: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file without a report beside it would be refused by the next run as somebody else's."""
    made: list[Path] = []

    def second_fails(*given: Any, **more: Any) -> Any:
        if made:
            raise Cancelled("cancelled")
        made.append(given[2])
        return assemble(*given, **more)

    monkeypatch.setattr("actors.work.outputs.assemble", second_fails)
    settings = resolve(layout="separate")
    job = job_for(talk, tmp_path / "out", settings)
    with InProcessLane(settings) as lane:
        assert lane.run(job).state is VideoState.FAILED
    assert made
    assert list((tmp_path / "out").iterdir()) == []


def test_two_videos_at_once_do_not_touch_each_other(talk: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(talk.read_bytes()[:2000])
    settings = resolve()
    good, bad = job_for(talk, tmp_path / "out", settings), job_for(broken, tmp_path / "out", settings, "v1")
    with InProcessLane(settings) as lane:
        lane.start(bad)
        lane.start(good)
        failed, done = lane.wait(bad), lane.wait(good)
    assert done.state is VideoState.DONE
    assert failed.state is VideoState.FAILED
    assert str(broken) in str(failed.error)
    assert "\n" not in str(failed.error)
    assert not any(path.exists() for path in bad.outputs.files)


def test_a_cancelled_video_leaves_nothing(talk: Path, tmp_path: Path) -> None:
    settings = resolve()
    job = job_for(talk, tmp_path / "out", settings)
    with InProcessLane(settings) as lane:
        lane.start(job)
        while not any(stream.frames_done > 3 for stream in lane.encoder.status().streams):
            time.sleep(0.01)
        worker = lane.encoder._workers[job.key]
        lane.encoder.forget(job.key)
        worker.thread.join(60)
        status = worker.session.status()
    assert status.state is VideoState.FAILED
    assert isinstance(status.error, Cancelled)
    assert list((tmp_path / "out").iterdir()) == []


def test_a_folder_deleted_in_mid_video_stays_away(talk: Path, tmp_path: Path) -> None:
    settings = resolve(preset="veryslow")  # its first packet, and so the file of the pictures, comes late
    job = job_for(talk, tmp_path / "out", settings)
    with InProcessLane(settings) as lane:
        lane.start(job)
        while not job.outputs.folder.is_dir() or not list(job.outputs.folder.iterdir()):
            time.sleep(0.01)
        shutil.rmtree(job.outputs.folder)
        status = lane.wait(job)
    assert status.state is VideoState.FAILED
    assert isinstance(status.error, OutputError)
    assert str(status.error).startswith(f"{job.outputs.folder}: the output folder is gone")
    assert not job.outputs.folder.exists()


def test_a_folder_deleted_before_the_final_files_stays_away(talk: Path, tmp_path: Path, monkeypatch) -> None:
    settings = resolve()
    job = job_for(talk, tmp_path / "out", settings)
    finish = OutputFiles.finish

    def deleted_then(self: OutputFiles) -> None:
        finish(self)
        shutil.rmtree(job.outputs.folder)

    monkeypatch.setattr(OutputFiles, "finish", deleted_then)
    with InProcessLane(settings) as lane:
        status = lane.run(job)
    assert status.state is VideoState.FAILED
    assert "the output folder is gone" in str(status.error)
    assert not job.outputs.folder.exists()


def test_a_disk_that_fills_up_is_one_clear_line(talk: Path, tmp_path: Path) -> None:
    settings = resolve(min_free_disk_bytes=1 << 60)
    job = job_for(talk, tmp_path / "out", settings)
    with InProcessLane(settings) as lane:
        status = lane.run(job)
    assert status.state is VideoState.FAILED
    assert "free" in str(status.error)
    assert list((tmp_path / "out").iterdir()) == []


def test_a_disk_that_is_full_when_everything_is_closed_fails_the_video_all_the_same(
    talk: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Closing writes what was buffered, so it fails as well: the first cause counts, and every other step is taken."""
    real = TracksWriter.close

    def close(self: TracksWriter) -> None:
        real(self)
        raise DiskFullError("no space left on device", where="tracks")

    monkeypatch.setattr(TracksWriter, "close", close)
    monkeypatch.setattr(threading, "excepthook", lambda _arguments: None)
    settings = resolve(min_free_disk_bytes=1 << 60)
    job = job_for(talk, tmp_path / "out", settings)
    with InProcessLane(settings) as lane:
        status = lane.run(job, 20)
    assert status.state is VideoState.FAILED
    assert "free" in str(status.error)
    assert list((tmp_path / "out").iterdir()) == []


def test_a_release_that_overtakes_the_opening_is_not_lost(talk: Path, tmp_path: Path) -> None:
    """They come from different actors. Nobody would release the stream again, and its slots would be gone."""
    settings = resolve()
    job = job_for(talk, tmp_path / "out", settings)
    with InProcessLane(settings) as lane:
        lane.decoder.release(job.key)
        lane.decoder.open(job)
        assert lane.decoder.status().facts["streams"] == 0
        assert not [thread for thread in threading.enumerate() if thread.name == f"decode-{job.stream_id}"]


def test_a_video_too_large_for_the_pool_is_named_by_its_file(talk: Path, tmp_path: Path) -> None:
    settings = resolve()
    job = job_for(talk, tmp_path / "out", settings, "v00000")
    with InProcessLane(settings, pool_bytes=1 << 20) as lane:
        error = lane.run(job).error
    assert isinstance(error, ResourceError)
    assert str(error).startswith(f"{talk}: ")
    assert "v00000" not in str(error)


def test_streams_that_wait_for_room_take_it_one_by_one(talk: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = resolve()
    info = StreamInfo("", 64, 64, Fraction(1, 30), Fraction(30), PixelLayout.NV12)
    with InProcessLane(settings, pool_bytes=8 * slot_stride_bytes(info)) as lane:
        decoder, real = lane.decoder, FramePool.open_stream

        def slowly(self: FramePool, *given: object) -> object:
            time.sleep(0.05)
            return real(self, *given)

        decoder.pool.open_stream("first", 0, info, 8)
        monkeypatch.setattr(FramePool, "open_stream", slowly)
        left, errors = [threading.Event() for _ in range(3)], []

        def claim(number: int) -> None:
            job = SegmentJob(f"v{number}", 0, talk, None, "")
            try:
                decoder.claim(job, info, 6, left[number])
            except Exception as error:
                errors.append(type(error))

        threads = [threading.Thread(target=claim, args=(number,)) for number in range(3)]
        for thread in threads:
            thread.start()
        time.sleep(0.3)
        decoder.pool.close_stream("first", 0)
        decoder.wake()
        time.sleep(0.5)
        for event in left:
            event.set()
        decoder.wake()
        for thread in threads:
            thread.join()
    assert errors == [Cancelled, Cancelled], "one has the room, the others go on waiting for it"


def test_a_small_pool_makes_the_second_video_wait(talk: Path, tmp_path: Path) -> None:
    """Both need more than half of the pool: they run one after the other, and both complete."""
    settings = resolve()
    slot = 640 * 360 * 3 // 2
    jobs = [job_for(talk, tmp_path / name, settings, name) for name in ("v0", "v1")]
    with InProcessLane(settings, pool_bytes=settings.quota_frames(30) * (slot + 256) * 3 // 2) as lane:
        for job in jobs:
            lane.start(job)
        assert [lane.wait(job).state for job in jobs] == [VideoState.DONE, VideoState.DONE]


def test_the_report_is_json_a_machine_can_read(talk: Path, tmp_path: Path) -> None:
    settings = resolve()
    job = job_for(talk, tmp_path, settings)
    with InProcessLane(settings) as lane:
        lane.run(job)
    report = json.loads(job.outputs.report.read_text())
    assert report["state"] == "done"
    assert report["fingerprint"] == job.fingerprint
    assert report["frames"]["detected"] < report["frames"]["in"] / 3, "3 Hz of 30 frames and little more"
    assert report["inference_s"]["detect"] > 0
    assert report["inference_s"]["embed"] == 0, "nobody was in doubt: no face had to be embedded"
    names = {"detector": settings.detect.model, "embedding": settings.identity.embedding_model}
    assert report["models"] == {role: model_sha256(cached_path(name)) for role, name in names.items()}
    assert report["engines"] == {}
    assert report["encoder"] == "libx264, 1 thread"
