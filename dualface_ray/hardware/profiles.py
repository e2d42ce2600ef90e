"""Static profiles: what a card is known to have, each figure with its source; production never probes by itself."""

from __future__ import annotations

import datetime
import json
import re
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Generic, Literal, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from dualface_ray.errors import ProfileError
from dualface_ray.settings import config_dir

Codec = Literal["h264", "hevc", "vp9", "av1"]
T = TypeVar("T")


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, str_strip_whitespace=True)


class Figure(_Part, Generic[T]):
    """One known thing and where it comes from."""

    value: T
    source: str = Field(min_length=8)
    """A data sheet, a table, an experiment, or the reasoning of an estimate."""
    measured: bool = False
    """Measured by this project, not read or estimated."""


class DriverCap(_Part):
    """Encoder sessions from a driver version on."""

    from_driver: str
    """First version, such as ``550``; ``0`` for every earlier one."""
    sessions: int = Field(ge=1)
    source: str = Field(min_length=8)

    @field_validator("from_driver")
    @classmethod
    def _is_version(cls, value: str) -> str:
        if not re.fullmatch(r"\d+(\.\d+)*", value):
            raise ValueError(f"not a driver version: {value!r}")
        return value


class Decoding(_Part):
    """NVDEC."""

    engines: Figure[int]
    codecs: Figure[tuple[Codec, ...]]


class Encoding(_Part):
    """NVENC and its session cap."""

    engines: Figure[int]
    codecs: Figure[tuple[Codec, ...]]
    cap_scope: Literal["machine", "gpu", "none"]
    """machine: one cap for all cards of a machine together (GeForce); gpu: for each; none: no cap."""
    caps: tuple[DriverCap, ...] = ()
    """Newest driver first; empty without a cap."""

    @model_validator(mode="after")
    def _fits_together(self) -> Encoding:
        if (self.cap_scope == "none") != (not self.caps):
            raise ValueError("caps are given exactly when cap_scope is machine or gpu")
        versions = [driver_version(cap.from_driver) for cap in self.caps]
        if versions != sorted(set(versions), reverse=True) or (versions and versions[-1] != (0,)):
            raise ValueError("caps go from the newest driver to the oldest, without repetition, and end with 0")
        if bool(self.engines.value) != bool(self.codecs.value):
            raise ValueError("a card with engines has codecs, one without has none")
        return self


class LaneShare(_Part):
    """What one lane on this card is given when the settings do not say."""

    streams: Figure[int]
    """Videos at once."""
    decoders: Figure[int]
    """Decoder actors; a lane on a card has as many encoder actors."""
    encoders: Figure[int]
    """Encoder sessions at once: on NVENC where there is one, else on the CPU."""
    cores: Figure[int]
    """CPU cores that keep up with the card."""
    speed: Figure[float]
    """Videos' seconds a second, for the first guesses of the schedule; learned online from then on."""

    @model_validator(mode="after")
    def _positive(self) -> LaneShare:
        low = [name for name in type(self).model_fields if getattr(self, name).value <= 0]
        if low:
            raise ValueError(f"must be above 0: {', '.join(low)}")
        return self


class Verified(_Part):
    """When and with which driver a probe on the real card confirmed the figures."""

    date: datetime.date
    driver: str = Field(min_length=1)


class Profile(_Part):
    """One kind of card, or the CPU."""

    name: str = Field(pattern=r"^[a-z0-9][a-z0-9-]*$")
    kind: Literal["gpu", "cpu"]
    card: str = Field(min_length=2)
    """The name NVML gives it, or part of it; for the CPU, words."""
    vram_bytes: Figure[int]
    """Memory of the smallest card of that name; 0 for the CPU."""
    decode: Decoding
    encode: Encoding
    lane: LaneShare
    verified: Verified | None = None

    @property
    def has_nvenc(self) -> bool:
        """Whether the card encodes by itself; else its lanes take CPU encoders."""
        return self.encode.engines.value > 0

    def session_cap(self, driver: str = "") -> int | None:
        """Encoder sessions that this driver allows per machine or per card (see ``encode.cap_scope``); None = no cap.

        Args:
            driver: version of the driver; the newest known cap counts when it is empty or no version.
        """
        if not self.encode.caps:
            return None
        version = driver_version(driver)
        if not version:
            return self.encode.caps[0].sessions
        return next(cap.sessions for cap in self.encode.caps if version >= driver_version(cap.from_driver))

    def node_resources(self, cards: int, driver: str = "") -> dict[str, int]:
        """The custom resources that a machine with this many such cards declares to Ray.

        ``nvdec_session`` counts the streams its lanes may decode, ``nvenc_session`` the encoder sessions, never above
        the driver's cap; a card without NVENC declares none of the latter, the CPU neither.
        """
        if self.kind == "cpu":
            return {}
        found = {"nvdec_session": cards * self.lane.streams.value}
        if self.has_nvenc:
            wish, cap = cards * self.lane.encoders.value, self.session_cap(driver)
            limit = wish if cap is None else cap * (cards if self.encode.cap_scope == "gpu" else 1)
            found["nvenc_session"] = min(wish, limit)
        return found


def driver_version(text: str) -> tuple[int, ...]:
    """``580.65.06`` as numbers, for comparison; empty when it is no version."""
    return tuple(int(part) for part in text.split(".")) if re.fullmatch(r"\d+(\.\d+)*", text) else ()


def read_profile(path: Path) -> Profile:
    """A profile from a file.

    Raises:
        ProfileError: the file cannot be read or is no profile.
    """
    try:
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ProfileError(f"cannot be read: {error}", where=str(path)) from error
    return parse_profile(document, where=str(path))


def parse_profile(document: object, *, where: str) -> Profile:
    """A profile from what YAML or a probe gave.

    Args:
        document: plain lists, objects and scalars.
        where: for the message of an error.

    Raises:
        ProfileError: it is no valid profile.
    """
    try:
        return Profile.model_validate_json(_as_json(document))
    except RecursionError:
        raise ProfileError("not a valid profile: nested too deeply", where=where) from None
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        what = f"not a valid profile: {key or 'document'}: {first['msg']}"
        raise ProfileError(what, where=where, remedy="Compare it with configs/profiles/l4.yaml.") from None
    except ValueError as error:  # a YAML document that contains itself
        raise ProfileError(f"not a valid profile: {error}", where=where) from None


def profile_names() -> tuple[str, ...]:
    """The profiles that come with this project, sorted."""
    return tuple(sorted(path.stem for path in (config_dir() / "profiles").glob("*.yaml")))


def load_profile(name: str) -> Profile:
    """A packaged profile by its name, or one from the path of a YAML file.

    Raises:
        ProfileError: there is no such profile, or it is not valid.
    """
    if name.endswith((".yaml", ".yml")):
        return read_profile(Path(name))
    if name not in profile_names():
        known = ", ".join(profile_names())
        raise ProfileError("is no profile", where=repr(name), remedy=f"Known are {known}; or give a YAML file's path.")
    return _packaged(name)


def profile_named(name: str) -> Profile | None:
    """What a setting or an option names: as ``load_profile``, but None where it names none."""
    return load_profile(name) if name else None


@cache
def _packaged(name: str) -> Profile:
    return read_profile(config_dir() / "profiles" / f"{name}.yaml")


def profile_for(card: str, profiles: Sequence[Profile] | None = None) -> Profile | None:
    """The profile whose card name appears in this NVML name, as whole words; None when there is none.

    An instance of a card in MIG mode has less of everything: the card's profile is not its own.

    Args:
        card: such as ``NVIDIA GeForce RTX 4090``, ``NVIDIA L40S-48C`` or ``NVIDIA A100-SXM4-40GB MIG 3g.20gb``.
        profiles: to choose from; the packaged ones when missing.
    """
    known = profiles if profiles is not None else [_packaged(name) for name in profile_names()]
    fits = [p for p in known if p.kind == "gpu" and re.search(rf"(?<!\w){re.escape(p.card)}(?!\w| \w*Laptop)", card)]
    if " MIG" in card:
        fits = [p for p in fits if " MIG" in p.card]
    return max(fits, key=lambda p: len(p.card), default=None)


def check_verified(profile: Profile, *, allow_unverified: bool = False) -> None:
    """Refuse a profile that nobody has confirmed on the real card.

    Args:
        profile: of a node's cards.
        allow_unverified: as the setting ``lane.allow_unverified_profile``.

    Raises:
        ProfileError: it is not verified and that is not allowed.
    """
    if profile.verified is None and not allow_unverified:
        raise ProfileError(
            "nobody has verified this profile on the real card",
            where=f"profile {profile.name}",
            remedy="Run `dualface probe --verify --output FILE.yaml` there and let that file be the profile "
            "(docs/cluster.md), or set lane.allow_unverified_profile=true.",
        )


def _as_json(document: object) -> str:
    """JSON of what YAML gave: strict models take lists for tuples and text for dates from JSON only."""
    return json.dumps(document, default=str)
