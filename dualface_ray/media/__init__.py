"""Media: the ports for demux, decode, encode and mux, and the rules around files.

    file ─► probe (limits) ─► DecodeSession ─► slots ··· canvases ─► EncodeSession ─► segment ─► mux with audio ─► file
     └ check_input                                                   plan_outputs, AtomicFile, require_free ┘ plan_audio

Knows containers, codecs and atomic output as ports and rules; may not know the libraries behind them (``backends``).
"""

from __future__ import annotations

from dualface_ray.media.address import (
    address_parts,
    is_address,
    join_address,
    local_path,
    scheme_of,
    shown_address,
    shown_text,
)
from dualface_ray.media.atomic import AtomicFile, remove_parts, write_atomic
from dualface_ray.media.audio import AudioPlan, plan_audio
from dualface_ray.media.colour import settled_colour
from dualface_ray.media.disk import free_bytes, is_disk_full, output_error, require_free
from dualface_ray.media.filelock import FileLock
from dualface_ray.media.files import check_input
from dualface_ray.media.hdr import HDR_TRANSFERS, kept_colour, sdr_signal
from dualface_ray.media.inputs import expand_inputs, read_list, require_short, require_text
from dualface_ray.media.lock import (
    LOCK_NAME,
    Holder,
    OutputLock,
    await_writers,
    busy,
    folder_gone,
    is_gone,
    writing_in,
)
from dualface_ray.media.naming import OutputPlan, former_videos, plan_outputs, shown_input
from dualface_ray.media.needs import VideoNeeds
from dualface_ray.media.ports import (
    Canvas,
    DecodedBatch,
    DecodedFrame,
    DecodeSession,
    EncodeSession,
    EncodeSpec,
    Packet,
    Slot,
)
from dualface_ray.media.spans import (
    Cuttable,
    FileSurvey,
    FrameRange,
    Span,
    bridge_range,
    plan_spans,
    pts_digest,
    sample_keys,
)
from dualface_ray.media.workspace import (
    PLAN,
    SURVEY,
    Workspace,
    all_or_none,
    bridge_piece,
    is_under_way,
    remove_half_named,
    remove_leftovers,
    remove_partials,
    remove_workspace,
    segment_path,
    span_piece,
)

__all__ = [
    "HDR_TRANSFERS",
    "LOCK_NAME",
    "PLAN",
    "SURVEY",
    "AtomicFile",
    "AudioPlan",
    "Canvas",
    "Cuttable",
    "DecodeSession",
    "DecodedBatch",
    "DecodedFrame",
    "EncodeSession",
    "EncodeSpec",
    "FileLock",
    "FileSurvey",
    "FrameRange",
    "Holder",
    "OutputLock",
    "OutputPlan",
    "Packet",
    "Slot",
    "Span",
    "VideoNeeds",
    "Workspace",
    "address_parts",
    "all_or_none",
    "await_writers",
    "bridge_piece",
    "bridge_range",
    "busy",
    "check_input",
    "expand_inputs",
    "folder_gone",
    "former_videos",
    "free_bytes",
    "is_address",
    "is_disk_full",
    "is_gone",
    "is_under_way",
    "join_address",
    "kept_colour",
    "local_path",
    "output_error",
    "plan_audio",
    "plan_outputs",
    "plan_spans",
    "pts_digest",
    "read_list",
    "remove_half_named",
    "remove_leftovers",
    "remove_partials",
    "remove_parts",
    "remove_workspace",
    "require_free",
    "require_short",
    "require_text",
    "sample_keys",
    "scheme_of",
    "sdr_signal",
    "segment_path",
    "settled_colour",
    "shown_address",
    "shown_input",
    "shown_text",
    "span_piece",
    "write_atomic",
    "writing_in",
]
