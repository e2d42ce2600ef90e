"""Clips: real files with sound whose truth agrees with their pixels."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from dualface_ray.demo import SCENES, FaceImage, SceneTruth, load_faces, make_demo, render, truth_path
from dualface_ray.errors import DeviceError, EncodeError, InputMissingError, NotAVideoError, SettingsError


@pytest.fixture(scope="module")
def faces() -> list[FaceImage]:
    return load_faces()


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> SceneTruth:
    path = tmp_path_factory.mktemp("demo") / "talk.mp4"
    return make_demo(path, "sync", seconds=4.0, width_px=640, height_px=360, rate=Fraction(30000, 1001), seed=2)


def pictures(path: Path) -> list[np.ndarray]:
    with av.open(str(path)) as container:
        return [frame.to_ndarray(format="bgr24") for frame in container.decode(video=0)]


def test_the_two_packaged_faces_are_cut_out(faces: list[FaceImage]) -> None:
    assert [f.name for f in faces] == ["astronaut", "grace_hopper"]
    for face in faces:
        x0, y0, x1, y1 = (round(v) for v in face.face_px)
        middle = face.alpha[y0 + 20 : y1 - 20, x0 + 40 : x1 - 40]
        assert (middle > 250).mean() > 0.98, "no hole in the face"
        assert (face.alpha[:40] == 0).all(), "nothing above the head"
        assert (face.alpha[-60:, :60] == 0).all(), "no background beside the neck"
        share = (face.alpha > 128).mean()
        assert 0.1 < share < 0.5
        assert ((face.alpha > 20) & (face.alpha < 235)).any(), "soft edge"


def test_cut_outs_are_the_same_every_time(faces: list[FaceImage]) -> None:
    again = load_faces()
    assert all((a.alpha == b.alpha).all() and (a.bgr == b.bgr).all() for a, b in zip(faces, again, strict=True))


def test_a_folder_of_portraits(tmp_path: Path, faces: list[FaceImage]) -> None:
    for face in faces:
        portrait = cv2.copyMakeBorder(face.bgr, 100, 50, 100, 100, cv2.BORDER_REPLICATE)
        cv2.imwrite(str(tmp_path / f"{face.name}.png"), portrait)
    cv2.imwrite(str(tmp_path / "empty wall.jpg"), np.full((300, 300, 3), 127, np.uint8))
    (tmp_path / "notes.txt").write_text("not a picture")
    found = load_faces(tmp_path)
    assert [f.name for f in found] == ["astronaut", "grace_hopper"]
    for mine, known in zip(found, faces, strict=True):
        x0, y0, x1, y1 = mine.face_px
        kx0, ky0, kx1, ky1 = known.face_px
        assert (x1 - x0) == pytest.approx(kx1 - kx0, rel=0.25)
        assert (y1 - y0) == pytest.approx(ky1 - ky0)


def test_folders_that_do_not_do(tmp_path: Path) -> None:
    with pytest.raises(InputMissingError):
        load_faces(tmp_path / "none")
    with pytest.raises(NotAVideoError, match="0 portrait"):
        load_faces(tmp_path)
    (tmp_path / "broken.jpg").write_bytes(b"\xff\xd8\xff\xe0 not a picture")
    with pytest.raises(NotAVideoError, match=r"broken\.jpg"):
        load_faces(tmp_path)


def test_a_missing_extra_is_one_clear_line(monkeypatch: pytest.MonkeyPatch) -> None:
    import importlib

    real = importlib.import_module

    def without(name: str, package: str | None = None) -> object:
        if name.startswith("skimage"):
            raise ImportError(f"No module named {name!r}", name=name)
        return real(name, package)

    monkeypatch.setattr("dualface_ray.demo.faces.importlib.import_module", without)
    with pytest.raises(DeviceError, match=r"demo extra is not installed .*pip install 'dualface-ray\[demo\]'"):
        load_faces()


def test_the_clip_is_what_was_asked_for(clip: SceneTruth) -> None:
    with av.open(str(clip.path)) as container:
        video, audio = container.streams.video[0], container.streams.audio[0]
        assert (video.codec_context.name, audio.codec_context.name) == ("h264", "aac")
        assert (video.width, video.height, video.pix_fmt) == (640, 360, "yuv420p")
        assert video.average_rate == Fraction(30000, 1001)
        stamps = [p.pts * p.time_base for p in container.demux(video) if p.pts is not None]
    assert len(stamps) == len(clip.frames) == 120
    assert sorted(stamps) == [frame.pts * clip.time_base for frame in clip.frames]


def test_flash_and_click_come_together(clip: SceneTruth) -> None:
    luma = [float(p.mean()) for p in pictures(clip.path)]
    with av.open(str(clip.path)) as container:
        parts = [(f.pts * f.time_base, f.to_ndarray()) for f in container.decode(audio=0)]
    sound = np.concatenate([p for _, p in parts], axis=1)
    rate, start_s = 48_000, float(parts[0][0])
    sharp = np.abs(np.diff(sound[0], 2))
    assert clip.clicks_s == (1.0, 3.0)
    for click_s in clip.clicks_s:
        frame = next(i for i, f in enumerate(clip.frames) if float(f.pts * clip.time_base) >= click_s)
        assert luma[frame] > luma[frame - 2] + 40
        near = range(round((click_s - start_s - 0.1) * rate), round((click_s - start_s + 0.1) * rate))
        assert abs(near[int(np.argmax(sharp[near.start : near.stop]))] / rate + start_s - click_s) < 0.01


def test_truth_survives_its_file(clip: SceneTruth) -> None:
    again = SceneTruth.load(truth_path(clip.path))
    assert (again.people, again.principals, again.time_base) == (clip.people, (0, 1), clip.time_base)
    for mine, theirs in zip(clip.frames, again.frames, strict=True):
        for a, b in zip(mine.faces, theirs.faces, strict=True):
            assert a.person == b.person
            assert b.box_px == pytest.approx(a.box_px, abs=0.001)
            assert b.visible == pytest.approx(a.visible, abs=0.001)


def test_the_same_seed_gives_the_same_pixels(tmp_path: Path, faces: list[FaceImage]) -> None:
    for name in ("a", "b"):
        render(
            SCENES["low_light"], tmp_path / f"{name}.mp4", width_px=320, height_px=180, rate=Fraction(25),
            duration_s=0.4, seed=5, faces=faces,
        )  # fmt: skip
    one, two = pictures(tmp_path / "a.mp4"), pictures(tmp_path / "b.mp4")
    assert all((a == b).all() for a, b in zip(one, two, strict=True))


def test_hidden_faces_are_known_to_be_hidden(tmp_path: Path, faces: list[FaceImage]) -> None:
    truth = render(
        SCENES["crossing_lr"], tmp_path / "c.mp4", width_px=480, height_px=270, rate=Fraction(10), duration_s=10.0,
        seed=1, faces=faces,
    )  # fmt: skip
    seen = {p: [f.visible for frame in truth.frames for f in frame.faces if f.person == p] for p in (0, 1)}
    assert min(seen[0]) > 0.9, "who walks in front is always seen"
    assert min(seen[1]) < 0.1, "who is passed is fully hidden for a moment"
    assert max(seen[1]) == 1.0


def test_faces_outside_the_picture_are_no_faces(tmp_path: Path, faces: list[FaceImage]) -> None:
    truth = render(
        SCENES["swap_sides"], tmp_path / "s.mp4", width_px=480, height_px=270, rate=Fraction(10), duration_s=10.0,
        seed=1, faces=faces,
    )  # fmt: skip
    counts = [len(frame.faces) for frame in truth.frames]
    assert min(counts) == 1
    for frame in truth.frames:
        for face in frame.faces:
            assert face.box_px[2] > 0
            assert face.box_px[0] < 480


def test_the_boxes_lie_on_the_faces(tmp_path: Path, faces: list[FaceImage]) -> None:
    """The picture around each true box looks like that person's portrait (not like the other one's)."""
    truth = render(
        SCENES["cuts"], tmp_path / "k.mp4", width_px=960, height_px=540, rate=Fraction(5), duration_s=7.0, seed=3,
        faces=faces,
    )  # fmt: skip
    portraits = []
    for face in faces:
        x0, y0, x1, y1 = (round(v) for v in face.face_px)
        portraits.append(cv2.resize(face.bgr[y0:y1, x0:x1], (48, 64), interpolation=cv2.INTER_AREA).astype(float))
    checked = 0
    for picture, frame in zip(pictures(truth.path), truth.frames, strict=True):
        for face in frame.faces:
            x0, y0, x1, y1 = (round(v) for v in face.box_px)
            if face.visible < 0.99 or x0 < 0 or y0 < 0:
                continue
            found = cv2.resize(picture[y0:y1, x0:x1], (48, 64), interpolation=cv2.INTER_AREA).astype(float)
            alike = [float(np.corrcoef(found.ravel(), p.ravel())[0, 1]) for p in portraits]
            assert int(np.argmax(alike)) == face.person
            assert max(alike) > 0.7
            checked += 1
    assert checked > 40


def test_a_face_is_seen_the_less_the_more_another_shot_lies_over_it(tmp_path: Path, faces: list[FaceImage]) -> None:
    truth = render(
        SCENES["dissolve"], tmp_path / "d.mp4", width_px=320, height_px=180, rate=Fraction(12), duration_s=16.0, seed=3,
        faces=faces,
    )  # fmt: skip
    twice = [[f.visible for f in frame.faces if f.person == p] for frame in truth.frames for p in (0, 1)]
    assert any(len(seen) == 2 for seen in twice), "in the old shot and in the new one"
    assert all(sum(seen) <= 1.001 for seen in twice)
    assert all(seen == sorted(seen, reverse=True) for seen in twice)
    dark = [i for i, picture in enumerate(pictures(truth.path)) if picture.mean() < 3]
    assert len(dark) > 3
    assert all(face.visible < 0.05 for i in dark for face in truth.frames[i].faces)


def test_faces_in_a_call_lie_in_their_windows(tmp_path: Path, faces: list[FaceImage]) -> None:
    truth = render(
        SCENES["remote_call"], tmp_path / "r.mp4", width_px=960, height_px=540, rate=Fraction(2), duration_s=16.0,
        seed=3, faces=faces,
    )  # fmt: skip
    portraits = []
    for face in faces:
        x0, y0, x1, y1 = (round(v) for v in face.face_px)
        portraits.append(cv2.resize(face.bgr[y0:y1, x0:x1], (48, 64), interpolation=cv2.INTER_AREA).astype(float))
    heights = set()
    for picture, frame in zip(pictures(truth.path), truth.frames, strict=True):
        assert [face.person for face in frame.faces] == [0, 1]
        for face in frame.faces:
            x0, y0, x1, y1 = (max(0, round(v)) for v in face.box_px)
            heights.add(round((y1 - y0) / 540, 1))
            if face.visible > 0.99:
                found = cv2.resize(picture[y0:y1, x0:x1], (48, 64), interpolation=cv2.INTER_AREA).astype(float)
                alike = [float(np.corrcoef(found.ravel(), p.ravel())[0, 1]) for p in portraits]
                assert int(np.argmax(alike)) == face.person
    assert min(heights) <= 0.2 < 0.3 <= max(heights)


def test_lookalikes_wear_one_face(tmp_path: Path, faces: list[FaceImage]) -> None:
    truth = render(
        SCENES["lookalikes"], tmp_path / "t.mp4", width_px=640, height_px=360, rate=Fraction(1), duration_s=2.0, seed=4,
        faces=faces,
    )  # fmt: skip
    assert truth.people == ("astronaut", "astronaut_twin")
    picture = pictures(truth.path)[0]
    heads = []
    for face in truth.frames[0].faces:
        x0, y0, x1, y1 = (round(v) for v in face.box_px)
        heads.append(cv2.resize(picture[y0:y1, x0:x1], (48, 64), interpolation=cv2.INTER_AREA).astype(float))
    mirrored = float(np.corrcoef(heads[0].ravel(), heads[1][:, ::-1].ravel())[0, 1])
    assert mirrored > 0.8


def test_strangers_stand_in_where_faces_are_few(tmp_path: Path, faces: list[FaceImage]) -> None:
    for name in ("bystander", "three_people", "picture_on_wall"):
        truth = render(
            SCENES[name], tmp_path / "x.mp4", width_px=320, height_px=180, rate=Fraction(2), duration_s=8.0, seed=1,
            faces=faces,
        )  # fmt: skip
        people = {face.person for frame in truth.frames for face in frame.faces}
        assert people == ({0, 1, 101} if name == "picture_on_wall" else {0, 1})


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"width_px": 641}, "641x360"),
        ({"height_px": 16}, "640x16"),
        ({"seconds": 0.0}, "0.0 s"),
        ({"seconds": float("nan")}, "nan s"),
        ({"rate": Fraction(0)}, "0 frames"),
        ({"scene": "ballet"}, "unknown scene 'ballet'"),
    ],
)
def test_impossible_wishes_are_refused(tmp_path: Path, options: dict[str, object], reason: str) -> None:
    wishes: dict[str, object] = {"seconds": 0.2, "width_px": 640, "height_px": 360, **options}
    with pytest.raises(SettingsError, match=reason):
        make_demo(tmp_path / "x.mp4", **wishes)  # type: ignore[arg-type]
    assert list(tmp_path.iterdir()) == []


def test_a_place_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(EncodeError):
        make_demo(tmp_path / "file" / "x.mp4", seconds=0.2, width_px=320, height_px=180)
