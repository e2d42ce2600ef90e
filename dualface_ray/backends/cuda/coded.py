"""CodedForm: what a key frame's own headers say of its pictures, read before NVDEC is given them. Pure.

    packet ─► coded_form: size, depth, where the picture begins ─► the same as before? ─► NVDEC
                                                                     └─ no ─► drained, and a new decoder for the rest

NVDEC's session is made for the form it begins with. To a larger one its library answers with an error, of which some
versions end the process; to a smaller one with pictures scaled by the chip to the size before, which nobody could
count. It also copies every picture from the corner of the coded one, wherever the shown one begins; ``from_corner``
therefore rewrites such headers, and the window is cut out here.

Sources: ITU-T H.264 7.3.2.1.1, H.265 7.3.2.2.1 and 7.3.3, AV1 5.5.1, VP9 6.2, RFC 6386 9.1, H.262 6.2.2.1.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

_SPS = {"h264": 7, "hevc": 33}
_HIGH_PROFILES = frozenset({100, 110, 122, 244, 44, 83, 86, 118, 128, 138, 139, 134, 135})
_LONGEST_SPS = 4096
_AV1_SEQUENCE_HEADER = 1
_VP9_SYNC, _VP8_SYNC = 0x498342, b"\x9d\x01\x2a"
_SRGB = 7


@dataclass(frozen=True, slots=True)
class CodedForm:
    """The form of the pictures from a key frame on."""

    width_px: int
    """Of what is shown, as ``height_px``."""
    height_px: int
    left_px: int = 0
    """Where that begins in the coded picture, as ``top_px``; whole samples of chroma."""
    top_px: int = 0
    bits: int = 8
    four_two_zero: bool = True


@dataclass(frozen=True, slots=True)
class _Window:
    """Place of the cropping fields among the bits of a sequence parameter set, and what they say."""

    first_bit: int
    end_bit: int
    left: int
    right: int
    top: int
    bottom: int


def coded_form(codec: str, data: bytes) -> CodedForm | None:
    """What the headers in a packet say; None = there are none, they are damaged, or the codec is none of these.

    Args:
        codec: FFmpeg's name, not a decoder's.
        data: of a key frame; H.264 and HEVC with start codes.
    """
    try:
        if codec in _SPS:
            found = None
            for at, end in _parameter_sets(codec, data):  # one that a container adds comes before the stream's own
                found = _read_set(codec, data[at:end])[0]
            return found
        reader = {"av1": _av1, "vp9": _vp9, "vp8": _vp8, "mpeg1video": _mpeg, "mpeg2video": _mpeg}.get(codec)
        return reader(data) if reader else None
    except (ValueError, IndexError):
        return None


def from_corner(codec: str, data: bytes) -> bytes:
    """The packet with H.264's or HEVC's picture shown from the corner on.

    What was cropped at the left and the top is part of it then. Headers that crop nothing there, and damaged ones, stay
    as they are.
    """
    if codec not in _SPS:
        return data
    out, done = b"", 0
    for at, end in _parameter_sets(codec, data):
        try:
            window = _read_set(codec, data[at:end])[1]
        except (ValueError, IndexError):
            continue
        if window is not None and (window.left or window.top):
            out, done = out + data[done:at] + _rewritten(codec, data[at:end], window), end
    return out + data[done:] if done else data


# --- H.264 and HEVC --------------------------------------------------------------------------------------------------
def _parameter_sets(codec: str, data: bytes) -> Iterator[tuple[int, int]]:
    """Where the sequence parameter sets before the first slice begin and end."""
    at = data.find(b"\0\0\1")
    while at >= 0 and at + 4 < len(data):
        at += 3
        kind = data[at] & 31 if codec == "h264" else data[at] >> 1 & 63
        if kind in range(1, 6) if codec == "h264" else kind < 32:
            return
        after = data.find(b"\0\0\1", at)
        end = len(data) if after < 0 else after
        base_layer = codec == "h264" or (data[at] & 1, data[at + 1] >> 3) == (0, 0)
        if kind == _SPS[codec] and base_layer:
            yield at, at + len(data[at:end].rstrip(b"\0"))
        at = after


def _head(codec: str) -> int:
    return 1 if codec == "h264" else 2


def _read_set(codec: str, unit: bytes) -> tuple[CodedForm, _Window | None]:
    bits = _Bits(unit[_head(codec) : _LONGEST_SPS].replace(b"\0\0\3", b"\0\0"))
    return _h264(bits) if codec == "h264" else _hevc(bits)


def _h264(bits: _Bits) -> tuple[CodedForm, _Window | None]:
    profile = bits.take(8)
    bits.take(16)
    bits.golomb()
    chroma, depth, separate = 1, 8, 0
    if profile in _HIGH_PROFILES:
        chroma = bits.golomb()
        separate = bits.take(1) if chroma == 3 else 0
        depth = 8 + bits.golomb()
        bits.golomb()
        bits.take(1)
        if bits.take(1):
            for number in range(12 if chroma == 3 else 8):
                if bits.take(1):
                    _skip_scaling_list(bits, 16 if number < 6 else 64)
    bits.golomb()
    order = bits.golomb()
    if order == 0:
        bits.golomb()
    elif order == 1:
        bits.take(1)
        bits.golomb()
        bits.golomb()
        for _ in range(bits.golomb()):
            bits.golomb()
    bits.golomb()
    bits.take(1)
    width, rows = 16 * (bits.golomb() + 1), 16 * (bits.golomb() + 1)
    fields = 1 - bits.take(1)
    if fields:
        bits.take(1)
    bits.take(1)
    unit_x = 2 if chroma in (1, 2) else 1
    unit_y = (2 if chroma == 1 else 1) * (1 + fields)
    form = CodedForm(width, rows * (1 + fields), bits=depth, four_two_zero=chroma == 1 and not separate)
    return _windowed(bits, form, unit_x, unit_y)


def _skip_scaling_list(bits: _Bits, size: int) -> None:
    last = scale = 8
    for _ in range(size):
        if scale:
            number = bits.golomb()
            scale = (last + (number + 1) // 2 * (1 if number & 1 else -1)) % 256
        last = scale or last


def _hevc(bits: _Bits) -> tuple[CodedForm, _Window | None]:
    bits.take(4)
    layers = bits.take(3)
    bits.take(1 + 88 + 8)
    present = [(bits.take(1), bits.take(1)) for _ in range(layers)]
    if layers:
        bits.take(2 * (8 - layers))
    for profile, level in present:
        bits.take(88 * profile + 8 * level)
    bits.golomb()
    chroma = bits.golomb()
    separate = bits.take(1) if chroma == 3 else 0
    form = CodedForm(bits.golomb(), bits.golomb(), four_two_zero=chroma == 1 and not separate)
    form, window = _windowed(bits, form, 2 if chroma in (1, 2) else 1, 2 if chroma == 1 else 1)
    return replace(form, bits=8 + bits.golomb()), window


def _windowed(bits: _Bits, coded: CodedForm, unit_x: int, unit_y: int) -> tuple[CodedForm, _Window | None]:
    window = None
    form = coded
    if bits.take(1):
        first = bits.at
        left, right, top, bottom = (bits.golomb() for _ in range(4))
        window = _Window(first, bits.at, left, right, top, bottom)
        form = replace(
            coded,
            width_px=coded.width_px - unit_x * (left + right),
            height_px=coded.height_px - unit_y * (top + bottom),
            left_px=unit_x * left,
            top_px=unit_y * top,
        )
    if form.width_px <= 0 or form.height_px <= 0:
        raise ValueError("no picture is left")
    return form, window


def _rewritten(codec: str, unit: bytes, window: _Window) -> bytes:
    """A sequence parameter set that crops at the right and the bottom only, as much as before."""
    head = _head(codec)
    payload = _Bits(unit[head:].replace(b"\0\0\3", b"\0\0")).text
    fields = "".join(_golomb(number) for number in (0, window.right, 0, window.bottom))
    text = payload[: window.first_bit] + fields + payload[window.end_bit :].rstrip("0")  # it ends with a one
    text += "0" * (-len(text) % 8)
    raw, out, zeros = int(text, 2).to_bytes(len(text) // 8, "big"), bytearray(unit[:head]), 0
    for byte in raw:
        if zeros == 2 and byte <= 3:
            out.append(3)
            zeros = 0
        out.append(byte)
        zeros = 0 if byte else zeros + 1
    return bytes(out)


# --- the others ------------------------------------------------------------------------------------------------------
def _av1(data: bytes) -> CodedForm | None:
    at = 0
    while at < len(data):
        header = data[at]
        at += 2 if header & 4 else 1
        size = len(data) - at
        if header & 2:
            size = shift = 0
            while True:
                size |= (data[at] & 127) << shift
                shift, at = shift + 7, at + 1
                if not data[at - 1] & 128:
                    break
                if shift > 56:
                    return None
        if header >> 3 & 15 == _AV1_SEQUENCE_HEADER:
            return _av1_sequence(_Bits(data[at : at + min(size, _LONGEST_SPS)]))
        at += size
    return None


def _av1_sequence(bits: _Bits) -> CodedForm:
    profile = bits.take(3)
    bits.take(1)
    reduced = bits.take(1)
    if reduced:
        bits.take(5)
    else:
        _skip_av1_operating_points(bits)
    size = bits.take(4) + 1, bits.take(4) + 1
    width, height = bits.take(size[0]) + 1, bits.take(size[1]) + 1
    if not reduced and bits.take(1):
        bits.take(7)
    bits.take(3)
    if not reduced:
        bits.take(4)
        order = bits.take(1)
        bits.take(2 * order)
        screen = 1 if bits.take(1) else bits.take(1)
        if screen and not bits.take(1):
            bits.take(1)
        bits.take(3 * order)
    bits.take(3)
    depth = 10 if bits.take(1) else 8
    if profile == 2 and depth == 10 and bits.take(1):
        depth = 12
    return CodedForm(width, height, bits=depth, four_two_zero=profile == 0)


def _skip_av1_operating_points(bits: _Bits) -> None:
    delay_bits = 0
    if bits.take(1):
        bits.take(64)
        if bits.take(1):
            bits.golomb()
        if bits.take(1):
            delay_bits = bits.take(5) + 1
            bits.take(32 + 5 + 5)
    display_delay = bits.take(1)
    for _ in range(bits.take(5) + 1):
        bits.take(12)
        if bits.take(5) > 7:
            bits.take(1)
        if delay_bits and bits.take(1):
            bits.take(2 * delay_bits + 1)
        if display_delay and bits.take(1):
            bits.take(4)


def _vp9(data: bytes) -> CodedForm | None:
    bits = _Bits(data[:16])
    if bits.take(2) != 2:
        return None
    profile = bits.take(1) + 2 * bits.take(1)
    if profile == 3:
        bits.take(1)
    if bits.take(1) or bits.take(1):  # one that is there already, or no key frame
        return None
    bits.take(2)
    if bits.take(24) != _VP9_SYNC:
        return None
    depth = (12 if bits.take(1) else 10) if profile >= 2 else 8
    if bits.take(3) != _SRGB:
        bits.take(1)
        bits.take(3 if profile & 1 else 0)
    else:
        bits.take(profile & 1)
    return CodedForm(bits.take(16) + 1, bits.take(16) + 1, bits=depth, four_two_zero=not profile & 1)


def _vp8(data: bytes) -> CodedForm | None:
    if data[0] & 1 or data[3:6] != _VP8_SYNC:
        return None
    width, height = (int.from_bytes(data[at : at + 2], "little") & 0x3FFF for at in (6, 8))
    return CodedForm(width, height) if width and height else None


def _mpeg(data: bytes) -> CodedForm | None:
    at = data.find(b"\0\0\1\xb3")
    if at < 0:
        return None
    bits = _Bits(data[at + 4 : at + 8])
    width, height = bits.take(12), bits.take(12)
    return CodedForm(width, height) if width and height else None


class _Bits:
    """Bits of a header, from the first on.

    Raises:
        ValueError: more were asked for than there are.
    """

    def __init__(self, data: bytes) -> None:
        self.text = bin(int.from_bytes(b"\1" + data, "big"))[3:]
        self.at = 0

    def take(self, count: int) -> int:
        end = self.at + count
        if end > len(self.text):
            raise ValueError("the header ends early")
        value = int(self.text[self.at : end] or "0", 2)
        self.at = end
        return value

    def golomb(self) -> int:
        """An unsigned Exp-Golomb number."""
        zeros = self.text.find("1", self.at) - self.at
        if not 0 <= zeros <= 32:
            raise ValueError("no number")
        self.at += zeros
        return self.take(zeros + 1) - 1


def _golomb(number: int) -> str:
    text = bin(number + 1)[2:]
    return "0" * (len(text) - 1) + text
