"""CudaDecodeSession: a video decoded by NVDEC straight into pool slots.

    Demuxer (restricted, the same for every backend) ─ packets, Annex B ─► NVDEC ─ surfaces ─► slots ─► signatures
                 └─ time stamps ─► PictureLedger ─ lost pictures ─► the last good slot repeated

One stream of its own; the decoder's copies, ours and the signature kernel follow each other on it, and the host waits
once a call. Frames that one packet gave beyond the slots at hand stay in the decoder until the next call: it is not
asked to decode before they are taken.

A key frame that announces pictures of another form (``CodedForm``) goes to a new decoder, when all pictures of the old
one have been copied; those of another size are scaled to the slot's.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from dualface_ray.backends.cuda.arena import address_of
from dualface_ray.backends.cuda.coded import CodedForm, coded_form, from_corner
from dualface_ray.backends.cuda.formats import hardware_info, only_on_cpu
from dualface_ray.backends.cuda.launch import give_back_stream, new_stream
from dualface_ray.backends.cuda.ledger import ONE_PICTURE_EACH, PictureLedger, Shown
from dualface_ray.backends.cuda.nvdec import Decoder, Surface, require_support
from dualface_ray.backends.cuda.surfaces import SlotCopier
from dualface_ray.backends.cuda.vendor import enter_device
from dualface_ray.backends.pyav import (
    HOPELESS_PACKETS,
    Delivery,
    Demuxer,
    RangeSession,
    SourcePacket,
    damaged,
    ends_early,
    parameter_sets,
    probe,
)
from dualface_ray.errors import (
    DamagedInputError,
    InputError,
    LimitExceededError,
    UnsupportedMediaError,
)
from dualface_ray.frames import StreamInfo
from dualface_ray.media import DecodedBatch, DecodeSession, FrameRange, Slot
from dualface_ray.settings import Settings
from dualface_ray.timeline import PtsRepair, frame_ticks

_LEADS_UNUSED = frozenset({"hevc", "mpeg1video", "mpeg2video"})
"""Codecs in which no other picture refers to those shown before the key frame that decoding began with. NVDEC gives the
time stamps of those it skips to others, so they stay outside; H.264 needs them, for counting frames."""
_CHROMA_ALIGNED = 64
"""Columns of 8 bits, of which half as many of chroma are the 32 bytes that libav's cropping keeps to."""
_CHANGED = "Convert it first, or use --set lane.backend=cpu."
"""What is left to do where the card takes the beginning of a video only."""


def open_decoder(path: Path, stream_id: str, settings: Settings, only: FrameRange | None = None) -> DecodeSession:
    """A whole video, or one range of it; errors as of the session, and ``SeamError`` of a range.

    With ``lane.allow_cpu_decode`` its first picture is decoded at once, and the errors of that are raised here, where
    the CPU may still take over.
    """
    begin = only.first_pts_ticks if only is not None and only.first_frame else None
    session = CudaDecodeSession(path, stream_id, settings, begin)
    if settings.lane.allow_cpu_decode:
        try:
            session.begin()
        except BaseException:
            session.close()
            raise
    return session if only is None else RangeSession(session, only, path)


class CudaDecodeSession:
    """The ``DecodeSession`` port over NVDEC; used by one thread at a time.

    Args:
        path: the video.
        stream_id: its name in messages.
        settings: limits and the damage policy.
        begin_pts_ticks: begin with the key frame of this time stamp; None = with the video.

    Raises:
        SeamError: there is no such key frame.
        InputError: it cannot be opened or exceeds a limit; ``UnsupportedMediaError`` when this card cannot decode it,
            or it asks for something that only the CPU's session does (``only_on_cpu``).
        DeviceError: no working device.
    """

    def __init__(self, path: Path, stream_id: str, settings: Settings, begin_pts_ticks: int | None = None) -> None:
        self._path = path
        self._begin_ticks = begin_pts_ticks
        self.probe = probe(path, settings, stream_id)
        self._info = hardware_info(self.probe)
        missing = only_on_cpu(self.probe, settings)
        if missing:
            raise UnsupportedMediaError(
                f"{missing}, which NVDEC does not do",
                where=str(path),
                remedy="Set lane.allow_cpu_decode=true to decode such videos on the CPU.",
            )
        limits = settings.input
        self._most_pixels = limits.max_width_px * limits.max_height_px
        self._conceal = limits.on_damage == "conceal"
        self._demuxer = Demuxer(path, self._most_pixels)
        self._decoder: Decoder | None = None
        self._stream: Any = None
        try:
            self._codec = codec = self._demuxer.context.codec.canonical_name
            require_support(str(path), codec, self.probe.bits, self._info.width_px, self._info.height_px)
            self._stream = new_stream()
            self._decoder = Decoder(str(path), codec, self._stream.ptr)
            if begin_pts_ticks is not None:
                self._demuxer.begin_at(begin_pts_ticks)
            self._packets: Iterator[SourcePacket] = self._demuxer.packets(annex_b=True)
            self._prefix = _leading_bytes(codec, self._demuxer.context.extradata, begin_pts_ticks is not None)
        except BaseException:
            self.close()
            raise
        self._ledger = PictureLedger(
            one_picture_each=codec in ONE_PICTURE_EACH,
            step_ticks=frame_ticks(self._info.time_base, self._info.average_rate),
        )
        self._copier = SlotCopier(self._info, self._stream)
        self._repair = PtsRepair(self._info.time_base, self._info.average_rate)
        self._delivery = Delivery(self._info, settings, path)
        self._counters: Counter[str] = Counter()
        self._ready: deque[tuple[Shown, Surface | None]] = deque()
        self._last_slot = 0
        self._size = (0, 0)
        self._form: CodedForm | None = None
        self._held: tuple[SourcePacket, bytes, CodedForm] | None = None
        self._refused: CodedForm | None = None
        self._came = False
        self._drained = False

    @property
    def info(self) -> StreamInfo:
        """The stream's properties, known from opening on."""
        return self._info

    def begin(self) -> None:
        """Decode up to the first picture, if ``decode`` has not yet: only then has NVDEC seen what it is to do.

        Raises:
            InputError: as of ``decode``; ``UnsupportedMediaError`` when the card refuses after all.
        """
        enter_device()
        self._advance()

    def decode(self, slots: Sequence[Slot]) -> DecodedBatch:
        """Fill the slots in display order; see the port.

        Raises:
            DamagedInputError: something was lost and ``input.on_damage`` is ``stop``.
            LimitExceededError: the time stamps run beyond ``input.max_duration_s``.
            NotAVideoError: there is not one picture to show.
        """
        enter_device()
        shown: list[Shown] = []
        while len(shown) < len(slots) and self._advance():
            picture, surface = self._ready.popleft()
            slot = slots[len(shown)]
            if surface is not None:
                self._counters["resolution_changes"] += self._copy(surface, slot)
            elif self._last_slot:
                self._copier.repeat(self._last_slot, slot)
            else:
                raise self._delivery.nothing("its first frame is lost")
            self._last_slot = address_of(slot)
            shown.append(picture)
        end = not self._advance() if len(shown) == len(slots) else True
        signatures = self._copier.finish(list(slots[: len(shown)]))
        frames = tuple(
            self._delivery.frame(self._repair.push(picture.raw_pts), row, key=picture.key, lost=picture.lost)
            for picture, row in zip(shown, signatures, strict=True)
        )
        if end:
            self._delivery.end()
        return DecodedBatch(frames, signatures, end)

    def counters(self) -> dict[str, int]:
        """Repairs and losses so far, by name; absent = none."""
        found = {**self._ledger.counters, **self._counters, **self._repair.counters()}
        return {name: count for name, count in sorted(found.items()) if count}

    def close(self) -> None:
        """Free everything; harmless when called twice."""
        self._drained = True
        self._ready = deque()
        self._held = None
        self._end_decoder()
        stream, self._stream = self._stream, None
        if stream is not None:
            give_back_stream(stream)
        self._demuxer.close()

    def _copy(self, surface: Surface, slot: Slot) -> bool:
        """Queue the copy of a picture; True when it has another size than the one before."""
        scaled, before, size = self._copier.copy(surface, slot), self._size, (surface.width_px, surface.height_px)
        self._size = size
        return size != before if any(before) else scaled

    def _advance(self) -> bool:
        """Make sure that a picture is ready; False at the end. Decodes nothing while surfaces wait to be copied."""
        while not self._ready and not self._drained:
            if self._held is not None:  # the last picture before it has been copied, or is on its way
                held, self._held = self._held, None
                self._renew(*held)
                continue
            try:
                packet = next(self._packets, None)
            except InputError as error:
                self._fault("read_errors", error)
                packet = None
            if packet is None:
                self._finish()
            else:
                self._feed(packet)
        return bool(self._ready)

    def _feed(self, packet: SourcePacket) -> None:
        if packet.corrupt:
            self._fault("packets_damaged", damaged("a packet is incomplete", self._path))
        if self._leads(packet) and self._codec in _LEADS_UNUSED:
            return
        data, self._prefix = self._prefix + packet.data if self._prefix else packet.data, b""
        form = coded_form(self._codec, data) if packet.key else None
        if form is None or (self._decoder is not None and self._form in (None, form)):
            self._form = self._form or form
            self._push(packet, data)
        else:
            self._held = (packet, data, form)
            self._drain()

    def _renew(self, packet: SourcePacket, data: bytes, form: CodedForm) -> None:
        """Go on in a new decoder, with a key frame of another form."""
        self._end_decoder()
        self._form = form
        try:
            self._check_change(form)
            self._decoder = Decoder(str(self._path), self._codec, self._stream.ptr)
        except InputError as error:
            self._refuse(error)
        self._push(packet, data)

    def _check_change(self, form: CodedForm) -> None:
        where, size = str(self._path), f"{form.width_px}x{form.height_px}"
        if form.width_px * form.height_px > self._most_pixels:
            raise LimitExceededError(
                f"its pictures grow to {size}, beyond input.max_width_px x input.max_height_px",
                where=where,
                remedy="Raise the limits if you trust the file.",
            )
        if (form.bits > 8) != (self.probe.bits > 8) or not form.four_two_zero:
            kind = f"{form.bits} bits" if form.four_two_zero else "other than 4:2:0"
            raise UnsupportedMediaError(f"its pictures become {kind} in mid-stream", where=where, remedy=_CHANGED)
        require_support(where, self._codec, form.bits, form.width_px, form.height_px)

    def _refuse(self, error: InputError) -> None:
        """Wait for other headers: these may be damaged. The same ones again are what the video is really like."""
        self._end_decoder()
        form, self._form = self._form, None
        if form == self._refused and isinstance(error, UnsupportedMediaError):
            raise UnsupportedMediaError(error.what, where=error.where, remedy=_CHANGED) from error
        if form == self._refused:
            raise error
        self._refused = form
        self._fault("decode_errors", error)

    def _push(self, packet: SourcePacket, data: bytes) -> None:
        stamp = self._ledger.feed(
            packet.pts_ticks, packet.dts_ticks, key=packet.key, discard=packet.discard or self._leads(packet)
        )
        surfaces: list[Surface] = []
        if self._decoder is not None:
            if self._form is not None and (self._form.left_px or self._form.top_px):
                data = from_corner(self._codec, data)
            try:
                surfaces = self._decoder.decode(data, stamp, key=packet.key)
            except DamagedInputError as error:
                self._fault("decode_errors", error)
            except UnsupportedMediaError as error:
                if not self._came:
                    raise
                self._refuse(error)
        self._take(surfaces)
        if self._ledger.packets_since_picture > HOPELESS_PACKETS:
            raise damaged("nothing more can be decoded", self._path)

    def _leads(self, packet: SourcePacket) -> bool:
        """Whether it is shown before the key frame that decoding began with."""
        return self._begin_ticks is not None and packet.pts_ticks is not None and packet.pts_ticks < self._begin_ticks

    def _drain(self) -> None:
        """Get what the decoder still holds; it takes nothing more."""
        if self._decoder is None:
            return
        try:
            self._take(self._decoder.drain())
        except DamagedInputError as error:
            self._fault("decode_errors", error)
        except UnsupportedMediaError as error:
            if not self._came:
                raise
            self._fault("decode_errors", error)

    def _end_decoder(self) -> None:
        """Close it behind the copies from its surfaces."""
        decoder, self._decoder = self._decoder, None
        if decoder is not None:
            self._stream.synchronize()
            decoder.close()

    def _finish(self) -> None:
        self._drained = True
        self._drain()
        self._show([(picture, None) for picture in self._ledger.finish()])
        self._check_length()

    def _take(self, surfaces: list[Surface]) -> None:
        self._came = self._came or bool(surfaces)
        for surface in surfaces:
            seen = self._shown_part(surface)
            self._show([(p, None if p.lost else seen) for p in self._ledger.out(surface.stamp)])

    def _shown_part(self, surface: Surface) -> Surface:
        """Of a picture from the corner of the coded one, the part that libav shows.

        It leaves columns at the left standing where cutting them off would misalign the rows of a plane.
        """
        form, sample_bytes = self._form, self._info.layout.bytes_per_sample
        if form is None:
            return surface
        return surface.part(form.left_px & -(_CHROMA_ALIGNED // sample_bytes), form.top_px, sample_bytes)

    def _show(self, pictures: list[tuple[Shown, Surface | None]]) -> None:
        if any(picture.lost for picture, _ in pictures) and not self._conceal:
            raise damaged("a picture is lost", self._path)
        self._ready.extend(pictures)

    def _fault(self, name: str, error: InputError) -> None:
        self._counters[name] += 1
        if not self._conceal:
            raise error

    def _check_length(self) -> None:
        """Notice a file that ends well before its own header says (libav reports a read error as the end)."""
        end = self._ledger.end_ticks
        if end is not None and ends_early(self._demuxer, end, self._ledger.widest_ticks):
            self._fault("truncated", damaged("it ends early", self._path))


def _leading_bytes(codec: str, extradata: bytes | None, inside: bool) -> bytes:
    """What must precede the first packet: AV1's sequence header, which containers keep in a configuration record.

    Within a video H.264's parameter sets, too: libav puts them before IDR pictures only, not before recovery points.
    The record is 4 bytes, the first of them 0x81, then plain OBUs (AV1 in ISO BMFF, section 2.3).
    """
    if codec == "av1" and extradata and extradata[0] == 0x81 and len(extradata) > 4:
        return bytes(extradata[4:])
    if codec == "h264" and extradata and inside:
        return parameter_sets(bytes(extradata))
    return b""
