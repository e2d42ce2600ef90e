# ruff: noqa: T201
"""What every step is made of: its place in the register, what it says, what it needs."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
"""The project's folder."""
MIB = 1 << 20

STEPS: dict[str, Callable[[Path], None]] = {}
"""Each takes the folder for its files; in the order in which they run."""
SLOW: dict[str, float] = {}
"""Seconds after which a step is ended."""
EXTRA: set[str] = set()
"""Steps that take minutes: only those that ``--only`` names are run."""


def step(limit_s: float = 60.0, *, extra: bool = False) -> Callable[[Callable[[Path], None]], Callable[[Path], None]]:
    """Register a step; its name is the function's."""

    def register(function: Callable[[Path], None]) -> Callable[[Path], None]:
        STEPS[function.__name__] = function
        SLOW[function.__name__] = limit_s
        if extra:
            EXTRA.add(function.__name__)
        return function

    return register


def say(*parts: object) -> None:
    """A line of the step's log."""
    print("   ", *parts, flush=True)


def need(condition: object, what: str) -> None:
    """End the step, unless this holds."""
    if not condition:
        raise AssertionError(what)


@contextmanager
def clock(what: str) -> Iterator[None]:
    """Say how long this took."""
    started = time.perf_counter()
    yield
    say(f"{what}: {time.perf_counter() - started:.3f} s")


def psnr(first: Any, second: Any) -> float:
    """How near pictures of 8 bits are, in dB; equal ones 99."""
    import numpy as np

    error = float(np.mean((first.astype(np.float64) - second.astype(np.float64)) ** 2))
    return 99.0 if error == 0 else float(10 * np.log10(255**2 / error))
