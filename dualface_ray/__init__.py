"""Two faces in, one split screen out.

    from dualface_ray import run
    job = run("talk.mp4", layout="stacked")
    job.wait()

Names arrive when they are first used, so importing the package costs nothing and starts nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dualface_ray.api import Job, run
    from dualface_ray.errors import DualfaceError
    from dualface_ray.report import JobSnapshot
    from dualface_ray.settings import Settings, resolve
    from dualface_ray.submission import Submission, submit

__version__ = "0.1.0"
__all__ = ["DualfaceError", "Job", "JobSnapshot", "Settings", "Submission", "resolve", "run", "submit"]

_HOMES = {
    "DualfaceError": "dualface_ray.errors",
    "Job": "dualface_ray.api",
    "JobSnapshot": "dualface_ray.report",
    "Settings": "dualface_ray.settings",
    "Submission": "dualface_ray.submission",
    "resolve": "dualface_ray.settings",
    "run": "dualface_ray.api",
    "submit": "dualface_ray.submission",
}


def __getattr__(name: str) -> Any:
    """Bring a public name in when it is first asked for (PEP 562)."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(_HOMES[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
