"""chart: curves of shares over time as an SVG, which every browser shows and no library is needed for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

WIDTH, HEIGHT = 960, 420
LEFT, RIGHT, TOP, BOTTOM = 56, 40, 44, 86
COLOURS = ("#1b7f5c", "#2d5fa8", "#c2571a", "#7a3fa0", "#8a8a1f")
"""Dark enough on white, and apart from each other in lightness too."""


@dataclass(frozen=True, slots=True)
class Curve:
    """One line of the picture."""

    name: str
    values: tuple[float, ...]
    """Shares from 0 to 1 at equal distances in time."""


def chart(title: str, curves: Sequence[Curve], *, end_s: float, mark_s: float) -> str:
    """The SVG text of some curves.

    Args:
        title: above the picture.
        curves: at most five.
        end_s: moment of the last value.
        mark_s: a moment to mark with a vertical line: the lower bound.
    """
    wide, high = WIDTH - LEFT - RIGHT, HEIGHT - TOP - BOTTOM
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif">',
        f'<g font-size="13"><title>{escape(title)}</title>',
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#ffffff"/>',
        f'<text x="{LEFT}" y="26" font-size="16">{escape(title)}</text>',
    ]
    for tenth in range(0, 11, 2):
        y = TOP + high * (1 - tenth / 10)
        parts.append(f'<line x1="{LEFT}" y1="{y:.1f}" x2="{WIDTH - RIGHT}" y2="{y:.1f}" stroke="#d8d8d8"/>')
        parts.append(f'<text x="{LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{tenth * 10} %</text>')
    for fourth in range(5):
        x, y = LEFT + wide * fourth / 4, TOP + high + 18
        parts.append(f'<text x="{x:.1f}" y="{y}" text-anchor="middle">{end_s * fourth / 4:.0f} s</text>')
    x = LEFT + wide * min(1.0, mark_s / end_s) if end_s > 0 else LEFT
    parts.append(
        f'<line x1="{x:.1f}" y1="{TOP}" x2="{x:.1f}" y2="{TOP + high}" stroke="#b00020" stroke-dasharray="5 4"/>'
    )
    parts.append(f'<text x="{x - 6:.1f}" y="{TOP + 14}" text-anchor="end" fill="#b00020">lower bound</text>')
    for number, curve in enumerate(curves):
        colour = COLOURS[number % len(COLOURS)]
        steps = max(1, len(curve.values) - 1)
        points = " ".join(
            f"{LEFT + wide * place / steps:.1f},{TOP + high * (1 - min(1.05, value)):.1f}"
            for place, value in enumerate(curve.values)
        )
        parts.append(f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="2"/>')
        column, row = number % 2, number // 2
        x, y = LEFT + column * wide / 2, HEIGHT - 42 + row * 20
        parts.append(f'<rect x="{x:.1f}" y="{y - 9}" width="22" height="4" fill="{colour}"/>')
        parts.append(f'<text x="{x + 30:.1f}" y="{y - 3}">{escape(curve.name)}</text>')
    parts.append("</g></svg>")
    return "\n".join(parts) + "\n"
