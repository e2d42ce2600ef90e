"""Quantiles: a streaming histogram of durations with fixed logarithmic buckets."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

LOWEST_S = 1e-6
HIGHEST_S = 1e4
GROWTH = 1.04
"""Upper over lower edge of a bucket."""

_LOG_GROWTH = math.log(GROWTH)
_BUCKETS = math.ceil(math.log(HIGHEST_S / LOWEST_S) / _LOG_GROWTH) + 1


class Quantiles:
    """Durations in seconds, summarised in constant memory (about 590 counters); mergeable across processes.

    A quantile is off by at most 2 % of its value (the square root of ``GROWTH``) for durations between 1 µs and
    10 000 s; shorter and longer ones count in the first and last bucket. Count, sum, least and greatest are exact.
    """

    __slots__ = ("_counts", "count", "greatest_s", "least_s", "sum_s")

    def __init__(self) -> None:
        self._counts = [0] * _BUCKETS
        self.count = 0
        self.sum_s = 0.0
        self.least_s = math.inf
        self.greatest_s = 0.0

    def add(self, duration_s: float) -> None:
        """Count one duration.

        Raises:
            ValueError: it is negative or no number.
        """
        if not duration_s >= 0 or duration_s == math.inf:
            raise ValueError(f"a duration must be finite and not negative, not {duration_s}")
        bucket = 0 if duration_s <= LOWEST_S else int(math.log(duration_s / LOWEST_S) / _LOG_GROWTH)
        self._counts[min(bucket, _BUCKETS - 1)] += 1
        self.count += 1
        self.sum_s += duration_s
        self.least_s = min(self.least_s, duration_s)
        self.greatest_s = max(self.greatest_s, duration_s)

    def extend(self, durations_s: Iterable[float]) -> None:
        """Count several."""
        for duration_s in durations_s:
            self.add(duration_s)

    def merge(self, other: Quantiles) -> None:
        """Count everything that the other one has counted."""
        self._counts = [a + b for a, b in zip(self._counts, other._counts, strict=True)]
        self.count += other.count
        self.sum_s += other.sum_s
        self.least_s = min(self.least_s, other.least_s)
        self.greatest_s = max(self.greatest_s, other.greatest_s)

    def quantile(self, share: float) -> float:
        """The duration in seconds that ``share`` (0..1) of all do not exceed; 0 when nothing was counted."""
        if not 0 <= share <= 1:
            raise ValueError(f"a share lies between 0 and 1, not {share}")
        if not self.count:
            return 0.0
        rank, seen = max(1, math.ceil(share * self.count)), 0
        for bucket, count in enumerate(self._counts):
            seen += count
            if seen >= rank:
                middle = LOWEST_S * math.exp((bucket + 0.5) * _LOG_GROWTH)
                return min(self.greatest_s, max(self.least_s, middle))
        return self.greatest_s

    def summary(self) -> dict[str, float]:
        """count, mean, p50, p95, p99 and max in seconds."""
        mean = self.sum_s / self.count if self.count else 0.0
        return {
            "count": self.count, "mean": mean, "p50": self.quantile(0.5), "p95": self.quantile(0.95),
            "p99": self.quantile(0.99), "max": self.greatest_s,
        }  # fmt: skip

    def to_state(self) -> dict[str, Any]:
        """Plain data that travels between processes; only the buckets that are not empty."""
        buckets = {str(i): n for i, n in enumerate(self._counts) if n}
        least = self.least_s if self.count else 0.0
        return {"buckets": buckets, "sum": self.sum_s, "least": least, "greatest": self.greatest_s}

    @staticmethod
    def from_state(state: Mapping[str, Any]) -> Quantiles:
        """What ``to_state`` gave."""
        result = Quantiles()
        for bucket, count in state["buckets"].items():
            result._counts[int(bucket)] = int(count)
        result.count = sum(result._counts)
        result.sum_s, result.greatest_s = float(state["sum"]), float(state["greatest"])
        result.least_s = float(state["least"]) if result.count else math.inf
        return result
