"""Which Ray a job joins, and what it says when there is none."""

from __future__ import annotations

import socket

import pytest
import ray

from dualface_ray.api import connect
from dualface_ray.errors import ClusterError
from dualface_ray.settings import resolve


@pytest.fixture
def closed_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


@pytest.mark.parametrize("form", ["127.0.0.1:{}", "ray://127.0.0.1:{}"])
def test_an_address_where_nobody_listens_is_one_line_at_once(form: str, closed_port: int) -> None:
    with pytest.raises(ClusterError) as caught:
        connect(resolve(), form.format(closed_port))
    assert form.format(closed_port) in str(caught.value)
    assert "no Ray answers" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert not ray.is_initialized()


def test_an_address_that_cannot_be_is_the_same_error() -> None:
    with pytest.raises(ClusterError):
        connect(resolve(), "127.0.0.1:99999")
