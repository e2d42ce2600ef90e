"""InferenceActor: the Ray shell of an InferenceService."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import ray

from actors.inferring import InferenceLinks, InferenceService
from actors.messages import ActorStatus, ExaminedChunk, Request, StreamKey, StreamOpened
from actors.outbox import Outbox
from actors.placement import LanePlan
from actors.steps import lines_of
from dualface_ray.backends import limit_library_threads, load_backend
from dualface_ray.errors import ActorError
from dualface_ray.frames import ArenaHandle
from dualface_ray.models import Provenance
from dualface_ray.settings import Settings


@ray.remote(max_restarts=0)
class InferenceActor:
    """Shell: every method hands over to the service and returns at once (``prepare`` loads the model)."""

    def __init__(self, plan: LanePlan, settings: Settings) -> None:
        self._plan = plan
        self._settings = plan.adapted(settings)
        self._service: InferenceService | None = None
        self._outbox = Outbox("encoder")

    def build(self) -> Iterator[str]:
        """Make what takes minutes and is not in the cache yet, such as engines; yields a line per step."""
        backend = load_backend(self._plan.backend, self._plan.device_plan("inference"))
        yield from lines_of(lambda say: backend.prepare(self._settings, say))

    def prepare(self) -> None:
        """Load the detector; typed errors reach the lane."""
        limit_library_threads(1)
        backend = load_backend(self._plan.backend, self._plan.device_plan("inference"))
        threads = self._plan.threads.infer
        self._service = InferenceService(backend, self._settings, threads=threads, streams=self._plan.streams)

    def attach(self, handle: ArenaHandle) -> None:
        """See InferenceService."""
        self._ready().attach(handle)

    def connect(self, *encoders: Any) -> None:
        """Chunks and replies go to the encoder actor that their message names."""
        send = self._outbox.sent
        self._ready().connect(
            InferenceLinks(
                opened=lambda message: send(encoders[message.encoder].opened.remote(message)),
                chunk=lambda message: send(encoders[message.encoder].chunk.remote(message)),
                reply=lambda message: send(encoders[message.encoder].reply.remote(message)),
            )
        )

    def provenance(self) -> Provenance:
        """See InferenceService."""
        return self._ready().provenance()

    def opened(self, message: StreamOpened) -> None:
        """See InferenceService."""
        self._ready().opened(message)

    def chunk(self, message: ExaminedChunk) -> None:
        """See InferenceService."""
        self._ready().chunk(message)

    def request(self, message: Request) -> None:
        """See InferenceService."""
        self._ready().request(message)

    def forget(self, key: StreamKey) -> None:
        """See InferenceService."""
        self._ready().forget(key)

    def status(self) -> ActorStatus:
        """See InferenceService; with faults of calls to the encoder actor."""
        status = self._ready().status()
        return replace(status, failure=self._outbox.check())

    def close(self) -> None:
        """Unload the models and unmap the pool."""
        if self._service is not None:
            self._service.close()

    def _ready(self) -> InferenceService:
        if self._service is None:
            raise ActorError("prepare() was not called or failed", where="inference")
        return self._service
