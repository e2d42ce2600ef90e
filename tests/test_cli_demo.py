"""``dualface demo``: what is seen while the clip is made, and what a demo that cannot be made leaves."""

from __future__ import annotations

import io

import pytest

from dualface_ray.cli.app import execute
from dualface_ray.cli.display import working
from dualface_ray.errors import DeviceError


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_demo_that_cannot_be_made_leaves_no_empty_folder(tmp_path, monkeypatch, capfd):
    def lacking(*_args, **_kwargs):
        raise DeviceError("the demo extra is not installed", where="dualface_ray.demo")

    monkeypatch.setattr("dualface_ray.demo.make_demo", lacking)
    assert execute(["demo", "-o", str(tmp_path / "new")]) == 1
    assert "the demo extra is not installed" in capfd.readouterr().err
    assert not (tmp_path / "new").exists()
    (tmp_path / "old").mkdir()
    assert execute(["demo", "-o", str(tmp_path / "old")]) == 1
    assert (tmp_path / "old").is_dir()
    (tmp_path / "full" / "er").mkdir(parents=True)
    assert execute(["demo", "-o", str(tmp_path / "full")]) == 1
    assert (tmp_path / "full" / "er").is_dir()


def test_a_wrong_model_is_known_before_the_clip_is_made(tmp_path, capfd):
    assert execute(["demo", "-o", str(tmp_path / "new"), "--set", "detect.model=nonsense"]) == 2
    out, err = capfd.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert "detect.model: unknown model" in err
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(("stream", "term"), [(io.StringIO(), "xterm"), (Terminal(), "dumb")])
def test_elsewhere_work_is_one_line(monkeypatch, stream, term):
    monkeypatch.setenv("TERM", term)
    with working("rendering 2 s", stream):
        assert stream.getvalue() == "dualface: rendering 2 s\n", "said before, not after"
    assert stream.getvalue() == "dualface: rendering 2 s\n"


def test_a_terminal_shows_that_work_goes_on(monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    with working("rendering [red]2 s", stream := Terminal()):
        pass
    assert "rendering [red]2 s" in stream.getvalue()
    assert "0:00:0" in stream.getvalue()
