"""The killer: finds the actors of lanes below this process and ends a random one again and again."""

from __future__ import annotations

import random
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from dualface_ray.errors import DeviceError

ROLES = ("DecoderActor", "InferenceActor", "EncoderActor")
"""The actors of a lane."""


class Killer:
    """Kills a random actor of a random lane again and again, below this process.

    Args:
        every_s: on average; pauses lie between half of it and one and a half.
        chance: where the choice comes from.
    """

    def __init__(self, every_s: float, chance: random.Random) -> None:
        self.killed: list[str] = []
        self._every_s = every_s
        self._chance = chance
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="chaos", daemon=True)

    @contextmanager
    def at_work(self) -> Iterator[None]:
        """Kill while this lasts."""
        self._thread.start()
        try:
            yield
        finally:
            self._stop.set()
            self._thread.join()

    def _run(self) -> None:
        while not self._stop.wait(self._every_s * self._chance.uniform(0.5, 1.5)):
            actors = sorted(actor_processes(), key=lambda found: (found[0], found[1].pid))
            if not actors or self._stop.is_set():
                continue
            role, process = self._chance.choice(actors)
            try:
                process.kill()
            except need_psutil().Error:
                continue
            self.killed.append(role)


def actor_processes() -> list[tuple[str, Any]]:
    """Actors of lanes below this process, with their kind."""
    psutil = need_psutil()
    found = []
    try:
        below = psutil.Process().children(recursive=True)
    except psutil.NoSuchProcess:  # one has ended while they were listed
        return actor_processes()
    for process in below:
        try:
            line = " ".join(process.cmdline())
        except psutil.Error:
            continue
        found += [(role, process) for role in ROLES if line.startswith(f"ray::{role}")]
    return found


def need_psutil() -> Any:
    """The module psutil.

    Raises:
        DeviceError: it is not installed.
    """
    try:
        import psutil
    except ImportError as error:
        raise DeviceError(
            "psutil is not installed", where="bench chaos", remedy="pip install 'dualface-ray[dev]'."
        ) from error
    return psutil
