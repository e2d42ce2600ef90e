"""Placement on a real Ray of several nodes with pretend resources: groups land where the plan says, caps hold."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from actors.cluster.changes import changes
from actors.placement import ClusterSnapshot, LanePlan, plan_lanes, snapshot_of
from dualface_ray.errors import PlacementError
from dualface_ray.settings import resolve

pytestmark = [pytest.mark.ray, pytest.mark.long]
SETTINGS = resolve(allow_unverified_profile=True, join_cpu="nodes")
VIDEOS = [1000] * 40


@pytest.fixture(scope="module")
def cluster() -> Iterator[object]:
    """A head without cores and two nodes: four GeForce cards that share three sessions, and a node of plain cores."""
    import ray
    from ray.cluster_utils import Cluster

    made = Cluster(
        initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False}, shutdown_at_exit=False
    )
    geforce = {"dualface-profile": "rtx4090", "dualface-driver": "595.10", "dualface-machine": "rack1"}
    resources = {"nvdec_session": 24, "nvenc_session": 3}
    made.add_node(num_cpus=8, num_gpus=4, resources=resources, labels=geforce)
    made.add_node(num_cpus=4, labels={"dualface-machine": "rack2"})
    made.wait_for_nodes()
    ray.init(address=made.address, logging_level="ERROR", log_to_driver=False)
    yield made
    ray.shutdown()
    made.shutdown()


def look() -> ClusterSnapshot:
    import ray
    from ray._private.state import available_resources_per_node

    return snapshot_of(ray.nodes(), available_resources_per_node())


def wait_until(condition, seconds: float = 30.0) -> None:
    deadline_s = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline_s, "did not come about in time"
        time.sleep(0.1)


def start(plans: list[LanePlan]) -> dict[str, object]:
    from ray.util.placement_group import placement_group

    return {
        plan.lane_id: placement_group(
            [plan.bundle], strategy="STRICT_PACK", bundle_label_selector=plan.label_selector or []
        )
        for plan in plans
    }


def node_of(group: object) -> str:
    from ray.util.placement_group import placement_group_table

    return str(placement_group_table(group)["bundles_to_node_id"][0])


def test_groups_come_up_where_the_plan_says_and_follow_the_nodes(cluster):
    import ray
    from ray.util.placement_group import remove_placement_group

    plans = plan_lanes(SETTINGS, look(), VIDEOS)
    assert [plan.backend for plan in plans] == ["cuda", "cuda", "cuda", "cpu"], "three sessions: one card stays out"
    groups = start(plans)
    ray.get([group.ready() for group in groups.values()], timeout=60)
    assert {plan.lane_id: plan.node_id for plan in plans} == {name: node_of(group) for name, group in groups.items()}

    wait_until(lambda: sum(node.free("nvenc_session") for node in look().nodes) == 0)
    busy = {node.machine: node for node in look().nodes}
    assert busy["rack1"].free("GPU") == 1
    assert busy["rack2"].free("CPU") == 0
    placed = set(groups)
    assert changes(SETTINGS, look(), plans, placed, VIDEOS, next_number=4).start == ()

    # a node joins: its lanes, and only they, are started
    labels = {"dualface-profile": "h200", "dualface-machine": "rack3"}
    joined = cluster.add_node(num_cpus=6, num_gpus=1, resources={"nvdec_session": 16}, labels=labels)
    cluster.wait_for_nodes()
    wait_until(lambda: any(node.machine == "rack3" for node in look().nodes))
    found = changes(SETTINGS, look(), plans, placed, VIDEOS, next_number=4)
    assert [(plan.lane_id, plan.profile, plan.encoder) for plan in found.start] == [("lane-4", "h200", "cpu")]
    more = start(list(found.start))
    ray.get([group.ready() for group in more.values()], timeout=60)
    assert node_of(more["lane-4"]) == found.start[0].node_id
    plans, groups = [*plans, *found.start], {**groups, **more}

    # it leaves: its lane is lost, the others are not
    cluster.remove_node(joined)
    wait_until(lambda: all(node.machine != "rack3" for node in look().nodes))
    found = changes(SETTINGS, look(), plans, set(groups), VIDEOS, next_number=5)
    assert found.lost == ("lane-4",)
    assert found.start == found.drain == ()

    # a lane ends: its sessions are free for a new one
    remove_placement_group(groups.pop("lane-1"))
    kept = [plan for plan in plans if plan.lane_id in groups and plan.lane_id != "lane-4"]
    wait_until(lambda: sum(node.free("nvenc_session") for node in look().nodes) == 1)
    (again,) = changes(SETTINGS, look(), kept, {p.lane_id for p in kept}, VIDEOS, next_number=5).start
    assert again.nvenc_sessions == 1
    for group in groups.values():
        remove_placement_group(group)
    wait_until(lambda: sum(node.free("nvenc_session") for node in look().nodes) == 3)


def test_a_resource_nobody_declares_is_named_within_seconds(cluster):
    labels = {"dualface-profile": "l4", "dualface-machine": "rack4"}
    joined = cluster.add_node(num_cpus=2, num_gpus=1, resources={"nvdec_session": 8}, labels=labels)
    cluster.wait_for_nodes()
    wait_until(lambda: any(node.machine == "rack4" for node in look().nodes))
    began = time.monotonic()
    only = ClusterSnapshot(nodes=tuple(node for node in look().nodes if node.machine == "rack4"))
    with pytest.raises(PlacementError, match="nvenc_session is declared by nobody"):
        plan_lanes(resolve(allow_unverified_profile=True), only, VIDEOS)
    assert time.monotonic() - began < 5
    cluster.remove_node(joined)
