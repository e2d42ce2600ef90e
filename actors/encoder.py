"""EncoderActor: the Ray shell of an EncodeService."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import ray

from actors.encoding import EncodeService
from actors.messages import ActorStatus, ExaminedChunk, Reply, SegmentJob, StreamKey, StreamOpened
from actors.outbox import Outbox
from actors.placement import LanePlan
from actors.work.session import SessionLinks
from dualface_ray.backends import limit_library_threads, load_backend
from dualface_ray.errors import ActorError
from dualface_ray.frames import ArenaHandle
from dualface_ray.models import Provenance
from dualface_ray.settings import Settings


@ray.remote(max_restarts=0)
class EncoderActor:
    """Shell: every method hands over to the service and returns at once."""

    def __init__(self, plan: LanePlan, settings: Settings) -> None:
        self._plan = plan
        self._settings = plan.adapted(settings)
        self._service: EncodeService | None = None
        self._to_decoder = Outbox("decoder")
        self._to_inference = Outbox("inference")

    def prepare(self) -> None:
        """Set the process up; typed errors reach the lane."""
        limit_library_threads(self._plan.threads.compose)
        backend = load_backend(self._plan.backend, self._plan.device_plan("encoder"))
        self._service = EncodeService(
            backend, self._settings, encode_threads=self._plan.threads.encode, discard=self._plan.discard
        )

    def attach(self, handle: ArenaHandle) -> None:
        """See EncodeService."""
        self._ready().attach(handle)

    def connect(self, inference: Any, provenance: Provenance, *decoders: Any) -> None:
        """Credits and releases go to the decoder that the job names, requests to the inference actor."""
        links = SessionLinks(
            credit=lambda job, credit: self._to_decoder.sent(decoders[job.decoder].grant.remote(credit)),
            release=lambda job: self._to_decoder.sent(decoders[job.decoder].release.remote(job.key)),
            request=lambda message: self._to_inference.sent(inference.request.remote(message)),
        )
        self._ready().connect(links, provenance)

    def open(self, job: SegmentJob) -> None:
        """See EncodeService."""
        self._ready().open(job)

    def opened(self, message: StreamOpened) -> None:
        """See EncodeService.post."""
        self._ready().post(message)

    def chunk(self, message: ExaminedChunk) -> None:
        """See EncodeService.post."""
        self._ready().post(message)

    def reply(self, message: Reply) -> None:
        """See EncodeService.post."""
        self._ready().post(message)

    def forget(self, key: StreamKey) -> None:
        """See EncodeService."""
        self._ready().forget(key)

    def status(self) -> ActorStatus:
        """See EncodeService; with faults of calls to the other actors."""
        status = self._ready().status()
        return replace(status, failure=self._to_decoder.check() or self._to_inference.check())

    def latency(self) -> dict[str, dict[str, float]]:
        """See EncodeService."""
        return self._ready().latency()

    def close(self) -> None:
        """Give up what still runs and unmap the pool."""
        if self._service is not None:
            self._service.close()

    def _ready(self) -> EncodeService:
        if self._service is None:
            raise ActorError("prepare() was not called or failed", where="encoder")
        return self._service
