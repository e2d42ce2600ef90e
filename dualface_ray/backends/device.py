"""DevicePlan: what a lane's plan tells the backend in one of its processes. Pure data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class DevicePlan:
    """Limits and choices of one process; the default leaves everything to the backend."""

    pool_bytes: int = 0
    """Most that CuPy's own pool may take; 0 = no limit."""
    lane_bytes: int = 0
    """What the whole lane will allocate of its card: waited for, a little, before it begins; 0 = not known."""
    encoder: Literal["", "nvenc", "cpu"] = ""
    """Who encodes; empty = NVENC where the card has one."""
    sleeps: bool = False
    """Threads that wait for the card leave their core to others: the lane's encoders on the CPU need it."""
    encoder_sessions: int = 0
    """NVENC sessions that the lane's card may have at once, over all its processes; 0 = the driver decides."""
    engines_at_hand: bool = False
    """A smaller batch than the settings' will do where its engines are in the cache and theirs are not."""
    orientations: tuple[Literal["landscape", "portrait"], ...] = ("landscape", "portrait")
    """Inputs of the detector to have ready before the first video; others are built when a video needs one."""
    machine_sessions: int = -1
    """NVENC sessions that all cards of the machine may have together; 0 = no such cap, -1 = the backend finds out."""
    encode_at_once: int = 0
    """Encoders on the CPU that may work at once in this process; 0 = as many as the machine has cores for."""
