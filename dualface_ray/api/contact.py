"""Contact: the job's own process, as its driver sees it.

Contact ─► JobActor on the driver's node ─► snapshot │ ActorError: it is dead, or does not answer
   end ─► the actor and, by their reservations, whatever still runs in its lanes
"""

from __future__ import annotations

import re
import secrets
import time
from collections.abc import Sequence
from typing import Any

from dualface_ray.backends.storage import scratch_root
from dualface_ray.errors import ActorError
from dualface_ray.report import JobSnapshot, VideoTask
from dualface_ray.settings import Settings

ANSWER_TIMEOUT_S = 60.0
_AGAIN_S = 0.25
_DETAIL = re.compile(r"Worker exit detail: (.+?\.)(?: There are| Some common|\s*$)", re.DOTALL)


class Contact:
    """Starts the job's process; Ray is connected.

    Args:
        tasks: of the job.
        settings: of the job.
    """

    def __init__(self, tasks: Sequence[VideoTask], settings: Settings) -> None:
        import ray
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        from actors.job import JobActor

        self._job_id = secrets.token_hex(4)
        here = ray.get_runtime_context().get_node_id()
        place = NodeAffinitySchedulingStrategy(here, soft=False)  # its manifest lies on the driver's disk
        job = ray.remote(JobActor).options(num_cpus=0, max_restarts=0, scheduling_strategy=place)
        self._actor: Any = job.remote(tasks, _with_scratch(settings), self._job_id)

    def snapshot(self) -> JobSnapshot:
        """The job as it stands now.

        Raises:
            ActorError: its process died or does not answer.
        """
        began_s, tries = time.monotonic(), 1
        while (found := self._answer()) is None:
            # asked twice at least: whoever was stopped (Ctrl-Z) meanwhile finds the time run out when it goes on
            waited_s = time.monotonic() - began_s
            if tries > 1 and waited_s >= ANSWER_TIMEOUT_S:
                raise ActorError(f"the job has not answered for {waited_s:.0f} s", where="job")
            tries += 1
            time.sleep(_AGAIN_S)
        return found

    def _answer(self) -> JobSnapshot | None:
        """None = there is none in time, or it cannot be reached just now."""
        import ray
        import ray.exceptions as faults

        try:
            found: JobSnapshot = ray.get(self._actor.snapshot.remote(), timeout=ANSWER_TIMEOUT_S / 2)
        except (faults.GetTimeoutError, faults.ActorUnavailableError):
            return None
        except faults.RayActorError as error:
            what = f"the job's process died ({_cause(str(error))})"
            raise ActorError(what, where="job", remedy="Run the same command again.") from error
        except faults.RayTaskError as error:
            raise ActorError(f"the job cannot say how it stands: {error.cause!r}", where="job") from error
        return found

    def cancel(self) -> None:
        """Ask it to stop everything that is not finished; returns at once."""
        self._actor.cancel.remote()

    def end(self, *, lanes: bool) -> None:
        """End the process at once. Harmless when called twice.

        Args:
            lanes: and what still runs in its lanes; else they are closed already.
        """
        import ray

        from actors.lane import remove_groups

        ray.kill(self._actor, no_restart=True)
        if lanes:
            remove_groups(self._job_id)  # with them Ray ends whatever is in them


def _with_scratch(settings: Settings) -> Settings:
    """The scratch folder by name, so that every node takes the one that the tasks' paths lie in."""
    storage = settings.storage.model_copy(update={"scratch_dir": str(scratch_root(settings))})
    return settings.model_copy(update={"storage": storage})


def _cause(text: str) -> str:
    """What of Ray's words on a death says why; they are many, and most are the same each time."""
    detail = _DETAIL.search(text)
    lines = text.strip().splitlines() or ["unknown"]
    return " ".join((detail[1] if detail else lines[-1]).split())[:300].rstrip(".")
