"""Files made to do harm: other files, the network, names, memory, time. Nothing but the named file is touched."""

from __future__ import annotations

import re
import shutil
import socket
import struct
import subprocess
import sys
import tempfile
import threading
from fractions import Fraction
from pathlib import Path

import av
import pytest
from box_reader import find
from matrix_lane import passed
from media_lane import decode_all
from media_maker import Audio, Clip

from dualface_ray.backends.pyav import open_input, probe
from dualface_ray.errors import InputError, InputMissingError, LimitExceededError, NameCollisionError, NotAVideoError
from dualface_ray.media import plan_outputs
from dualface_ray.settings import Settings

SECRET = "secret.mov"


@pytest.fixture
def listener():
    """A server that nobody may call: (address, list of callers)."""
    callers: list[object] = []
    server = socket.create_server(("127.0.0.1", 0))

    def wait() -> None:
        while True:
            try:
                connection, caller = server.accept()
            except OSError:
                return
            callers.append(caller)
            connection.close()

    thread = threading.Thread(target=wait, daemon=True)
    thread.start()
    yield f"127.0.0.1:{server.getsockname()[1]}", callers
    server.shutdown(socket.SHUT_RDWR)
    server.close()
    thread.join()


BAITS = {
    "hls": ".m3u8:#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n{target}\n#EXT-X-ENDLIST\n",
    "hls with a key": '.m3u8:#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXT-X-KEY:METHOD=AES-128,URI="{target}"\n#EXTINF:1,\n'
    "{target}\n#EXT-X-ENDLIST\n",
    "concat": ".ffconcat:ffconcat version 1.0\nfile '{target}'\n",
    "dash": '.mpd:<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static" '
    'profiles="urn:mpeg:dash:profile:isoff-on-demand:2011" mediaPresentationDuration="PT1S"><Period><AdaptationSet '
    'mimeType="video/mp4"><Representation id="1" bandwidth="1"><BaseURL>{target}</BaseURL></Representation>'
    "</AdaptationSet></Period></MPD>",
    "sdp": ".sdp:v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=video 5004 RTP/AVP 96\n"
    "a=rtpmap:96 H264/90000\na=control:{target}\n",
    "asx": '.asx:<asx version="3.0"><entry><ref href="{target}"/></entry></asx>',
    "subtitles by name": ".idx:# VobSub index file, v7\nid: en, index: 0\ntimestamp: 00:00:00:000, filepos: 0\n",
    "image list": ".ffmeta:;FFMETADATA1\ntitle={target}\n",
    "imf": '.xml:<?xml version="1.0"?><CompositionPlaylist xmlns="http://www.smpte-ra.org/schemas/2067-3/2016">'
    "<Id>urn:uuid:{target}</Id></CompositionPlaylist>",
}
ADDRESSES = ("http://{host}/x.ts", "tcp://{host}", "rtmp://{host}/x", f"file:{SECRET}", f"concat:{SECRET}|{SECRET}")


@pytest.mark.parametrize("bait", BAITS)
def test_a_list_reads_no_file_and_calls_nobody(tmp_path, listener, bait):
    host, callers = listener
    Clip(frames=5).write(tmp_path / SECRET)
    suffix, _, text = BAITS[bait].partition(":")
    for address in ADDRESSES:
        body = text.replace("{target}", address.format(host=host))
        for name in (f"a{suffix}", "a.mp4", "a.mkv", "a.ts"):
            path = tmp_path / name
            path.write_text(body)
            with pytest.raises(NotAVideoError):
                probe(path, Settings())
    assert callers == []


def test_the_bait_would_work_without_the_restrictions(tmp_path, listener):
    """The test above must be able to fail: libav alone does call."""
    host, callers = listener
    path = tmp_path / "a.m3u8"
    path.write_text(BAITS["hls"].partition(":")[2].replace("{target}", f"http://{host}/x.ts"))
    with pytest.raises((OSError, av.error.FFmpegError)):
        av.open(str(path), options={"protocol_whitelist": "file,http,tcp", "extension_picky": "0"})
    assert callers


@pytest.mark.parametrize(
    "name", ["http://{host}/x.mp4", "tcp://{host}", "data:video/mp4;base64,AAAA", "pipe:0", "fd:0"]
)
def test_an_address_given_as_a_name_is_a_file_that_is_missing(tmp_path, monkeypatch, listener, name):
    host, callers = listener
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputMissingError):
        probe(Path(name.format(host=host)), Settings())
    assert callers == []


def alias(path: str) -> bytes:
    """A Macintosh alias record: one level up, one down, and a path (as QuickTime kept references to other files)."""
    head = bytes(10) + bytes([4]) + b"disk".ljust(27, b"\0") + bytes(12) + bytes([6]) + b"secret".ljust(63, b"\0")
    levels = bytes(16) + struct.pack(">HH", 1, 1) + bytes(16)
    parts = b"".join(
        struct.pack(">HH", kind, len(text)) + text + bytes(len(text) % 2)
        for kind, text in ((2, b"disk" + path.replace("/", ":").encode()), (18, path.encode()))
    )
    return b"alis" + bytes(4) + head + levels + parts + b"\xff\xff\0\0"


def reference_movie(path: Path) -> Path:
    """A movie without media that names another file for it: ``secret.mov`` beside it, complete."""
    raw = bytearray(Clip(frames=5).write(path).read_bytes())
    path.with_name(SECRET).write_bytes(raw)
    for first, end in find(raw, "mdat"):
        raw[first:end] = bytes(end - first)
    way = ["moov", "trak", "mdia", "minf", "dinf", "dref"]
    starts = [find(raw, "/".join(way[: n + 1]))[0][0] - 8 for n in range(len(way))]
    entry = starts[-1] + 16
    (size,) = struct.unpack(">I", raw[entry : entry + 4])
    record = alias(str(path.with_name(SECRET)))
    raw[entry : entry + size] = struct.pack(">I", len(record) + 4) + record
    for start in starts:
        (length,) = struct.unpack(">I", raw[start : start + 4])
        raw[start : start + 4] = struct.pack(">I", length + len(record) + 4 - size)
    path.write_bytes(raw)
    return path


STRACE = shutil.which("strace")
READ = """
import sys
from pathlib import Path
sys.path.insert(0, "tests")
from matrix_lane import passed
from dualface_ray.errors import DualfaceError
try:
    passed(Path(sys.argv[1]), Path(sys.argv[2]))
    print("made")
except DualfaceError as error:
    print("refused", error)
"""


@pytest.mark.long
@pytest.mark.skipif(STRACE is None, reason="needs strace")
@pytest.mark.parametrize("kind", ["plain", "hdr", "reference"])
def test_the_kernel_sees_one_input_and_private_temporaries(tmp_path, kind):
    """Every file opened for a whole run, as the kernel saw it: the input, the output's folder, a private table."""
    inside = tmp_path / "in"
    inside.mkdir()
    source = inside / "a.mov"
    Clip(frames=5).write(inside / SECRET)
    if kind == "reference":
        reference_movie(source)
    else:
        hdr = {"codec": "libx265", "pixel_format": "yuv420p10le", "colour": (9, 9, 18)} if kind == "hdr" else {}
        Clip(frames=5, audio=(Audio(),), **hdr).write(source)
    log = tmp_path / "trace"
    words = [STRACE, "-f", "-qq", "-e", "trace=open,openat,creat,connect,socket", "-o", str(log)]
    words += [sys.executable, "-c", READ, str(source), str(tmp_path / "out.mp4")]
    done = subprocess.run(words, capture_output=True, text=True, timeout=150, cwd=Path(__file__).parent.parent)
    assert done.stdout.splitlines()[-1].split()[0] == ("refused" if kind == "reference" else "made"), done.stderr
    lines = log.read_text().splitlines()
    assert not [line for line in lines if "AF_INET" in line], "no network"
    named = [m[1] for line in lines if (m := re.search(r'"([^"]+)".*= \d+$', line))]
    own = {path for path in named if path.startswith(str(tmp_path))}
    assert str(inside / SECRET) not in own
    assert {path for path in own if path.startswith(str(inside))} == {str(source)}
    tables = [line for line in lines if ".cube" in line and "O_CREAT" in line]
    assert len(tables) == (1 if kind == "hdr" else 0)
    assert all("O_EXCL" in line and "0600" in line for line in tables)
    assert not list(Path(tempfile.gettempdir()).glob("tmp*.cube"))


def test_a_movie_that_points_to_another_file(tmp_path):
    path = reference_movie(tmp_path / "a.mov")
    with av.open(str(path), options={"enable_drefs": "1"}) as careless:
        assert len(list(careless.decode(video=0))) == 5, "libav follows it where it is allowed to"
    with pytest.raises(InputError):
        decode_all(path, Settings(input={"on_damage": "stop"}))
    with pytest.raises(InputError):
        decode_all(path)


# --- names ----------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("title", ["../../escape", "/etc/cron.d/x", "a\0b", "$(touch x)", "x" * 5000, "con.mp4\n"])
def test_names_inside_a_file_are_never_paths(tmp_path, title):
    folder = tmp_path / "in"
    folder.mkdir()
    metadata = {key: title.replace("\0", "") for key in ("title", "filename", "encoder", "artist")}
    source = Clip(frames=5, metadata=metadata).write(folder / "talk.mkv")
    (plan,) = plan_outputs([source], tmp_path / "out", "side_by_side", "mp4")
    assert plan.videos[0] == tmp_path / "out" / "talk.dualface.mp4"
    plan.folder.mkdir()
    passed(source, plan.videos[0])
    assert sorted(p.relative_to(tmp_path) for p in tmp_path.rglob("*") if p.is_file()) == [
        Path("in/talk.mkv"),
        Path("out/talk.dualface.mp4"),
    ]


def test_an_input_cannot_lead_its_output_elsewhere(tmp_path):
    outside, out = tmp_path / "outside", tmp_path / "out"
    outside.mkdir()
    out.mkdir()
    (tmp_path / "in").mkdir()
    source = Clip(frames=3).write(tmp_path / "in" / "talk.mp4")
    (outside / "victim.mp4").write_bytes(b"mine")
    (out / "talk.dualface.mp4").symlink_to(outside / "victim.mp4")
    (plan,) = plan_outputs([source], out, "side_by_side", "mp4")
    passed(source, plan.videos[0])
    assert (outside / "victim.mp4").read_bytes() == b"mine"
    assert not plan.videos[0].is_symlink()
    assert plan.videos[0].stat().st_size > 1000
    with pytest.raises(NameCollisionError):
        plan_outputs([source, tmp_path / "in/../in/talk.mp4"], out, "side_by_side", "mp4")


@pytest.mark.parametrize("target", ["/dev/zero", "/dev/stdin", "/proc/self/environ", "/etc/shadow"])
def test_devices_and_system_files_behind_links(tmp_path, target):
    link = tmp_path / "talk.mp4"
    link.symlink_to(target)
    with pytest.raises(InputMissingError):
        probe(link, Settings())
    with pytest.raises(InputError):
        probe(link, Settings(input={"allow_symlinks": True}))


# --- memory and time ------------------------------------------------------------------------------------------------
def test_a_small_file_of_many_pixels_is_stopped(tmp_path):
    """Black 4K pictures cost a few bytes each: the limit counts what they decode to."""
    path = Clip(frames=40, width_px=640, height_px=640).write(tmp_path / "a.mp4")
    fine = Settings(input={"max_decoded_bytes": 40 * 640 * 640 * 3 // 2})
    assert len(decode_all(path, fine).frames) == 40
    with pytest.raises(LimitExceededError, match="max_decoded_bytes"):
        probe(path, Settings(input={"max_decoded_bytes": 10 * 640 * 640 * 3 // 2}))
    stream = Clip(frames=40, width_px=640, height_px=640).write(tmp_path / "a.h264")
    limited = Settings(input={"max_decoded_bytes": 30 * 640 * 640 * 3 // 2})
    assert probe(stream, limited).video.frame_count_estimate == 0, "a raw stream does not say how long it is"
    with pytest.raises(LimitExceededError, match="max_decoded_bytes"):
        decode_all(stream, limited)


def test_sound_that_never_ends_is_cut_at_the_limit(tmp_path):
    path = Clip(frames=10, audio=(Audio("pcm_s16le", duration_s=8.0),)).write(tmp_path / "a.mkv")
    for suffix in (".mp4", ".mkv"):
        settings = Settings(input={"max_duration_s": 9.0}, encode={"container": suffix[1:], "preset": "ultrafast"})
        passed(path, tmp_path / f"o{suffix}", settings)
        with av.open(str(tmp_path / f"o{suffix}")) as container:
            assert container.duration / 1e6 == pytest.approx(8.0, abs=0.1)
    limited = Settings(input={"max_duration_s": 2.0}, encode={"preset": "ultrafast"})
    decoded = decode_all(path)
    assert len(decoded.frames) == 10
    result = passed_with_long_sound(path, tmp_path / "short.mp4", limited)
    assert result == pytest.approx(2.0, abs=0.1)


def passed_with_long_sound(source: Path, target: Path, settings: Settings) -> float:
    """Only the mux knows the limit here: the video itself is shorter."""
    from media_lane import spec_of, write_segment

    from dualface_ray.backends.pyav import assemble

    decoded = decode_all(source)
    spec = spec_of(decoded.info)
    segment = write_segment(target.with_suffix(".segment"), spec, decoded.slots, decoded.pts)
    assemble(source, [segment], target, pts_ticks=decoded.pts, spec=spec, settings=settings)
    with av.open(str(target)) as container:
        return container.duration / 1e6


def test_many_streams_and_many_chapters(tmp_path):
    clip = Clip(frames=3, audio=tuple(Audio(duration_s=0.1) for _ in range(20)))
    path = clip.write(tmp_path / "a.mkv")
    with pytest.raises(LimitExceededError, match="max_streams"):
        probe(path, Settings(input={"max_streams": 8}))
    marks = [
        {"id": n, "start": n, "end": n + 1, "time_base": Fraction(1, 100_000), "metadata": {"title": "x" * 70_000}}
        for n in range(3000)
    ]
    with av.open(str(tmp_path / "v.mkv"), "w") as out, av.open(str(Clip(frames=5).write(tmp_path / "w.mkv"))) as source:
        out.set_chapters([{**mark, "start": 4 * mark["start"], "end": 4 * mark["end"]} for mark in marks])
        stream = out.add_stream_from_template(source.streams.video[0], opaque=True)
        for packet in source.demux(video=0):
            if packet.size:
                packet.stream = stream
                out.mux(packet)
    result = passed(tmp_path / "v.mkv", tmp_path / "o.mp4")
    assert result.report.frames == 5
    with open_input(tmp_path / "o.mp4") as container:
        chapters = container.chapters()
    assert 0 < len(chapters) <= 1000
    assert max(len(mark["metadata"]["title"]) for mark in chapters) <= 255
    assert (tmp_path / "o.mp4").stat().st_size < 1 << 20
    assert (tmp_path / "v.mkv").stat().st_size > 50 << 20
