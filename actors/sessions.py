"""Which session does which kind of work."""

from __future__ import annotations

from actors.bridging import BridgeSession
from actors.joining import JoinSession
from actors.messages import SegmentJob, Work
from actors.session import Session, SessionTools
from actors.spanning import SpanSession
from actors.surveying import SurveySession
from actors.whole import WholeSession

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
