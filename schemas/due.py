"""What time alone brings to an intent, and when: the tick acts on it, `next_action` shows it.

Pure: the tick asks with the log's time, the gateway with its own.
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum

from schemas.intent_fold import IntentState
from schemas.messages.shared import HoldStatus, IntentStatus, RailAction

# After the last moment for evidence: what was sent in time is decided first, the log's order settles the rest.
EXPIRY_GRACE = timedelta(seconds=60)
WARNING_HOURS = (72, 24, 6)
REISSUE_FIRST = timedelta(seconds=30)
REISSUE_MAX = timedelta(minutes=15)
# A rail that refused a settlement that time asked for is asked again, ever more rarely.
RETRY_FIRST = timedelta(minutes=1)
RETRY_MAX = timedelta(hours=1)
END_OF_TIME = datetime.max.replace(tzinfo=UTC)


class DueKind(StrEnum):
    """`close`: never funded. `refund`: no evidence in time. `settle`: the stored evaluation. `warn`: a hold ends.

    `compensate`: the rail refused to give back what it had done too late, and is asked again.
    """

    CLOSE = "close"
    REFUND = "refund"
    SETTLE = "settle"
    WARN = "warn"
    REISSUE = "reissue"
    COMPENSATE = "compensate"


@dataclass(frozen=True, slots=True, kw_only=True)
class Due:
    """`hours_left` belongs to a warning, `issue` (from 1) to a re-issue."""

    kind: DueKind
    at: datetime
    hours_left: int | None = None
    issue: int | None = None


def next_due(
    intent: IntentState,
    *,
    now: datetime | None = None,
    reissue_first: timedelta = REISSUE_FIRST,
) -> Due | None:
    """The next thing that time brings; None = nothing. `now` makes a re-issue the next one from then on."""
    if intent.hold.is_outstanding:
        return _reissue(intent, now, reissue_first)
    if intent.is_final:
        return _compensation(intent)
    match intent.status:
        case IntentStatus.OPEN:
            return Due(kind=DueKind.CLOSE, at=_later(intent.deadline, EXPIRY_GRACE))
        case IntentStatus.FUNDED:
            return Due(kind=DueKind.REFUND, at=_settles_at(intent))
        case IntentStatus.EVIDENCE_SUBMITTED:
            return Due(kind=DueKind.SETTLE, at=_settles_at(intent))
        case _:
            return _warning(intent)


def settles_at(intent: IntentState) -> datetime | None:
    """When time alone will settle the intent; None for one that it never will (final, disputed)."""
    if intent.status in {IntentStatus.FUNDED, IntentStatus.EVIDENCE_SUBMITTED}:
        return _settles_at(intent)
    return None


def _settles_at(intent: IntentState) -> datetime:
    """Not before the wait after a refusal is over: so a declined capture never turns into a hot loop."""
    at = _later(intent.evidence_due_at, EXPIRY_GRACE)
    hold = intent.hold
    is_retry = hold.status is HoldStatus.HELD and hold.action in {
        RailAction.CAPTURE,
        RailAction.CANCEL,
    }
    return max(at, _retry_at(intent)) if is_retry else at


def _retry_at(intent: IntentState) -> datetime:
    hold = intent.hold
    assert hold.requested_at is not None
    return _later(hold.requested_at, min(RETRY_FIRST * (1 << min(hold.attempt - 1, 10)), RETRY_MAX))


def _compensation(intent: IntentState) -> Due | None:
    if intent.hold.late is None:
        return None
    return Due(kind=DueKind.COMPENSATE, at=_retry_at(intent))


def _warning(intent: IntentState) -> Due | None:
    """A threshold that had passed when the dispute was opened says nothing that a closer one does not."""
    expires_at, dispute = intent.hold.expires_at, intent.dispute
    if dispute is None or expires_at is None:
        return None
    ahead = [h for h in WARNING_HOURS if expires_at - timedelta(hours=h) > dispute.opened_at]
    passed = [h for h in WARNING_HOURS if h not in ahead]
    raised = min(intent.hold_warnings, default=WARNING_HOURS[0] + 1)
    hours = next((h for h in (*passed[-1:], *ahead) if h < raised), None)
    if hours is None:
        return None
    return Due(kind=DueKind.WARN, at=expires_at - timedelta(hours=hours), hours_left=hours)


def _later(instant: datetime, wait: timedelta) -> datetime:
    """A deadline may stand at the end of time."""
    return instant + min(wait, END_OF_TIME - instant)


def _reissue(intent: IntentState, now: datetime | None, first: timedelta) -> Due | None:
    requested_at = intent.hold.requested_at
    if requested_at is None:
        return None
    issue, at, step = 1, requested_at + first, first
    # Issue n is due at a time that follows from the request alone: after a restart the ids are the same.
    while now is not None and step < REISSUE_MAX and at + min(step * 2, REISSUE_MAX) <= now:
        step = min(step * 2, REISSUE_MAX)
        at += step
        issue += 1
    if now is not None and step == REISSUE_MAX and now > at:
        steps = (now - at) // REISSUE_MAX
        at += steps * REISSUE_MAX
        issue += steps
    return Due(kind=DueKind.REISSUE, at=at, issue=issue)
