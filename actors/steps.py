"""Steps: the progress lines of long work as a generator, for calls whose caller wants to see them."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator


def lines_of(work: Callable[[Callable[[str], None]], object]) -> Iterator[str]:
    """Do this work in a thread of its own and give each line it says as it comes; its error is raised at the end.

    Args:
        work: takes the function that it tells its lines.
    """
    said: queue.SimpleQueue[str | None] = queue.SimpleQueue()
    failed: list[BaseException] = []

    def run() -> None:
        try:
            work(said.put)
        except BaseException as error:  # raised again where somebody listens
            failed.append(error)
        finally:
            said.put(None)

    thread = threading.Thread(target=run, name="steps", daemon=True)
    thread.start()
    while (line := said.get()) is not None:
        yield line
    thread.join()
    if failed:
        raise failed[0]
