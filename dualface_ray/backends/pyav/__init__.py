"""PyAV: files in and out for every backend, with libav behind one door.

    path ─► probe (limits) ─► Demuxer ─┬─ packets ─► a hardware decoder
                                       └─ PictureSource ─► TimedPictures ─► SlotWriter ─► slot (the cpu backend)
    Packet ─► SegmentWriter ─► segments ─┐
    source's audio ─► copy or AAC ───────┴─► assemble ─► one file, complete or absent

Opens only self-contained formats from the local disk; may not know actors, detection or framing.
"""

from __future__ import annotations

from dualface_ray.backends.pyav.access import begins_cleanly, parameter_sets
from dualface_ray.backends.pyav.assemble import AssembleReport, assemble
from dualface_ray.backends.pyav.delivery import HOPELESS_PACKETS, Delivery, damaged
from dualface_ray.backends.pyav.demux import Demuxer, SourcePacket
from dualface_ray.backends.pyav.opening import PROBLEMS, encode_error, input_error, open_input
from dualface_ray.backends.pyav.pictures import Picture, PictureSource, ends_early
from dualface_ray.backends.pyav.pixels import SlotWriter
from dualface_ray.backends.pyav.probe import AudioInfo, MediaProbe, probe
from dualface_ray.backends.pyav.ranges import RangeSession
from dualface_ray.backends.pyav.segment import SegmentWriter, segment_configuration
from dualface_ray.backends.pyav.survey import survey_file
from dualface_ray.backends.pyav.timed import TimedPicture, TimedPictures

__all__ = [
    "HOPELESS_PACKETS",
    "PROBLEMS",
    "AssembleReport",
    "AudioInfo",
    "Delivery",
    "Demuxer",
    "MediaProbe",
    "Picture",
    "PictureSource",
    "RangeSession",
    "SegmentWriter",
    "SlotWriter",
    "SourcePacket",
    "TimedPicture",
    "TimedPictures",
    "assemble",
    "begins_cleanly",
    "damaged",
    "encode_error",
    "ends_early",
    "input_error",
    "open_input",
    "parameter_sets",
    "probe",
    "segment_configuration",
    "survey_file",
]
