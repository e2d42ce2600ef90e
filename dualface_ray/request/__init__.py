"""Request: checks a job completely and names its outputs, before Ray starts and before anything is written.

    what was named ─► places (found, checked) ─► plan_outputs ─► preparing ─► VideoTask: to do, done, failed
                                   a few threads (waiting): examining ─┤
                                       what earlier runs left: earlier ─┘

It may not know Ray, lanes or actors, nor write to an output folder: reports of what it refuses are the job's business.
"""

from __future__ import annotations

from dualface_ray.request.places import Inputs
from dualface_ray.request.preparing import prepare, refused, settle

__all__ = ["Inputs", "prepare", "refused", "settle"]
