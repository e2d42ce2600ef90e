"""Placement decided on paper: every rule of where lanes may run and what they may take."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st

from actors.cluster.changes import changes
from actors.placement import ClusterSnapshot, LanePlan, NodeSnapshot, decide, plan_lanes, snapshot_of
from dualface_ray.errors import PlacementError, ProfileError
from dualface_ray.hardware import load_profile
from dualface_ray.settings import resolve

RING = [1000] * 100


def node(name: str, cpu: float, gpu: int = 0, profile: str = "", machine: str = "", driver: str = "", **rest: float):
    labels = {"dualface-profile": profile, "dualface-machine": machine, "dualface-driver": driver}
    resources = {"CPU": float(cpu), **rest, **({"GPU": float(gpu)} if gpu else {})}
    return NodeSnapshot(name, resources, labels={k: v for k, v in labels.items() if v}, host=name)


def geforce(name: str, cards: int, nvenc: float = 12, **more):
    return node(name, 8 * cards, cards, "rtx4090", nvdec_session=64, nvenc_session=nvenc, **more)


def cluster(*nodes: NodeSnapshot) -> ClusterSnapshot:
    return ClusterSnapshot(nodes=nodes)


def settings(**keys):
    return resolve(allow_unverified_profile=True, **keys)


def by_node(lanes, what) -> dict[str, int]:
    sums: dict[str, int] = {}
    for lane in lanes:
        sums[lane.node_id] = sums.get(lane.node_id, 0) + what(lane)
    return sums


# --- without profiles: one machine, as on a laptop ----------------------------------------------------------------
def test_a_cpu_is_one_lane_with_all_its_cores():
    (lane,) = plan_lanes(settings(), ClusterSnapshot(cpus=8.0), [10, 30, 20])
    assert (lane.backend, lane.cores, lane.gpus, lane.streams) == ("cpu", 8, 0, 3)
    assert lane.bundle == {"CPU": 8.0}
    assert lane.label_selector is None
    assert lane.pool_bytes == 60


def test_count_divides_the_cores_and_the_videos():
    lanes = plan_lanes(settings(count=2), ClusterSnapshot(cpus=9.0), [10, 30, 20])
    assert [lane.cores for lane in lanes] == [4, 5]
    assert [lane.streams for lane in lanes] == [2, 2], "a lane alone may have to take what is left"
    assert [lane.lane_id for lane in lanes] == ["lane-0", "lane-1"]


def test_never_more_lanes_than_videos():
    assert len(plan_lanes(settings(count=4), ClusterSnapshot(cpus=8.0), [1, 1])) == 2
    assert plan_lanes(settings(), ClusterSnapshot(cpus=8.0), []) == []


def test_a_card_without_a_profile_needs_no_sessions():
    (lane,) = plan_lanes(settings(), ClusterSnapshot(cpus=16.0, gpus=1.0), RING)
    assert lane.bundle == {"CPU": 16.0, "GPU": 1.0}
    assert (lane.backend, lane.streams, lane.encoder) == ("cuda", 16, "")


def test_a_pool_budget_is_kept():
    (lane,) = plan_lanes(settings(pool_budget_bytes=1500), ClusterSnapshot(cpus=8.0), RING)
    assert lane.pool_bytes == 1500
    (lane,) = plan_lanes(settings(pool_budget_bytes=1500), cluster(geforce("a", 1)), RING)
    assert lane.pool_bytes == 1500


def test_each_decoder_has_its_share_of_the_streams_in_its_pool():
    h200 = node("a", 32, 1, "h200", nvdec_session=16)
    (lane,) = plan_lanes(settings(), cluster(h200), RING)
    assert (lane.streams, lane.decoders, lane.encoders) == (16, 4, 4)
    assert lane.pool_bytes == 4 * RING[0]
    assert lane.pool_slots == 4 * settings().quota_frames(120)
    (lane,) = plan_lanes(settings(), cluster(h200), [10])
    assert (lane.streams, lane.decoders, lane.pool_bytes) == (1, 1, 10)


@pytest.mark.parametrize(
    ("keys", "snapshot", "says"),
    [
        ({"backend": "cuda"}, ClusterSnapshot(cpus=4.0), "no GPU is declared"),
        ({"count": 3}, ClusterSnapshot(cpus=8.0, gpus=2.0), "3 lanes but 2 GPUs"),
        ({"count": 3}, ClusterSnapshot(cpus=2.0), "3 lanes of 1 core cannot be placed on the 2"),
        ({"cores": 8}, ClusterSnapshot(cpus=4.0), "1 lane of 8 cores cannot be placed on the 4"),
        ({"cores": 8}, ClusterSnapshot(nodes=(node("a", 6), node("b", 6))), "cannot be placed on the 12"),
        ({}, ClusterSnapshot(cpus=0.0), "cannot be placed"),
    ],
)
def test_what_cannot_be_met_is_an_error_at_once(keys, snapshot, says):
    with pytest.raises(PlacementError, match=says) as caught:
        plan_lanes(settings(**keys), snapshot, RING)
    assert caught.value.remedy


# --- sessions -----------------------------------------------------------------------------------------------------
def test_three_run_and_one_waits_when_encoders_are_scarce():
    (lane,) = plan_lanes(settings(), cluster(geforce("a", 1, nvenc=3)), [1] * 4)
    assert (lane.streams, lane.nvenc_sessions, lane.nvdec_sessions) == (3, 3, 3)
    assert lane.bundle == {"CPU": 8.0, "GPU": 1.0, "nvdec_session": 3.0, "nvenc_session": 3.0}


def test_the_cards_of_a_geforce_machine_share_its_sessions():
    lanes = plan_lanes(settings(), cluster(geforce("a", 4)), RING)
    assert [lane.nvenc_sessions for lane in lanes] == [3, 3, 3, 3]
    lanes = plan_lanes(settings(), cluster(geforce("a", 4, driver="535.183")), RING)
    assert [lane.nvenc_sessions for lane in lanes] == [2, 1, 1, 1], "five sessions with that driver, twelve declared"
    assert [lane.streams for lane in lanes] == [2, 1, 1, 1]


def test_a_card_that_no_session_is_left_for_stays_out_and_says_so():
    decision = decide(settings(), cluster(geforce("a", 4, nvenc=3)), RING)
    assert len(decision.lanes) == 3
    assert decision.idle == ("a: one RTX 4090 waits for nvenc_session",)


def test_pods_on_one_machine_share_its_cap():
    pods = [geforce(name, 1, machine="big") for name in "abc"]
    lanes = plan_lanes(settings(), cluster(*pods), RING)
    assert sorted(lane.nvenc_sessions for lane in lanes) == [4, 4, 4]
    apart = [geforce(name, 1) for name in "abc"]
    assert [lane.nvenc_sessions for lane in plan_lanes(settings(), cluster(*apart), RING)] == [6, 6, 6]


def test_sessions_that_others_use_are_theirs():
    busy = replace(geforce("a", 2), used={"nvenc_session": 10.0, "GPU": 1.0, "CPU": 4.0})
    (lane,) = plan_lanes(settings(), cluster(busy), RING)
    assert (lane.nvenc_sessions, lane.cores) == (2, 12)


def test_data_centre_cards_have_no_common_cap():
    lanes = plan_lanes(settings(), cluster(node("a", 32, 4, "l4", nvdec_session=32, nvenc_session=32)), RING)
    assert [lane.nvenc_sessions for lane in lanes] == [8, 8, 8, 8]


def test_two_files_a_video_take_two_sessions():
    lanes = plan_lanes(settings(layout="separate"), cluster(geforce("a", 2, nvenc=7)), RING)
    assert [(lane.streams, lane.nvenc_sessions) for lane in lanes] == [(2, 4), (1, 2)]


def test_cards_without_nvenc_encode_on_the_cpu():
    (lane,) = plan_lanes(settings(), cluster(node("a", 8, 1, "h200", nvdec_session=16)), RING)
    assert (lane.encoder, lane.nvenc_sessions) == ("cpu", 0)
    assert lane.streams == 8, "no more streams than cores to encode them"
    assert "nvenc_session" not in lane.bundle


def test_a_codec_the_card_cannot_encode_is_encoded_on_the_cpu():
    t4 = node("a", 8, 1, "t4", nvdec_session=8, nvenc_session=8)
    assert plan_lanes(settings(), cluster(t4), RING)[0].encoder == "nvenc"
    assert plan_lanes(settings(codec="av1", preset="8"), cluster(t4), RING)[0].encoder == "cpu"
    with pytest.raises(PlacementError, match="T4 has no NVENC for av1"):
        plan_lanes(settings(codec="av1", preset="8", encoder="nvenc"), cluster(t4), RING)


def test_cpu_encoders_can_be_asked_for():
    (lane,) = plan_lanes(settings(encoder="cpu"), cluster(node("a", 8, 1, "rtx4090", nvdec_session=8)), RING)
    assert (lane.encoder, lane.nvenc_sessions, lane.streams) == ("cpu", 0, 6)


# --- resources nobody declares ------------------------------------------------------------------------------------
def test_a_resource_that_nobody_declares_is_named_with_its_remedy():
    with pytest.raises(PlacementError) as caught:
        plan_lanes(settings(), cluster(node("rack1", 16, 2, "rtx4090", nvdec_session=12)), RING)
    text = str(caught.value)
    assert "nvenc_session is declared by nobody" in text
    assert text.startswith("rack1: ")
    assert """ray start --resources='{"nvdec_session": 12, "nvenc_session": 12}'""" in text


def test_a_node_that_declares_nothing_does_not_stop_the_others():
    plain, good = node("rack1", 16, 2, "rtx4090"), geforce("rack2", 1)
    decision = decide(settings(), cluster(plain, good), RING)
    assert [lane.node_id for lane in decision.lanes] == ["rack2"]
    assert "rack1" in decision.idle[0]
    assert "declared by other nodes only: rack2" in decision.idle[0]


def test_an_unverified_profile_is_refused_unless_allowed():
    with pytest.raises(ProfileError, match="nobody has verified"):
        plan_lanes(resolve(), cluster(geforce("a", 1)), RING)
    with pytest.raises(ProfileError, match="is no profile"):
        plan_lanes(settings(), cluster(node("a", 8, 1, "rtx9999")), RING)


def test_the_setting_names_the_profile_of_nodes_without_a_label():
    plain = node("a", 8, 1, nvdec_session=8, nvenc_session=8)
    assert plan_lanes(settings(profile="l4"), cluster(plain), RING)[0].profile == "l4"
    assert plan_lanes(settings(profile="l4"), cluster(geforce("a", 1)), RING)[0].profile == "rtx4090"


# --- mixed clusters -----------------------------------------------------------------------------------------------
def test_two_gpus_and_one_cpu():
    nodes = cluster(geforce("a", 2), node("b", 6))
    assert len(plan_lanes(settings(), nodes, RING)) == 2, "lanes on the CPU only where they are asked for"
    lanes = plan_lanes(settings(join_cpu="nodes"), nodes, RING)
    assert [(lane.backend, lane.node_id) for lane in lanes] == [("cuda", "a"), ("cuda", "a"), ("cpu", "b")]
    assert lanes[2].bundle == {"CPU": 6.0}


def test_cores_that_gpu_lanes_leave_become_a_lane():
    (gpu, cpu) = plan_lanes(settings(join_cpu="cores"), cluster(node("a", 32, 1, "h200", nvdec_session=16)), RING)
    assert (gpu.cores, cpu.cores, cpu.backend) == (16, 16, "cpu")


def test_different_cards_get_what_suits_them():
    lanes = plan_lanes(
        settings(), cluster(geforce("a", 1), node("b", 32, 1, "h200", nvdec_session=16), node("c", 4, 1)), RING
    )
    assert {lane.node_id: (lane.profile, lane.encoder) for lane in lanes} == {
        "a": ("rtx4090", "nvenc"),
        "b": ("h200", "cpu"),
        "c": ("", ""),
    }
    assert len({lane.kind for lane in lanes}) == 3


def test_few_videos_spread_over_machines():
    lanes = plan_lanes(settings(), cluster(geforce("a", 4), geforce("b", 4)), [1, 1])
    assert sorted(lane.node_id for lane in lanes) == ["a", "b"]


def test_cpu_lanes_spread_over_nodes_and_stay_inside_them():
    lanes = plan_lanes(settings(count=3), cluster(node("a", 4), node("b", 2)), RING)
    assert by_node(lanes, lambda lane: lane.cores) == {"a": 4, "b": 2}
    assert len(lanes) == 3


def test_a_busy_cluster_is_waited_for():
    busy = replace(node("a", 4), used={"CPU": 4.0})
    (lane,) = plan_lanes(settings(), cluster(busy), RING)
    assert lane.cores == 4


def test_nothing_starts_on_a_draining_node():
    leaving = replace(geforce("a", 2), draining=True)
    assert [lane.node_id for lane in plan_lanes(settings(), cluster(leaving, geforce("b", 1)), RING)] == ["b"]


# --- joins and leaves ---------------------------------------------------------------------------------------------
def held(lanes) -> dict[str, dict[str, float]]:
    used: dict[str, dict[str, float]] = {}
    for lane in lanes:
        for name, amount in lane.bundle.items():
            used.setdefault(lane.node_id, {})[name] = used.get(lane.node_id, {}).get(name, 0.0) + amount
    return used


def test_lanes_appear_drain_and_are_lost_with_their_nodes():
    a, b, c = geforce("a", 1), geforce("b", 1), geforce("c", 2)
    lanes = plan_lanes(settings(), cluster(a, b), RING)
    used, placed = held(lanes), {lane.lane_id for lane in lanes}
    a = replace(a, used=used["a"])
    quiet = changes(settings(), cluster(a, replace(b, used=used["b"])), lanes, placed, RING, next_number=2)
    assert quiet == type(quiet)()
    found = changes(settings(), cluster(replace(a, draining=True), c), lanes, placed, RING, next_number=2)
    assert found.drain == ("lane-0",)
    assert found.lost == ("lane-1",)
    assert [(lane.lane_id, lane.node_id) for lane in found.start] == [("lane-2", "c"), ("lane-3", "c")]


def test_a_lane_that_ray_has_not_placed_yet_counts_as_taken():
    a = geforce("a", 1)
    lanes = plan_lanes(settings(), cluster(a), RING)
    assert changes(settings(), cluster(a), lanes, set(), RING, next_number=1).start == ()


def test_the_count_and_the_end_of_the_queue_bound_what_joins():
    lanes = plan_lanes(settings(count=2), cluster(geforce("a", 1), geforce("b", 1)), RING)
    more = cluster(*[replace(geforce(n, 1), used=held(lanes)[n]) for n in "ab"], geforce("c", 1))
    placed = {lane.lane_id for lane in lanes}
    assert changes(settings(count=2), more, lanes, placed, RING, next_number=2).start == ()
    assert changes(settings(), more, lanes, placed, [], next_number=2).start == ()
    assert [x.node_id for x in changes(settings(), more, lanes, placed, [1], next_number=2).start] == ["c"]


def test_rays_own_words_become_a_snapshot():
    nodes = [
        {
            "NodeID": "ff",
            "Alive": True,
            "NodeManagerHostname": "rack",
            "Resources": {"CPU": 8.0, "GPU": 1.0, "nvdec_session": 6.0, "node:10.0.0.1": 1.0},
            "Labels": {"ray.io/node-id": "ff", "dualface-profile": "l4"},
        },
        {"NodeID": "00", "Alive": False, "Resources": {}},
        {"NodeID": "aa", "Alive": True, "Resources": {"CPU": 2.0}},
    ]
    snapshot = snapshot_of(nodes, {"ff": {"CPU": 5.0, "nvdec_session": 6.0}}, draining=["aa"])
    assert [n.node_id for n in snapshot.nodes] == ["aa", "ff"]
    aa, ff = snapshot.nodes
    assert (ff.free("CPU"), ff.free("GPU"), ff.free("nvdec_session"), ff.machine) == (5.0, 0.0, 6.0, "rack")
    assert aa.draining
    assert aa.free("CPU") == 2.0, "Ray does not know this node's use yet"
    assert snapshot.total("CPU") == 8.0, "nodes that leave do not count"


# --- whatever the cluster -----------------------------------------------------------------------------------------
CARDS = ["rtx4090", "rtx5090", "l4", "t4", "h200", ""]


@st.composite
def nodes(draw):
    found = []
    for number in range(draw(st.integers(1, 5))):
        cards = draw(st.integers(0, 4))
        declared = {}
        if draw(st.booleans()):
            declared["nvdec_session"] = float(draw(st.integers(0, 40)))
        if draw(st.booleans()):
            declared["nvenc_session"] = float(draw(st.integers(0, 40)))
        made = node(
            f"n{number}",
            draw(st.integers(0, 24)),
            cards,
            draw(st.sampled_from(CARDS)) if cards else "",
            machine=draw(st.sampled_from(["", "", "m1"])),
            driver=draw(st.sampled_from(["", "535.1", "550.2", "595.0", "what"])),
            **declared,
        )
        used = {name: draw(st.integers(0, int(amount))) for name, amount in made.resources.items()}
        found.append(replace(made, used=used, draining=draw(st.integers(0, 5)) == 0))
    return ClusterSnapshot(nodes=tuple(found))


@examples(deadline=None)  # how long an example takes is the machine's affair
@given(
    nodes(),
    st.integers(0, 40),
    st.fixed_dictionaries(
        {
            "count": st.integers(0, 6),
            "cores": st.integers(0, 5),
            "streams": st.integers(0, 20),
            "join_cpu": st.sampled_from(["none", "nodes", "cores"]),
            "encoder": st.sampled_from(["auto", "nvenc", "cpu"]),
            "layout": st.sampled_from(["side_by_side", "separate"]),
        }
    ),
)
def test_no_plan_ever_exceeds_what_there_is(snapshot, videos, keys):
    """No more of a node than it declares and others leave; no more sessions of a machine than its driver allows."""
    chosen = settings(**keys)
    try:
        lanes = decide(chosen, snapshot, [1] * videos).lanes
    except PlacementError:
        return
    _check(snapshot, lanes, files=2 if keys["layout"] == "separate" else 1)
    assert len(lanes) <= videos
    if keys["count"]:
        assert len(lanes) <= keys["count"]
    # and again with those lanes running: nothing is given away twice
    running = snapshot.with_bundles((lane.node_id, lane.bundle) for lane in lanes)
    _check(running, decide(chosen, running, [1] * videos).lanes, files=2 if keys["layout"] == "separate" else 1)


def _check(snapshot: ClusterSnapshot, lanes: tuple[LanePlan, ...], files: int) -> None:
    known = {n.node_id: n for n in snapshot.nodes}
    for name in ("CPU", "GPU", "nvdec_session", "nvenc_session"):
        for node_id, amount in by_node(lanes, lambda lane, name=name: lane.bundle.get(name, 0)).items():
            assert amount <= known[node_id].free(name) + 1e-9, (node_id, name)
    machines: dict[str, list[LanePlan]] = {}
    for lane in lanes:
        here = known[lane.node_id]
        assert not here.draining
        assert lane.streams >= 1
        assert lane.cores >= 1
        if lane.encoder == "nvenc":
            assert lane.nvenc_sessions == lane.streams * files
        if lane.profile:
            profile = load_profile(lane.profile)
            assert lane.nvdec_sessions == lane.streams
            if lane.encoder == "nvenc":
                assert profile.has_nvenc
                assert lane.nvenc_sessions <= max(files, profile.lane.encoders.value)
            if profile.encode.cap_scope == "machine":
                machines.setdefault(here.machine, []).append(lane)
    for machine, members in machines.items():
        there = [n for n in snapshot.nodes if n.machine == machine]
        taken = sum(n.total("nvenc_session") - n.free("nvenc_session") for n in there)
        caps = [
            load_profile(m.profile).session_cap(known[m.node_id].labels.get("dualface-driver", "")) for m in members
        ]
        planned = sum(lane.nvenc_sessions for lane in members)
        assert planned == 0 or planned + taken <= min(cap for cap in caps if cap is not None)
