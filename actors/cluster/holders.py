"""Holders: who has reserved what a lane waited for in vain. Pure, but for ``groups``, which asks Ray."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ray.util.placement_group import placement_group_table

from actors.cluster.snapshot import ClusterSnapshot
from actors.placement import LanePlan
from dualface_ray.errors import PlacementError

_OF_A_JOB = re.compile(r"dualface-([0-9a-f]+)-")
"""How the placement group of a lane begins, with the id of its job (see ``Lane``)."""


@dataclass(frozen=True, slots=True)
class Group:
    """A placement group that Ray has granted."""

    name: str
    bundles: tuple[tuple[str, Mapping[str, float]], ...]
    """Node id and resources of each."""

    def amount(self, resource: str, node_id: str) -> float:
        """What it holds of a resource on a node; on all of them where none is named."""
        return sum(bundle.get(resource, 0.0) for node, bundle in self.bundles if node_id in ("", node))


def groups() -> list[Group]:
    """All that this cluster has granted."""
    table: Iterable[Mapping[str, Any]] = placement_group_table().values()
    return [
        Group(str(row["name"]), tuple((row["bundles_to_node_id"][n], bundle) for n, bundle in row["bundles"].items()))
        for row in table
        if row["state"] == "CREATED"
    ]


def no_room(
    plan: LanePlan, waited_s: float, snapshot: ClusterSnapshot, granted: Sequence[Group], job_id: str
) -> PlacementError:
    """The error of a lane to which others have left no room, with who they are.

    Args:
        plan: of the lane.
        waited_s: how long it has waited.
        snapshot: the cluster now.
        granted: placement groups of everybody.
        job_id: of the lane's job.
    """
    nodes = [node for node in snapshot.hosts if plan.node_id in ("", node.node_id)]
    short = []
    for name, wanted in plan.bundle.items():
        total, free = sum(node.total(name) for node in nodes), sum(node.free(name) for node in nodes)
        if free < wanted:
            holders = _holders(name, total - free, plan.node_id, granted, job_id)
            short.append(f"{name}: {', '.join(f'{who} {n:g}' for who, n in holders.items())} of {total:g}")
    wish = ", ".join(f"{name} {amount:g}" for name, amount in plan.bundle.items())
    where = f" on {nodes[0].name}" if plan.node_id and nodes else ""
    return PlacementError(
        f"no room for {wish}{where} within {waited_s:g} s; {'; '.join(short) or 'there is some now'}",
        where=plan.lane_id,
        remedy="Run it again when that has ended (`ray status` shows what is taken), ask for less (lane.cores, "
        "lane.count), or let the job wait longer (job.placement_timeout_s).",
    )


def _holders(resource: str, used: float, node_id: str, granted: Sequence[Group], job_id: str) -> dict[str, float]:
    """``another dualface job holds``: how much, and so on; together what is used."""
    jobs: dict[str, float] = {}
    ours = others = 0.0
    for group in granted:
        amount, job = group.amount(resource, node_id), _OF_A_JOB.match(group.name)
        if job is None:
            others += amount
        elif job[1] == job_id:
            ours += amount
        elif amount:
            jobs[job[1]] = jobs.get(job[1], 0.0) + amount
    others = max(others, used - ours - sum(jobs.values()))
    what = "another dualface job holds" if len(jobs) == 1 else f"{len(jobs)} other dualface jobs hold"
    found = {what: sum(jobs.values()), "other lanes of this job hold": ours, "other programs hold": others}
    return {who: amount for who, amount in found.items() if amount > 0}
