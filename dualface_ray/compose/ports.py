"""What a backend must offer to execute frame plans."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from dualface_ray.frames import StreamInfo
from dualface_ray.framing import FramePlan
from dualface_ray.media import Canvas, Slot


class Compositor(Protocol):
    """Draws planned pictures from slots; it decides nothing."""

    def compose(self, info: StreamInfo, slots: Sequence[Slot], plans: Sequence[FramePlan]) -> list[list[Canvas]]:
        """Canvases of each plan, in order; the slots have been read completely on return.

        The canvases stay valid until the next call of the same compositor.
        """

    def close(self) -> None:
        """Free everything; harmless when called twice."""
