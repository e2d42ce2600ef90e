"""bound: what no order of the queue can undercut."""

from __future__ import annotations

from collections.abc import Iterable


def lower_bound(costs: Iterable[float], rates: Iterable[float]) -> float:
    """The earliest end of these videos on places of these rates, in seconds.

    The *k* longest videos run on *k* places at a time at most, so they take at least as long as on the *k* fastest; and
    all of them need all places. The largest of these is reached exactly where videos may move while they run (Horvath,
    Lam and Sethi 1977). Ours stay where they begin, so where there are few of them it may be out of reach.

    Args:
        costs: of the videos, at least one.
        rates: of the places, cost a second each; at least one.
    """
    longest, fastest = sorted(costs, reverse=True), sorted(rates, reverse=True)
    cost = rate = bound = 0.0
    for one, place in zip(longest, fastest):  # noqa: B905 - the shorter one ends it
        cost, rate = cost + one, rate + place
        bound = max(bound, cost / rate)
    return max(bound, sum(longest) / sum(fastest))
