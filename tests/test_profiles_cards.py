"""Static profiles: every figure has its source, caps follow drivers, and what nobody verified is refused."""

from __future__ import annotations

import textwrap
from pathlib import Path

import pytest
import yaml

from dualface_ray.errors import ProfileError
from dualface_ray.hardware import (
    Gpu,
    check_verified,
    declared,
    load_profile,
    profile_for,
    profile_names,
    read_profile,
)

NAMES = ("a100", "cpu", "h100", "h200", "l4", "l40s", "rtx4090", "rtx5090", "t4")
ROOT = Path(__file__).resolve().parent.parent


def figures(value: object, path: str = "") -> list[tuple[str, dict[str, object]]]:
    """Everything in a document that is a figure."""
    if isinstance(value, dict):
        if "value" in value:
            return [(path, value)]
        return [found for key, below in value.items() for found in figures(below, f"{path}.{key}")]
    return []


def test_these_cards_are_there():
    assert profile_names() == NAMES
    assert {load_profile(name).name for name in NAMES} == set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_every_figure_names_its_source(name):
    document = yaml.safe_load((ROOT / "configs" / "profiles" / f"{name}.yaml").read_text(encoding="utf-8"))
    found = figures(document)
    assert len(found) == 10
    for path, figure in found:
        source = str(figure["source"])
        assert len(source) > 10, path
        # measured is said of what was measured on an H200 alone; the rest is read or estimated
        if figure.get("measured"):
            assert name == "h200", path
            assert source.startswith(("Measured", "dualface probe", "Taken over from profile h200: Measured")), path
        else:
            assert not source.startswith("Measured") or "H.264 decodes" in source, path
    if name != "h200":
        assert document["verified"] is None, "a probe on the real card fills this in, and this project has no other"


@pytest.mark.parametrize("name", NAMES)
def test_figures_make_sense_together(name):
    profile = load_profile(name)
    gpu = profile.kind == "gpu"
    assert (profile.vram_bytes.value > 10**10) == gpu
    assert (profile.decode.engines.value > 0) == gpu
    assert profile.has_nvenc == bool(profile.encode.codecs.value)
    assert profile.has_nvenc == (name not in ("a100", "h100", "h200", "cpu"))
    assert (profile.encode.cap_scope == "machine") == name.startswith("rtx")
    assert profile.lane.streams.value <= profile.lane.encoders.value, "each stream is encoded once"
    if not profile.has_nvenc:
        assert profile.lane.cores.value >= profile.lane.encoders.value, "encoders on the CPU have cores"


@pytest.mark.parametrize(
    ("driver", "cap"),
    [
        ("", 12),
        ("unknown", 12),
        ("591.59", 12),
        ("595", 12),
        ("590.9", 8),
        ("580.65.06", 8),
        ("550", 8),
        ("549.99", 5),
        ("530.41", 5),
        ("525.60.13", 3),
    ],
)
def test_the_session_cap_of_geforce_follows_the_driver(driver, cap):
    for name in ("rtx4090", "rtx5090"):
        assert load_profile(name).session_cap(driver) == cap
    assert load_profile("l4").session_cap(driver) is None


def test_what_a_node_declares():
    assert load_profile("rtx4090").node_resources(1) == {"nvdec_session": 6, "nvenc_session": 6}
    assert load_profile("rtx4090").node_resources(4) == {"nvdec_session": 24, "nvenc_session": 12}
    assert load_profile("rtx4090").node_resources(4, "550.67") == {"nvdec_session": 24, "nvenc_session": 8}
    assert load_profile("l4").node_resources(2) == {"nvdec_session": 16, "nvenc_session": 16}
    assert load_profile("h200").node_resources(8) == {"nvdec_session": 128}
    assert load_profile("cpu").node_resources(1) == {}


@pytest.mark.parametrize(
    ("card", "name"),
    [
        ("NVIDIA GeForce RTX 4090", "rtx4090"),
        ("NVIDIA L40S", "l40s"),
        ("NVIDIA L40S-48C", "l40s"),
        ("NVIDIA L4", "l4"),
        ("Tesla T4", "t4"),
        ("NVIDIA A100-SXM4-40GB", "a100"),
        ("NVIDIA H100 80GB HBM3", "h100"),
        ("NVIDIA H200", "h200"),
        ("NVIDIA GeForce RTX 4090 Laptop GPU", None),
        ("NVIDIA A100-SXM4-40GB MIG 3g.20gb", None),
        ("NVIDIA RTX PRO 6000 Blackwell Server Edition MIG 1g.24gb", None),
        ("NVIDIA GH200 480GB", None),
        ("NVIDIA L40", None),
        ("NVIDIA GeForce RTX 3060", None),
        ("", None),
    ],
)
def test_a_card_finds_its_profile(card, name):
    found = profile_for(card)
    assert (found.name if found else None) == name


def test_unverified_is_refused_unless_allowed(tmp_path):
    profile = load_profile("l4")
    with pytest.raises(ProfileError, match="nobody has verified") as caught:
        check_verified(profile)
    assert "allow_unverified_profile" in caught.value.remedy
    assert caught.value.exit_code == 2
    check_verified(profile, allow_unverified=True)
    text = (ROOT / "configs" / "profiles" / "l4.yaml").read_text(encoding="utf-8")
    path = tmp_path / "mine.yaml"
    path.write_text(
        text.replace("verified: null", 'verified:\n  date: 2026-11-01\n  driver: "580.65.06"'), encoding="utf-8"
    )
    mine = load_profile(str(path))
    check_verified(mine)
    assert mine.verified is not None
    assert (mine.verified.date.year, mine.verified.driver) == (2026, "580.65.06")


def test_an_unknown_name_says_what_is_known():
    with pytest.raises(ProfileError, match=r"rtx9090.*Known are a100, cpu"):
        load_profile("rtx9090")
    for hostile in ("../default", "l4/../l4", "", "L4"):
        with pytest.raises(ProfileError):
            load_profile(hostile)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (("name: l4", "name: L 4"), "name"),
        (("name: l4", "name: l4\nextra: 1"), "extra"),
        (("  cap_scope: none", "  cap_scope: machine"), "caps"),
        (("    value: 4\n", "    value: many\n"), "engines.value"),
        (("    value: 8\n", "    value: 0\n"), "above 0"),
        (("verified: null", "verified: yes"), "verified"),
        (("kind: gpu", "kind: [gpu"), "cannot be read"),
    ],
)
def test_a_damaged_profile_is_one_clear_line(tmp_path, change, says):
    text = (ROOT / "configs" / "profiles" / "l4.yaml").read_text(encoding="utf-8")
    assert change[0] in text
    path = tmp_path / "bad.yaml"
    path.write_text(text.replace(*change), encoding="utf-8")
    with pytest.raises(ProfileError, match=says) as caught:
        read_profile(path)
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("text", ["", "[]", "1", "\x00", "- a\n- b"])
def test_what_is_no_profile_at_all_is_refused(tmp_path, text):
    path = tmp_path / "bad.yaml"
    path.write_text(textwrap.dedent(text), encoding="utf-8")
    with pytest.raises(ProfileError):
        read_profile(path)
    with pytest.raises(ProfileError, match="cannot be read"):
        read_profile(tmp_path / "missing.yaml")


def test_a_machine_of_our_own_declares_what_its_visible_cards_may_do() -> None:
    cards = tuple(Gpu(n, "NVIDIA GeForce RTX 4090", f"GPU-{n}", 24 << 30, "550.67") for n in range(3))
    found = declared("rtx4090", {}, lambda: cards)
    assert found.resources == {"nvdec_session": 18, "nvenc_session": 8}, "one cap for all cards of the machine"
    assert found.labels == {"dualface-driver": "550.67"}
    assert declared("rtx4090", {"CUDA_VISIBLE_DEVICES": "2"}, lambda: cards).resources["nvdec_session"] == 6
    for nothing in (
        declared("", {}, lambda: cards),
        declared("rtx4090", {}, lambda: ()),
        declared("rtx4090", {"CUDA_VISIBLE_DEVICES": ""}, lambda: cards),
        declared("cpu", {}, lambda: cards),
    ):
        assert nothing[:2] == ({}, {})
    with pytest.raises(ProfileError, match="nosuch"):
        declared("nosuch", {}, lambda: ())


def test_instances_are_counted_where_they_are_named_for_ray_hands_out_what_is():
    name = "NVIDIA A100-SXM4-40GB"
    parts = tuple(Gpu(0, f"{name} MIG 3g.20gb", f"MIG-{n}", 20 << 30, "580.65") for n in range(2))
    cards = (*parts, Gpu(1, name, "GPU-1", 40 << 30, "580.65"))
    assert declared("", {"CUDA_VISIBLE_DEVICES": "MIG-1,MIG-0"}, lambda: cards).cards == 2
    assert declared("", {"CUDA_VISIBLE_DEVICES": "0"}, lambda: cards).cards == 1
    assert declared("", {}, lambda: cards).cards == 2, "a number reaches the first instance of its card"
    assert declared("", {}, lambda: ()).cards is None, "without NVML Ray knows better"
