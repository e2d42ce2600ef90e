"""Paths that no file system takes are one line, whichever command and option names them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from dualface_ray.cli.app import execute
from dualface_ray.errors import RequestError
from dualface_ray.request import prepare
from dualface_ray.settings import resolve

LONG = "/tmp/" + "x/" * 2500 + "a.mp4"
LONG_NAME = f"/tmp/{'y' * 300}/talk.mp4"


@pytest.mark.parametrize(
    "argv",
    [
        ["run", LONG, "-o", "OUT"],
        ["run", LONG_NAME, "-o", "OUT"],
        ["run", f"/tmp/{'y' * 300}.mp4", "-o", "OUT"],
        ["run", f"file://{LONG}", "-o", "OUT"],
        ["run", LONG.replace("a.mp4", "*.mp4"), "-o", "OUT"],
        ["run", "TALK", "-o", LONG],
        ["run", "TALK", "-o", LONG_NAME],
        ["run", "TALK", "-o", "/tmp/" + "x/" * 1950],
        ["inspect", LONG],
        ["demo", "-o", LONG, "--render-only"],
        ["demo", "-o", LONG_NAME],
        ["run", "TALK", "-o", "OUT", "--json", "--config", LONG],
    ],
    ids=lambda argv: " ".join(word[:12] for word in argv),
)
def test_a_path_that_is_too_long_is_one_line(argv, talk, tmp_path, monkeypatch, capfd):
    monkeypatch.setattr("ray.init", lambda **_: pytest.fail("Ray is not needed"))
    monkeypatch.chdir(tmp_path)
    places = {"TALK": str(talk), "OUT": "out"}
    assert execute([places.get(word, word) for word in argv]) == 2
    out, err = capfd.readouterr()
    assert err.count("\n") == 1
    assert "internal" not in err
    assert "Traceback" not in out + err
    assert list(tmp_path.iterdir()) == []


def test_as_long_as_can_be_is_long_enough(talk: Path, tmp_path: Path) -> None:
    """Whatever a run appends to the folder's path fits, and a source may have the longest path there is."""
    folder = tmp_path
    while len(os.fsencode(folder)) < 4095 - 512 - 200:
        folder = folder / ("x" * 180)
    assert prepare(talk, folder, resolve(reid="off"))[0].error is None
    with pytest.raises(RequestError, match="too long"):
        prepare(talk, folder / ("x" * 200) / "yy", resolve())
    (task,) = prepare(Path("/" + "x/" * 2040 + "a.mp4"), tmp_path, resolve())
    assert task.error is not None
    assert "no such file" in str(task.error)
