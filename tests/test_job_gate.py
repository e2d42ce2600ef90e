"""The gate: a lane gets work when its node sees the folders; one that does not is banned, or ends a job that starts."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import pytest

from actors.gate import Gate
from actors.placement import LanePlan
from dualface_ray.errors import RequestError
from dualface_ray.hardware import thread_budget


@dataclass
class Placed:
    plan: LanePlan


@dataclass
class Nodes:
    """Fleet and witness in one: a lane on each node, what the node has said, and who is banned."""

    said: dict[str, str | None]
    mute: set[str] = field(default_factory=set)
    banned: dict[str, str] = field(default_factory=dict)

    @property
    def lanes(self) -> dict[str, Placed]:
        return {name: Placed(plan(name)) for name in self.said}

    def verdict(self, node_id: str) -> str | None:
        return self.said[node_id]

    def ban(self, node_id: str, why: str) -> None:
        self.banned[node_id] = why


def plan(node_id: str) -> LanePlan:
    return replace(LanePlan("lane-0", "cpu", 1, 0, 1, thread_budget(1, 1), 1, 1), node_id=node_id)


def gate(nodes: Nodes) -> Gate:
    return Gate(nodes, nodes)  # type: ignore[arg-type]


def test_nothing_begins_before_every_node_of_the_start_has_answered():
    nodes = Nodes({"a": "", "b": None})
    door = gate(nodes)
    assert not door.is_open()
    nodes.said["b"] = ""
    assert door.is_open()
    nodes.said["c"] = None  # one that joins later keeps nobody waiting, and gets nothing yet
    assert door.is_open()
    assert [door.admits(plan(name)) for name in "abc"] == [True, True, False]


def test_a_folder_that_is_not_shared_ends_a_job_that_has_not_begun():
    nodes = Nodes({"a": "", "b": "does not see /results"})
    with pytest.raises(RequestError, match="node b does not see /results"):
        gate(nodes).is_open()
    assert nodes.banned == {}


def test_later_it_costs_only_the_node():
    nodes = Nodes({"a": ""})
    door = gate(nodes)
    assert door.is_open()
    nodes.said["b"] = "does not see /results"
    assert door.is_open()
    assert "does not see /results" in nodes.banned["b"]
    assert not door.admits(plan("b"))


def test_a_node_that_cannot_be_asked_is_left_out_and_the_job_goes_on():
    nodes = Nodes({"a": "", "b": "has not said within 120 s what it sees"}, mute={"b"})
    assert gate(nodes).is_open()
    assert nodes.banned == {"b": "node b has not said within 120 s what it sees: it gets no work"}
