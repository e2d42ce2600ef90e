"""Turns: several things measured a round after the other, so that what drifts in the machine meets all of them."""

from __future__ import annotations

import contextlib
import statistics
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from dualface_ray.errors import DualfaceError
from dualface_ray.hardware import GpuMeter

Run = tuple[float, dict[str, Any]]
"""Frames per second, and facts."""


class Runner(Protocol):
    """Something that is started once and measured several times."""

    name: str

    def start(self) -> bool:
        """Get ready; False = there is nothing to measure here."""

    def run(self, idle_bytes: int) -> Run:
        """One run; the card's memory before ``start`` is given."""

    def close(self) -> None:
        """Give everything back; harmless when called twice."""


def take_turns(
    runners: Sequence[Runner], repeats: int, *, fresh: bool, say: Callable[[str], None] = lambda line: None
) -> dict[str, list[Run]]:
    """Rates and facts by runner, a round after the other; what has nothing to measure is left out.

    A round that fails ends the measurement, and the rounds before it count: they may have taken long.

    Args:
        runners: what is measured, in this order.
        repeats: rounds.
        fresh: start everything anew for every run.
        say: gets a line about a round that failed.

    Raises:
        DualfaceError: the first round failed.
    """
    found: dict[str, list[Run]] = {}
    with contextlib.ExitStack() as stack:
        for number in range(repeats):
            try:
                measured = _round(runners, number, found, stack, fresh=fresh)
            except DualfaceError as error:
                if not number:
                    raise
                say(f"round {number + 1} of {repeats} failed and is left out, the ones before it count: {error}")
                break
            for name, run in measured.items():
                found.setdefault(name, []).append(run)
    return found


def _round(
    runners: Sequence[Runner], number: int, found: dict[str, list[Run]], stack: contextlib.ExitStack, *, fresh: bool
) -> dict[str, Run]:
    measured: dict[str, Run] = {}
    for runner in runners:
        idle = 0  # from the second round on the others are there: only the first tells what one of them takes
        if number == 0 or fresh:
            idle = _card_bytes()
            stack.callback(runner.close)
            if not runner.start():
                continue
        elif runner.name not in found:
            continue
        rate, facts = runner.run(idle)
        if not idle:
            facts.pop("vram_mib", None)
        measured[runner.name] = rate, facts
        if fresh:
            runner.close()
    return measured


def medians(runs: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Of every fact over the runs that have it; texts with slashes number by number."""
    names = dict.fromkeys(name for facts in runs for name in facts)
    result: dict[str, Any] = {}
    for name in names:
        values = [facts[name] for facts in runs if name in facts]
        if isinstance(values[0], str):
            columns = zip(*(map(float, value.split("/")) for value in values), strict=True)
            result[name] = "/".join(f"{statistics.median(column):.0f}" for column in columns)
        else:
            result[name] = round(statistics.median(values), 3)
    return result


def _card_bytes() -> int:
    """Memory in use on the card; 0 where nobody tells."""
    meter = GpuMeter.open()
    if meter is None:
        return 0
    reading = meter.read()
    meter.close()
    return 0 if reading is None else reading.memory_bytes
