"""Workspace: the files a video needs on its way, beside its outputs, and how they are cleared away."""

from __future__ import annotations

from pathlib import Path

from dualface_ray.media.atomic import remove_parts
from dualface_ray.media.naming import OutputPlan

_SEGMENT_SUFFIX = ".segment"


def segment_path(video: Path, number: int) -> Path:
    """Where segment ``number`` of an output lies until the final mux: hidden, beside the output."""
    return video.with_name(f".{video.name}.{number:04d}{_SEGMENT_SUFFIX}")


def remove_partials(outputs: OutputPlan) -> None:
    """Remove everything unfinished of one video: parts of its files and its segments.

    Only whoever runs the video may call it, once none of its writers lives.
    """
    for path in outputs.files:
        remove_parts(path)
    for video in outputs.videos:
        if not video.parent.is_dir():
            continue
        prefix = f".{video.name}."
        for path in video.parent.iterdir():
            if path.name.startswith(prefix) and _SEGMENT_SUFFIX in path.name[len(prefix) :]:
                path.unlink(missing_ok=True)
