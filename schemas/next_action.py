"""What comes next for an intent, when, and what it waits for: the one rule behind answers, reads and tools. Pure.

`blocked_by` names the nearest thing without which nothing moves; null = time alone brings it, or the parties do.
"""

from datetime import datetime
from enum import StrEnum

from schemas.due import DueKind, next_due
from schemas.intent_fold import IntentState, TenantState
from schemas.messages.outcomes import NextAction
from schemas.messages.shared import IntentStatus

# What these ask of a rail moves money, so a pause of the rails holds it back.
_ASKS_A_RAIL = frozenset({DueKind.REFUND, DueKind.SETTLE, DueKind.COMPENSATE})


class BlockedBy(StrEnum):
    """`rail`: it was asked and has not answered. `rails_paused`, `quarantine`: until an operator says so.

    `dispute`: until an operator resolves it, or whoever opened it withdraws.
    """

    QUARANTINE = "quarantine"
    RAILS_PAUSED = "rails_paused"
    RAIL = "rail"
    DISPUTE = "dispute"


class ByHand(StrEnum):
    """Next steps that time never brings; all others are those of `DueKind`."""

    RELEASE_QUARANTINE = "release_quarantine"
    RESUME_RAILS = "resume_rails"
    RESOLVE_DISPUTE = "resolve_dispute"


def next_action(
    intent: IntentState,
    *,
    now: datetime | None = None,
    are_rails_paused: bool = False,
    is_quarantined: bool = False,
) -> NextAction | None:
    """None = it is over. `now` makes a re-issue the next one from then on."""
    due = next_due(intent, now=now)
    is_disputed = intent.status is IntentStatus.DISPUTED
    if due is None and not is_disputed:
        return None
    if is_quarantined:
        return _by_hand(ByHand.RELEASE_QUARANTINE, BlockedBy.QUARANTINE)
    if intent.hold.is_outstanding and are_rails_paused:
        return _by_hand(ByHand.RESUME_RAILS, BlockedBy.RAILS_PAUSED)
    if due is None:
        return _by_hand(ByHand.RESOLVE_DISPUTE, BlockedBy.DISPUTE)
    blocked_by = None
    if intent.hold.is_outstanding:
        blocked_by = BlockedBy.RAIL
    elif is_disputed:
        blocked_by = BlockedBy.DISPUTE
    elif are_rails_paused and due.kind in _ASKS_A_RAIL:
        blocked_by = BlockedBy.RAILS_PAUSED
    return NextAction(
        kind=due.kind.value, at=due.at, blocked_by=blocked_by.value if blocked_by else None
    )


def next_action_under(
    tenant: TenantState | None, intent: IntentState, *, now: datetime | None = None
) -> NextAction | None:
    """`next_action`, with what stops the tenant as a whole, as its row says; None where that is not there.

    A quarantine that a Harbor found at assignment stands in no row.
    """
    return next_action(
        intent,
        now=now,
        are_rails_paused=tenant is not None and tenant.rails_pause is not None,
        is_quarantined=tenant is not None and tenant.quarantine is not None,
    )


def _by_hand(kind: ByHand, blocked_by: BlockedBy) -> NextAction:
    return NextAction(kind=kind.value, at=None, blocked_by=blocked_by.value)
