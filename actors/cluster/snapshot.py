"""ClusterSnapshot: the nodes of a cluster at one moment, with what they declare and what of it is taken. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

PROFILE_LABEL = "dualface-profile"
"""Node label: name of the static profile of the node's cards (``ray start --labels``)."""
DRIVER_LABEL = "dualface-driver"
"""Node label: version of the card's driver, on which the session cap of a GeForce depends."""
CARD_BYTES_LABEL = "dualface-card-bytes"
"""Node label: memory in bytes of its smallest card, or instance of one (MIG); it goes before the profile's figure."""
MACHINE_LABEL = "dualface-machine"
"""Node label: name of the machine, where several Ray nodes (pods) share one and so share its session cap."""
NODE_ID_LABEL = "ray.io/node-id"
"""Ray sets it on every node; a placement group that selects it lands there or nowhere."""


@dataclass(frozen=True, slots=True)
class NodeSnapshot:
    """One Ray node."""

    node_id: str
    resources: Mapping[str, float]
    """What it declares."""
    used: Mapping[str, float] = field(default_factory=dict)
    """What of it is reserved by anybody."""
    labels: Mapping[str, str] = field(default_factory=dict)
    host: str = ""
    draining: bool = False
    """It is about to leave: nothing new starts there."""

    @property
    def card_bytes(self) -> int:
        """Memory of its smallest card by its label; 0 = not said."""
        text = self.labels.get(CARD_BYTES_LABEL, "")
        return int(text) if text.isdigit() else 0

    @property
    def machine(self) -> str:
        """The machine whose driver counts the encoder sessions."""
        return self.labels.get(MACHINE_LABEL) or self.host or self.node_id

    @property
    def name(self) -> str:
        """For messages."""
        return self.host or self.node_id[:12]

    def total(self, resource: str) -> float:
        """What it declares of a resource; 0 when it does not know it."""
        return float(self.resources.get(resource, 0.0))

    def free(self, resource: str) -> float:
        """What nobody has reserved."""
        return max(0.0, self.total(resource) - float(self.used.get(resource, 0.0)))


@dataclass(frozen=True, slots=True)
class ClusterSnapshot:
    """What a cluster declares: its nodes or, where they do not matter, the sums over all of them.

    Args:
        cpus: all cores; only looked at without ``nodes``.
        gpus: all cards; only looked at without ``nodes``.
        nodes: every living node.
    """

    cpus: float = 0.0
    gpus: float = 0.0
    nodes: tuple[NodeSnapshot, ...] = ()

    @property
    def hosts(self) -> tuple[NodeSnapshot, ...]:
        """The nodes; without any, one nameless node with the sums."""
        if self.nodes:
            return self.nodes
        sums = {"CPU": self.cpus, "GPU": self.gpus}
        return (NodeSnapshot("", {name: amount for name, amount in sums.items() if amount}),)

    def total(self, resource: str) -> float:
        """Sum over all nodes that are not leaving."""
        return sum(node.total(resource) for node in self.hosts if not node.draining)

    def idle(self) -> ClusterSnapshot:
        """The same cluster with nothing reserved."""
        return replace(self, nodes=tuple(replace(node, used={}) for node in self.nodes))

    def with_bundles(self, bundles: Iterable[tuple[str, Mapping[str, float]]]) -> ClusterSnapshot:
        """The same cluster with these (node id, bundle) reserved on top: lanes that Ray has not placed yet."""
        extra: dict[str, dict[str, float]] = {}
        for node_id, bundle in bundles:
            sums = extra.setdefault(node_id, {})
            for name, amount in bundle.items():
                sums[name] = sums.get(name, 0.0) + amount
        nodes = []
        for node in self.nodes:
            sums = dict(node.used)
            for name, amount in extra.get(node.node_id, {}).items():
                sums[name] = sums.get(name, 0.0) + amount
            nodes.append(replace(node, used=sums))
        return replace(self, nodes=tuple(nodes))


def snapshot_of(
    nodes: Iterable[Mapping[str, Any]],
    available: Mapping[str, Mapping[str, float]] | None = None,
    draining: Iterable[str] = (),
) -> ClusterSnapshot:
    """A snapshot from what Ray tells.

    Args:
        nodes: ``ray.nodes()``.
        available: ``ray._private.state.available_resources_per_node()``; without it nothing counts as reserved.
        draining: ids of nodes that are about to leave.
    """
    leaving, found = set(draining), []
    for node in nodes:
        if not node.get("Alive", False):
            continue
        node_id = str(node["NodeID"])
        resources = {str(name): float(amount) for name, amount in node.get("Resources", {}).items()}
        free = None if available is None else available.get(node_id)
        # a node that Ray has just lost or gained is missing there, and so is a resource of which nothing is left
        used = {} if free is None else {name: amount - free.get(name, 0.0) for name, amount in resources.items()}
        found.append(
            NodeSnapshot(
                node_id=node_id,
                resources=resources,
                used=used,
                labels=dict(node.get("Labels") or {}),
                host=str(node.get("NodeManagerHostname") or node.get("NodeManagerAddress") or ""),
                draining=node_id in leaving,
            )
        )
    found.sort(key=lambda node: node.node_id)
    return ClusterSnapshot(
        cpus=sum(node.total("CPU") for node in found),
        gpus=sum(node.total("GPU") for node in found),
        nodes=tuple(found),
    )
