"""Gate: a node's lanes get work once the node has said that it sees the job's folders.

Fleet: lanes ─► Witness: what their nodes see ─► everything: its lanes get work
                                             ├─ too little: the job ends, or the node is banned once work has begun
                                             └─ it does not say: banned
"""

from __future__ import annotations

from actors.cluster.witness import Witness, not_shared
from actors.fleet import Fleet
from actors.placement import LanePlan


class Gate:
    """Stands between the queue and the lanes.

    Args:
        witness: asks the nodes.
        fleet: whose lanes want work; nodes that see too little are banned from it.
    """

    def __init__(self, witness: Witness, fleet: Fleet) -> None:
        self._witness = witness
        self._fleet = fleet
        self._begun = False
        """The lanes of the start have been found to see all folders."""

    def is_open(self) -> bool:
        """Whether every node that has a lane has said that it sees the folders; none gets anything before.

        Raises:
            RequestError: a node says that it does not, and nothing has begun yet. One that says nothing is left out.
        """
        verdicts = [(lane.plan, self._witness.verdict(lane.plan.node_id)) for lane in self._fleet.lanes.values()]
        for plan, verdict in verdicts:
            if not verdict:
                continue
            node = plan.machine or plan.node_id[:12]
            if plan.node_id in self._witness.mute:
                self._fleet.ban(plan.node_id, f"node {node} {verdict}: it gets no work")
                continue
            error = not_shared(node, verdict)
            if not self._begun:
                raise error
            self._fleet.ban(plan.node_id, str(error))
        if all(verdict is not None for _, verdict in verdicts):
            self._begun = True
        return self._begun

    def admits(self, plan: LanePlan) -> bool:
        """Whether this lane's node sees everything."""
        return self._witness.verdict(plan.node_id) == ""

    def close(self) -> None:
        """Nobody is asked any more."""
        self._witness.close()
