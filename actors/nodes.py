"""Nodes: what Ray says of the cluster, in one place because parts of it are not in Ray's public door."""

from __future__ import annotations

import ray
from ray._private import state
from ray.experimental.internal_kv import _internal_kv_get

from actors.placement import ClusterSnapshot, snapshot_of

_AUTOSCALER_KEY = b"__autoscaling_status"
"""An autoscaler, and nobody else, keeps its last words under this key."""


def look() -> ClusterSnapshot:
    """The nodes now, with what is taken of each and whether it is about to leave."""
    return snapshot_of(ray.nodes(), state.available_resources_per_node(), state.state.get_draining_nodes())


def here() -> str:
    """The node of this process."""
    return str(ray.get_runtime_context().get_node_id())


def grows() -> bool:
    """Whether an autoscaler may add nodes to this cluster."""
    return _internal_kv_get(_AUTOSCALER_KEY) is not None
