"""Chapters: the source's marks on the output's clock."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from fractions import Fraction
from typing import Any

from dualface_ray.timeline import round_fraction

_CLOCK = Fraction(1, 1000)
_MOST = 1000
_LONGEST_TITLE = 255
"""What the list of chapters of an MP4 holds (one byte counts the letters)."""


def shifted_chapters(
    chapters: Iterable[Mapping[str, Any]], origin_s: Fraction, duration_s: Fraction
) -> list[dict[str, Any]]:
    """Chapters as PyAV gives and takes them, moved with the first frame to 0 and cut to the video.

    Only titles are kept. What lies outside the video, is empty, or is beyond the first thousand is left out.

    Args:
        chapters: of the source.
        origin_s: source time of the first frame.
        duration_s: of the output.
    """
    kept: list[dict[str, Any]] = []
    for chapter in chapters:
        base = Fraction(chapter["time_base"])
        start_s = max(Fraction(0), chapter["start"] * base - origin_s)
        end_s = min(duration_s, chapter["end"] * base - origin_s)
        start, end = round_fraction(start_s / _CLOCK), round_fraction(end_s / _CLOCK)
        if end <= start or len(kept) == _MOST:
            continue
        title = " ".join(str(chapter.get("metadata", {}).get("title", "")).split())[:_LONGEST_TITLE]
        metadata = {"title": title} if title else {}
        kept.append({"id": len(kept) + 1, "start": start, "end": end, "time_base": _CLOCK, "metadata": metadata})
    return kept
