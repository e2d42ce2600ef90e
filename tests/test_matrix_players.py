"""Finished files in other people's hands: a box reader of our own, another FFmpeg, and a browser that plays them.

The browser test needs Chromium (on Debian: ``apt install chromium``); ``DUALFACE_REQUIRE=chromium`` makes its absence
a failure.
"""

from __future__ import annotations

import functools
import http.server
import os
import queue
import re
import shutil
import signal
import struct
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from urllib.parse import parse_qs, urlparse

import imageio_ffmpeg
import pytest
from box_reader import boxes, find, table
from matrix_lane import passed
from media_maker import Audio, Clip

from dualface_ray.settings import Settings

NTSC = Fraction(30000, 1001)
FORMATS = [(c, s) for c in ("h264", "hevc", "av1") for s in (".mp4", ".mkv", ".mov") if (c, s) != ("av1", ".mov")]


def film(folder: Path, suffix: str, codec: str, *, frames: int = 60, colour: tuple[int, int, int] = (1, 1, 1)) -> Path:
    """A small finished file: 29.97 frames a second, sound, chapters of none, tags as given."""
    clip = Clip(
        frames=frames,
        width_px=320,
        height_px=180,
        rate=NTSC,
        time_base=Fraction(1, 30000),
        colour=colour,
        flashes=(30,),
        audio=(Audio(clicks_s=(30 / 29.97,)),),
    )
    settings = Settings(encode={"codec": codec, "container": suffix[1:]})
    target = folder / f"o{suffix}"
    passed(clip.write(folder / "a.mp4"), target, settings)
    return target


# --- a reader that knows nothing but ISO/IEC 14496-12 ---------------------------------------------------------------
@pytest.mark.parametrize("suffix", [".mp4", ".mov"])
def test_boxes_index_and_clock(tmp_path, suffix):
    data = film(tmp_path, suffix, "h264").read_bytes()
    order = [name for name, _, _ in boxes(data)]
    assert order.index("moov") < order.index("mdat"), "the index comes first: a browser starts at once"
    assert order[0] == "ftyp"
    media = find(data, "mdat")
    tracks = find(data, "moov/trak")
    kinds = [data[find(data, "mdia/hdlr", *track)[0][0] + 8 :][:4] for track in tracks]
    assert kinds == [b"vide", b"soun"]
    video = tracks[0]
    stbl = find(data, "mdia/minf/stbl", *video)[0]
    for offsets in (table(data, span, ">I") for track in tracks for span in find(data, "mdia/minf/stbl/stco", *track)):
        assert all(any(a <= offset < b for a, b in media) for (offset,) in offsets)
    durations = [d for count, d in table(data, find(data, "stts", *stbl)[0], ">II") for _ in range(count)]
    assert durations == [1001] * 60
    scale_at = find(data, "mdia/mdhd", *video)[0][0]
    assert struct.unpack(">I", data[scale_at + 12 : scale_at + 16])[0] == 30000
    assert not find(data, "ctts", *stbl), "without B-frames nothing is reordered"
    keys = [n for (n,) in table(data, find(data, "stss", *stbl)[0], ">I")]
    assert keys == [1]
    form = {".mp4": b"nclx", ".mov": b"nclc"}[suffix]
    assert data[data.index(b"colr") + 4 :][:10] == form + struct.pack(">HHH", 1, 1, 1)


# --- another build of FFmpeg ----------------------------------------------------------------------------------------
def ffmpeg(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [imageio_ffmpeg.get_ffmpeg_exe(), "-hide_banner", *words], capture_output=True, text=True, timeout=120
    )


WORDS = {"h264": "h264 (High)", "hevc": "hevc (Main)", "av1": "av1"}


def read_by_ffmpeg(path: Path, codec: str, tags: str) -> None:
    done = ffmpeg("-v", "error", "-xerror", "-i", str(path), "-map", "0", "-f", "null", "-")
    assert (done.returncode, done.stderr) == (0, "")
    described = ffmpeg("-i", str(path)).stderr
    (video,) = re.findall(r"Stream #0:\d.*Video: (.*)", described)
    assert WORDS[codec] in video
    assert f"yuv420p(tv, {tags}" in video, video
    assert "320x180" in video
    assert "29.97 tbr" in video
    assert len(re.findall(r"Stream #0:\d.*Audio: aac", described)) == 1
    counted = ffmpeg("-v", "error", "-i", str(path), "-map", "0:v", "-f", "framecrc", "-")
    assert len([line for line in counted.stdout.splitlines() if line.startswith("0,")]) == 60


def test_another_reader_finds_the_same(tmp_path):
    read_by_ffmpeg(film(tmp_path, ".mp4", "h264"), "h264", "bt709")


@pytest.mark.long
@pytest.mark.parametrize(("codec", "suffix"), FORMATS)
@pytest.mark.parametrize(
    ("colour", "tags"), [((1, 1, 1), "bt709"), ((9, 9, 14), "bt2020nc/bt2020/bt2020-10")], ids=["709", "2020"]
)
def test_every_codec_in_every_container(tmp_path, codec, suffix, colour, tags):
    read_by_ffmpeg(film(tmp_path, suffix, codec, colour=colour), codec, tags)


@pytest.mark.long
def test_what_the_source_knows_about_its_owner_stays_behind(tmp_path):
    """Title, date and chapters go over; places, devices, comments, subtitles, attachments do not."""
    clip = Clip(frames=50, audio=(Audio(),), metadata={"title": "A talk", "comment": "SECRET1"})
    clip.write(tmp_path / "v.mkv")
    (tmp_path / "s.srt").write_text("1\n00:00:00,100 --> 00:00:01,000\nSECRET2\n")
    (tmp_path / "m.txt").write_text(
        ";FFMETADATA1\ntitle=A talk\nlocation=SECRET3\n[CHAPTER]\nTIMEBASE=1/1000\nSTART=0\nEND=900\ntitle=Start\n"
        "SECRET4=SECRET4\n[CHAPTER]\nTIMEBASE=1/1000\nSTART=900\nEND=2000\ntitle=Grüße\n"
    )
    (tmp_path / "SECRET5.bin").write_bytes(b"SECRET6")
    words = ["-y", "-i", "v.mkv", "-i", "s.srt", "-i", "m.txt", "-map", "0", "-map", "1", "-map_metadata", "2"]
    words += ["-c", "copy", "-attach", "SECRET5.bin", "-metadata:s:t", "mimetype=application/octet-stream", "a.mkv"]
    made = subprocess.run(
        [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", *words], cwd=tmp_path, capture_output=True, text=True
    )
    assert made.returncode == 0, made.stderr
    assert all(b"SECRET%d" % n in (tmp_path / "a.mkv").read_bytes() for n in range(2, 7))
    for suffix in (".mp4", ".mkv", ".mov"):
        passed(tmp_path / "a.mkv", tmp_path / f"o{suffix}")
        data = (tmp_path / f"o{suffix}").read_bytes()
        assert b"SECRET" not in data
        assert b"A talk" in data
        described = ffmpeg("-i", str(tmp_path / f"o{suffix}")).stderr
        assert re.findall(r"Chapter #0:\d: start ([\d.]+), end ([\d.]+)", described) == [
            ("0.000000", "0.900000"),
            ("0.900000", "2.000000"),
        ]
        assert "Grüße" in described
        assert "Subtitle" not in described.replace("SubtitleHandler", "")
        assert "Attachment" not in described


# --- a browser ------------------------------------------------------------------------------------------------------
PAGE = """<!doctype html><video id=v muted autoplay playsinline src="o.mp4"></video><script>
const v = document.getElementById("v"), say = (o) => fetch("/said?" + new URLSearchParams(o));
let frames = 0;
const tick = (now, meta) => { frames = meta.presentedFrames; v.requestVideoFrameCallback(tick); };
v.requestVideoFrameCallback(tick);
v.onerror = () => say({error: v.error.code + " " + v.error.message});
v.onended = () => { const q = v.getVideoPlaybackQuality(); say({
  duration: v.duration, at: v.currentTime, width: v.videoWidth, height: v.videoHeight, frames: frames,
  total: q.totalVideoFrames, corrupted: q.corruptedVideoFrames, audio: v.webkitAudioDecodedByteCount}); };
</script>"""


class Server(http.server.SimpleHTTPRequestHandler):
    """Serves one folder on this machine alone and notes what the page says. It knows no ranges: files come whole."""

    said: queue.Queue[dict[str, str]]

    def do_GET(self) -> None:
        url = urlparse(self.path)
        if url.path == "/said":
            self.said.put({k: v[0] for k, v in parse_qs(url.query).items()})
            self.send_response(204)
            self.end_headers()
        else:
            super().do_GET()

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def served(folder: Path) -> Iterator[tuple[str, queue.Queue[dict[str, str]]]]:
    handler = type("Handler", (Server,), {"said": queue.Queue()})
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(handler, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", handler.said
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.mark.long
@pytest.mark.parametrize("codec", ["h264", "av1"])
def test_a_browser_plays_it_to_the_end(tmp_path, codec):
    browser = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if browser is None:
        promised = "chromium" in os.environ.get("DUALFACE_REQUIRE", "").split(",")
        (pytest.fail if promised else pytest.skip)("no Chromium (DUALFACE_REQUIRE=chromium makes this a failure)")
    film(tmp_path, ".mp4", codec)
    (tmp_path / "index.html").write_text(PAGE)
    flags = ["--headless=new", "--no-sandbox", "--disable-gpu", "--autoplay-policy=no-user-gesture-required"]
    flags += ["--no-first-run", "--disable-dev-shm-usage", f"--user-data-dir={tmp_path / 'profile'}"]
    with served(tmp_path) as (address, said):
        process = subprocess.Popen(
            [browser, *flags, f"{address}/index.html"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            heard = said.get(timeout=120)
        finally:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    assert "error" not in heard, heard
    assert (heard["width"], heard["height"], heard["corrupted"]) == ("320", "180", "0")
    assert float(heard["duration"]) == pytest.approx(60 / 29.97, abs=0.05)
    assert float(heard["at"]) == pytest.approx(60 / 29.97, abs=0.05)
    assert int(heard["total"]) == 60, "every frame was decoded"
    assert int(heard["audio"]) > 1000, "sound was decoded too"
