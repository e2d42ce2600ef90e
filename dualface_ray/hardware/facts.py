"""What probing finds out, as data: every value is there, or an ``Unknown`` that says why not. Nothing is guessed."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any, TypeVar, Union

from dualface_ray.hardware.mig import PREFIX

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Unknown:
    """A value that could not be found out."""

    why: str

    def __str__(self) -> str:
        return f"unknown: {self.why}"


Maybe = Union[T, Unknown]  # noqa: UP007 - an alias with a parameter is evaluated, and 3.10 evaluates it only so
"""A value or the reason why it is missing."""


@dataclass(frozen=True, slots=True)
class Process:
    """A program that uses a card."""

    pid: int
    memory_bytes: Maybe[int]
    kind: str
    """compute or graphics."""


@dataclass(frozen=True, slots=True)
class CardFacts:
    """One card as NVML describes it, or one instance of a card in MIG mode; health and modes are the whole card's."""

    index: int
    """Of the card; its instances have the same."""
    name: str
    uuid: Maybe[str]
    vram_bytes: Maybe[int]
    used_bytes: Maybe[int]
    compute_capability: Maybe[str]
    mig: Maybe[bool]
    decoders: Maybe[int]
    """NVDEC engines of an instance; a whole card's are asked of its decoder (``EngineFacts``)."""
    compute_mode: Maybe[str]
    """default, exclusive (one process at a time) or prohibited."""
    persistence: Maybe[bool]
    """The driver stays loaded while nobody uses the card."""
    slowed: Maybe[str]
    """Why its clocks are held down right now, in words; empty when they are not."""
    temperature_c: Maybe[int]
    ecc: Maybe[bool]
    ecc_errors: Maybe[int]
    """Uncorrected memory errors since the driver was loaded."""
    retired: Maybe[int]
    """Pages or rows of its memory that were bad and are no longer used."""
    retiring: Maybe[str]
    """pending (more at the next reset), failed (nothing left to replace them with), or empty."""
    gpu_share: Maybe[float]
    nvdec_share: Maybe[float]
    nvenc_share: Maybe[float]
    open_sessions: Maybe[int]
    """Encoder sessions that are open on it right now."""
    processes: Maybe[tuple[Process, ...]]

    @property
    def instance(self) -> bool:
        """Whether it is an instance of a card in MIG mode."""
        return isinstance(self.uuid, str) and self.uuid.startswith(PREFIX)

    @property
    def label(self) -> str:
        """For the name of a check: the card's number, with the beginning of an instance's name."""
        return f"{self.index} {self.uuid[:12]}" if self.instance and isinstance(self.uuid, str) else str(self.index)


@dataclass(frozen=True, slots=True)
class DriverFacts:
    """NVML's answer for the whole machine."""

    driver: Maybe[str]
    cuda: Maybe[str]
    """Newest CUDA version the driver speaks, such as ``13.0``."""
    cards: tuple[CardFacts, ...]
    error: str = ""
    """Why there are no cards: NVML's words; empty when it answered."""
    error_code: int = 0
    """NVML's number of that error; -1 where there is no NVML to ask."""


@dataclass(frozen=True, slots=True)
class CodecLimits:
    """What an engine says of one codec at one depth, 4:2:0."""

    codec: str
    bits: int
    supported: Maybe[bool]
    max_width_px: Maybe[int]
    max_height_px: Maybe[int]


@dataclass(frozen=True, slots=True)
class EngineFacts:
    """Decoder or encoder engines of a card."""

    engines: Maybe[int]
    limits: tuple[CodecLimits, ...] = ()

    def codecs(self) -> Maybe[tuple[str, ...]]:
        """Codecs that work in 8 bits; unknown as soon as one of them is."""
        plain = [one for one in self.limits if one.bits == 8]
        for one in plain:
            if isinstance(one.supported, Unknown):
                return Unknown(f"{one.codec}: {one.supported.why}" if one.codec else one.supported.why)
        if not plain:
            return self.engines if isinstance(self.engines, Unknown) else Unknown("no codec was asked for")
        return tuple(one.codec for one in plain if one.supported is True)


@dataclass(frozen=True, slots=True)
class SessionFacts:
    """How many encoder sessions opened at once."""

    opened: int
    bound: int
    """The probe stops there."""
    ended: str
    """``bound``, ``refused`` (by the driver's cap), ``failed``, ``crashed`` or ``time``."""
    text: str = ""
    """The driver's words, or what happened."""
    beside: int = 0
    """Sessions of other programs that were open before, on all cards."""
    disturbed: bool = False
    """Other programs used the card at the time."""


@dataclass(frozen=True, slots=True)
class DiskFacts:
    """How fast a folder's disk reads."""

    folder: str
    filesystem: Maybe[str]
    bytes_per_s: Maybe[float]
    method: str = ""
    """How the page cache was kept out, or that it was not."""
    read_bytes: int = 0
    free_bytes: Maybe[int] = 0


@dataclass(frozen=True, slots=True)
class LibraryFacts:
    """Versions of what a GPU lane imports, and whether the driver's libraries open."""

    versions: dict[str, Maybe[str]]
    """By name: cuda_runtime, cupy, tensorrt, PyNvVideoCodec, video_codec_sdk."""
    opened: dict[str, str]
    """Library file -> empty when it opened, else the loader's words."""
    distributions: dict[str, str]
    """Installed packages that matter here, with their versions."""


@dataclass(frozen=True, slots=True)
class CardProbe:
    """Everything found out about one card."""

    card: CardFacts
    decoding: EngineFacts
    encoding: EngineFacts
    sessions: Maybe[SessionFacts]


def plain(value: Any) -> Any:
    """For JSON: dataclasses as objects, ``Unknown`` as ``{"unknown": why}``."""
    if isinstance(value, Unknown):
        return {"unknown": value.why}
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, dict):
        return {str(key): plain(one) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(one) for one in value]
    return value


def known(value: Any) -> Any:
    """The reverse of ``plain`` for one value: ``{"unknown": why}`` becomes ``Unknown``."""
    if isinstance(value, dict) and set(value) == {"unknown"}:
        return Unknown(str(value["unknown"]))
    return value


def driver_facts(document: dict[str, Any]) -> DriverFacts:
    """From what ``plain`` made of it."""
    cards = [_card(one) for one in document["cards"]]
    return DriverFacts(
        known(document["driver"]),
        known(document["cuda"]),
        tuple(cards),
        str(document.get("error", "")),
        int(document.get("error_code", 0)),
    )


def _card(document: dict[str, Any]) -> CardFacts:
    fields = {name: known(value) for name, value in document.items()}
    if not isinstance(fields["processes"], Unknown):
        found = [Process(int(p["pid"]), known(p["memory_bytes"]), str(p["kind"])) for p in fields["processes"]]
        fields["processes"] = tuple(found)
    return CardFacts(**fields)
