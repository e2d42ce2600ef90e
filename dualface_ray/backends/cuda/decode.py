"""CudaDecodeSession: a video decoded by NVDEC straight into pool slots.

    Demuxer (restricted, the same for every backend) ─ packets, Annex B ─► NVDEC ─ surfaces ─► slots ─► signatures
                 └─ time stamps ─► PictureLedger ─ lost pictures ─► the last good slot repeated

One stream of its own; the decoder's copies, ours and the signature kernel follow each other on it, and the host waits
once a call. Frames that one packet gave beyond the slots at hand stay in the decoder until the next call: it is not
asked to decode before they are taken.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterator, Sequence
from pathlib import Path

from dualface_ray.backends.cuda.arena import address_of
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
    UnsupportedMediaError,
)
from dualface_ray.frames import StreamInfo
from dualface_ray.media import DecodedBatch, DecodeSession, FrameRange, Slot
from dualface_ray.settings import Settings
from dualface_ray.timeline import PtsRepair, frame_ticks

_LEADS_UNUSED = frozenset({"hevc", "mpeg1video", "mpeg2video"})
"""Codecs in which no other picture refers to those shown before the key frame that decoding began with. NVDEC gives the
time stamps of those it skips to others, so they stay outside; H.264 needs them, for counting frames."""


def open_decoder(path: Path, stream_id: str, settings: Settings, only: FrameRange | None = None) -> DecodeSession:
    """A whole video, or one range of it; errors as of the session, and ``SeamError`` of a range."""
    if only is None:
        return CudaDecodeSession(path, stream_id, settings)
    begin = only.first_pts_ticks if only.first_frame else None
    return RangeSession(CudaDecodeSession(path, stream_id, settings, begin), only, path)


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
        self._conceal = limits.on_damage == "conceal"
        self._demuxer = Demuxer(path, limits.max_width_px * limits.max_height_px)
        self._decoder: Decoder | None = None
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
            one_picture_each=codec in ONE_PICTURE_EACH and not self.probe.interlaced,
            step_ticks=frame_ticks(self._info.time_base, self._info.average_rate),
        )
        self._copier = SlotCopier(self._info, self._stream)
        self._repair = PtsRepair(self._info.time_base, self._info.average_rate)
        self._delivery = Delivery(self._info, settings, path)
        self._counters: Counter[str] = Counter()
        self._ready: deque[tuple[Shown, Surface | None]] = deque()
        self._last_slot = 0
        self._drained = False

    @property
    def info(self) -> StreamInfo:
        """The stream's properties, known from opening on."""
        return self._info

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
                self._counters["resolution_changes"] += self._copier.copy(surface, slot)
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
        decoder, self._decoder = self._decoder, None
        if decoder is not None:
            self._stream.synchronize()
            decoder.close()
            give_back_stream(self._stream)
        self._demuxer.close()

    def _advance(self) -> bool:
        """Make sure that a picture is ready; False at the end. Decodes nothing while surfaces wait to be copied."""
        while not self._ready and not self._drained:
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
        lead = self._begin_ticks is not None and packet.pts_ticks is not None and packet.pts_ticks < self._begin_ticks
        if lead and self._codec in _LEADS_UNUSED:
            return
        stamp = self._ledger.feed(packet.pts_ticks, packet.dts_ticks, key=packet.key, discard=packet.discard or lead)
        data, self._prefix = self._prefix + packet.data if self._prefix else packet.data, b""
        try:
            surfaces = self._session().decode(data, stamp, key=packet.key)
        except DamagedInputError as error:
            self._fault("decode_errors", error)
            surfaces = []
        self._take(surfaces)
        if self._ledger.packets_since_picture > HOPELESS_PACKETS:
            raise damaged("nothing more can be decoded", self._path)

    def _finish(self) -> None:
        self._drained = True
        try:
            self._take(self._session().drain())
        except DamagedInputError as error:
            self._fault("decode_errors", error)
        self._show([(picture, None) for picture in self._ledger.finish()])
        self._check_length()

    def _take(self, surfaces: list[Surface]) -> None:
        for surface in surfaces:
            self._show([(p, None if p.lost else surface) for p in self._ledger.out(surface.stamp)])

    def _show(self, pictures: list[tuple[Shown, Surface | None]]) -> None:
        if any(picture.lost for picture, _ in pictures) and not self._conceal:
            raise damaged("a picture is lost", self._path)
        self._ready.extend(pictures)

    def _session(self) -> Decoder:
        if self._decoder is None:
            raise damaged("the decoder is closed", self._path)
        return self._decoder

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
