"""A cluster without Ray for the tests of submission: it keeps jobs, plays their logs and fails on request."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from typing import Any

FOUND = json.dumps({"dualface": "0.1.0", "python": "3.12.3", "problem": ""})


class Status(str):
    """As Ray's: a text that knows whether it is the last one."""

    def is_terminal(self) -> bool:
        return self in ("STOPPED", "SUCCEEDED", "FAILED")


@dataclass
class Info:
    """The fields of Ray's JobDetails that are read."""

    status: Status
    message: str | None = None
    driver_exit_code: int | None = None


@dataclass
class PlayedJob:
    """What a job will say and do."""

    states: list[Info]
    log: Sequence[str | Exception] = ()
    """Pieces of the log as they come; an exception breaks the connection there, once."""
    entrypoint: str = ""
    runtime_env: dict[str, Any] = field(default_factory=dict)

    def now(self) -> Info:
        return self.states.pop(0) if len(self.states) > 1 else self.states[0]


def ended(code: int | None = 0, message: str | None = None, status: str | None = None) -> Info:
    return Info(Status(status or ("SUCCEEDED" if code == 0 else "FAILED")), message, code)


class PlayedClient:
    """Takes the place of JobSubmissionClient."""

    def __init__(self, job: PlayedJob | None = None, probe: PlayedJob | None = None) -> None:
        self.next_job = job or PlayedJob([ended()], ["hello\n"])
        self.next_probe = probe or PlayedJob([ended()], [FOUND + "\n"])
        self.jobs: dict[str, PlayedJob] = {}
        self.calls: list[str] = []
        self.fail: dict[str, Exception] = {}
        self.endless = False

    def _call(self, name: str, job_id: str) -> PlayedJob:
        self.calls.append(f"{name} {job_id}")
        if name in self.fail:
            raise self.fail[name]
        if job_id not in self.jobs:
            raise RuntimeError(f"Request failed with status code 404: Job {job_id} does not exist.")
        return self.jobs[job_id]

    def submit_job(self, *, entrypoint, submission_id, runtime_env, metadata) -> str:
        probe = "probe_of" in metadata
        job = self.next_probe if probe else self.next_job
        self.calls.append(f"submit {submission_id}")
        if "submit" in self.fail and not probe:
            raise self.fail["submit"]
        job.entrypoint, job.runtime_env = entrypoint, runtime_env
        self.jobs[submission_id] = job
        return submission_id

    def get_job_info(self, job_id: str) -> Info:
        return self._call("info", job_id).now()

    def get_job_logs(self, job_id: str) -> str:
        return "".join(text for text in self._call("logs", job_id).log if isinstance(text, str))

    def stop_job(self, job_id: str) -> bool:
        job = self._call("stop", job_id)
        running = not job.states[0].status.is_terminal()
        if running:
            job.states = [ended(None, status="STOPPED")]
        self.endless = False
        return running

    def delete_job(self, job_id: str) -> None:
        self._call("delete", job_id)
        del self.jobs[job_id]

    async def tail_job_logs(self, job_id: str) -> AsyncIterator[str]:
        job = self._call("tail", job_id)
        for index, text in enumerate(job.log):
            if isinstance(text, Exception):
                job.log = [*job.log[:index], *job.log[index + 1 :]]
                raise text
            yield text
            await asyncio.sleep(0)
        while self.endless:
            await asyncio.sleep(0.01)
