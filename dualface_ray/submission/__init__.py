"""Submission: a job that runs on a cluster and outlives whoever sent it.

    inputs, output, settings ──► Order ──► `python -m dualface_ray run …` ──┐
    --working-dir ──► package (zip, within Ray's limits) ───────────────────┤
    address, token ──► Cluster (JobSubmissionClient, errors as one line) ◄──┘
                          └──► Submission: status, logs, wait, stop; another process finds it by its id

What a job does is the business of ``run`` on the cluster: this room may not know videos, lanes or actors, and opens
none of the inputs, since their paths are those of the cluster's nodes.
"""

from __future__ import annotations

from dualface_ray.submission.cluster import Cluster, dashboard_address
from dualface_ray.submission.handle import Outcome, Submission, send, submit
from dualface_ray.submission.order import Order, new_id
from dualface_ray.submission.package import pack

__all__ = ["Cluster", "Order", "Outcome", "Submission", "dashboard_address", "new_id", "pack", "send", "submit"]
