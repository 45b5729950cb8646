"""What an intent waits for, over every state and hold: each cell says the nearest thing without which nothing moves."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta

import pytest

from schemas.intent_fold import (
    DisputeState,
    EvidenceState,
    Hold,
    IntentState,
    LateSuccess,
    evolve,
)
from schemas.messages.outcomes import NextAction
from schemas.messages.shared import (
    HoldStatus,
    IntentStatus,
    RailAction,
    RefundReason,
    SettlementCause,
)
from schemas.next_action import next_action
from tests.support.builders import DEADLINE, T0
from tests.support.ledger_builder import LedgerBuilder, a_ledger

SOON = T0 + timedelta(minutes=1)
HOLD_ENDS = T0 + timedelta(days=7)
_ASKED = {
    HoldStatus.REQUESTED: RailAction.HOLD,
    HoldStatus.CAPTURE_REQUESTED: RailAction.CAPTURE,
    HoldStatus.CANCEL_REQUESTED: RailAction.CANCEL,
}
Cell = tuple[IntentStatus, HoldStatus, bool]

# (state, hold, is a rail asked) → (kind, blocked by), or None = it is over. Cells that are not here can't be reached.
OPEN, F, E, D = (
    IntentStatus.OPEN,
    IntentStatus.FUNDED,
    IntentStatus.EVIDENCE_SUBMITTED,
    IntentStatus.DISPUTED,
)
H = HoldStatus
FINAL = (
    IntentStatus.RELEASED,
    IntentStatus.REFUNDED,
    IntentStatus.RESOLVED_SPLIT,
    IntentStatus.ESCALATED_EXTERNAL,
)
TABLE: dict[Cell, tuple[str, str | None] | None] = {
    (OPEN, H.NONE, False): ("close", None),
    (OPEN, H.REQUESTED, True): ("reissue", "rail"),
    (F, H.HELD, False): ("refund", None),
    (F, H.CANCEL_REQUESTED, True): ("reissue", "rail"),
    (E, H.HELD, False): ("settle", None),
    (E, H.CAPTURE_REQUESTED, True): ("reissue", "rail"),
    (E, H.CANCEL_REQUESTED, True): ("reissue", "rail"),
    (D, H.HELD, False): ("warn", "dispute"),
    (D, H.CAPTURE_REQUESTED, True): ("reissue", "rail"),
    (D, H.CANCEL_REQUESTED, True): ("reissue", "rail"),
    (IntentStatus.RELEASED, H.CAPTURED, False): None,
    (IntentStatus.RESOLVED_SPLIT, H.CAPTURED, False): None,
    (IntentStatus.ESCALATED_EXTERNAL, H.CAPTURED, False): None,
    (IntentStatus.ESCALATED_EXTERNAL, H.CANCELLED, False): None,
    (IntentStatus.REFUNDED, H.NONE, False): None,
    (IntentStatus.REFUNDED, H.CANCELLED, False): None,
    (IntentStatus.REFUNDED, H.LOST, False): None,
    # A compensation is asked for after the end: a late hold is let go, a late capture given back.
    (IntentStatus.REFUNDED, H.CANCEL_REQUESTED, True): ("reissue", "rail"),
    (IntentStatus.REFUNDED, H.CAPTURED, True): ("reissue", "rail"),
}
# What only time asks of a rail; a pause stands in its way before it is asked.
MONEY = {"refund", "settle", "compensate"}


def an_intent(status: IntentStatus, hold_status: HoldStatus, *, is_asked: bool) -> IntentState:
    ledger = LedgerBuilder()
    ledger.provision()
    state = ledger.states[ledger.create(1)]
    is_held = hold_status in {H.HELD, H.CAPTURE_REQUESTED, H.CANCEL_REQUESTED}
    action = _ASKED.get(hold_status, RailAction.REFUND) if is_asked else None
    hold = Hold(
        status=hold_status,
        amount_minor=state.amount_minor if is_held else 0,
        currency="usd",
        rail_object="pi_1" if is_held else None,
        expires_at=HOLD_ENDS if is_held else None,
        effect_id="c-1" if is_asked else None,
        action=action,
        attempt=1 if is_asked else 0,
        cause=SettlementCause.FUNDING if action is RailAction.HOLD else None,
        requested_at=T0 if is_asked else None,
    )
    evidence = EvidenceState(
        evidence_id="e", commitment=bytes(32), submitted_at=T0, is_evaluated=True, passed=True
    )
    dispute = DisputeState(case_id="case", reason_code="quality", status_before=F, opened_at=T0)
    return replace(
        state,
        status=status,
        hold=hold,
        evidence=evidence if status is E else None,
        dispute=dispute if status is D else None,
        reason=RefundReason.DISPUTE if status is IntentStatus.REFUNDED else None,
        final_at=T0 if status in FINAL else None,
    )


def told(intent: IntentState, **doubt: bool) -> tuple[str, str | None] | None:
    action = next_action(intent, now=SOON, **doubt)
    return None if action is None else (action.kind, action.blocked_by)


@pytest.mark.parametrize("cell", TABLE, ids=str)
def test_every_state_and_hold_says_what_it_waits_for(cell: Cell) -> None:
    status, hold_status, is_asked = cell

    assert told(an_intent(status, hold_status, is_asked=is_asked)) == TABLE[cell]


@pytest.mark.parametrize("cell", TABLE, ids=str)
def test_a_pause_stands_before_the_rail_and_before_what_would_ask_it(cell: Cell) -> None:
    status, hold_status, is_asked = cell
    intent = an_intent(status, hold_status, is_asked=is_asked)
    usual = TABLE[cell]

    paused = told(intent, are_rails_paused=True)

    if is_asked:
        assert paused == ("resume_rails", "rails_paused")
    elif usual is not None and usual[0] in MONEY:
        assert paused == (usual[0], "rails_paused")
    else:
        assert paused == usual


@pytest.mark.parametrize("cell", TABLE, ids=str)
def test_a_quarantine_stands_before_everything_that_is_not_over(cell: Cell) -> None:
    status, hold_status, is_asked = cell
    intent = an_intent(status, hold_status, is_asked=is_asked)

    stopped = told(intent, is_quarantined=True, are_rails_paused=True)

    over = TABLE[cell] is None
    assert stopped == (None if over else ("release_quarantine", "quarantine"))


def test_a_dispute_after_its_last_warning_waits_for_its_resolution() -> None:
    intent = replace(an_intent(D, H.HELD, is_asked=False), hold_warnings=(72, 24, 6))

    assert told(intent) == ("resolve_dispute", "dispute")
    assert told(intent, are_rails_paused=True) == ("resolve_dispute", "dispute")


def test_what_a_rail_did_too_late_is_given_back_unless_the_rails_are_paused() -> None:
    late = LateSuccess(effect_id="c-1", action=RailAction.HOLD, rail_object="pi_1", amount_minor=1)
    over = an_intent(IntentStatus.REFUNDED, H.LOST, is_asked=False)
    hold = replace(over.hold, late=late, requested_at=T0, attempt=1)
    intent = replace(over, hold=hold)

    assert told(intent) == ("compensate", None)
    assert told(intent, are_rails_paused=True) == ("compensate", "rails_paused")


def test_times_are_those_that_the_tick_acts_on() -> None:
    funded = an_intent(F, H.HELD, is_asked=False)
    asked = an_intent(E, H.CAPTURE_REQUESTED, is_asked=True)

    assert next_action(funded, now=SOON) == NextAction(
        kind="refund", at=DEADLINE + timedelta(seconds=60), blocked_by=None
    )
    reissued = next_action(asked, now=SOON)
    assert reissued is not None
    assert reissued.at is not None
    assert T0 < reissued.at <= SOON + timedelta(minutes=1)
    paused = next_action(asked, now=SOON, are_rails_paused=True)
    assert paused is not None
    assert paused.at is None


def reachable() -> Iterator[Cell]:
    """Every cell of real histories: what the fold made of random ledgers, entry by entry."""
    for seed in range(20):
        ledger = a_ledger(seed, intents=8)
        states: dict[str, IntentState] = {}
        for entry in ledger.entries:
            if entry.intent_id is not None:
                after = evolve(states.get(entry.intent_id), entry)
                states[entry.intent_id] = after
                yield after.status, after.hold.status, after.hold.is_outstanding


def test_the_table_has_every_cell_that_a_history_reaches() -> None:
    # Between the two entries of one transaction the answer is there and the state is not final yet.
    between = {(E, H.CAPTURED, False), (E, H.CANCELLED, False)}

    assert set(reachable()) - between <= set(TABLE)
