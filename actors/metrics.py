"""Metrics: the names that Prometheus and the Grafana page know, and a thin exporter over ``ray.util.metrics``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

NAMESPACE = "ray_"
"""Ray puts this before every name when it exports it (its metrics agent's prefix)."""


@dataclass(frozen=True, slots=True)
class MetricSpec:
    """One metric."""

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    description: str
    tags: tuple[str, ...] = ()
    """Never ``job`` or ``instance``: Prometheus gives its own labels these names."""
    boundaries: tuple[float, ...] = ()
    """Upper ends of a histogram's buckets, in the metric's unit."""

    @property
    def exported(self) -> str:
        """The name in Prometheus. Ray adds ``_total`` to a counter unless its name ends with it."""
        return NAMESPACE + self.name


_LATENCY_S = (0.01, 0.03, 0.1, 0.3, 1.0, 2.0, 3.0, 5.0, 10.0, 30.0)
VIDEOS = MetricSpec("dualface_videos", "gauge", "Videos of the job by state", ("run", "state"))
LANES = MetricSpec("dualface_lanes", "gauge", "Lanes of the job by state", ("run", "state"))
LANE_DEATHS = MetricSpec("dualface_lane_deaths_total", "counter", "Lanes that died", ("run", "lane"))
ATTEMPTS = MetricSpec(
    "dualface_attempts_total", "counter", "Videos begun, again after a death included", ("run", "lane")
)
FRAMES = MetricSpec("dualface_frames_total", "counter", "Frames that left the encoder", ("run", "lane"))
FRAME_RATE = MetricSpec("dualface_frame_rate_fps", "gauge", "Frames a second of a lane", ("run", "lane"))
LATENCY = MetricSpec(
    "dualface_latency_s",
    "histogram",
    "From the decoder's output to the encoder's, per frame",
    ("run", "lane"),
    _LATENCY_S,
)
BATCH = MetricSpec(
    "dualface_batch_items",
    "histogram",
    "Faces or frames of one inference batch",
    ("run", "lane"),
    (1, 2, 4, 8, 16, 32, 64),
)
POOL_BYTES = MetricSpec("dualface_pool_bytes", "gauge", "Bytes of a lane's frame pool in use", ("run", "lane"))
DECODER_SESSIONS = MetricSpec("dualface_decoder_sessions", "gauge", "Decoder sessions in use", ("run", "lane"))
ENCODER_SESSIONS = MetricSpec("dualface_encoder_sessions", "gauge", "NVENC sessions in use", ("run", "lane"))
END_S = MetricSpec("dualface_expected_end_s", "gauge", "Seconds until the job is expected to be done", ("run",))

ALL: tuple[MetricSpec, ...] = (
    VIDEOS,
    LANES,
    LANE_DEATHS,
    ATTEMPTS,
    FRAMES,
    FRAME_RATE,
    LATENCY,
    BATCH,
    POOL_BYTES,
    DECODER_SESSIONS,
    ENCODER_SESSIONS,
    END_S,
)


@dataclass(slots=True)
class Exporter:
    """Hands values to Ray's metrics agent; one in each process that has something to say.

    Args:
        tags: values that hold for everything this process says, such as the run and the lane.
        specs: the metrics this process exports.
    """

    tags: Mapping[str, str]
    specs: Sequence[MetricSpec] = ALL
    _metrics: dict[str, Any] = field(default_factory=dict)

    def add(self, spec: MetricSpec, amount: float = 1.0, **tags: str) -> None:
        """Count up.

        Raises:
            ValueError: it is no counter, or a tag is missing or unknown.
        """
        if spec.kind != "counter":
            raise ValueError(f"{spec.name} is a {spec.kind}")
        if amount > 0:
            self._metric(spec).inc(amount, tags=self._tags(spec, tags))

    def put(self, spec: MetricSpec, value: float, **tags: str) -> None:
        """Set a gauge, or add an observation to a histogram.

        Raises:
            ValueError: it is a counter, or a tag is missing or unknown.
        """
        if spec.kind == "counter":
            raise ValueError(f"{spec.name} is a counter")
        metric, complete = self._metric(spec), self._tags(spec, tags)
        if spec.kind == "gauge":
            metric.set(value, tags=complete)
        else:
            metric.observe(value, tags=complete)

    def _metric(self, spec: MetricSpec) -> Any:
        """The Ray metric, made when it is first used: making one needs a connected process."""
        if spec not in self.specs:
            raise ValueError(f"{spec.name} is not among this exporter's metrics")
        found = self._metrics.get(spec.name)
        if found is None:
            found = self._metrics[spec.name] = _made(spec)
        return found

    def _tags(self, spec: MetricSpec, tags: Mapping[str, str]) -> dict[str, str]:
        merged = {**{key: value for key, value in self.tags.items() if key in spec.tags}, **tags}
        if set(merged) != set(spec.tags):
            raise ValueError(f"{spec.name} takes the tags {', '.join(spec.tags)}, not {', '.join(sorted(merged))}")
        return merged


def _made(spec: MetricSpec) -> Any:
    from ray.util.metrics import Counter, Gauge, Histogram

    if spec.kind == "counter":
        return Counter(spec.name, description=spec.description, tag_keys=spec.tags)
    if spec.kind == "gauge":
        return Gauge(spec.name, description=spec.description, tag_keys=spec.tags)
    return Histogram(spec.name, description=spec.description, boundaries=list(spec.boundaries), tag_keys=spec.tags)
