"""Folders that are not shared are found at once and named."""

from __future__ import annotations

from pathlib import Path

import pytest

from actors.cluster.witness import ANSWER_TIMEOUT_S, Evidence, Witness, missing, not_shared
from dualface_ray.errors import ActorError, RequestError
from dualface_ray.media import plan_outputs
from dualface_ray.report import VideoTask


@pytest.fixture
def tasks(tmp_path: Path) -> list[VideoTask]:
    sources = [tmp_path / "in" / name for name in ("a.mp4", "b.mp4", "deep/c.mp4")]
    for source in sources:
        source.parent.mkdir(parents=True, exist_ok=True)
        source.write_bytes(b"12345")
    outputs = plan_outputs(sources, tmp_path / "out", layout="side_by_side", container="mp4")
    return [VideoTask(k, source, plan) for k, (source, plan) in enumerate(zip(sources, outputs, strict=True))]


class Node:
    """Answers when it is told to, as a node that sees these folders would."""

    def __init__(self, hidden: str = "") -> None:
        self.hidden = hidden
        self.asked: list[Evidence] = []
        self.answers = False

    def ask(self, node_id: str, evidence: Evidence):
        self.asked.append(evidence)
        markers = [
            (n, c) if not self.hidden or self.hidden not in n else ("/nowhere/x", c) for n, c in evidence.markers
        ]
        seen = Evidence(tuple(markers), evidence.inputs)
        return lambda: missing(seen) if self.answers else None


def test_one_node_is_not_asked(tasks, tmp_path):
    node = Node()
    assert Witness(tasks, "home", node.ask).verdict("home") == ""
    assert node.asked == []
    assert not (tmp_path / "out").exists()


def test_a_node_that_sees_everything(tasks, tmp_path):
    node = Node()
    witness = Witness(tasks, "home", node.ask)
    assert witness.verdict("far") is None
    (evidence,) = node.asked
    assert [Path(name).parent for name, _ in evidence.markers] == [tmp_path / "out"], "deep/ lies below it"
    assert [size for _, size in evidence.inputs] == [5, 5], "one file of each folder"
    node.answers = True
    assert witness.verdict("far") == ""
    assert list((tmp_path / "out").iterdir()) == [], "no marker is left"
    assert witness.verdict("far") == ""
    assert len(node.asked) == 1


def test_a_folder_that_is_not_shared_is_named(tasks, tmp_path):
    node = Node(hidden="out")
    node.answers = True
    witness = Witness(tasks, "home", node.ask)
    verdict = witness.verdict("far")
    assert verdict is not None
    assert not witness.mute
    assert "does not see what is written to" in verdict
    error = not_shared("rack7", verdict)
    assert isinstance(error, RequestError)
    assert "node rack7" in str(error)


def test_what_a_node_misses_of_the_inputs(tasks, tmp_path):
    source = tmp_path / "in" / "a.mp4"
    assert missing(Evidence((), ((str(source), 5),))) == []
    assert "another" in missing(Evidence((), ((str(source), 6),)))[0]
    assert missing(Evidence((), ((str(tmp_path / "x.mp4"), 6),))) == [f"does not see {tmp_path / 'x.mp4'}"]


def test_a_node_that_does_not_answer(tasks, tmp_path):
    now = [0.0]
    witness = Witness(tasks, "home", Node().ask, lambda: now[0])
    assert witness.verdict("far") is None
    now[0] = ANSWER_TIMEOUT_S + 1
    assert "has not said" in str(witness.verdict("far"))
    assert witness.mute == {"far"}, "that says nothing about the folders: the node is left out, the job goes on"
    witness.close()
    assert list((tmp_path / "out").iterdir()) == []


def test_a_node_that_cannot_be_asked(tasks, tmp_path):
    def poll():
        raise ActorError("cannot be asked what it sees (NodeDiedError)")

    witness = Witness(tasks, "home", lambda _node, _evidence: poll)
    assert witness.verdict("far") == "cannot be asked what it sees (NodeDiedError)"
    assert witness.mute == {"far"}
    assert list((tmp_path / "out").iterdir()) == []
