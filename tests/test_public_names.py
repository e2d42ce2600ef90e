"""The names each package hands out are the ones it lists, and asking for the door brings nothing else along."""

from __future__ import annotations

import ast
import importlib
import subprocess
import sys

import pytest

import dualface_ray
from tests import law

ROOT = law.Path(__file__).resolve().parent.parent
PACKAGES = [
    name
    for name, path in law.modules(ROOT).items()
    if path.name == "__init__.py" and not name.startswith(("dualface_ray.backends.cuda", "actors"))
]


def _public(module: object) -> set[str]:
    """What the module's own code defines or imports by name; what it imports to use itself is its own affair."""
    path = law.modules(ROOT)[module.__name__]
    names = set()
    tree = ast.parse(path.read_text(encoding="utf-8"))
    used = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)}
    used -= set(getattr(module, "__all__", ()))
    for node in tree.body:
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith(("dualface_ray", "actors")):
            names |= {alias.asname or alias.name for alias in node.names} - used
        elif isinstance(node, (ast.FunctionDef, ast.ClassDef)):
            names.add(node.name)
        elif isinstance(node, ast.If):  # names for type checkers: the lazy rooms'
            names |= {alias.name for inner in node.body if isinstance(inner, ast.ImportFrom) for alias in inner.names}
        elif isinstance(node, (ast.Assign, ast.AnnAssign)):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            names |= {target.id for target in targets if isinstance(target, ast.Name)}
    return {name for name in names if not name.startswith("_")}


@pytest.mark.parametrize("name", PACKAGES)
def test_public_names_equal_all(name):
    module = importlib.import_module(name)
    listed = list(getattr(module, "__all__", ()))
    assert len(set(listed)) == len(listed)
    assert set(listed) == _public(module)
    for public in listed:
        assert getattr(module, public) is not None


def test_the_door_is_small_and_lazy():
    assert len(dualface_ray.__all__) <= 10
    code = (
        "import sys, dualface_ray\n"
        "assert set(dualface_ray.__all__) <= set(dir(dualface_ray))\n"
        "assert [m for m in sys.modules if m.startswith('dualface_ray')] == ['dualface_ray']\n"
        "from dualface_ray import Settings, resolve, DualfaceError\n"
        "assert resolve() == Settings() and issubclass(DualfaceError, Exception)\n"
        "assert not {'ray', 'av', 'cv2', 'onnxruntime', 'numpy'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True, cwd=ROOT, timeout=60)


def test_the_door_knows_no_other_name():
    with pytest.raises(AttributeError, match="no attribute 'nothing_like_it'"):
        dualface_ray.nothing_like_it  # noqa: B018 - asking is the test


def test_the_version_is_the_installed_one():
    metadata = importlib.import_module("importlib.metadata")
    try:
        installed = metadata.version("dualface-ray")
    except metadata.PackageNotFoundError:
        pytest.skip("the project is not installed here")
    assert installed == dualface_ray.__version__
