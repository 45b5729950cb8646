"""Fund and evidence: what each state answers, and the commitment that stands for what is not in the ledger."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from hashlib import sha256
from typing import Any

import pytest

from harbor.domain.decision import RailPolicy
from schemas.instants import format_instant
from schemas.messages.commands import ExpireIntent, FundIntent, RecordRailAnswer
from schemas.messages.events import EvidenceSubmitted, PredicateEvaluated, SettlementRailRequested
from schemas.messages.outcomes import IntentAnswer, Outcome, OutcomeStatus
from schemas.messages.shared import (
    Environment,
    IntentStatus,
    RailAction,
    RailAnswerKind,
    SettlementCause,
    SettlementMode,
)
from tests.support.builders import (
    ALWAYS,
    AMOUNT,
    DEADLINE,
    IS_PAID,
    NEVER,
    PAYEE,
    STRANGER,
    T0,
    Party,
    a_command,
    an_intent_id,
    create_intent,
    provision_tenant,
    rail_answer,
    submit_evidence,
)
from tests.support.domain_world import (
    World,
    disputed,
    evidenced,
    funded,
    opened,
    provisioned,
    settled,
    settling,
)


def code_of(outcome: Outcome) -> str | None:
    return outcome.refusal.code if outcome.refusal else None


def answer_of(outcome: Outcome) -> IntentAnswer:
    assert isinstance(outcome.answer, IntentAnswer)
    return outcome.answer


def test_funding_asks_the_rail_for_the_whole_amount_and_is_accepted() -> None:
    world = opened()

    outcome = world.do(FundIntent())

    requested = world.entries[-1].event
    assert isinstance(requested, SettlementRailRequested)
    assert (requested.action, requested.amount_minor, requested.attempt) == (
        RailAction.HOLD,
        AMOUNT,
        1,
    )
    assert requested.cause is SettlementCause.FUNDING
    assert outcome.status is OutcomeStatus.ACCEPTED
    assert not answer_of(outcome).funded


def test_a_poll_of_a_pending_fund_answers_the_present_state_and_names_who_asked() -> None:
    world = opened()
    asked = world.do(FundIntent())

    polled = world.do(FundIntent())

    assert polled.status is OutcomeStatus.DONE
    assert polled.operation_command_id == asked.command_id
    assert len(world.effects) == 1


def test_the_rails_hold_settles_the_command_that_asked() -> None:
    world = opened()
    asked = world.do(FundIntent())

    world.do(rail_answer(world.effect, now=T0))

    assert world.outcomes[asked.command_id].status is OutcomeStatus.DONE
    assert answer_of(world.outcomes[asked.command_id]).funded
    assert world.state().status is IntentStatus.FUNDED
    assert world.state().settlement_mode is SettlementMode.SIMULATED


@pytest.mark.parametrize("world_of", [funded, evidenced])
def test_a_funded_intent_answers_fund_again(world_of: Callable[[], World]) -> None:
    outcome = world_of().do(FundIntent())

    assert outcome.status is OutcomeStatus.DONE
    assert answer_of(outcome).funded


def test_a_declined_fund_is_a_new_attempt_with_an_effect_of_its_own() -> None:
    world = opened()
    asked = world.do(FundIntent())
    world.do(rail_answer(world.effect, RailAnswerKind.DECLINED, code="insufficient_funds"))

    again = world.do(FundIntent())

    declined = world.outcomes[asked.command_id]
    assert code_of(declined) == "payment_declined"
    assert declined.refusal is not None
    assert '"rail_code":"insufficient_funds"' in (declined.refusal.details_json or "")
    assert again.status is OutcomeStatus.ACCEPTED
    assert world.effect.attempt == 2


def test_a_declined_fund_decided_anew_under_its_key_never_repeats_an_effect_id() -> None:
    world = opened()
    first = world.do(FundIntent(), nonce="one")
    world.do(rail_answer(world.effect, RailAnswerKind.DECLINED))

    again = replace(a_command(FundIntent(), number=0, nonce="two"), command_id=first.command_id)
    outcome = world.send(again)

    assert outcome.status is OutcomeStatus.ACCEPTED
    assert len({effect.effect_id for effect in world.effects}) == 2


def test_fund_is_refused_by_the_state_it_finds() -> None:
    late = opened()
    late.now = DEADLINE + timedelta(seconds=1)

    assert code_of(provisioned().do(FundIntent())) == "intent_not_found"
    assert code_of(late.do(FundIntent())) == "deadline_passed"
    assert code_of(settled().do(FundIntent())) == "intent_final"
    assert code_of(disputed().do(FundIntent())) == "intent_frozen"


def test_fund_without_a_rail_is_refused_before_the_state_is_looked_at() -> None:
    live = provisioned(
        provision_tenant(
            environment=Environment.LIVE, settlement_mode=SettlementMode.STRIPE_CONNECT
        )
    )
    live.do(create_intent())
    switched_off = settled()
    switched_off.rails = RailPolicy(is_simulator_enabled=False)

    assert code_of(live.do(FundIntent())) == "rail_not_enabled"
    assert code_of(switched_off.do(FundIntent())) == "rail_not_enabled"


def test_evidence_is_evaluated_once_and_both_entries_stand_together() -> None:
    world = funded()

    outcome = world.do(submit_evidence(now=world.now))

    submitted, evaluated = world.last_events(2)
    assert isinstance(submitted, EvidenceSubmitted)
    assert isinstance(evaluated, PredicateEvaluated)
    assert submitted.evidence_id == evaluated.evidence_id == answer_of(outcome).evidence_id
    assert outcome.status is OutcomeStatus.DONE
    assert world.state().status is IntentStatus.EVIDENCE_SUBMITTED


@pytest.mark.parametrize(
    ("predicate", "verdicts"),
    [(ALWAYS, (True, True)), (NEVER, (False, False)), (IS_PAID, (None, False))],
)
def test_the_verdict_is_kept_and_unknown_is_shown_as_not_passed(
    predicate: bytes, verdicts: tuple[bool | None, bool]
) -> None:
    world = evidenced(predicate=predicate)

    evidence = world.state().evidence
    answer = answer_of(world.outcomes[world.entries[-1].command_id])
    assert evidence is not None
    assert (evidence.passed, answer.predicate_passed) == verdicts
    assert answer.report_json is not None
    assert '"evaluator":"1"' in answer.report_json


def test_the_ledger_holds_only_a_salted_commitment_to_the_evidence() -> None:
    world = evidenced()

    body = world.evidence_bodies[an_intent_id()]
    submitted = world.last_events(2)[0]
    assert isinstance(submitted, EvidenceSubmitted)
    assert (
        submitted.commitment
        == sha256(
            body.salt + body.payload_digest + body.artifacts_digest + body.payee_signature
        ).digest()
    )
    assert body.report == answer_of(world.outcomes[world.entries[-1].command_id]).report_json


# In the order in which they are found; each is signed over what is sent.
EVIDENCE_WRONGS: tuple[tuple[str, dict[str, Any]], ...] = (
    ("payload_invalid", {"payload": b"[1]"}),
    (
        "submitted_at_skewed",
        {"submitted_at": format_instant(T0 + timedelta(minutes=10, seconds=1))},
    ),
    ("payee_mismatch", {"payee_did": "did:web:other.example"}),
    ("key_pinned", {"payee_pubkey": STRANGER.pubkey}),
    ("payee_signature_invalid", {"payee_signature": bytes(64)}),
)


@pytest.mark.parametrize(("code", "wrong"), EVIDENCE_WRONGS)
def test_wrong_evidence_is_refused_by_its_own_code(code: str, wrong: dict[str, Any]) -> None:
    world = funded()
    before = list(world.entries)

    outcome = world.do(submit_evidence(now=world.now, **wrong))

    assert code_of(outcome) == code
    assert world.entries == before


@pytest.mark.parametrize("index", range(len(EVIDENCE_WRONGS) - 1))
def test_of_two_wrongs_in_evidence_the_earlier_is_named(index: int) -> None:
    (code, earlier), (_, later) = EVIDENCE_WRONGS[index : index + 2]
    world = funded()

    outcome = world.do(submit_evidence(now=world.now, **(later | earlier)))

    assert code_of(outcome) == code


@pytest.mark.parametrize("wrong", EVIDENCE_WRONGS[2:])
def test_who_signed_is_judged_before_the_state(wrong: tuple[str, dict[str, Any]]) -> None:
    world = settled()

    assert code_of(world.do(submit_evidence(now=world.now, **wrong[1]))) == wrong[0]


@pytest.mark.parametrize(
    "payload",
    [
        b"1",
        b"{",
        b"\xff",
        b'{"a":"' + b"x" * (256 * 1024) + b'"}',
        b'{"a":' * 33 + b"1" + b"}" * 33,
    ],
    ids=["number", "no json", "no utf-8", "too large", "too deep"],
)
def test_a_payload_outside_the_envelope_is_refused(payload: bytes) -> None:
    world = funded()

    assert code_of(world.do(submit_evidence(now=T0, payload=payload))) == "payload_invalid"


def test_more_than_64_artifacts_are_refused() -> None:
    world = funded()

    outcome = world.do(submit_evidence(now=T0, artifacts=(bytes(32),) * 65))

    assert code_of(outcome) == "payload_invalid"


def test_the_payee_may_sign_another_spelling_of_the_time() -> None:
    world = funded()
    signed = submit_evidence(now=T0)

    outcome = world.do(replace(signed, submitted_at="2026-01-05t12:00:00.000z"))

    assert outcome.status is OutcomeStatus.DONE


def test_evidence_is_refused_by_the_state_it_finds() -> None:
    missing, unfunded, done, frozen, twice = (
        provisioned(),
        opened(),
        settled(),
        disputed(),
        evidenced(predicate=NEVER),
    )

    assert code_of(missing.do(submit_evidence(now=T0))) == "intent_not_found"
    assert code_of(unfunded.do(submit_evidence(now=T0))) == "not_funded"
    assert code_of(done.do(submit_evidence(now=T0))) == "intent_final"
    assert code_of(frozen.do(submit_evidence(now=T0))) == "intent_frozen"
    assert code_of(twice.do(submit_evidence(now=T0))) == "evidence_exists"


def test_evidence_is_in_time_up_to_the_very_moment_and_not_later() -> None:
    in_time, late = funded(), funded()
    in_time.now = in_time.state().evidence_due_at
    late.now = late.state().evidence_due_at + timedelta(microseconds=1)

    assert in_time.do(submit_evidence(now=in_time.now)).status is OutcomeStatus.DONE
    assert code_of(late.do(submit_evidence(now=late.now))) == "deadline_passed"


def test_the_hold_bounds_the_time_for_evidence_however_late_the_deadline() -> None:
    world = opened(deadline=T0 + timedelta(days=30))
    world.do(FundIntent())
    world.do(rail_answer(world.effect, now=T0))

    assert world.state().evidence_due_at == T0 + timedelta(days=6)


def test_evidence_loses_the_race_against_an_expiry_that_was_decided_first() -> None:
    world = funded()
    world.now = world.state().evidence_due_at + timedelta(seconds=60)
    world.do(ExpireIntent(due_at=world.now))
    # A record's time may step back when the partition's leader changes.
    world.now = T0

    assert code_of(world.do(submit_evidence(now=T0))) == "deadline_passed"


def test_evidence_without_its_salt_or_its_intents_documents_changes_nothing() -> None:
    unsalted, bodiless = funded(), funded()
    command = replace(a_command(submit_evidence(now=T0), number=90), salt=None)
    bodiless.intent_bodies.clear()

    assert code_of(unsalted.send(command)) == "internal_error"
    assert code_of(bodiless.do(submit_evidence(now=T0))) == "internal_error"


def test_the_payee_of_the_intent_is_bound_even_without_a_pin() -> None:
    world = funded()
    world.pins.clear()
    impostor = Party(did=PAYEE.did, seed=STRANGER.seed)

    assert code_of(world.do(submit_evidence(now=T0, payee=impostor))) == "key_pinned"


def test_a_rail_answer_for_an_intent_that_does_not_exist_is_refused() -> None:
    answer: RecordRailAnswer = rail_answer(settling().effect)

    assert code_of(provisioned().do(answer)) == "intent_not_found"
