"""Witness: does every node see the same input and output folders? Asked before anything is given to a lane there.

    marker in each output folder, size of one file of each input folder ─► a tiny task on the node ─► what it misses

A folder that is not shared is so found within seconds, and by name, not by a thousand failing videos.
"""

from __future__ import annotations

import contextlib
import secrets
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ray
import ray.exceptions
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from dualface_ray.errors import ActorError, RequestError
from dualface_ray.report import VideoTask

ANSWER_TIMEOUT_S = 120.0
"""A node starts a process and answers in two or three seconds, unless it is very busy; one that misses a folder says so
then, so this is only for nodes that do not answer at all."""
_MOST = 64
"""Folders asked for at most: with more, those left out lie beside these."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """What a node should see."""

    markers: tuple[tuple[str, str], ...]
    """Files and their content."""
    inputs: tuple[tuple[str, int], ...]
    """Files and their sizes."""


Poll = Callable[[], "list[str] | None"]
"""None while there is no answer yet; what the node misses, one sentence each. Raises ActorError: it cannot be asked."""
Ask = Callable[[str, Evidence], Poll]


def missing(evidence: Evidence) -> list[str]:
    """What of it cannot be seen from here."""
    found = []
    for name, content in evidence.markers:
        try:
            same = Path(name).read_text() == content
        except OSError:
            same = False
        if not same:
            found.append(f"does not see what is written to {Path(name).parent}")
    for name, size in evidence.inputs:
        try:
            seen: int | None = Path(name).stat().st_size
        except OSError:
            seen = None
        if seen is None:
            found.append(f"does not see {name}")
        elif seen != size:
            found.append(f"sees another {name} ({seen} instead of {size} bytes)")
    return found


def ask_node(node_id: str, evidence: Evidence) -> Poll:
    """Ask a node of this Ray cluster."""
    strategy = NodeAffinitySchedulingStrategy(node_id, soft=False)
    task: Any = ray.remote(missing).options(num_cpus=0, max_retries=1, scheduling_strategy=strategy)
    reference = task.remote(evidence)

    def poll() -> list[str] | None:
        if not ray.wait([reference], timeout=0)[0]:
            return None
        try:
            answer: list[str] = ray.get(reference, timeout=0)
        except ray.exceptions.RayError as error:
            raise ActorError(f"cannot be asked what it sees ({type(error).__name__})") from error
        return answer

    return poll


class Witness:
    """Asks each node once.

    Args:
        tasks: videos of the job; those fetched from and published to URLs need no shared folder.
        home: node of the job itself, which sees what it writes.
        ask: how a node is asked.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        tasks: Sequence[VideoTask],
        home: str,
        ask: Ask = ask_node,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._tasks = tasks
        self._verdicts: dict[str, str | None] = {home: "", "": ""}
        self._open: dict[str, tuple[Poll, float]] = {}
        self.mute: set[str] = set()
        """Nodes that could not be asked, or have not answered: something is wrong with them, not with the folders."""
        self._ask = ask
        self._clock = clock
        self._token = secrets.token_hex(8)
        self._evidence: Evidence | None = None

    def verdict(self, node_id: str) -> str | None:
        """Empty = it sees everything; a sentence = it does not; None = it has not answered yet."""
        if node_id not in self._verdicts:
            self._verdicts[node_id] = None
            self._open[node_id] = (self._ask(node_id, self._laid_out()), self._clock() + ANSWER_TIMEOUT_S)
        if node_id in self._open:
            poll, deadline_s = self._open[node_id]
            try:
                answer = poll()
                if answer is None and self._clock() > deadline_s:
                    raise ActorError(f"has not said within {ANSWER_TIMEOUT_S:g} s what it sees")
            except ActorError as error:
                answer = [error.what]
                self.mute.add(node_id)
            if answer is not None:
                del self._open[node_id]
                self._verdicts[node_id] = "; ".join(answer[:3])
                self._clear_away()
        return self._verdicts[node_id]

    def close(self) -> None:
        """Nothing is asked any more."""
        self._open.clear()
        self._clear_away()

    def _laid_out(self) -> Evidence:
        if self._evidence is None:
            folders = _topmost({task.outputs.report.parent for task in self._tasks if not task.publish})
            markers = []
            for folder in folders[:_MOST]:
                path = folder / f".dualface-{self._token}.marker"
                try:
                    folder.mkdir(parents=True, exist_ok=True)
                    path.write_text(self._token)
                except OSError as error:
                    raise RequestError(f"cannot be written ({error.strerror})", where=str(folder)) from error
                markers.append((str(path), self._token))
            firsts: dict[Path, Path] = {}
            for task in self._tasks:
                if not task.origin:
                    firsts.setdefault(task.source.parent, task.source)
            inputs = []
            for path in list(firsts.values())[:_MOST]:
                with contextlib.suppress(OSError):
                    inputs.append((str(path), path.stat().st_size))
            self._evidence = Evidence(tuple(markers), tuple(inputs))
        return self._evidence

    def _clear_away(self) -> None:
        if self._evidence is not None and not self._open:
            for name, _ in self._evidence.markers:
                Path(name).unlink(missing_ok=True)
            self._evidence = None


def not_shared(node: str, what: str) -> RequestError:
    """The error of a job whose folders are not shared."""
    return RequestError(
        f"node {node} {what}",
        where="this cluster",
        remedy="Mount the folder there under the same path, or use URLs that every node reaches.",
    )


def _topmost(folders: set[Path]) -> list[Path]:
    """Folders that lie below no other of them."""
    found: list[Path] = []
    for folder in sorted({folder.absolute() for folder in folders}):
        if not any(folder.is_relative_to(above) for above in found):
            found.append(folder)
    return found
