"""``dualface models``: listing and fetching."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence

from dualface_ray.cli.text import shown, size
from dualface_ray.errors import RequestError


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
        state = f"cached: {cached_path(spec.name)}" if here else f"not here ({size(spec.archive_bytes)} to fetch)"
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


def _line(text: str) -> None:
    sys.stdout.write(shown(text) + "\n")
    sys.stdout.flush()
