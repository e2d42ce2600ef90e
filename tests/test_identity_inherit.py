"""A face that shows in a crossing goes on as the one person does who would be just there."""

from __future__ import annotations

import numpy as np
import pytest

from dualface_ray.identity.following import begin
from dualface_ray.identity.motion import Motion
from dualface_ray.identity.sights import Sight
from dualface_ray.identity.tracker import Tracker


def sight(x: float, t_s: float) -> Sight:
    box = (x - 50.0, 100.0, x + 50.0, 230.0)
    return Sight(round(t_s * 30), t_s, box, 0.9, np.zeros((5, 2), np.float32), None)


def tracker_with(a_x: float, a_speed: float, b_x: float) -> Tracker:
    """A comes from the left at a steady speed, B stands; both last seen at 1 s."""
    tracker = Tracker(1280.0, 720.0)
    for name, x, speed in (("A", a_x, a_speed), ("B", b_x, 0.0)):
        motion = Motion.start(0.0, sight(x - speed, 0.0).box)
        for k in range(1, 31):
            motion.update(k / 30, sight(x - speed + speed * k / 30, k / 30).box)
        person = tracker.persons[name]
        person.known, person.present, person.last_s, person.motion = True, True, 1.0, motion
    return tracker


def born(tracker: Tracker, x: float, t_s: float, origin: str = "crossing") -> Motion:
    begin(tracker, sight(x, t_s), origin, before=29)
    return tracker.tracks[-1].motion


def test_the_speed_of_the_one_who_would_be_there() -> None:
    tracker = tracker_with(a_x=680.0, a_speed=600.0, b_x=875.0)
    expected = tracker.persons["A"].motion
    assert expected is not None
    x = 0.5 * sum(expected.box_at(1.1)[::2])
    assert born(tracker, x, 1.1).vx == pytest.approx(600.0, rel=0.25)
    assert abs(born(tracker, 875.0, 1.1).vx) < 30.0


def test_no_speed_where_both_could_be_meant() -> None:
    tracker = tracker_with(a_x=860.0, a_speed=100.0, b_x=875.0)
    assert born(tracker, 873.0, 1.05).vx == 0.0


def test_no_speed_from_far_away_from_long_ago_or_for_an_entry() -> None:
    tracker = tracker_with(a_x=680.0, a_speed=600.0, b_x=875.0)
    assert born(tracker, 500.0, 1.1).vx == 0.0
    assert born(tracker, 875.0, 3.0).vx == 0.0
    motion = tracker.persons["A"].motion
    assert motion is not None
    assert born(tracker, 0.5 * sum(motion.box_at(1.1)[::2]), 1.1, origin="entry").vx == 0.0
