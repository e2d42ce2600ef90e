"""Peers: public trackers on the same detections, on every frame (package ``trackers``, optional)."""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np

from dualface_ray.bench.recorded import RecordedRun
from dualface_ray.bench.scoring import Claim

PEERS = {"ByteTrack": "ByteTrackTracker", "BoT-SORT": "BoTSORTTracker", "OC-SORT": "OCSORTTracker"}


def available() -> tuple[str, ...]:
    """Names of the peers that can run here; empty when ``trackers`` is not installed."""
    try:
        module = importlib.import_module("trackers")
        importlib.import_module("supervision")
    except ImportError:
        return ()
    return tuple(name for name, kind in PEERS.items() if hasattr(module, kind))


def claims(name: str, run: RecordedRun) -> list[list[Claim]]:
    """The boxes of a peer, frame by frame, with its default parameters and the stream's frame rate.

    Args:
        name: one of ``available()``.
        run: its detections of every frame are the peer's input; cameras are not compensated for (no pixels).
    """
    supervision = importlib.import_module("supervision")
    kind = getattr(importlib.import_module("trackers"), PEERS[name])
    options: dict[str, Any] = {"frame_rate": float(run.info.average_rate)}
    if name == "BoT-SORT":
        options["enable_cmc"] = False
    tracker = kind(**options)
    result = []
    for faces in run.faces:
        given = supervision.Detections(
            xyxy=faces.boxes_px.astype(np.float32).reshape(-1, 4),
            confidence=faces.scores.astype(np.float32),
            class_id=np.zeros(len(faces), int),
        )
        found = tracker.update(given)
        ids = found.tracker_id if found.tracker_id is not None else np.full(len(found), -1)
        result.append(
            [
                Claim(int(track), (float(b[0]), float(b[1]), float(b[2]), float(b[3])))
                for track, b in zip(ids, found.xyxy, strict=True)
                if track >= 0
            ]
        )
    return result
