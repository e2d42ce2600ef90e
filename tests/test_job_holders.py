"""Who has taken what a lane waits for in vain, and what its user can do."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping

import pytest

from actors.cluster.holders import Group, groups, no_room
from actors.cluster.snapshot import ClusterSnapshot, NodeSnapshot
from actors.placement import LanePlan
from dualface_ray.hardware import thread_budget

OURS = "0a1b2c3d"


def plan(node_id: str = "n1", **more: object) -> LanePlan:
    fixed = {"streams": 1, "threads": thread_budget(2, 1), "pool_bytes": 1, "pool_slots": 1}
    return LanePlan("lane-0", "cpu", cores=2, gpus=0, node_id=node_id, **fixed, **more)


def lane_of(job: str, node: str, bundle: Mapping[str, float]) -> Group:
    return Group(f"dualface-{job}-lane-0-12345678", ((node, bundle),))


def said(used: Mapping[str, float], *granted: Group, **more: object) -> str:
    declared = {"CPU": 4.0, "nvdec_session": 8.0}
    busy, idle = NodeSnapshot("n1", declared, used, host="box"), NodeSnapshot("n2", declared, {}, host="other")
    return str(no_room(plan(**more), 60.0, ClusterSnapshot(nodes=(busy, idle)), granted, OURS))


@pytest.mark.parametrize(
    ("used", "granted", "says"),
    [
        (4, [lane_of("ffff", "n1", {"CPU": 4})], "CPU: another dualface job holds 4 of 4"),
        (
            4,
            [lane_of("ffff", "n1", {"CPU": 2}), lane_of("eeee", "n1", {"CPU": 2})],
            "CPU: 2 other dualface jobs hold 4 of 4",
        ),
        (3, [lane_of("ffff", "n2", {"CPU": 3})], "CPU: other programs hold 3 of 4"),
        (
            4,
            [lane_of(OURS, "n1", {"CPU": 1}), lane_of("ffff", "n1", {"CPU": 2}), Group("", (("n1", {"CPU": 1}),))],
            "CPU: another dualface job holds 2, other lanes of this job hold 1, other programs hold 1 of 4",
        ),
        (0, [], "there is some now"),
    ],
)
def test_the_holders_are_named(used, granted, says):
    line = said({"CPU": used}, *granted)
    assert line.startswith("lane-0: no room for CPU 2 on box within 60 s; ")
    assert f"; {says}. Run it again when" in line
    for key in ("lane.cores", "job.placement_timeout_s", "ray status"):
        assert key in line


def test_only_what_is_short_is_spoken_of():
    line = said({"CPU": 1, "nvdec_session": 7}, lane_of("ffff", "n1", {"nvdec_session": 7}), nvdec_sessions=2)
    assert "; nvdec_session: another dualface job holds 7 of 8. " in line


def test_a_lane_without_a_node_looks_at_all_of_them():
    line = said({"CPU": 4}, lane_of("ffff", "n1", {"CPU": 4}), node_id="")
    assert "no room for CPU 2 within 60 s; there is some now" in line


@pytest.fixture
def private_ray() -> Iterator[None]:
    import ray

    ray.shutdown()
    ray.init(address="local", num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    yield
    ray.shutdown()


@pytest.mark.ray
def test_rays_own_words_are_understood(private_ray):
    import ray
    from ray.util.placement_group import placement_group

    from actors.cluster.nodes import look

    name = "dualface-ffff-lane-0-12345678"
    held = placement_group([{"CPU": 2}], strategy="STRICT_PACK", name=name)
    waits = placement_group([{"CPU": 2}], strategy="STRICT_PACK", name=f"dualface-{OURS}-lane-0-12345678")
    assert held.wait(30)
    assert not waits.wait(0)
    (granted,) = groups()
    node_id = ray.get_runtime_context().get_node_id()
    assert (granted.name, granted.bundles) == (name, ((node_id, {"CPU": 2.0}),))
    deadline_s = time.monotonic() + 30
    while (snapshot := look()).nodes[0].free("CPU"):  # its nodes report a moment later
        assert time.monotonic() < deadline_s
        time.sleep(0.1)
    error = no_room(plan(node_id), 3.0, snapshot, groups(), OURS)
    assert "CPU: another dualface job holds 2 of 2" in str(error)
