"""The rooms import one another in one direction only, and the checker would notice if they did not."""

from __future__ import annotations

import subprocess
import sys
from itertools import accumulate
from pathlib import Path

import pytest

from tests import law

ROOT = Path(__file__).resolve().parent.parent


def test_rooms_import_downwards_through_doors_only():
    found = law.violations(ROOT)
    assert not found, "\n".join(found)


def test_no_module_imports_itself_in_a_circle():
    found = law.cycles(ROOT)
    assert not found, found


def test_every_room_introduces_itself():
    found = law.poor_introductions(ROOT)
    assert not found, found


def test_allowances_form_no_circle_and_stay_on_one_height():
    assert law.circles({room: law.SAME_HEIGHT.get(room, set()) for room in law.HEIGHT}) == []
    for room, others in law.SAME_HEIGHT.items():
        assert {law.HEIGHT[other] for other in others} == {law.HEIGHT[room]}


def test_the_checker_sees_the_whole_project():
    found = law.modules(ROOT)
    on_disk = [p for package in ("dualface_ray", "actors") for p in (ROOT / package).rglob("*.py")]
    assert len(found) == len(on_disk) > 50
    rooms = {law.room_of(name) for name in found}
    assert rooms == set(law.HEIGHT)


def _plant(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return root


@pytest.mark.parametrize(
    ("module", "text", "complaint"),
    [
        ("dualface_ray/frames/pool.py", "import dualface_ray.media", "lies above"),
        ("dualface_ray/media/x.py", "def f():\n    from dualface_ray.backends import load_backend", "lies above"),
        ("dualface_ray/media/x.py", "from dualface_ray import detect", "lies beside"),
        ("dualface_ray/identity/x.py", "from ..frames.arena import Arena", "the inside of frames"),
        ("dualface_ray/identity/x.py", "import dualface_ray.frames.arena as a", "the inside of frames"),
        ("dualface_ray/identity/x.py", "from dualface_ray.frames import arena", "the inside of frames"),
        ("dualface_ray/report/x.py", "import ray", "Ray belongs"),
        ("dualface_ray/backends/x.py", "import ray.util", "Ray belongs"),
        ("dualface_ray/compose/x.py", "if TYPE_CHECKING:\n    import cv2", "vendor libraries"),
        ("dualface_ray/cli/x.py", "import importlib\nimportlib.import_module('av.container')", "vendor libraries"),
        ("actors/x.py", "from dualface_ray.api import run", "lies above"),
        ("actors/x.py", "import onnxruntime", "vendor libraries"),
        ("dualface_ray/attic/x.py", "", "no place in the order"),
        ("dualface_ray/bench/x.py", "import dualface_ray.attic", "no such room"),
    ],
)
def test_planted_violations_are_found(tmp_path, module, text, complaint):
    frame = {"dualface_ray/frames/__init__.py": "", "dualface_ray/frames/arena.py": "class Arena: ..."}
    frame |= {"dualface_ray/detect/__init__.py": "", "dualface_ray/__init__.py": ""}
    _plant(tmp_path, {**frame, module: text})
    found = law.violations(tmp_path)
    assert any(complaint in line for line in found), found


def test_what_the_law_allows_passes(tmp_path):
    _plant(
        tmp_path,
        {
            "dualface_ray/frames/__init__.py": "import dualface_ray.errors\nfrom dualface_ray.frames import arena",
            "dualface_ray/frames/arena.py": "import numpy",
            "dualface_ray/errors.py": "class X(Exception): ...",
            "dualface_ray/backends/pyav/__init__.py": "",
            "dualface_ray/report/x.py": "from dualface_ray.backends.pyav import probe",
            "dualface_ray/hardware/__init__.py": "__all__ = ['gpus']",
            "dualface_ray/backends/x.py": "from dualface_ray.hardware import gpus",
            "dualface_ray/hardware/gpus.py": "import importlib\nimportlib.import_module('pynvml')",
            "dualface_ray/detect/x.py": "from dualface_ray.media import Slot\nfrom dualface_ray.frames import arena_of",
            "dualface_ray/media/__init__.py": "Slot = object",
            "actors/job.py": "import ray\nfrom dualface_ray.media import Slot",
            "dualface_ray/api.py": "import ray\nfrom actors.job import JobActor",
        },
    )
    assert law.violations(tmp_path) == []


def test_planted_circles_are_found(tmp_path):
    _plant(
        tmp_path,
        {
            "dualface_ray/media/__init__.py": "from dualface_ray.media.a import A",
            "dualface_ray/media/a.py": "from dualface_ray.media import A",
            "dualface_ray/media/b.py": "def late():\n    import dualface_ray.media.c",
            "dualface_ray/media/c.py": "import dualface_ray.media.b",
        },
    )
    assert law.cycles(tmp_path) == [["dualface_ray.media", "dualface_ray.media.a"]]


def test_planted_poor_introduction_is_found(tmp_path):
    _plant(
        tmp_path,
        {
            "dualface_ray/media/__init__.py": '"""Media."""',
            "dualface_ray/media/inner/__init__.py": "",
            "actors/__init__.py": "",
        },
    )
    assert law.poor_introductions(tmp_path) == ["dualface_ray.media", "actors"]


_LOOK = """
import importlib, os, signal, sys, threading
before = dict(os.environ), os.getcwd(), os.umask(0o22), [signal.getsignal(s) for s in (2, 13, 15)]
sys.path.insert(0, sys.argv[1])
for name in sys.argv[2:]:
    importlib.import_module(name)
assert (dict(os.environ), os.getcwd(), os.umask(0o22), [signal.getsignal(s) for s in (2, 13, 15)]) == before
assert threading.active_count() == 1, threading.enumerate()
with open(f"/proc/self/task/{os.getpid()}/children") as file:
    assert not file.read(), "a child process"
loud = sorted({"av", "cupy", "cv2", "onnxruntime", "ray", "tensorrt", "PyNvVideoCodec"} & set(sys.modules))
assert not loud, loud
"""


def _brings(name: str) -> set[str]:
    """What comes along with a module: what it imports, and what the packages around it do."""
    around = accumulate(name.split("."), "{}.{}".format)
    return set().union(*(law.reached(ROOT, package) for package in around))


def test_importing_everything_but_the_edges_has_no_effect(tmp_path):
    """What uses no vendor library may be imported anywhere: no threads, processes, handlers, files or output."""
    known = law.modules(ROOT)
    loud = {name for name in known if law.room_of(name) in law.VENDOR_ROOMS | law.RAY_ROOMS | {"main"}}
    quiet = [name for name in known if name not in loud and not _brings(name) & loud]
    assert {"dualface_ray", "dualface_ray.report", "dualface_ray.identity", "dualface_ray.settings"} <= set(quiet)
    assert len(quiet) > 30
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", _LOOK, str(ROOT), *quiet],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert list(tmp_path.iterdir()) == []
