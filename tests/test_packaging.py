"""The wheel, installed alone into an empty folder, works from an empty folder; README's commands are wired up."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


def run(*command: str, cwd: Path, **env: str) -> str:
    clean = {key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "PYTHONHOME")}
    done = subprocess.run(
        command, cwd=cwd, env={**clean, **env}, capture_output=True, text=True, timeout=170, check=False
    )
    assert done.returncode == 0, f"{command}: {done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """sdist, and the wheel made from that sdist, so that both hold everything."""
    folder = tmp_path_factory.mktemp("dist")
    run(sys.executable, "-m", "build", "--no-isolation", "--outdir", str(folder), str(ROOT), cwd=folder)
    (wheel,) = folder.glob("*.whl")
    (sdist,) = folder.glob("*.tar.gz")
    return wheel, sdist


@pytest.mark.long
def test_the_wheel_works_from_an_empty_folder(built, tmp_path):
    wheel, _ = built
    target, empty = tmp_path / "site", tmp_path / "empty"
    empty.mkdir()
    options = ["--quiet", "--disable-pip-version-check", "--no-index", "--no-deps"]
    run(sys.executable, "-m", "pip", "install", *options, "--target", str(target), str(wheel), cwd=empty)
    code = """
import json, sys
import actors, dualface_ray
from dualface_ray.settings import Settings, config_dir, resolve
from dualface_ray.models import list_models
assert resolve() == Settings()
print(json.dumps({
    "homes": [dualface_ray.__file__, actors.__file__, str(config_dir())],
    "models": [spec.name for spec in list_models()],
    "version": dualface_ray.__version__,
}))
"""
    # -P and the path entry keep the checkout and its editable install out of the way
    start = f"import sys; sys.path.insert(0, {str(target)!r})\n"
    facts = json.loads(run(sys.executable, "-c", start + code, cwd=empty))
    for home in facts["homes"]:
        assert Path(home).is_relative_to(target), home
    assert "centerface" in facts["models"]
    out = run(sys.executable, "-m", "dualface_ray", "--version", cwd=empty, PYTHONPATH=str(target))
    assert out == f"dualface {facts['version']}\n"
    assert list(empty.iterdir()) == []


@pytest.mark.long
def test_the_archives_hold_code_and_configs_and_no_binaries(built):
    wheel, sdist = built
    names = set(zipfile.ZipFile(wheel).namelist())
    for package in ("dualface_ray", "actors"):
        for path in (ROOT / package).rglob("*"):
            if path.suffix in (".py", ".cu", ".cuh", ".h") or path.name == "py.typed":
                assert str(path.relative_to(ROOT)) in names
    for path in (ROOT / "configs").rglob("*.yaml"):
        assert f"dualface_ray/_configs/{path.relative_to(ROOT / 'configs')}" in names
    assert any(name.endswith(".dist-info/licenses/LICENSE") for name in names)
    with tarfile.open(sdist) as archive:
        source = {name.partition("/")[2] for name in archive.getnames()}
    tracked = set(run("git", "ls-files", cwd=ROOT).splitlines()) if (ROOT / ".git").exists() else source
    tops = {name.partition("/")[0] for name in tracked} | {"PKG-INFO"}
    assert {name.partition("/")[0] for name in source} <= tops
    assert {"README.md", "LICENSE", "tests/test_law.py", "docs/settings.md", "configs/default.yaml"} <= source
    names |= source
    bad = (".onnx", ".mp4", ".dat", ".plan", ".engine", ".so", ".jpg", ".pyc")
    assert not [name for name in names if name.endswith(bad)]


def test_every_command_of_the_readme_exists():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    named = set(re.findall(r"(?:^|`)make ([a-z-]+)", readme, re.MULTILINE))
    assert {"demo", "test"} <= named <= targets
    for target in sorted(targets - {"clean"}):
        run("make", "--dry-run", target, cwd=ROOT)


def test_make_test_checks_format_lint_types_and_tests_in_this_order():
    plan = run("make", "--dry-run", "test", cwd=ROOT)
    steps = ["ruff format --check", "ruff check", "bin/mypy", "pytest -m 'not long'"]
    places = [plan.index(step) for step in steps]
    assert places == sorted(places)


@pytest.mark.parametrize(
    "page", sorted(ROOT.glob("*.md")) + sorted((ROOT / "docs").rglob("*.md")), ids=lambda p: p.name
)
def test_links_between_pages_lead_somewhere(page):
    for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", page.read_text(encoding="utf-8")):
        if not target.startswith(("http://", "https://")):
            assert (page.parent / target).exists(), f"{page.name}: {target}"
