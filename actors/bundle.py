"""Bundle: a lane's room in the cluster and the actors in it, from the reservation to the end of the last process.

reserved ─► placed ─► InferenceActor builds its engines (cards only) ─► all actors: prepare, attach the pools, connect
              └─ not in time: the lane gives up                          └─ nothing is awaited any more: ready
"""

from __future__ import annotations

import math
import time
from typing import Any

import ray
from ray.util.placement_group import placement_group, remove_placement_group
from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

from actors.decoder import DecoderActor
from actors.encoder import EncoderActor
from actors.inference import InferenceActor
from actors.placement import LanePlan
from dualface_ray.settings import Settings

CLOSE_TIMEOUT_S = 10.0
ANSWER_TIMEOUT_S = 10.0


class Bundle:
    """One placement group with the actors that a plan asks for; no method blocks but ``close``.

    Args:
        plan: what is reserved, and how many actors share it.
        settings: of the job, for the actors.
        name: of the placement group.

    Attributes:
        actors: by name: inference, decoder-0, encoder-0, ...; filled by ``start``.
        step: the last line of what is made before the start, such as engines.
    """

    def __init__(self, plan: LanePlan, settings: Settings, name: str) -> None:
        self.actors: dict[str, Any] = {}
        self.step = ""
        self._plan = plan
        self._settings = settings
        self._group = placement_group(
            [plan.bundle], strategy="STRICT_PACK", name=name, bundle_label_selector=plan.label_selector
        )
        self._placed = self._group.ready()
        self._starting: dict[Any, str] = {}
        """What is still awaited of which actor."""
        self._building: Any = None
        """Lines of what the lane makes before it starts, such as engines."""

    def placed(self) -> bool:
        """Whether Ray has found room for it."""
        return is_done(self._placed)

    def free(self) -> str:
        """What the cluster has left at this moment of what it asks for."""
        available = ray.available_resources()
        return ", ".join(f"{name} {available.get(name, 0):g}" for name in self._plan.bundle)

    def start(self) -> None:
        """Create the actors in it, once it is placed."""
        inference = self._create("inference", InferenceActor)
        if self._plan.gpus:  # engines before anything else takes memory of the card
            self._building = inference.build.options(num_returns="streaming").remote()
        else:
            self._start_rest()

    def awaited(self) -> set[str]:
        """Move the start on as far as possible.

        Returns:
            names of the actors that have not answered yet; none = all are ready.

        Raises:
            RayError: an actor failed, with its own error as cause, or died.
        """
        if self._building is not None:
            if not self._built():
                return {"inference"}
            self._building = None
            self._start_rest()
        done, left = ray.wait(list(self._starting), num_returns=len(self._starting), timeout=0)
        ray.get(done, timeout=0)
        self._starting = {reference: self._starting[reference] for reference in left}
        return set(self._starting.values())

    def close(self, *, graceful: bool) -> None:
        """End each actor: consumers before the pool's owner, then give the room back.

        Args:
            graceful: call each actor's own ``close`` first; else nothing is waited for.
        """
        end_s = time.monotonic() + CLOSE_TIMEOUT_S
        try:
            for role in ("encoder", "inference", "decoder"):
                actors = [actor for name, actor in self.actors.items() if name.startswith(role)]
                if graceful and actors:
                    left_s = max(0.0, end_s - time.monotonic())
                    ray.wait([a.close.remote() for a in actors], num_returns=len(actors), timeout=left_s)
                for actor in actors:
                    ray.kill(actor, no_restart=True)
        finally:  # with it Ray ends whatever is left in it
            self.actors.clear()
            remove_placement_group(self._group)

    # --- inside ---------------------------------------------------------------------------------------------------
    def _start_rest(self) -> None:
        inference = self.actors["inference"]
        decoders = [self._create(f"decoder-{number}", DecoderActor) for number in range(self._plan.decoders)]
        encoders = [self._create(f"encoder-{number}", EncoderActor) for number in range(self._plan.encoders)]
        self._starting = {actor.prepare.remote(): name for name, actor in self.actors.items()}
        for number, decoder in enumerate(decoders):
            handle = decoder.export_pool.remote()  # exported once; Ray resolves the reference for every importer
            attached = {inference.attach.remote(handle): "inference"}
            attached |= {encoder.attach.remote(handle): f"encoder-{n}" for n, encoder in enumerate(encoders)}
            ends = (decoder.seal.remote(*attached), decoder.connect.remote(inference))
            self._starting |= {**attached, **dict.fromkeys(ends, f"decoder-{number}")}
        provenance = inference.provenance.remote()
        self._starting[inference.connect.remote(*encoders)] = "inference"
        for number, encoder in enumerate(encoders):
            self._starting[encoder.connect.remote(inference, provenance, *decoders)] = f"encoder-{number}"

    def _create(self, name: str, actor_class: Any) -> Any:
        """Create an actor in the bundle; all of them share its cores and its device equally."""
        plan = self._plan
        share = 1 / (plan.decoders + 1 + plan.encoders)
        strategy = PlacementGroupSchedulingStrategy(self._group, placement_group_bundle_index=0)
        actor = actor_class.options(
            num_cpus=_part(plan.cores * share), num_gpus=_part(plan.gpus * share), scheduling_strategy=strategy
        ).remote(plan, self._settings)
        self.actors[name] = actor
        return actor

    def _built(self) -> bool:
        """Hear what has been said of the building; True when it has ended. Its error is raised."""
        while is_done(self._building):
            line = next(self._building, None)
            if line is None:
                return True
            self.step = str(ray.get(line, timeout=ANSWER_TIMEOUT_S))
        return False


def is_done(reference: Any) -> bool:
    """Whether a call has answered, or a generator has its next line or its end."""
    return bool(ray.wait([reference], timeout=0)[0])


def _part(amount: float) -> float:
    """A fraction of a resource as Ray counts it (to 1/10000), rounded down so that all parts fit."""
    return math.floor(amount * 10_000) / 10_000
