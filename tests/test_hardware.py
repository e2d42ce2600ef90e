"""Cores, threads, memory and cards: what the machine has, and how a lane divides it."""

from __future__ import annotations

import os
import types
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dualface_ray.hardware import ThreadBudget, cores, gpus, memory, shared_memory, thread_budget
from dualface_ray.hardware import cores as cores_function
from dualface_ray.hardware.cores import cgroup_quota

COUNTS = st.integers(1, 256)


def test_one_stream_on_two_cores():
    assert thread_budget(2, 1) == ThreadBudget(decode=1, infer=1, encode=2, compose=1)


def test_streams_come_before_threads():
    """As many streams as cores: one thread each; x264 gets the cores that are left when there are fewer."""
    assert thread_budget(16, 16).encode == 1
    assert thread_budget(16, 4).encode == 4
    assert thread_budget(16, 1).encode > thread_budget(16, 1).decode


@given(COUNTS, COUNTS)
def test_every_stage_has_a_thread_and_the_encoder_the_most(count, streams):
    budget = thread_budget(count, streams)
    assert min(budget.decode, budget.infer, budget.encode, budget.compose) >= 1
    assert budget.encode >= max(budget.decode, budget.compose)
    assert budget.encode <= max(1, count // streams)
    assert budget.total(streams) == budget.infer + streams * (budget.decode + budget.encode + budget.compose)


@given(COUNTS, COUNTS)
def test_threads_exceed_the_cores_by_little(count, streams):
    """One waiting thread per stage and stream may be too many; never a multiple of the cores beyond that."""
    budget = thread_budget(count, streams)
    assert budget.total(streams) <= 2 * max(count, streams) + 2 * streams + 1


@given(COUNTS, COUNTS)
def test_more_cores_never_mean_fewer_threads(count, streams):
    less, more = thread_budget(count, streams), thread_budget(count + 1, streams)
    assert all(getattr(more, name) >= getattr(less, name) for name in ("decode", "infer", "encode", "compose"))


@pytest.mark.parametrize(("count", "streams"), [(0, 1), (1, 0), (-1, 1)])
def test_nothing_cannot_be_divided(count, streams):
    with pytest.raises(ValueError, match="at least 1"):
        thread_budget(count, streams)


def group(root: Path, path: str, **files: str) -> None:
    folder = root / path
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / name.replace("__", ".")).write_text(text)


def test_no_quota_is_no_limit(tmp_path):
    own = tmp_path / "self"
    own.write_text("0::/user.slice\n")
    assert cgroup_quota(tmp_path / "none", own) is None
    group(tmp_path / "fs", "user.slice", cpu__max="max 100000\n")
    assert cgroup_quota(tmp_path / "fs", own) is None
    assert cgroup_quota(tmp_path / "fs", tmp_path / "missing") is None


def test_the_tightest_group_above_counts(tmp_path):
    own = tmp_path / "self"
    own.write_text("0::/a/b\n")
    root = tmp_path / "fs"
    group(root, "a/b", cpu__max="max 100000\n")
    group(root, "a", cpu__max="150000 100000\n")
    group(root, "", cpu__max="400000 100000\n")
    assert cgroup_quota(root, own) == 1.5


def test_version_one_and_containers(tmp_path):
    own = tmp_path / "self"
    own.write_text("7:memory:/x\n4:cpu,cpuacct:/docker/abc\n")
    root = tmp_path / "fs"
    group(root, "cpu,cpuacct", cpu__cfs_quota_us="-1\n", cpu__cfs_period_us="100000\n")
    group(root, "cpu,cpuacct/docker/abc", cpu__cfs_quota_us="50000\n", cpu__cfs_period_us="100000\n")
    assert cgroup_quota(root, own) == 0.5
    # inside a container the own group is mounted as the root, so its path leads nowhere
    own.write_text("0::/docker/abc\n")
    group(tmp_path / "inner", "", cpu__max="200000 100000\n")
    assert cgroup_quota(tmp_path / "inner", own) == 2.0


@pytest.mark.parametrize("text", ["", "max", "0 100000", "100000 0", "a b", "-1 100000", "1 2 3"])
def test_unreadable_quotas_are_no_limit(tmp_path, text):
    own = tmp_path / "self"
    own.write_text("0::/../../etc\nnonsense\n")
    group(tmp_path / "fs", "", cpu__max=text)
    assert cgroup_quota(tmp_path / "fs", own) is None


def test_cores_follow_affinity_and_quota(monkeypatch):
    module = __import__("sys").modules["dualface_ray.hardware.cores"]
    for affinity, quota, expected in [
        ({0, 1, 2}, None, 3),
        ({0, 1, 2, 3}, 1.5, 2),
        ({0}, 8.0, 1),
        ({0, 1}, 0.2, 1),
    ]:
        monkeypatch.setattr(os, "sched_getaffinity", lambda pid, value=affinity: value)
        monkeypatch.setattr(module, "cgroup_quota", lambda value=quota: value)
        assert cores_function() == expected


def test_this_machine():
    assert 1 <= cores() <= (os.cpu_count() or 1)
    space = memory()
    assert space is not None
    assert 0 < space.free_bytes <= space.total_bytes
    shm = shared_memory()
    assert shm is not None
    assert 0 <= shm.free_bytes <= shm.total_bytes


def test_absent_things_are_none(tmp_path):
    assert shared_memory(tmp_path / "none") is None
    assert memory(tmp_path / "none") is None
    (tmp_path / "meminfo").write_text("MemTotal: 12 kB\nHugePages_Total: 0\n")
    assert memory(tmp_path / "meminfo") is None


class NvmlError(Exception):
    pass


def nvml(count: int = 2, fail: str = "") -> types.SimpleNamespace:
    """A double with NVML's calls, as old versions (bytes) and new ones (str) answer."""
    closed: list[bool] = []

    def call(name, value):
        def answer(*_args):
            if name == fail:
                raise NvmlError(name)
            return value

        return answer

    return types.SimpleNamespace(
        NVMLError=NvmlError,
        closed=closed,
        nvmlInit=call("nvmlInit", None),
        nvmlShutdown=lambda: closed.append(True),
        nvmlSystemGetDriverVersion=call("driver", b"580.1"),
        nvmlDeviceGetCount=call("count", count),
        nvmlDeviceGetHandleByIndex=lambda index: index,
        nvmlDeviceGetName=call("name", "Card"),
        nvmlDeviceGetUUID=call("uuid", b"GPU-1"),
        nvmlDeviceGetMemoryInfo=call("memory", types.SimpleNamespace(total=1 << 34)),
    )


def test_cards_as_nvml_sees_them():
    library = nvml()
    cards = gpus(library)
    assert [card.index for card in cards] == [0, 1]
    assert (cards[0].name, cards[0].uuid, cards[0].driver) == ("Card", "GPU-1", "580.1")
    assert cards[0].memory_bytes == 1 << 34
    assert library.closed == [True]
    assert gpus(nvml(count=0)) == ()


@pytest.mark.parametrize("call", ["nvmlInit", "driver", "count", "name", "memory"])
def test_a_broken_driver_means_no_cards(call):
    library = nvml(fail=call)
    assert gpus(library) == ()
    assert library.closed == ([] if call == "nvmlInit" else [True])


def test_a_card_that_fell_off_the_bus_does_not_hide_the_other():
    library = nvml()

    def lost(index):
        if index == 0:
            raise NvmlError("GPU is lost")
        return index

    library.nvmlDeviceGetHandleByIndex = lost
    assert [card.index for card in gpus(library)] == [1]
