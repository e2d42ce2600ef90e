"""Every error this project raises on purpose, in one tree.

    DualfaceError
      RequestError      the request itself is wrong: nothing was started, nothing was written (exit code 2)
      InputError        one video cannot be processed; the others go on (exit code 1)
      OutputError       one result cannot be written
      ResourceError     the machine lacks something: memory, disk, sessions, a device
      ModelError        a model file is missing, damaged or refused
      ActorError        a process of the system died or hung
      Cancelled         somebody asked to stop

Each error is one line made of three parts: what happened, where, what to do about it. A remedy that is an argument is
written as Python takes it (``overwrite=True``); the command line says it as an option. Errors of vendor libraries are
translated where they enter (``backends``, ``models``, ``hardware``) and never cross a room's border untranslated.
"""

from __future__ import annotations


class DualfaceError(Exception):
    """Base of all deliberate errors; its string is ``where: what (remedy)``.

    Args:
        what: what happened, without a final full stop.
        where: the file, key, device or actor concerned; empty when the sentence already says it.
        remedy: what the user can do about it; empty when nothing sensible can be said.
    """

    exit_code = 1
    code = "error"

    def __init__(self, what: str, *, where: str = "", remedy: str = "") -> None:
        super().__init__(what)
        self.what = what
        self.where = where
        self.remedy = remedy

    def __str__(self) -> str:
        head = f"{self.where}: {self.what}" if self.where else self.what
        return " ".join((f"{head}. {self.remedy}" if self.remedy else head).split())

    def renamed(self, old: str, new: str) -> DualfaceError:
        """The same error about the same thing under another name."""
        return _rebuild(type(self), self.what.replace(old, new), self.where.replace(old, new), self.remedy)

    def __reduce__(self) -> tuple[object, ...]:
        """Survive pickling (Ray, multiprocessing) with all three parts."""
        return _rebuild, (type(self), self.what, self.where, self.remedy)


def _rebuild(cls: type[DualfaceError], what: str, where: str, remedy: str) -> DualfaceError:
    return cls(what, where=where, remedy=remedy)


def is_out_of_memory(text: str) -> bool:
    """Whether these are a device library's words for memory that is used up: CUDA's, CuPy's, TensorRT's or NVDEC's."""
    said = text.lower().replace("_", "").replace(" ", "")
    return any(words in said for words in ("outofmemory", "memoryallocation", "outofdevicememory"))


# --- the request itself -------------------------------------------------------------------------------------------
class RequestError(DualfaceError):
    """The request cannot be carried out as it stands; nothing was started or written."""

    exit_code = 2
    code = "request"


class SettingsError(RequestError):
    """A setting is unknown, has the wrong unit or contradicts another one; ``where`` is the dotted key."""

    code = "settings"


class NameCollisionError(RequestError):
    """Two inputs would write the same output."""

    code = "name_collision"


class OutputExistsError(RequestError):
    """The output exists and was made with another input or other settings."""

    code = "output_exists"


class OutputBusyError(RequestError):
    """Another job is writing to the same output folder."""

    code = "output_busy"


class AddressError(RequestError):
    """An address (URL) that cannot be used: its protocol, a package that it needs, or its form."""

    code = "address"


class ProfileError(RequestError):
    """A hardware profile is unknown, unverified or does not match the machine."""

    code = "profile"


class ClusterError(RequestError):
    """A cluster cannot be reached, refuses the token or does not take the job; nothing was submitted."""

    code = "cluster"


class NoSuchJobError(RequestError):
    """The cluster knows no job of that id."""

    code = "no_such_job"


# --- one video ----------------------------------------------------------------------------------------------------
class InputError(DualfaceError):
    """One video cannot be processed."""

    code = "input"


class InputMissingError(InputError):
    """There is no such file, or it cannot be read, or it is not a plain file."""

    code = "input_missing"


class NotAVideoError(InputError):
    """The file is empty, is no known container or holds no video stream."""

    code = "not_a_video"


class UnsupportedMediaError(InputError):
    """A codec, pixel format or feature that this backend does not handle."""

    code = "unsupported_media"


class LimitExceededError(InputError):
    """The file is beyond a limit of the settings (dimensions, streams, duration, bytes)."""

    code = "limit_exceeded"


class DamagedInputError(InputError):
    """The file is damaged and the settings say stop rather than conceal."""

    code = "damaged_input"


class OutputError(DualfaceError):
    """A result cannot be written."""

    code = "output"


class DiskFullError(OutputError):
    """Too little space before, or no space left during, the run."""

    code = "disk_full"


class EncodeError(OutputError):
    """The encoder or the muxer refused."""

    code = "encode"


class SeamError(OutputError):
    """The parts of a video that was cut do not fit together; done whole it may still succeed."""

    code = "seam"


# --- the machine --------------------------------------------------------------------------------------------------
class ResourceError(DualfaceError):
    """The machine lacks something the plan needs."""

    code = "resource"


class SharedMemoryError(ResourceError):
    """Shared memory is too small or cannot be mapped."""

    code = "shared_memory"


class VramBudgetError(ResourceError):
    """The planned device memory does not fit the budget."""

    code = "vram_budget"


class DeviceError(ResourceError):
    """A device or its library is missing or failed."""

    code = "device"


class EncoderSessionsExhausted(ResourceError):  # noqa: N818 - the name is part of the specification
    """The card or the driver allows no further encoder session."""

    code = "encoder_sessions"


class PlacementError(ResourceError):
    """The cluster cannot place a lane; the message names the missing resource."""

    code = "placement"


class ModelError(DualfaceError):
    """A model file is missing, damaged or refused."""

    code = "model"


class ModelMissingError(ModelError):
    """The model is not in the cache and cannot be fetched."""

    code = "model_missing"


class ModelDamagedError(ModelError):
    """The file's SHA-256 is not the registered one."""

    code = "model_damaged"


# --- the processes ------------------------------------------------------------------------------------------------
class ActorError(DualfaceError):
    """A process of the system died or stopped making progress."""

    code = "actor"


class ContactLostError(ActorError):
    """A cluster does not answer any more; a job that was submitted goes on without us."""

    code = "contact_lost"


class StaleFrameError(ActorError):
    """A frame was asked for whose slot has been given to another frame (a generation mismatch)."""

    code = "stale_frame"


class ProtocolError(ActorError):
    """A message came out of order, twice, or for a stream nobody knows."""

    code = "protocol"


class Cancelled(DualfaceError):  # noqa: N818 - a state rather than a fault
    """Somebody asked to stop."""

    exit_code = 130
    code = "cancelled"
