"""Labels: a node carries the profile of its cards, and whoever plans reads it there and nowhere else."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from actors.cluster.snapshot import CARD_BYTES_LABEL, DRIVER_LABEL, PROFILE_LABEL, NodeSnapshot
from actors.placement import ClusterSnapshot, LanePlan, plan_lanes
from dualface_ray.errors import ProfileError
from dualface_ray.hardware import Profile, load_profile, node_labels, profile_names, profile_of
from dualface_ray.settings import config_dir, resolve

VALUE = re.compile(r"[A-Za-z0-9]([A-Za-z0-9_.-]{0,61}[A-Za-z0-9])?")
VIDEOS = [1000] * 40


def own(folder: Path, base: str = "rtx4090", verified: bool = True, **changes: object) -> str:
    """A file of one's own, as a probe writes it."""
    document = yaml.safe_load((config_dir() / "profiles" / f"{base}.yaml").read_text(encoding="utf-8"))
    document["verified"] = {"date": "2026-11-20", "driver": "591.59"} if verified else None
    for key, value in changes.items():
        part = document
        *above, last = key.split("__")
        for word in above:
            part = part[word]
        part[last] = {"value": value, "source": "measured by us"} if above else value
    path = folder / f"{document['name']}-own.yaml"
    path.write_text(yaml.safe_dump(document), encoding="utf-8")
    return str(path)


def figures(profile: Profile) -> list[object]:
    lane = [getattr(profile.lane, name).value for name in type(profile.lane).model_fields]
    encode, decode = profile.encode, profile.decode
    engines = [part.engines.value for part in (decode, encode)] + [part.codecs.value for part in (decode, encode)]
    return [profile.name, profile.card, profile.vram_bytes.value, *engines, encode.cap_scope, *lane, profile.verified]


def node(name: str, labels: dict[str, str], cards: int = 1, **sessions: float) -> NodeSnapshot:
    found = {"CPU": 16.0, "GPU": float(cards), **(sessions or {"nvdec_session": 99.0, "nvenc_session": 99.0})}
    return NodeSnapshot(name, found, labels=labels, host=name)


def planned(*nodes: NodeSnapshot, **keys: object) -> list[LanePlan]:
    return plan_lanes(resolve(**keys), ClusterSnapshot(nodes=nodes), VIDEOS)


def labels_of(path: str, driver: str = "591.59") -> dict[str, str]:
    return node_labels(load_profile(path), driver)


def test_a_packaged_profile_needs_its_name_alone(tmp_path):
    assert labels_of("rtx4090") == {PROFILE_LABEL: "rtx4090", DRIVER_LABEL: "591.59"}
    assert labels_of("cpu", "") == labels_of(own(tmp_path, "cpu"), "") == {PROFILE_LABEL: "cpu"}
    assert labels_of("h200", "") == {PROFILE_LABEL: "h200"}
    assert profile_of({PROFILE_LABEL: "l4"}) is load_profile("l4")
    assert profile_of({PROFILE_LABEL: "l4", CARD_BYTES_LABEL: "1"}) is load_profile("l4"), "of the smallest card there"
    assert profile_of({DRIVER_LABEL: "591.59"}) is None


@pytest.mark.parametrize("name", [name for name in profile_names() if load_profile(name).kind == "gpu"])
@pytest.mark.parametrize("driver", ["", "550.67", "591.59"])
def test_a_file_of_ones_own_travels_whole(tmp_path, name, driver):
    path = own(tmp_path, name, name="of-our-own")
    labels, mine = labels_of(path, driver), load_profile(path)
    assert all(VALUE.fullmatch(value) for value in labels.values()), labels
    there = profile_of(labels, lambda _: pytest.fail("nobody else has that file"))
    assert figures(there) == figures(mine)
    assert there.session_cap(driver) == mine.session_cap(driver)
    assert there.node_resources(2, driver) == mine.node_resources(2, driver)


def test_two_kinds_of_verified_cards_are_planned_each_with_its_own_file(tmp_path):
    ada = own(tmp_path, lane__streams=4)
    other = own(tmp_path, "rtx5090", name="geforce-rtx-5080", card="GeForce RTX 5080", lane__speed=12.25)
    nodes = [node(name, labels_of(path)) for name, path in (("ada", ada), ("blackwell", other))]
    lanes = {lane.node_id: lane for lane in planned(*nodes)}
    assert {name: (lane.profile, lane.streams, lane.speed) for name, lane in lanes.items()} == {
        "ada": ("rtx4090", 4, 17.0),
        "blackwell": ("geforce-rtx-5080", 10, 12.25),
    }


def test_a_packaged_profile_is_verified_by_a_label(tmp_path):
    labels = labels_of(own(tmp_path))
    assert labels == {**labels_of("rtx4090"), "dualface-verified": "2026-11-20_591.59"}, "its figures are the packaged"
    assert profile_of(labels).verified == load_profile(own(tmp_path)).verified
    for given in (labels, {PROFILE_LABEL: "rtx4090", "dualface-verified": "2026-11-20"}):
        (lane,) = planned(node("a", given))
        assert lane.profile == "rtx4090"
    with pytest.raises(ProfileError, match="nobody has verified") as caught:
        planned(node("a", {PROFILE_LABEL: "rtx4090"}))
    assert caught.value.where == "a: profile rtx4090", "which node it is"


def test_an_unverified_file_is_refused_as_a_packaged_one_is(tmp_path):
    labels = labels_of(own(tmp_path, verified=False, lane__streams=4))
    with pytest.raises(ProfileError, match="nobody has verified"):
        planned(node("a", labels))
    assert planned(node("a", labels), allow_unverified_profile=True)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({PROFILE_LABEL: "rtx9999"}, None),
        ({PROFILE_LABEL: "mine.yaml"}, "is a file, which only the node itself can read"),
        ({"dualface-nvenc": None, "dualface-lane": None}, "the node lacks dualface-nvenc, dualface-lane"),
        ({"dualface-lane": "fast"}, "a label cannot be read"),
        ({"dualface-lane": "streams-x"}, "a label cannot be read"),
        ({"dualface-lane": "streams-4"}, "not a valid profile: lane"),
        ({"dualface-nvdec": "many_h264"}, "a label cannot be read"),
        ({"dualface-nvenc": "0_h264"}, "not a valid profile: encode"),
        ({"dualface-nvenc-cap": "machine"}, "a label cannot be read"),
        ({"dualface-nvenc-cap": "rack_12"}, "not a valid profile: encode.cap_scope"),
        ({"dualface-card-bytes": "24GiB"}, "a label cannot be read"),
        ({"dualface-verified": "yes"}, "not a valid profile: verified.date"),
    ],
)
def test_labels_that_are_no_profile_are_one_line_with_the_node(tmp_path, changes, says):
    labels = {**labels_of(own(tmp_path, lane__streams=4)), **changes}
    labels = {key: value for key, value in labels.items() if value is not None}
    if says is None:
        assert profile_of(labels).name == "rtx9999", "a name that nobody else knows is as good as any"
        return
    with pytest.raises(ProfileError, match=says) as caught:
        planned(node("rack-7", labels))
    assert caught.value.where.startswith("rack-7: dualface-profile=")
    assert caught.value.remedy


def test_a_name_that_no_label_can_hold_is_refused_before_ray_is_asked(tmp_path):
    for name in ("x" * 64, "mine-"):
        with pytest.raises(ProfileError, match="no label of Ray"):
            labels_of(own(tmp_path, name=name))


def test_a_node_that_says_nothing_gets_what_the_settings_say(tmp_path):
    (lane,) = planned(node("a", {}), **{"lane.profile": own(tmp_path, lane__streams=3)})
    assert (lane.profile, lane.streams) == ("rtx4090", 3)
