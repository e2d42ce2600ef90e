"""Nodes: what Ray says of the cluster, in one place because parts of it are not in Ray's public door."""

from __future__ import annotations

import json
import socket

import ray
from ray._private import state
from ray._private.ray_constants import DASHBOARD_ADDRESS, KV_NAMESPACE_DASHBOARD
from ray.experimental.internal_kv import _internal_kv_get

from actors.placement import ClusterSnapshot, snapshot_of

_AUTOSCALER = b"__autoscaling_status"
_SECOND_AUTOSCALER = b"__autoscaler_v2_enabled"


def look() -> ClusterSnapshot:
    """The nodes now, with what is taken of each and whether it is about to leave."""
    return snapshot_of(ray.nodes(), state.available_resources_per_node(), state.state.get_draining_nodes())


def here() -> str:
    """The node of this process."""
    return str(ray.get_runtime_context().get_node_id())


def dashboard() -> bool:
    """Whether anybody looks at metrics: a dashboard answers. A private local Ray has none."""
    address = (_internal_kv_get(DASHBOARD_ADDRESS, namespace=KV_NAMESPACE_DASHBOARD) or b"").decode()
    host, _, port = address.rpartition(":")
    try:
        with socket.create_connection((host, int(port)), timeout=1.0):
            return True
    except (OSError, ValueError):
        return False


def grows() -> bool:
    """Whether an autoscaler may add nodes to this cluster.

    Every head runs a monitor that keeps its last words in Ray's store. One that only looks on calls each node a type
    of its own; one that has types to start names them.
    """
    if _internal_kv_get(_SECOND_AUTOSCALER) == b"1":
        return True
    try:
        words = json.loads(_internal_kv_get(_AUTOSCALER) or b"{}")
        types = words.get("autoscaler_report", {}).get("active_nodes") or {}
    except (ValueError, AttributeError):
        return False
    return any(not str(name).startswith("node_") for name in types)
