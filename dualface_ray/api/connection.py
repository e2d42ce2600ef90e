"""Connection: which Ray a job uses, and how a private one is started.

one that is connected ─► else --address, RAY_ADDRESS: joined ─► else a private one, its processes in groups of their own
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
import sys
import threading
from collections.abc import Iterator
from types import FrameType
from typing import Any

from dualface_ray.api.temporary import check_temporary
from dualface_ray.errors import ClusterError
from dualface_ray.hardware import Declared, cores, declared
from dualface_ray.settings import Settings

CONNECT_TIMEOUT_S = 5.0
OBJECT_STORE_BYTES = 100 * 1024 * 1024


def is_shared(address: str | None) -> bool:
    """Whether other machines may work on the job, so that a relative path would mean something else there."""
    ray = sys.modules.get("ray")  # importing it takes a second, and a job that is done already needs none
    if ray is not None and ray.is_initialized():
        return len([node for node in ray.nodes() if node["Alive"]]) > 1
    return (address or os.environ.get("RAY_ADDRESS") or "local") != "local"


def connect(settings: Settings, address: str | None = None) -> None:
    """Use the Ray that is connected already, the one at ``address`` or ``RAY_ADDRESS``, else start a private one.

    A private Ray has no dashboard and a small object store, since pixels never enter it, and it never joins a cluster
    that happens to run on this machine. What this process does on SIGTERM stays as it was.

    Raises:
        ClusterError: nobody listens at the address, or whoever does lets us not in.
        ResourceError: a private Ray cannot start where temporary files go.
    """
    import ray

    if ray.is_initialized():
        return
    target = address or os.environ.get("RAY_ADDRESS")
    logs = bool(os.environ.get("DUALFACE_DEBUG"))
    if target:
        _check_listener(target)
        try:
            with _uninterrupted():
                ray.init(address=target, log_to_driver=logs, logging_level="ERROR")
        except (ConnectionError, RuntimeError, ray.exceptions.RayError) as error:  # no token, version, auto and nobody
            raise ClusterError(
                f"this Ray cannot be joined ({' '.join(str(error).split())[:300]})",
                where=target,
                remedy="Check that it runs and is of the same version, and that its token is where Ray looks for it "
                "(RAY_AUTH_TOKEN, ~/.ray/auth_token; with RAY_AUTH_MODE=token).",
            ) from error
        return
    check_temporary()
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    # On a cluster whoever starts a node declares what its cards may do; here that is us.
    own = declared(settings.lane.profile) if settings.lane.backend != "cpu" else Declared({}, {})
    with _uninterrupted(), _children.apart():
        ray.init(
            address="local",
            resources=own.resources,
            labels=own.labels,
            num_gpus=own.cards,  # Ray counts cards: not the instances that are named, and one even where none is left
            num_cpus=max(cores(), settings.lane.cores * max(1, settings.lane.count)),
            include_dashboard=False,
            object_store_memory=OBJECT_STORE_BYTES,
            log_to_driver=logs,
            logging_level="ERROR",
        )


def _check_listener(address: str) -> None:
    """Ray itself tries for minutes before it says that nobody is there."""
    place = re.fullmatch(r"(?:ray://)?(\[[^\]]+\]|[^:/]+):(\d{1,5})", address)
    if place is None:
        return  # auto, local: Ray knows where
    try:
        socket.create_connection((place[1].strip("[]"), int(place[2])), CONNECT_TIMEOUT_S).close()
    except (OSError, OverflowError) as error:
        raise ClusterError(
            f"no Ray answers there ({error})",
            where=address,
            remedy="Check the address (ray status on the head shows it); for a private Ray name no address=, nor "
            "RAY_ADDRESS.",
        ) from error


@contextlib.contextmanager
def _uninterrupted() -> Iterator[None]:
    """A wish to stop waits until Ray has started: half connected, it crashes when the interpreter ends.

    A second one does not wait. Ray replaces the handler of SIGTERM, in Python and once more below it, where a stack is
    printed instead; the caller's own is kept. Where there was none, the one that Ray sets stays: with SystemExit its
    processes end, too.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    ours = {number: handler for number, handler in before.items() if callable(handler)}
    heard: list[int] = []

    def note(number: int, frame: FrameType | None) -> None:
        heard.append(number)
        if len(heard) > 1:
            ours[signal.Signals(number)](number, frame)

    real = signal.signal

    def keeping(number: int, handler: Any) -> Any:
        return real(number, note if number == signal.SIGTERM and number in ours else handler)

    for number in ours:
        real(number, note)
    signal.signal = keeping  # type: ignore[assignment]
    try:
        yield
    finally:
        signal.signal = real
        for number, handler in ours.items():
            real(number, handler)
        if signal.SIGTERM not in ours:
            real(signal.SIGTERM, signal.getsignal(signal.SIGTERM))
        if len(heard) == 1:
            ours[signal.Signals(heard[0])](heard[0], None)


class _Children:
    """Puts each process that is started within ``apart`` into a process group of its own, with no signal blocked.

    Ctrl-Z, a terminal that is closed and ``timeout`` reach a whole group at once. Ray's processes must outlive the
    signal, else there is nobody left to stop the job in order, and this process waits for a minute before it is ended
    from below; and they must go on where only this process is stopped, for they take each other for dead after a while.
    """

    def __init__(self) -> None:
        self._registered = self._starting = False

    @contextlib.contextmanager
    def apart(self) -> Iterator[None]:
        """Within this block."""
        if not self._registered:
            os.register_at_fork(after_in_child=self._leave)
            self._registered = True
        self._starting = True
        try:
            yield
        finally:
            self._starting = False

    def _leave(self) -> None:
        """In the child, before its program begins; of those that are to run code of Python's there, as Ray's are."""
        if self._starting:
            os.setpgid(0, 0)
            signal.pthread_sigmask(signal.SIG_SETMASK, ())


_children = _Children()
