"""Fades: shots that begin without a step.

    ten samples a second ─► flat between two others? (a fade through black) ─────┐
                         └► on the line between two others? (a dissolve) ────────┴─► a shot has begun

A dissolve mixes two pictures: each of its frames lies on the straight line between an earlier and a later one, and has
less contrast than they have, for their details do not match. Nothing that moves does both: half-way through a pan or a
zoom the picture is as sharp as before and after, and far from that line.

It looks back only. While a dissolve lasts, faces lie over faces, and what is followed through it may be anybody: one
shot begins when the dissolve is noticed, about half-way or before, others while it goes on, and the last one when the
new picture stands alone.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from dualface_ray.frames import F32, SIGNATURE_COLUMNS, SIGNATURE_ROWS
from dualface_ray.identity import constants as c

_LUMA = SIGNATURE_ROWS * SIGNATURE_COLUMNS
_MEAN: F32 = np.full(_LUMA, 1.0 / _LUMA, np.float32)
"""A product with this is the mean, in a fifth of the time."""
Why = dict[str, float | str]


@dataclass(slots=True, eq=False)
class Glance:
    """A frame's luma thumbnail without its mean."""

    frame: int
    t_s: float
    luma: F32
    """float32 (576,), in levels."""
    power: float
    """Sum of its squares."""

    @staticmethod
    def at(frame: int, t_s: float, signature: npt.NDArray[np.uint8]) -> Glance:
        """Of a frame."""
        luma = signature[:_LUMA].astype(np.float32)
        luma -= luma.dot(_MEAN)
        return Glance(frame, t_s, luma, float(luma.dot(luma)))

    @property
    def contrast(self) -> float:
        """Standard deviation in levels."""
        return math.sqrt(self.power / _LUMA)


@dataclass(frozen=True, slots=True)
class Mixture:
    """How one picture lies between two others."""

    share: float
    """Where on the way from the first to the last, 0..1."""
    off: float
    """Distance from the straight line between them, over their distance."""
    apart: float
    """1 - correlation of the two."""
    dip: float
    """Contrast (squared) that it lacks, over what a mixture of the two lacks."""

    @staticmethod
    def of(first: Glance, middle: Glance, last: Glance) -> Mixture | None:
        """Of three pictures; None when the outer two are much alike, or one of them has hardly any contrast."""
        both = float(first.luma.dot(last.luma))
        apart = 1.0 - both / math.sqrt(first.power * last.power)
        length = first.power + last.power - 2.0 * both
        least, most = min(first.power, last.power), max(first.power, last.power)
        alike = apart < c.FADE_APART or length < _LUMA * c.FADE_LEVELS**2
        if alike or least < max(_LUMA * c.FLAT_LEVELS**2, c.FADE_CONTRAST**2 * most):
            return None
        way = last.luma - first.luma
        here = middle.luma - first.luma
        share = float(here @ way) / length
        beside = here - np.float32(share) * way
        lacking = (1.0 - share) * first.power + share * last.power - middle.power
        dip = lacking / (share * (1.0 - share) * length) if 0.0 < share < 1.0 else 0.0
        return Mixture(share, math.sqrt(float(beside @ beside) / length), apart, dip)

    @property
    def is_true(self) -> bool:
        """Whether it is such a mixture indeed: on the line, and as much without contrast as a mixture is."""
        inside = c.FADE_SHARE <= self.share <= 1.0 - c.FADE_SHARE
        return self.off < c.FADE_OFF and (not inside or abs(self.dip - 1.0) < c.FADE_DIP)


def dissolve_in(window: Sequence[Glance]) -> Mixture | None:
    """The mixture in the middle of these pictures if they are, or hold, a part of a dissolve from shot to shot."""
    first, last = window[0], window[-1]
    middle = Mixture.of(first, window[len(window) // 2], last)
    if middle is None or not middle.is_true:
        return None
    if not c.FADE_SHARE <= middle.share <= 1.0 - c.FADE_SHARE:
        return None
    others = (Mixture.of(first, glance, last) for glance in window[1:-1])
    return middle if all(other is not None and other.is_true for other in others) else None


@dataclass(slots=True)
class FadeWatch:
    """Sees every frame of a video and says when a shot has begun without a cut."""

    glances: list[Glance] = field(default_factory=list)
    """Of the last FADE_SPANS seconds, since the shot began."""
    before: Glance | None = None
    """The last picture before flat ones, until it is known whether another shot begins after them; else None."""
    flat: int = -1
    """The last of the flattest frames after it, where that shot begins: faces are found in nearly black pictures."""
    flat_s: float = 0.0
    """Its time."""
    flattest: float = 0.0
    """Its contrast."""
    beat: int = -1
    """The last tenth of a second that was looked at."""
    noticed_s: float = -1.0
    """When the dissolve that still lasts was noticed; negative = there is none."""
    said_s: float = 0.0
    """When something was said about it last."""
    pace: float = 0.0
    """Its largest change between two glances, in levels."""

    def see(
        self, frame: int, t_s: float, signature: npt.NDArray[np.uint8], candidates: Sequence[int]
    ) -> tuple[int, Why] | None:
        """Take the next frame; the first frame of a new shot, as exactly as it can be told, and why.

        Args:
            frame: number of the frame.
            t_s: its time, in any seconds that go on evenly.
            signature: its signature.
            candidates: frames where a cut is possible and not judged yet: nothing is said about them before.
        """
        beat = math.floor(t_s * c.FADE_HZ)
        due = beat != self.beat or not self.glances
        if due:
            self.beat = beat
            self._look(Glance.at(frame, t_s, signature))
        if self.before is not None:
            if not self.glances:
                return None
            return None if any(self.flat <= f <= self.glances[0].frame for f in candidates) else self._after_flat()
        if candidates or not due or not self.glances:
            return None
        return self._mixed(self.glances[-1]) if self.noticed_s < 0 else self._faded_in(self.glances[-1])

    def _look(self, now: Glance) -> None:
        if now.contrast < c.FLAT_LEVELS:
            if self.glances and self.before is None:
                self.before, self.flattest = self.glances[-1], math.inf
            if now.contrast < self.flattest + c.FLAT_SAME or now.t_s - self.flat_s > c.FLAT_WAIT_S:
                self.flat, self.flat_s, self.flattest = now.frame, now.t_s, min(self.flattest, now.contrast)
            self.glances.clear()
            self.noticed_s = -1.0
            return
        self.glances.append(now)
        if now.t_s - self.glances[0].t_s > (max(c.FADE_SPANS) + 2) / c.FADE_HZ:
            del self.glances[0]

    def cut(self, frame: int) -> None:
        """A shot begins with this frame: what was before means nothing any more."""
        self.glances = [glance for glance in self.glances if glance.frame >= frame]
        self.before = None
        self.noticed_s = -1.0

    def _after_flat(self) -> tuple[int, Why] | None:
        """The first pictures after flat ones: the same shot again (a flash, a blink), or another one?"""
        before, now = self.before, self.glances[-1]
        if before is None or (now.contrast < 2 * c.FLAT_LEVELS and now.t_s - self.flat_s < c.FLAT_WAIT_S):
            return None
        self.before = None
        apart = 1.0 - float(before.luma @ now.luma) / math.sqrt(before.power * now.power)
        if apart < c.CUT_SAME_STRUCTURE:
            return None
        return self.flat, {"reason": "after one colour", "apart": round(apart, 3)}

    def _mixed(self, now: Glance) -> tuple[int, Why] | None:
        for span in c.FADE_SPANS:
            if len(self.glances) <= span or self.beat % (span // c.FADE_SPANS[0]):  # longer ones need fewer looks
                return None
            window = self.glances[-1 - span :]
            mix = dissolve_in(window)
            if mix is not None:
                self.noticed_s = self.said_s = now.t_s
                self.pace = max(_change(a, b) for a, b in pairwise(window))
                # About half of it has been seen by now; until then it is rather the old shot than the new one.
                return window[3 * span // 4].frame, {
                    "reason": "dissolve",
                    "apart": round(mix.apart, 3),
                    "off": round(mix.off, 3),
                }
        return None

    def _faded_in(self, now: Glance) -> tuple[int, Why] | None:
        """Whether the dissolve is over."""
        if len(self.glances) < 2:
            return None
        moving = _change(self.glances[-2], now) > c.FADE_OVER * self.pace
        if moving and now.t_s - self.noticed_s < c.FADE_LAST_S:
            if now.t_s - self.said_s < c.FADE_AGAIN_S:
                return None
            self.said_s = now.t_s
            return now.frame, {"reason": "still fading"}
        self.glances = [now]
        self.noticed_s = -1.0
        return now.frame, {"reason": "faded in"}


def _change(a: Glance, b: Glance) -> float:
    way = b.luma - a.luma
    return math.sqrt(float(way @ way) / _LUMA)
