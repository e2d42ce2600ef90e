"""Contact sheet, timeline and overlay: real files, looked at with a decoder of their own."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from dualface_ray.backends import Picture
from dualface_ray.errors import InputError, OutputError
from dualface_ray.frames import Colour
from dualface_ray.framing import CanvasPlan, FramePlan, TilePlan
from dualface_ray.identity import Box, PersonState, PersonTrack, TrackedFrame
from dualface_ray.report import (
    EventRecord,
    InputRecord,
    RunReport,
    Tracks,
    TracksHeader,
    TracksWriter,
    VideoState,
    contact_sheet,
    overlay,
    preview,
    read_tracks,
    timeline,
)
from dualface_ray.report.marks import COLOURS, mark_people
from tests.media_maker import Audio, Clip, video_pts

BOX_A: Box = (40.0, 60.0, 100.0, 140.0)
CROP_A: Box = (20.0, 30.0, 120.0, 170.0)


def tracks_for(path: Path, frames: int, width_px: int, height_px: int, cut: int = 10**9) -> Tracks:
    """A sees the whole video, B is predicted for a while, then absent; a cut where asked."""
    target = path.with_suffix(".jsonl")
    with TracksWriter(target, TracksHeader(path.name, width_px, height_px, Fraction(1, 25))) as writer:
        for index in range(frames):
            box_b = (width_px - 60.0, 60.0, width_px - 20.0, 110.0)
            b = (
                PersonTrack(PersonState.PREDICTED, box_b, 0.3)
                if index < frames // 2
                else PersonTrack(PersonState.ABSENT, None)
            )
            a = PersonTrack(PersonState.DETECTED, BOX_A, 0.9)
            tiles = (
                TilePlan(CROP_A, 0, 0, 200, 280, "A"),
                TilePlan((0.0, 0.0, width_px / 2, float(height_px)), 200, 0, 200, 280, "B"),
            )
            writer.add(
                TrackedFrame(index, index, int(index >= cut), a, b),
                FramePlan(index, index, (CanvasPlan(400, 280, tiles),)),
            )
    return read_tracks(target)


def near(picture: np.ndarray, x: float, y: float, colour: tuple[int, int, int], tolerance: int = 60) -> bool:
    """Whether some pixel within two of (x, y) has about this colour (blue, green, red)."""
    part = picture[max(0, round(y) - 2) : round(y) + 3, max(0, round(x) - 2) : round(x) + 3].reshape(-1, 3).astype(int)
    return bool((np.abs(part - np.array(colour)).max(axis=1) < tolerance).any())


def show(path: Path) -> list[np.ndarray]:
    with av.open(str(path)) as container:
        return [frame.to_ndarray(format="bgr24") for frame in container.decode(video=0)]


@pytest.mark.parametrize("rotation_deg", [0, 90, 180, 270])
def test_overlay_draws_where_a_viewer_sees_the_box(tmp_path: Path, rotation_deg: int) -> None:
    source = Clip(width_px=320, height_px=240, frames=12, rate=Fraction(25), rotation_deg=rotation_deg).write(
        tmp_path / "s.mp4"
    )
    width, height = (240, 320) if rotation_deg in (90, 270) else (320, 240)
    tracks = tracks_for(source, 12, width, height)
    assert overlay(tracks, source, tmp_path / "o.mp4") == 12
    pictures = show(tmp_path / "o.mp4")
    assert len(pictures) == 12
    assert pictures[5].shape == (height, width, 3)
    x0, y0, x1, y1 = BOX_A
    for x, y in ((x0 + 1, (y0 + y1) / 2), (x1 - 2, (y0 + y1) / 2), ((x0 + x1) / 2, y1 - 2)):
        assert near(pictures[5], x, y, COLOURS[0]), (x, y)
    assert not near(pictures[5], (x0 + x1) / 2, (y0 + y1) / 2 + 20, COLOURS[0])
    assert near(pictures[2], width - 59, 64, COLOURS[1]), "B's corner while predicted"
    assert not near(pictures[11], width - 59, 64, COLOURS[1]), "nothing where B is absent"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["o.mp4", "s.jsonl", "s.mp4"], "nothing else is left"


def test_overlay_keeps_stamps_and_sound(tmp_path: Path) -> None:
    stamps = tuple(int(k * 512 + (k % 3) * 100) for k in range(20))
    clip = Clip(
        width_px=322,
        height_px=182,
        frames=20,
        rate=Fraction(25),
        time_base=Fraction(1, 12800),
        pts_ticks=stamps,
        audio=(Audio(),),
    )
    source = clip.write(tmp_path / "s.mp4")
    assert overlay(tracks_for(source, 20, 322, 182), source, tmp_path / "o.mp4") == 20
    assert video_pts(tmp_path / "o.mp4") == video_pts(source)
    with av.open(str(tmp_path / "o.mp4")) as container:
        assert len(container.streams.audio) == 1


def test_another_video_is_refused(tmp_path: Path) -> None:
    source = Clip(width_px=320, height_px=240, frames=12, rate=Fraction(25)).write(tmp_path / "s.mp4")
    with pytest.raises(InputError, match="320x240, the tracks are of a video of 640x360"):
        overlay(tracks_for(source, 12, 640, 360), source, tmp_path / "o.mp4")
    for frames in (11, 13):
        with pytest.raises(InputError, match=f"has 12 frames, the tracks have {frames}"):
            overlay(tracks_for(source, frames, 320, 240), source, tmp_path / "o.mp4")
    with pytest.raises(InputError):
        contact_sheet(tracks_for(source, 13, 320, 240), source, tmp_path / "c.png")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["s.jsonl", "s.mp4"]


def test_the_sheet_shows_every_shot_and_each_moment_once(tmp_path: Path) -> None:
    source = Clip(width_px=320, height_px=240, frames=40, rate=Fraction(25)).write(tmp_path / "s.mp4")
    shown = contact_sheet(tracks_for(source, 40, 320, 240, cut=17), source, tmp_path / "c.png", pictures=6)
    assert len(shown) == len(set(shown)) == 6
    assert {0, 17} <= set(shown)
    sheet = cv2.imread(str(tmp_path / "c.png"))
    assert sheet is not None
    assert min(sheet.shape[:2]) > 400
    orange = (np.abs(sheet.astype(int) - COLOURS[0]).max(axis=2) < 10).sum()
    assert orange > 6 * 200, "boxes and frames of A on every picture"


@pytest.mark.parametrize("frames", [1, 2, 3])
def test_tiny_videos_have_pictures_too(tmp_path: Path, frames: int) -> None:
    source = Clip(width_px=320, height_px=240, frames=frames, rate=Fraction(25)).write(tmp_path / "s.mp4")
    tracks = tracks_for(source, frames, 320, 240)
    assert contact_sheet(tracks, source, tmp_path / "c.png") == list(range(frames))
    timeline(tracks, None, tmp_path / "t.png")
    assert cv2.imread(str(tmp_path / "t.png")) is not None


def test_the_timeline_marks_people_cuts_and_events(tmp_path: Path) -> None:
    tracks = tracks_for(tmp_path / "s.mp4", 100, 320, 240, cut=50)
    events = (
        EventRecord(frame=30, time=1.2, kind="crossed", person="AB"),
        EventRecord(frame=50, time=2.0, kind="cut"),
        EventRecord(frame=60, time=2.4, kind="left", person="B"),
        EventRecord(frame=10_000, time=400.0, kind="beyond the end"),
    )
    report = RunReport(state=VideoState.DONE, input=InputRecord(path="s.mp4"), events=events)
    timeline(tracks, report, tmp_path / "with.png")
    timeline(tracks, None, tmp_path / "without.png")
    with_events, without = (cv2.imread(str(tmp_path / n)) for n in ("with.png", "without.png"))
    assert with_events.shape[0] - without.shape[0] == 3 * 26, "a row per kind of event within the video"
    blue = np.abs(without.astype(int) - COLOURS[1]).max(axis=2) < 8
    pale = np.abs(without.astype(int) - (247, 215, 174)).max(axis=2) < 12
    orange = np.abs(without.astype(int) - COLOURS[0]).max(axis=2) < 8
    bars = without.shape[0] - 150
    assert orange[bars:].any(axis=0).sum() > 1000, "A's bar spans the video"
    assert 400 < pale[bars:].any(axis=0).sum() < 900, "B is predicted in the first half only"
    assert blue[bars:].any(axis=0).sum() < 60, "and nowhere detected"


def test_what_happens_to_both_at_once_gets_both_letters(tmp_path: Path) -> None:
    tracks = tracks_for(tmp_path / "s.mp4", 50, 320, 240)

    def letters_px(persons: str, late: str = "") -> int:
        after = tuple(EventRecord(frame=40, time=1.6, kind="entered", person=person) for person in late)
        events = (*after, *(EventRecord(frame=0, time=0.0, kind="entered", person=person) for person in persons))
        report = RunReport(state=VideoState.DONE, input=InputRecord(path="s.mp4"), events=events)
        timeline(tracks, report, target := tmp_path / "t.png")
        row = cv2.imread(str(target))[525:536, 154:200]  # right of the mark, in the one row of events
        return int((row.astype(int).min(axis=2) < 200).any(axis=0).sum())

    assert letters_px("AB") > 1.5 * letters_px("A") > 0
    assert letters_px("A", late="A") == letters_px("A"), "whatever was decided first"


@pytest.mark.parametrize("box", [(40.0, -9.0, 80.0, 20.0), (-30.0, 60.0, 4.0, 90.0), (318.0, 60.0, 340.0, 90.0)])
def test_letters_stay_inside_the_picture(tmp_path: Path, box: Box) -> None:
    tracks = tracks_for(tmp_path / "s.mp4", 1, 320, 240)
    tracks.boxes_px[0] = [box, (float("nan"),) * 4]
    picture = Picture.blank(320, 240, (128, 128, 128))
    mark_people(picture, tracks, 0, 1.0, 4)
    image = cv2.imdecode(np.frombuffer(picture.png(), np.uint8), cv2.IMREAD_COLOR)
    label = np.abs(image.astype(int) - COLOURS[0]).max(axis=2) < 8
    assert (label[:, :-1] & label[:, 1:]).sum() > 300, "all of its background is there, not only the box's lines"
    assert (image.min(axis=2) > 240).sum() > 20, "and the letter on it"


def test_a_video_is_as_long_as_its_frames_are_shown(tmp_path: Path) -> None:
    lengths = [tracks_for(tmp_path / "s.mp4", frames, 320, 240).length_s for frames in (0, 1, 2, 50)]
    assert lengths == pytest.approx([0.0, 0.0, 0.08, 2.0])


def test_an_empty_video_has_an_empty_timeline(tmp_path: Path) -> None:
    timeline(tracks_for(tmp_path / "s.mp4", 0, 320, 240), None, tmp_path / "t.png")
    assert cv2.imread(str(tmp_path / "t.png")) is not None


def test_a_notebook_shows_tracks_and_a_preview(tmp_path: Path) -> None:
    source = Clip(frames=10, width_px=320, height_px=240).write(tmp_path / "s.mp4")
    tracks = tracks_for(source, 10, 320, 240)
    assert repr(tracks) == "Tracks(s.mp4: 320x240, 10 frames, 0.40 s)"
    timeline(tracks, None, tmp_path / "t.png")
    assert tracks._repr_png_() == (tmp_path / "t.png").read_bytes()
    contact_sheet(tracks, source, tmp_path / "c.png", pictures=6)
    shown = preview(tracks, source)
    assert shown._repr_png_() == (tmp_path / "c.png").read_bytes()
    assert len(repr(shown)) < 100


def test_a_picture_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OutputError):
        timeline(tracks_for(tmp_path / "s.mp4", 3, 320, 240), None, tmp_path / "file" / "t.png")


@pytest.mark.parametrize("colour", [Colour(1, 1, 1), Colour(6, 6, 6), Colour(1, 1, 1, full_range=True)])
def test_a_canvas_is_painted_in_the_colour_meant(colour: Colour) -> None:
    canvas = np.full((96 * 3 // 2, 128), 128, np.uint8)
    drawing = Picture.on_canvas(canvas, colour)
    for row, wanted in enumerate([COLOURS[0], COLOURS[1], (255, 255, 255), (0, 0, 0)]):
        drawing.fill((0, row * 24, 128, row * 24 + 24), wanted)
        copy = cv2.imdecode(np.frombuffer(Picture.of_canvas(canvas, colour).png(), np.uint8), cv2.IMREAD_COLOR)
        assert np.abs(copy[row * 24 + 12, 64].astype(int) - wanted).max() <= 4
    with pytest.raises(OutputError):
        drawing.png()


def test_drawing_outside_the_picture_is_harmless() -> None:
    for drawing in (Picture.blank(64, 48), Picture.on_canvas(np.full((72, 64), 16, np.uint8), Colour(1, 1, 1))):
        drawing.fill((-500, -500, -10, -10), (1, 2, 3))
        drawing.rectangle((-20, -20, 300, 300), (255, 0, 0), 3)
        drawing.rectangle((500, 500, 600, 600), (255, 0, 0), 3, dashed=True)
        drawing.text(-30, 400, "näme \U0001f600", 12, (255, 255, 255), (0, 0, 0))
        drawing.polyline([(-1e6, 3), (1e6, 4)], (0, 255, 0))
    base = Picture.blank(32, 32)
    base.paste(Picture.blank(16, 16, (9, 9, 9)), -8, -8)
    base.paste(Picture.blank(16, 16, (9, 9, 9)), 24, 24)
    base.paste(Picture.blank(16, 16, (9, 9, 9)), 99, 99)
    data = cv2.imdecode(np.frombuffer(base.png(), np.uint8), cv2.IMREAD_COLOR)
    assert (data[:8, :8] == 9).all()
    assert (data[24:, 24:] == 9).all()
    assert (data[9:24, 9:24] == 0).all()
