"""What a lane may take of its card: needs of videos, the card's size, limits in every process, smaller plans."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from media_maker import Clip

from actors.cluster import memory as room
from actors.cluster.memory import UNKNOWN_CARD_BYTES, Card, card_of
from actors.placement import ClusterSnapshot, LanePlan, NodeSnapshot, decide, plan_lanes
from actors.plan import encoders_at_once
from dualface_ray.backends import DevicePlan, video_needs
from dualface_ray.backends.pyav import probe
from dualface_ray.errors import VramBudgetError
from dualface_ray.frames import slot_stride_bytes
from dualface_ray.hardware import Gpu, load_profile, thread_budget
from dualface_ray.media import VideoNeeds
from dualface_ray.settings import resolve

GIB = 1 << 30
SETTINGS = resolve()
FRAMES = SETTINGS.quota_frames(Fraction(30))
PICTURE = 1920 * 1080 * 3 // 2
HD = VideoNeeds(FRAMES * PICTURE, FRAMES * PICTURE, FRAMES, SETTINGS.lookahead_frames(Fraction(30)))
CLUSTER = ClusterSnapshot(cpus=16, gpus=1)


def lane(card_bytes: int, videos: list[VideoNeeds | int], **keys: object) -> LanePlan:
    (plan,) = plan_lanes(resolve(**keys), CLUSTER, videos, cards=lambda node, profile: Card(card_bytes))
    return plan


def chain(plan: LanePlan | None) -> list[LanePlan]:
    found = []
    while plan is not None:
        found.append(plan)
        plan = plan.smaller
    return found


# --- what a video takes --------------------------------------------------------------------------------------------
def test_ten_bits_take_twice_the_room_on_a_card(tmp_path: Path) -> None:
    deep = Clip(frames=3, codec="libx265", pixel_format="yuv420p10le").write(tmp_path / "deep.mp4")
    flat = Clip(frames=3).write(tmp_path / "flat.mp4")
    tall = Clip(frames=3, rotation_deg=90).write(tmp_path / "tall.mp4")
    needs = {path.stem: video_needs(probe(path, SETTINGS), SETTINGS) for path in (deep, flat, tall)}
    stride = slot_stride_bytes(probe(flat, SETTINGS).video)
    assert needs["flat"].host_bytes == needs["flat"].device_bytes == needs["flat"].frames * stride
    assert needs["deep"].device_bytes == 2 * needs["deep"].host_bytes
    assert [needs[name].portrait for name in ("deep", "flat", "tall")] == [False, False, True]
    assert needs["flat"].picture_bytes == stride


def test_what_only_the_cpu_decodes_takes_room_on_a_card_only_where_it_may_go_there(tmp_path: Path) -> None:
    path = Clip(frames=3, pixel_format="yuv444p").write(tmp_path / "444.mp4")
    assert video_needs(probe(path, SETTINGS), SETTINGS).device_bytes == 0
    allowed = resolve(allow_cpu_decode=True)
    needs = video_needs(probe(path, allowed), allowed)
    assert needs.device_bytes == needs.host_bytes > 0


# --- what a card has -----------------------------------------------------------------------------------------------
@contextmanager
def on_a_machine(monkeypatch: pytest.MonkeyPatch, *cards: Gpu) -> Iterator[None]:
    """NVML shows these."""
    monkeypatch.setattr(room, "gpus", lambda: cards)
    room._local_cards.cache_clear()
    try:
        yield
    finally:
        room._local_cards.cache_clear()


@pytest.fixture(autouse=True)
def _nothing_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.delenv("CUDA_DEVICE_ORDER", raising=False)


def test_the_cards_size_comes_from_label_profile_or_nvml_else_is_a_careful_guess(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with on_a_machine(monkeypatch, Gpu(0, "X", "u", 80 * GIB, "1"), Gpu(1, "X", "v", 40 * GIB, "1")):
        here, there = NodeSnapshot("", {"GPU": 1.0}), NodeSnapshot("n", {"GPU": 1.0}, host="elsewhere")
        labelled = replace(there, labels={"dualface-card-bytes": str(24 * GIB)})
        profile = load_profile("rtx4090")
        assert card_of(here, None) == Card(40 * GIB), "the smallest of this machine"
        assert card_of(there, None) == Card(UNKNOWN_CARD_BYTES, known=False)
        assert card_of(there, profile) == Card(profile.vram_bytes.value)
        assert card_of(labelled, profile) == Card(24 * GIB)


HERE = NodeSnapshot("", {"GPU": 1.0})


def test_an_instance_is_planned_with_its_own_memory_not_its_cards(monkeypatch: pytest.MonkeyPatch) -> None:
    name, a100 = "NVIDIA A100-SXM4-40GB", load_profile("a100")
    small, large = (Gpu(0, f"{name} MIG {n}g.{5 * n}gb", f"MIG-{n}", 5 * n * GIB, "1") for n in (1, 2))
    with on_a_machine(monkeypatch, small, large):
        assert card_of(HERE, None) == Card(5 * GIB)
        assert card_of(HERE, a100) == Card(5 * GIB), "the profile is about the whole card"
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "MIG-2")
    with on_a_machine(monkeypatch, small, large):
        assert card_of(HERE, None) == card_of(HERE, a100) == Card(10 * GIB)
    with on_a_machine(monkeypatch, Gpu(0, name, "GPU-1", 40 * GIB, "1")):
        assert card_of(HERE, a100) == Card(a100.vram_bytes.value)


@pytest.mark.parametrize(
    ("given", "order", "gib"),
    [(None, "", 2), ("0", "", 2), ("1", "", 2), ("1", "PCI_BUS_ID", 24), ("GPU-b", "", 24), ("", "", 2), ("-1", "", 2)],
)
def test_only_cards_that_may_be_used_count_where_it_is_sure_which_they_are(
    monkeypatch: pytest.MonkeyPatch, given: str | None, order: str, gib: int
) -> None:
    if given is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", given)
    monkeypatch.setenv("CUDA_DEVICE_ORDER", order)
    cards = Gpu(0, "NVIDIA GeForce GT 1030", "GPU-a", 2 * GIB, "1"), Gpu(1, "RTX 4090", "GPU-b", 24 * GIB, "1")
    with on_a_machine(monkeypatch, *cards):
        assert card_of(HERE, None) == Card(gib * GIB)


def test_a_guess_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    (plan,) = plan_lanes(SETTINGS, CLUSTER, [HD] * 20, cards=lambda node, profile: Card(8 * GIB, known=False))
    assert plan.memory is not None
    assert "unknown" in plan.memory.text
    assert "unknown" in plan.text


# --- the plan ------------------------------------------------------------------------------------------------------
def test_a_large_card_holds_the_whole_lane() -> None:
    plan = lane(141 * GIB, [HD] * 40)
    assert (plan.streams, plan.decoders, plan.encoders) == (16, 1, 1)
    assert plan.pool_bytes == 16 * HD.device_bytes
    assert plan.adapted(SETTINGS) is SETTINGS
    assert plan.notes == ()


def test_a_small_card_gets_fewer_streams_and_smaller_batches_never_more_than_its_share() -> None:
    plan = lane(8 * GIB, [HD] * 40)
    assert 1 < plan.streams < 16
    assert plan.memory is not None
    assert plan.memory.plan.total_bytes <= 8 * GIB * 0.65
    assert plan.adapted(SETTINGS).detect.batch_max == 16
    assert plan.bundle == {"CPU": 16.0, "GPU": 1.0}
    half = lane(8 * GIB, [HD] * 40, vram_share=0.35)
    assert half.streams < plan.streams


def test_at_a_constant_rate_the_canvases_of_one_more_compositor_are_planned_for() -> None:
    usual, constant = (lane(140 * GIB, [HD] * 4, **{"timing.mode": mode}) for mode in ("source", "cfr"))
    assert usual.memory is not None
    assert constant.memory is not None
    held = [plan.memory.plan.shape.canvases_held for plan in (usual, constant)]
    assert held == [32, 48]


def test_canvases_of_ten_bits_are_planned_with_twice_the_bytes() -> None:
    usual, deep = (lane(140 * GIB, [HD] * 4, **keys) for keys in ({}, {"encode.codec": "hevc", "encode.hdr": "keep"}))
    assert usual.memory is not None
    assert deep.memory is not None
    assert deep.memory.plan.shape.canvas_bytes == 2 * usual.memory.plan.shape.canvas_bytes


def test_nothing_fits_is_refused_with_every_number() -> None:
    with pytest.raises(VramBudgetError, match=r"not even one stream fits: contexts .* frames .* MiB of 1331 MiB"):
        lane(2 * GIB, [HD])
    decision = decide(SETTINGS, CLUSTER, [HD], cards=lambda node, profile: Card(2 * GIB))
    assert decision.lanes == ()
    assert "stays out: not even one stream fits" in decision.idle[0]


def test_one_video_too_large_does_not_keep_the_others_from_running() -> None:
    huge = VideoNeeds(100 * GIB, 100 * GIB, 80, 30)
    assert lane(16 * GIB, [huge, HD, HD]).streams == 3
    with pytest.raises(VramBudgetError):
        lane(16 * GIB, [huge])


def test_each_smaller_plan_takes_less_and_says_when_results_differ() -> None:
    plans = chain(lane(24 * GIB, [HD] * 40))
    totals = [plan.memory.plan.total_bytes for plan in plans if plan.memory]
    assert totals == sorted(set(totals), reverse=True)
    assert {plan.lane_id for plan in plans} == {"lane-0"}
    streams = [plan.streams for plan in plans]
    assert streams[:5] == [16, 8, 4, 2, 1]
    last = plans[-1]
    assert last.adapted(SETTINGS).framing.lookahead_s == pytest.approx(SETTINGS.framing.lookahead_s / 4)
    assert "look-ahead shortened to 25%" in last.notes[0]
    assert all(not plan.notes for plan in plans if plan.adapted(SETTINGS).framing == SETTINGS.framing)
    at_hand = [plan.device_plan("inference").engines_at_hand for plan in plans]
    assert at_hand == [False] + [True] * (len(plans) - 1), "what is started again builds nothing that it can do without"
    quota = last.adapted(SETTINGS).quota_frames(Fraction(30))
    assert quota * PICTURE <= last.pool_bytes, "the stream still fits its pool"
    assert pickle.loads(pickle.dumps(plans[0])) == plans[0]


def test_the_pool_budget_of_the_settings_is_kept() -> None:
    assert lane(80 * GIB, [HD] * 40, pool_budget_bytes=GIB).pool_bytes == GIB


# --- the processes -------------------------------------------------------------------------------------------------
def test_every_process_is_told_its_limit_and_its_part() -> None:
    plan = lane(16 * GIB, [HD, replace(HD, portrait=True)])
    assert plan.memory is not None
    inference, encoder = plan.device_plan("inference"), plan.device_plan("encoder")
    assert inference.orientations == ("landscape", "portrait")
    assert inference.pool_bytes == plan.memory.plan.inference_pool_bytes > 0
    assert 0 < inference.lane_bytes < plan.memory.plan.total_bytes, "the contexts are there by then, or are not ours"
    assert encoder.lane_bytes == 0
    assert encoder.pool_bytes == plan.memory.plan.compositor_pool_bytes > 0
    assert plan.device_plan("decoder").pool_bytes > 0
    assert lane(16 * GIB, [replace(HD, portrait=True)]).device_plan("inference").orientations == ("portrait",)
    assert lane(16 * GIB, [HD]).device_plan("inference").orientations == ("landscape",)


def test_the_encoder_and_its_sessions_are_the_plans_word() -> None:
    node = NodeSnapshot("a", {"CPU": 8.0, "GPU": 1.0, "nvdec_session": 8.0, "nvenc_session": 3.0},
                        labels={"dualface-profile": "rtx4090"}, host="a")  # fmt: skip
    settings = resolve(allow_unverified_profile=True)
    (plan,) = plan_lanes(settings, ClusterSnapshot(nodes=(node,)), [HD] * 9)
    found = plan.device_plan("encoder")
    assert (found.encoder, found.encoder_sessions, found.machine_sessions) == ("nvenc", 3, 12)
    asked = resolve(allow_unverified_profile=True, encoder="cpu")
    (plan,) = plan_lanes(asked, ClusterSnapshot(nodes=(node,)), [HD] * 9)
    assert (plan.device_plan("encoder").encoder, plan.device_plan("encoder").encoder_sessions) == ("cpu", 0)


def cpu_encoding(cores: float, videos: int, **settings: Any) -> LanePlan:
    """The lane of a card without NVENC and with four encoder processes."""
    node = NodeSnapshot("a", {"CPU": cores, "GPU": 1.0, "nvdec_session": 16.0},
                        labels={"dualface-profile": "h200"}, host="a")  # fmt: skip
    cluster = ClusterSnapshot(nodes=(node,))
    (plan,) = plan_lanes(resolve(**settings), cluster, [HD] * videos, cards=lambda *_: Card(80 * GIB))
    return plan


def test_encoders_on_the_cpu_keep_to_the_lanes_cores_and_leave_none_idle() -> None:
    plan = cpu_encoding(16, 20)
    assert (plan.streams, plan.encoders, plan.threads.encode) == (16, 4, 1)
    assert plan.device_plan("encoder").machine_sessions == 0
    assert lane(16 * GIB, [HD]).device_plan("encoder").machine_sessions == -1, "nobody has said it"
    assert plan.device_plan("encoder").encode_at_once == 16, "five streams here and three there keep eight cores busy"
    assert plan.device_plan("decoder").encode_at_once == plan.device_plan("inference").encode_at_once == 0
    apart = cpu_encoding(16, 20, layout="separate")
    assert (apart.streams, apart.encoders, apart.threads.encode) == (16, 4, 1)
    assert apart.device_plan("encoder").encode_at_once == 4, "32 encoders take turns on 16 cores"
    few = cpu_encoding(16, 4, layout="separate")
    assert (few.streams, few.threads.encode) == (4, thread_budget(16, 8).encode), "two encoders share a video's cores"
    assert 8 * few.threads.encode <= 16
    assert few.device_plan("encoder").encode_at_once == 8
    asked = cpu_encoding(8, 16, **{"lane.streams": 16})
    assert asked.device_plan("encoder").encode_at_once == 2
    smaller = asked.smaller
    assert smaller is not None
    assert smaller.encode_at_once == encoders_at_once(8, smaller.threads.encode, smaller.streams, smaller.encoders)


@pytest.mark.parametrize(
    ("cores", "threads", "sessions", "processes", "expected"),
    [(16, 1, 16, 4, 16), (8, 1, 8, 2, 8), (16, 1, 17, 4, 4), (10, 1, 40, 4, 3), (2, 1, 9, 4, 1), (1, 4, 1, 1, 1)],
)
def test_the_encoders_of_a_process(cores: int, threads: int, sessions: int, processes: int, expected: int) -> None:
    assert encoders_at_once(cores, threads, sessions, processes) == expected


def test_a_cpu_lane_has_no_device_plan() -> None:
    (plan,) = plan_lanes(SETTINGS, ClusterSnapshot(cpus=4), [HD])
    assert plan.device_plan("encoder") == DevicePlan()
    assert plan.adapted(SETTINGS) is SETTINGS
    assert plan.pool_bytes == HD.host_bytes
