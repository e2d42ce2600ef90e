"""DecoderActor: the Ray shell of a DecodeService."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import ray

from actors.decoding import DecodeLinks, DecodeService
from actors.messages import ActorStatus, SegmentJob, StreamKey
from actors.outbox import Outbox
from actors.placement import LanePlan
from dualface_ray.backends import limit_library_threads, load_backend
from dualface_ray.errors import ActorError
from dualface_ray.frames import ArenaHandle, Credit
from dualface_ray.settings import Settings


@ray.remote(max_restarts=0)
class DecoderActor:
    """Shell: every method hands over to the service and returns at once."""

    def __init__(self, plan: LanePlan, settings: Settings) -> None:
        self._plan = plan
        self._settings = plan.adapted(settings)
        self._service: DecodeService | None = None
        self._outbox = Outbox("inference")

    def prepare(self) -> None:
        """Allocate the pool; typed errors reach the lane (a failing constructor would only say that it failed)."""
        limit_library_threads(self._plan.threads.decode)
        self._service = DecodeService(
            load_backend(self._plan.backend, self._plan.device_plan("decoder")),
            self._settings,
            pool_bytes=self._plan.pool_bytes,
            pool_slots=self._plan.pool_slots,
            threads=self._plan.threads.decode,
        )
        self._service.scratch.sweep()

    def export_pool(self) -> ArenaHandle:
        """The pool's handle; its object reference is given to the importers."""
        return self._ready().handle

    def seal(self, *_attached: None) -> None:
        """See DecodeService; the arguments make Ray wait until the consumers have mapped the pool."""
        self._ready().seal()

    def connect(self, inference: Any) -> None:
        """Chunks go to the inference actor."""
        send = self._outbox.sent
        self._ready().connect(
            DecodeLinks(
                opened=lambda message: send(inference.opened.remote(message)),
                chunk=lambda message: send(inference.chunk.remote(message)),
            )
        )

    def open(self, job: SegmentJob, _encoder_knows: None) -> None:
        """See DecodeService; the second argument makes Ray wait until the encoder knows the job."""
        self._ready().open(job)

    def prefetch(self, job: SegmentJob) -> None:
        """See DecodeService."""
        self._ready().prefetch(job)

    def grant(self, credit: Credit) -> None:
        """See DecodeService."""
        self._ready().grant(credit)

    def release(self, key: StreamKey) -> None:
        """See DecodeService."""
        self._ready().release(key)

    def status(self) -> ActorStatus:
        """See DecodeService; with faults of calls to the inference actor."""
        return replace(self._ready().status(), failure=self._outbox.check())

    def close(self) -> None:
        """Free the pool; the consumers have closed theirs before."""
        if self._service is not None:
            self._service.close()

    def _ready(self) -> DecodeService:
        if self._service is None:
            raise ActorError("prepare() was not called or failed", where="decoder")
        return self._service
