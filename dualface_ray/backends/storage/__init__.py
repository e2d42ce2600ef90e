"""Storage: inputs and outputs that are addresses, and where they lie meanwhile.

    s3:// gs:// ──► BucketStore ─┐
    https://    ──► WebStore ────┴─► examine, fetch ─► ScratchStore ─► a local file for the lane
    finished local files ─► publish (the report last) ─► s3:// gs://       RemoteLock: one job a folder

``file://`` addresses are local paths and never come here. Errors are translated, without a secret of any address in
them. May not know videos, jobs or actors.
"""

from __future__ import annotations

from dualface_ray.backends.storage.faults import StoreFault, again, input_fault, request_fault
from dualface_ray.backends.storage.lock import RemoteLock
from dualface_ray.backends.storage.patience import Patience
from dualface_ray.backends.storage.ports import RemoteFile, Store
from dualface_ray.backends.storage.reader import RemoteReader
from dualface_ray.backends.storage.scratch import ScratchStore, scratch_input, scratch_outputs, scratch_root
from dualface_ray.backends.storage.transfer import examine, fetch, open_store, publish, publish_bytes, withdraw

__all__ = [
    "Patience",
    "RemoteFile",
    "RemoteLock",
    "RemoteReader",
    "ScratchStore",
    "Store",
    "StoreFault",
    "again",
    "examine",
    "fetch",
    "input_fault",
    "open_store",
    "publish",
    "publish_bytes",
    "request_fault",
    "scratch_input",
    "scratch_outputs",
    "scratch_root",
    "withdraw",
]
