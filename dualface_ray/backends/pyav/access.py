"""Access points: whether decoding may begin at a packet that the container calls a key frame.

H.264 calls two things so: IDR pictures, and recovery points, from which pictures are right only some frames later
(ITU-T H.264, 7.4.1.2.4 and D.2.8). HEVC, VP9, AV1 and MPEG-2 know no such half ones.
"""

from __future__ import annotations

from collections.abc import Iterator

EXACT_CODECS = frozenset({"h264", "hevc", "vp9", "av1", "mpeg2video", "mpeg4", "mjpeg", "prores", "dnxhd", "ffvhuff"})
"""Codecs of which a key frame, and every shown frame after it, can be decoded without what was before; and that have
one shown picture per packet (VP8 has hidden ones)."""

_SLICE, _IDR, _SEI = 1, 5, 6
_RECOVERY_POINT = 6


def begins_cleanly(codec: str, packet: bytes, extradata: bytes) -> bool:
    """Whether everything from this key frame's picture on, in display order, comes out exact when decoding starts here.

    Args:
        codec: FFmpeg's name, not a decoder's.
        packet: of the key frame, as the container holds it.
        extradata: of its stream.
    """
    if codec != "h264":
        return codec in EXACT_CODECS
    for unit in _units(packet, extradata):
        kind = unit[0] & 31
        if kind == _IDR:
            return True
        if kind == _SEI and _recovery_frames(unit) == 0:
            return True
        if kind == _SLICE:
            return False
    return False


def parameter_sets(extradata: bytes) -> bytes:
    """SPS and PPS of H.264 as a byte stream with start codes, from either form of configuration."""
    if not extradata or extradata[0] != 1:
        return extradata
    found, at = b"", 6
    for counted in (5, None):  # sequence sets (their count has three bits of padding), then picture sets
        count = extradata[counted] & 31 if counted else extradata[at]
        at += 0 if counted else 1
        for _ in range(count):
            size = int.from_bytes(extradata[at : at + 2], "big")
            found += b"\0\0\0\1" + extradata[at + 2 : at + 2 + size]
            at += 2 + size
        if at >= len(extradata):
            break
    return found


def _units(packet: bytes, extradata: bytes) -> Iterator[bytes]:
    """NAL units of a packet, not empty."""
    if extradata[:1] != b"\1":  # start codes; zero bytes at the end of a unit do no harm
        for unit in packet.split(b"\0\0\1")[1:]:
            if unit:
                yield unit
        return
    width, at = (extradata[4] & 3) + 1, 0
    while at + width < len(packet):
        size = int.from_bytes(packet[at : at + width], "big")
        at += width
        if size:
            yield packet[at : at + size]
        at += size


def _recovery_frames(unit: bytes) -> int | None:
    """recovery_frame_cnt of a recovery point message among the messages of this unit; None = there is none."""
    data, at = unit[1:].replace(b"\0\0\3", b"\0\0"), 0
    while at + 2 < len(data):
        kind = size = 0
        while at < len(data) and data[at] == 255:
            kind, at = kind + 255, at + 1
        kind, at = kind + data[at], at + 1
        while at < len(data) and data[at] == 255:
            size, at = size + 255, at + 1
        if at >= len(data):
            return None
        size, at = size + data[at], at + 1
        if kind == _RECOVERY_POINT:
            return _golomb(data[at : at + size])
        at += size
    return None


def _golomb(data: bytes) -> int | None:
    """The first unsigned Exp-Golomb number."""
    bits = "".join(f"{byte:08b}" for byte in data[:8])
    zeros = bits.find("1")
    return None if zeros < 0 or 2 * zeros + 1 > len(bits) else int(bits[zeros : 2 * zeros + 1], 2) - 1
