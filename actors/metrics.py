"""Metrics: the names that Prometheus and the Grafana page know, and a thin exporter over ``ray.util.metrics``."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
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
    "From the decoder's output to the encoder's, mean of a lane's frames over some seconds",
    ("run", "lane"),
    _LATENCY_S,
)
BATCH = MetricSpec(
    "dualface_batch_items",
    "histogram",
    "Faces or frames of an inference batch, mean of a lane over some seconds",
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


EXPORT_S = 2.0
"""Between two exports of what a job shows; Ray's agent passes it on no more often."""


class JobMetrics:
    """What a job and its lanes show, from what the job knows anyway.

    Args:
        exporter: None = nobody looks, and nothing is done.
    """

    def __init__(self, exporter: Exporter | None) -> None:
        self._exporter = exporter
        self._frames: dict[tuple[str, tuple[str, int]], int] = {}
        self._since: dict[str, int] = {}
        """Frames of each lane since the last export."""
        self._batches: dict[str, tuple[float, float]] = {}
        self._delays: dict[str, tuple[float, float]] = {}
        self._next_s = 0.0
        self._last_s = 0.0

    def began(self, lane_id: str) -> None:
        """A unit was given to this lane."""
        if self._exporter is not None:
            self._exporter.add(ATTEMPTS, lane=lane_id)

    def died(self, lane_id: str) -> None:
        """A lane died."""
        if self._exporter is not None:
            self._exporter.add(LANE_DEATHS, lane=lane_id)
            self._frames = {place: frames for place, frames in self._frames.items() if place[0] != lane_id}

    def frames(self, lane_id: str, key: tuple[str, int], done: int, *, final: bool = False) -> None:
        """A unit has come so far on this lane."""
        if self._exporter is None:
            return
        grown = max(0, done - self._frames.pop((lane_id, key), 0))
        if not final:
            self._frames[lane_id, key] = done
        self._since[lane_id] = self._since.get(lane_id, 0) + grown
        self._exporter.add(FRAMES, grown, lane=lane_id)

    def turn(self, now_s: float, videos: Mapping[str, int], lanes: Iterable[LaneFacts], end_s: float) -> None:
        """Export what holds now, when it is time.

        Args:
            now_s: monotonic clock.
            videos: how many, by state.
            lanes: that live.
            end_s: until the job is expected to be done; infinite = unknown.
        """
        if self._exporter is None or now_s < self._next_s:
            return
        put, past_s = self._exporter.put, now_s - self._last_s
        self._next_s, self._last_s = now_s + EXPORT_S, now_s
        for state, count in videos.items():
            put(VIDEOS, count, state=state)
        states = dict.fromkeys(("placing", "starting", "ready", "draining"), 0)
        for lane in lanes:
            states[lane.state] = states.get(lane.state, 0) + 1
            put(FRAME_RATE, self._since.pop(lane.lane_id, 0) / past_s, lane=lane.lane_id)
            put(DECODER_SESSIONS, lane.streams, lane=lane.lane_id)
            put(ENCODER_SESSIONS, lane.encoder_sessions, lane=lane.lane_id)
            put(POOL_BYTES, lane.pool_bytes, lane=lane.lane_id)
            items, batches = self._batches.get(lane.lane_id, (0.0, 0.0))
            self._batches[lane.lane_id] = lane.items, lane.batches
            if lane.batches > batches:
                put(BATCH, max(0.0, lane.items - items) / (lane.batches - batches), lane=lane.lane_id)
            frames, delay_s = self._delays.get(lane.lane_id, (0.0, 0.0))
            self._delays[lane.lane_id] = lane.frames, lane.delay_s
            if lane.frames > frames and lane.delay_s >= delay_s:  # less: a unit's frames were forgotten with it
                put(LATENCY, (lane.delay_s - delay_s) / (lane.frames - frames), lane=lane.lane_id)
        for state, count in states.items():
            put(LANES, count, state=state)
        if math.isfinite(end_s):
            put(END_S, end_s)


@dataclass(frozen=True, slots=True)
class LaneFacts:
    """A lane at one moment."""

    lane_id: str
    state: str
    streams: int = 0
    """Decoder sessions in use."""
    encoder_sessions: int = 0
    pool_bytes: float = 0.0
    items: float = 0.0
    """Frames and faces that inference has looked at so far."""
    batches: float = 0.0
    """In so many batches."""
    frames: float = 0.0
    """Frames that its encoders still know of."""
    delay_s: float = 0.0
    """Sum of their latencies."""


def _made(spec: MetricSpec) -> Any:
    from ray.util.metrics import Counter, Gauge, Histogram

    if spec.kind == "counter":
        return Counter(spec.name, description=spec.description, tag_keys=spec.tags)
    if spec.kind == "gauge":
        return Gauge(spec.name, description=spec.description, tag_keys=spec.tags)
    return Histogram(spec.name, description=spec.description, boundaries=list(spec.boundaries), tag_keys=spec.tags)
