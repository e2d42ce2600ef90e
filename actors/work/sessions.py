"""Which session does which kind of work."""

from __future__ import annotations

from actors.messages import SegmentJob, Work
from actors.work.bridging import BridgeSession
from actors.work.joining import JoinSession
from actors.work.session import Session, SessionTools
from actors.work.spanning import SpanSession
from actors.work.surveying import SurveySession
from actors.work.whole import WholeSession

_KINDS: dict[Work, type[Session]] = {
    Work.WHOLE: WholeSession,
    Work.SURVEY: SurveySession,
    Work.SPAN: SpanSession,
    Work.BRIDGE: BridgeSession,
    Work.JOIN: JoinSession,
}


def open_session(job: SegmentJob, tools: SessionTools) -> Session:
    """The session of one unit."""
    return _KINDS[job.work](job, tools)
