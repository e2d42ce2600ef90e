"""Sources: what a decoder actor opens for each kind of work."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from actors.messages import SegmentJob, Work
from dualface_ray.backends import Backend
from dualface_ray.backends.pyav import probe, survey_file
from dualface_ray.media import DecodeSession, FileSurvey, bridge_range, sample_keys
from dualface_ray.settings import Settings


@dataclass(frozen=True, slots=True)
class Source:
    """An opened session and what its consumers are told of it."""

    session: DecodeSession
    quota_frames: int
    """Slots of its ring."""
    examine: bool = True
    """Frames are looked at on their way."""
    survey: FileSurvey | None = None
    """Of a survey: what the packets say."""


def open_source(
    job: SegmentJob, backend: Backend, settings: Settings, threads: int, tick: Callable[[], None]
) -> Source:
    """Open what a unit needs.

    Args:
        job: any but a joining one.
        backend: decodes.
        settings: of the job.
        threads: of the decoder.
        tick: called now and then while a file is only read.

    Raises:
        InputError: it cannot be opened.
        SeamError: a part cannot be decoded by itself.
    """
    if job.work is Work.SURVEY:
        return _survey(job, backend, settings, threads, tick)
    only = None
    if job.work is Work.SPAN:
        only = job.spans[0].range
    elif job.work is Work.BRIDGE:
        only = bridge_range(job.spans[0], job.spans[1])
    session = backend.open_decoder(job.source, job.stream_id, settings, threads, only)
    return Source(session, settings.quota_frames(session.info.average_rate), examine=job.work is not Work.BRIDGE)


def _survey(job: SegmentJob, backend: Backend, settings: Settings, threads: int, tick: Callable[[], None]) -> Source:
    found = probe(job.source, settings, job.stream_id)
    if settings.identity.reid == "off":
        survey = FileSurvey("faces of different parts cannot be compared without re-identification (identity.reid)")
    else:
        survey = survey_file(found, settings, tick)
    keys = [] if survey.refusal else [pts_ticks for _, pts_ticks in sample_keys(survey, found.video.time_base)]
    session = backend.open_key_frames(job.source, job.stream_id, settings, threads, keys)
    return Source(session, max(1, len(keys)), survey=survey)
