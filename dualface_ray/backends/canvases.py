"""Canvases: how many pictures of a video are under way from composition to its encoders, for plans and lanes alike."""

from __future__ import annotations

from dualface_ray.settings import Settings


def pipe_places(compose_frames: int) -> int:
    """Groups of so many pictures under way: one is drawn while the others are encoded."""
    return 2 if compose_frames > 1 else 3


def compositors(compose_frames: int, settings: Settings) -> int:
    """Of one video: each group's canvases live until its compositor's next call.

    At a constant rate there is one more: how often a picture is shown is known when the next one has come.
    """
    return pipe_places(compose_frames) + (settings.timing.mode == "cfr")
