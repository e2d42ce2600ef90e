"""``dualface models``: listing, fetching and building engines."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from dualface_ray.cli.text import shown
from dualface_ray.errors import RequestError

if TYPE_CHECKING:
    from dualface_ray.settings import Settings


def list_all(*, as_json: bool = False) -> int:
    """Print every model with its licence and whether it is in the cache; returns 0."""
    from dualface_ray.models import cached_path, is_cached, list_models

    for spec in list_models():
        here = is_cached(spec.name)
        if as_json:
            facts = {
                "name": spec.name,
                "kind": spec.kind,
                "licence": spec.licence,
                "summary": spec.summary,
                "cached": here,
                "path": str(cached_path(spec.name)),
            }
            sys.stdout.write(json.dumps(facts) + "\n")
            continue
        state = (
            f"cached: {cached_path(spec.name)}" if here else f"not here ({spec.archive_bytes / 1e6:.0f} MB to fetch)"
        )
        sys.stdout.write(f"{spec.name:<14}{spec.kind:<11}{spec.licence:<9}{shown(state)}\n")
        sys.stdout.write(f"{'':<14}{shown(spec.summary)}\n")
    return 0


def pull_some(names: Sequence[str]) -> int:
    """Fetch the named models, or all of them; returns 0.

    Raises:
        RequestError: a name is unknown; nothing was fetched.
        ModelError: a model cannot be fetched or is not what it should be.
    """
    from dualface_ray.models import list_models, pull

    known = {spec.name: spec for spec in list_models()}
    for name in names:
        if name not in known:
            raise RequestError("unknown model", where=name, remedy=f"Known are {', '.join(known)}.")
    for spec in [known[name] for name in names] or known.values():
        pull(spec.name, progress=_line)
    return 0


@dataclass(frozen=True, slots=True)
class Wanted:
    """What to build, as typed."""

    names: tuple[str, ...] = ()
    """Of registered models; empty = the detector and the face embedding of the settings."""
    precision: str = ""
    """Of the detector; empty = the settings' own."""
    clips: tuple[Path, ...] = ()
    config: Path | None = None
    sets: tuple[str, ...] = ()


def build_some(wanted: Wanted, *, as_json: bool = False) -> int:
    """Build engines for the card of this machine, the detector's for each batch its lanes are planned with; returns 0.

    Raises:
        RequestError: a name is unknown, or clips were given without int8; nothing was built.
        ProfileError: ``lane.profile`` does not exist or is not valid; nothing was built.
        ModelError: a model is missing, TensorRT refuses it, or int8 loses too much (with the figures).
        DeviceError: there is no card, or TensorRT is missing.
    """
    from dualface_ray.backends import load_backend
    from dualface_ray.models import ensure
    from dualface_ray.settings import resolve

    named: dict[str, object] = {"detect.precision": wanted.precision} if wanted.precision else {}
    settings = resolve(wanted.config, wanted.sets, **named)
    if wanted.clips and settings.detect.precision != "int8":
        raise RequestError("calibration clips are for int8", where="--clips", remedy="Add --precision int8.")
    names = _chosen(wanted.names, settings)
    batches = _batches(settings) if "detector" in names.values() else ()
    backend = cast("Any", load_backend("cuda"))  # building lies beyond the port
    for name, kind in names.items():
        say = _Said(name, as_json=as_json)
        detect, identity = settings.detect, settings.identity
        if kind == "detector":
            given = detect.model_path if name == detect.model else ""
            chosen = settings.model_copy(
                update={"detect": detect.model_copy(update={"model": name, "model_path": given})}
            )
            ensure(name, given, say)
            if wanted.clips:
                backend.make_int8(chosen, wanted.clips, say)
            paths = [path for one in _with_batches(chosen, batches) for path in backend.build_detector(one, say)]
        else:
            given = identity.embedding_path if name == identity.embedding_model else ""
            fields = {"embedding_model": name, "embedding_path": given}
            ensure(name, given, say)
            paths = backend.build_embedder(
                settings.model_copy(update={"identity": identity.model_copy(update=fields)}), say
            )
        say.ready(paths)
    return 0


def _batches(settings: Settings) -> tuple[int, ...]:
    """What lanes on this machine's card are planned with; empty where none can be planned: as the settings say then."""
    from actors.cluster.snapshot import ClusterSnapshot, NodeSnapshot
    from actors.usual import usual_batches
    from dualface_ray.errors import PlacementError
    from dualface_ray.hardware import cores, profile_named

    lane = settings.lane.model_copy(update={"backend": "cuda", "allow_unverified_profile": True, "count": 1})
    profile = profile_named(lane.profile)
    sessions = profile.node_resources(1) if profile else {}
    node = NodeSnapshot("", {"CPU": float(cores()), "GPU": 1.0, **sessions})
    try:
        return usual_batches(settings.model_copy(update={"lane": lane}), ClusterSnapshot(nodes=(node,)))
    except PlacementError:
        return ()


def _with_batches(settings: Settings, batches: Sequence[int]) -> Iterator[Settings]:
    for batch in batches or [settings.detect.batch_max]:
        yield settings.model_copy(update={"detect": settings.detect.model_copy(update={"batch_max": batch})})


def _chosen(names: Sequence[str], settings: Any) -> dict[str, str]:
    """Names and kinds of what to build."""
    from dualface_ray.models import list_models

    known: dict[str, str] = {spec.name: spec.kind for spec in list_models()}
    for name in names:
        if name not in known:
            raise RequestError("unknown model", where=name, remedy=f"Known are {', '.join(known)}.")
    if names:
        return {name: known[name] for name in names}
    found = {settings.detect.model: "detector"}
    if settings.identity.reid != "off":
        found[settings.identity.embedding_model] = "embedding"
    return found


class _Said:
    """Progress of one model: a line a step, or an event."""

    def __init__(self, name: str, *, as_json: bool) -> None:
        self._name = name
        self._as_json = as_json
        self._began_s = time.monotonic()

    def __call__(self, text: str) -> None:
        """One step."""
        self._write({"event": "step", "text": text}, text)

    def ready(self, paths: Sequence[Path]) -> None:
        """All engines of this model are in the cache."""
        names = [str(path) for path in paths]
        self._write({"event": "ready", "engines": names}, f"ready: {', '.join(names)}")

    def _write(self, event: dict[str, object], text: str) -> None:
        if self._as_json:
            seconds = round(time.monotonic() - self._began_s, 3)
            sys.stdout.write(json.dumps({"model": self._name, **event, "seconds": seconds}) + "\n")
            sys.stdout.flush()
        else:
            _line(f"{self._name}: {text}")


def _line(text: str) -> None:
    sys.stdout.write(shown(text) + "\n")
    sys.stdout.flush()
