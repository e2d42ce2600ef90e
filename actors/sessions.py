"""Which session does which kind of work."""

from __future__ import annotations

from actors.messages import SegmentJob, Work
from actors.session import Session, SessionTools
from actors.whole import WholeSession

_KINDS: dict[Work, type[Session]] = {
    Work.WHOLE: WholeSession,
}


def open_session(job: SegmentJob, tools: SessionTools) -> Session:
    """The session of one unit."""
    return _KINDS[job.work](job, tools)
