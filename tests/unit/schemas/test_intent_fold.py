"""The fold: what no history can contain is refused, and money is conserved at every entry."""

from dataclasses import replace

import pytest

from schemas.errors import FoldError
from schemas.intent_fold import IntentState, evolve, provision
from schemas.messages.commands import FundIntent
from schemas.messages.events import (
    Disputed,
    DisputeWithdrawn,
    EscalatedExternal,
    Event,
    EvidenceBodyErased,
    EvidenceSubmitted,
    ExternalAwardRecorded,
    LedgerEntry,
    PartyKeyRotated,
    PredicateEvaluated,
    RailReversalObserved,
    Refunded,
    Released,
    ResolvedSplit,
    SettlementHoldPlaced,
    SettlementRailConfirmed,
    SettlementRailFailed,
    SettlementRailRequested,
)
from schemas.messages.shared import (
    Custody,
    RailAction,
    RefundReason,
    SettlementCause,
    SettlementMode,
)
from tests.support.builders import AMOUNT, CURRENCY, T0, an_intent_id, rail_answer
from tests.support.domain_world import World, disputed, evidenced, funded, opened, settled, settling


def after(world: World, *events: Event) -> IntentState:
    """The state once these entries follow."""
    state: IntentState = world.state()
    for seq, event in enumerate(events, start=len(world.entries) + 1):
        state = evolve(state, replace(world.entries[-1], seq=seq, event=event))
    return state


def request(action: RailAction, cause: SettlementCause) -> SettlementRailRequested:
    return SettlementRailRequested(
        action=action,
        amount_minor=AMOUNT,
        currency=CURRENCY,
        attempt=1,
        effect_id="effect-1",
        cause=cause,
    )


def confirmed(effect_id: str, action: RailAction) -> SettlementRailConfirmed:
    return SettlementRailConfirmed(
        effect_id=effect_id,
        action=action,
        rail_object="pi_test_1",
        amount_minor=AMOUNT,
        currency=CURRENCY,
    )


def placed(effect_id: str) -> SettlementHoldPlaced:
    return SettlementHoldPlaced(
        effect_id=effect_id,
        rail_object="pi_test_1",
        amount_minor=AMOUNT,
        currency=CURRENCY,
        expires_at=T0,
        settlement_config_version=1,
        settlement_mode=SettlementMode.SIMULATED,
    )


FUNDING = request(RailAction.HOLD, SettlementCause.FUNDING)
CAPTURE = request(RailAction.CAPTURE, SettlementCause.PREDICATE_PASSED)
COMPENSATION = request(RailAction.CANCEL, SettlementCause.COMPENSATION)
RELEASED = Released(amount_minor=AMOUNT, currency=CURRENCY)
EVIDENCE = EvidenceSubmitted(
    evidence_id="e", payee_pubkey=bytes(32), commitment=bytes(32), submitted_at=T0
)
EVALUATED = PredicateEvaluated(evidence_id="e", evaluator="1", passed=True, report_digest=bytes(32))
DISPUTED = Disputed(case_id="c", reason_code="late")


def refunded(reason: RefundReason, amount: int = AMOUNT) -> Refunded:
    return Refunded(amount_minor=amount, currency=CURRENCY, reason=reason)


@pytest.mark.parametrize(
    ("world", "events", "reason"),
    [
        (opened(), (FUNDING, FUNDING), "two requests"),
        (opened(), (CAPTURE,), "a hold is asked for once"),
        (funded(), (FUNDING,), "a hold is asked for once"),
        (funded(), (COMPENSATION,), "compensation"),
        (settled(), (CAPTURE,), "compensation"),
        (opened(), (FUNDING, placed("other")), "not outstanding"),
        (opened(), (placed("effect-1"),), "not outstanding"),
        (funded(), (CAPTURE, placed("effect-1")), "not open"),
        (settling(), (confirmed("other", RailAction.CAPTURE),), "not outstanding"),
        (
            settling(),
            (
                SettlementRailFailed(
                    effect_id="x", action=RailAction.CAPTURE, attempt=1, code="declined"
                ),
            ),
            "not outstanding",
        ),
        (opened(), (EVIDENCE,), "funded"),
        (evidenced(), (EVIDENCE,), "funded"),
        (evidenced(), (EVALUATED,), "evaluation"),
        (funded(), (EVALUATED,), "evaluation"),
        (opened(), (DISPUTED,), "not live"),
        (disputed(), (DISPUTED,), "not live"),
        (funded(), (DisputeWithdrawn(case_id="c", reason_code="m"),), "without a dispute"),
        (evidenced(), (RELEASED,), "no answer of the rail"),
        (settling(), (RELEASED,), "no answer of the rail"),
        (funded(), (refunded(RefundReason.DISPUTE),), "no answer of the rail"),
        (funded(), (refunded(RefundReason.NEVER_FUNDED, 0),), "no answer of the rail"),
        (opened(), (refunded(RefundReason.HOLD_LOST, 0),), "no answer of the rail"),
        (
            disputed(),
            (ResolvedSplit(payee_minor=1, principal_minor=AMOUNT - 1, currency=CURRENCY),),
            "no answer of the rail",
        ),
        (
            disputed(),
            (
                EscalatedExternal(
                    custody=Custody.CAPTURE,
                    custody_minor=AMOUNT,
                    refunded_minor=0,
                    currency=CURRENCY,
                    external_ref="r",
                ),
            ),
            "no answer of the rail",
        ),
        (settled(), (RELEASED,), "second final state"),
        (settled(), (refunded(RefundReason.HOLD_LOST),), "second final state"),
        (funded(), (refunded(RefundReason.HOLD_LOST, AMOUNT - 1),), "placed is not"),
        (
            funded(),
            (PartyKeyRotated(party_digest=bytes(32), old_pubkey=bytes(32), new_pubkey=bytes(32)),),
            "not an event",
        ),
        (opened(), (opened().entries[-1].event,), "created once"),
    ],
)
def test_what_no_history_can_contain_is_refused(
    world: World, events: tuple[Event, ...], reason: str
) -> None:
    with pytest.raises(FoldError, match=reason):
        after(world, *events)


@pytest.mark.parametrize("cents", [0, 1, AMOUNT - 1, AMOUNT + 1])
def test_a_release_of_another_amount_than_was_held_breaks_conservation(cents: int) -> None:
    world = settling()
    capture = confirmed(world.effect.effect_id, RailAction.CAPTURE)

    with pytest.raises(FoldError, match="placed is not"):
        after(world, capture, Released(amount_minor=cents, currency=CURRENCY))


def test_an_entry_folded_twice_or_out_of_order_is_refused() -> None:
    world = funded()

    with pytest.raises(FoldError, match="twice"):
        evolve(world.state(), world.entries[-1])


def test_an_event_before_its_intent_is_refused() -> None:
    entry = funded().entries[-1]

    with pytest.raises(FoldError, match="before its intent"):
        evolve(None, entry)


def test_an_intents_first_entry_names_it() -> None:
    entry: LedgerEntry = replace(opened().entries[-1], intent_id=None)

    with pytest.raises(FoldError, match="without an intent id"):
        evolve(None, entry)


def test_a_ledger_begins_with_its_tenant() -> None:
    first, second = opened().entries

    assert provision(first).environment.value == "sandbox"
    with pytest.raises(FoldError):
        provision(second)
    with pytest.raises(FoldError):
        provision(replace(first, seq=2))


@pytest.mark.parametrize(
    "event",
    [
        RailReversalObserved(rail_object="pi_test_1", amount_minor=1, currency=CURRENCY),
        ExternalAwardRecorded(
            payee_minor=1, principal_minor=1, currency=CURRENCY, external_ref="r"
        ),
        EvidenceBodyErased(evidence_id="e"),
    ],
)
def test_a_reserved_event_changes_no_state(event: Event) -> None:
    world = settled()

    state = after(world, event)

    assert replace(state, last_seq=0, updated_at=T0) == replace(
        world.state(), last_seq=0, updated_at=T0
    )


def test_requests_are_counted_over_the_whole_life() -> None:
    world = opened()
    world.do(FundIntent())
    world.do(rail_answer(world.effect, now=T0))

    assert world.state().hold.requests == 1
    assert settled().state().hold.requests == 2


def test_folding_the_entries_again_gives_the_same_state() -> None:
    world, state = settled(), None
    for entry in world.entries:
        if entry.intent_id == an_intent_id():
            state = evolve(state, entry)

    assert state == world.state()
