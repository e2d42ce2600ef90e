"""The door to the CUDA libraries: which card this process is on, and what CUDA's refusals mean for the user."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import host_cupy
import pytest

from dualface_ray.backends.cuda import vendor
from dualface_ray.backends.cuda.gate import gate_folder
from dualface_ray.errors import DeviceError

INSTANCE = "c6d4f1ef-42e4-5de3-91c7-45d71c87eb3f"


@pytest.fixture
def cupy(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    yield host_cupy.install(monkeypatch)
    host_cupy.remove()


@pytest.mark.parametrize(
    ("given", "named"),
    [
        (None, b"u" * 16),
        ("0", b"u" * 16),
        ("GPU-c6d4f1ef", b"u" * 16),
        (f"MIG-{INSTANCE}", uuid.UUID(INSTANCE).bytes),
        (f" MIG-{INSTANCE}, MIG-other", uuid.UUID(INSTANCE).bytes),
        (f"MIG-GPU-{INSTANCE}/1/0", b"u" * 16),
        ("MIG-", b"u" * 16),
    ],
)
@pytest.mark.usefixtures("cupy")
def test_lanes_on_instances_of_one_card_do_not_take_one_another_for_themselves(
    monkeypatch: pytest.MonkeyPatch, given: str | None, named: bytes
) -> None:
    """CUDA may tell the card's UUID for each of them; sessions are counted, and pools known, by it."""
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if given is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", given)
    assert vendor.device().uuid == named
    assert gate_folder(vendor.device().uuid).name.endswith(named.hex())


@pytest.mark.parametrize(
    "words",
    [
        "cudaErrorDevicesUnavailable: CUDA-capable device(s) is/are busy or unavailable",
        "CUDA_ERROR_DEVICE_UNAVAILABLE: CUDA-capable device(s) is/are busy or unavailable",
    ],
)
def test_an_exclusive_card_that_a_lane_cannot_share_is_one_line(
    cupy: Any, monkeypatch: pytest.MonkeyPatch, words: str
) -> None:
    def refuse(address: int) -> None:
        raise RuntimeError(words)

    monkeypatch.setattr(cupy.cuda.runtime, "free", refuse, raising=False)
    with pytest.raises(DeviceError, match=r"takes no further process .* -c DEFAULT.*MPS") as caught:
        vendor.enter_device()
    assert "\n" not in str(caught.value)


def test_without_a_card_the_variable_and_the_doctor_are_named(cupy: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def none() -> int:
        raise RuntimeError("cudaErrorNoDevice: no CUDA-capable device is detected")

    monkeypatch.setattr(cupy.cuda.runtime, "getDeviceCount", none, raising=False)
    with pytest.raises(DeviceError, match=r"cudaErrorNoDevice.*CUDA_VISIBLE_DEVICES.*doctor.*lane.backend=cpu"):
        vendor.cupy()


def test_a_jetson_is_told_that_it_has_no_video_codec_sdk(monkeypatch: pytest.MonkeyPatch) -> None:
    around = vendor.surroundings()
    monkeypatch.setitem(__import__("sys").modules, "PyNvVideoCodec", None)
    vendor.video_codec.cache_clear()
    for tegra, says in ((False, "Install the GPU extra"), (True, "a Jetson's video engines")):
        monkeypatch.setattr(vendor, "surroundings", lambda tegra=tegra: replace(around, tegra=tegra))
        with pytest.raises(DeviceError, match=says):
            vendor.video_codec()
