"""Answers are a pure function of outcomes: the same outcome gives the same bytes, whoever asks again."""

import json
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from gateway.commands.answers import Answer, answer_of, result_members
from schemas.messages.commands import SpentNonce
from schemas.messages.outcomes import IntentAnswer, NextAction, Outcome, OutcomeStatus, Refusal
from schemas.messages.shared import HoldStatus, IntentStatus, RefundReason, SettlementMode

NOW = datetime(2030, 1, 2, 15, 0, 0, 250000, tzinfo=UTC)
INTENT = "7f2a9b1e-2f66-4f4f-9c6e-8f4b8e85c401"
OPEN = IntentAnswer(
    intent_id=INTENT,
    status=IntentStatus.OPEN,
    settlement_rail="stripe_connect",
    currency="usd",
    amount_minor=20000,
    funded=False,
    hold_status=HoldStatus.NONE,
)
FUNDED = replace(
    OPEN,
    status=IntentStatus.FUNDED,
    funded=True,
    hold_status=HoldStatus.HELD,
    rail_object="pi_sim_1",
    hold_expires_at=NOW,
    settlement_mode=SettlementMode.SIMULATED,
)


class StandingSecrets:
    def capability_token(self, *, tenant_id: str, intent_id: str) -> str:
        return f"token/{tenant_id}/{intent_id}"

    def operation_id(self, outcome: Outcome) -> str:
        return f"op_{outcome.operation_command_id or outcome.command_id}"


def _outcome(kind: str, status: OutcomeStatus, answer: IntentAnswer | None = None) -> Outcome:
    return Outcome(
        command_id="c1",
        tenant_id="acme",
        intent_id=INTENT,
        command_kind=kind,
        status=status,
        input_hash=bytes(32),
        recorded_at=NOW,
        decided_at=NOW,
        answer=answer,
        request_id="req_first",
        ledger_seq=2,
    )


def _answer(outcome: Outcome, request_id: str = "req_now") -> tuple[Answer, dict[str, object]]:
    answer = answer_of(outcome, StandingSecrets(), request_id=request_id)
    return answer, json.loads(answer.body)


def test_a_creation_is_answered_201_with_its_seq() -> None:
    answer, body = _answer(_outcome("CreateIntent", OutcomeStatus.DONE, OPEN))

    assert answer.http_status == 201
    assert body["tenant"] == "acme"
    assert (body["intent_id"], body["state"], body["ledger_seq"]) == (INTENT, "open", 2)
    assert "capability_token" not in body


def test_a_funded_intent_is_answered_200_with_its_token() -> None:
    answer, body = _answer(_outcome("FundIntent", OutcomeStatus.DONE, FUNDED))

    assert answer.http_status == 200
    assert body["funded"] is True
    assert body["capability_token"] == f"token/acme/{INTENT}"
    assert body["funding"] == {
        "settlement_rail": "stripe_connect",
        "status": "held",
        "stripe_payment_intent_id": "pi_sim_1",
        "authorization_expires_at": "2030-01-02T15:00:00Z",
        "capture_expires_at": "2030-01-02T15:00:00Z",
    }


@pytest.mark.parametrize("status", [OutcomeStatus.ACCEPTED, OutcomeStatus.DONE])
def test_a_pending_fund_is_202_with_all_that_its_200_must_carry(status: OutcomeStatus) -> None:
    pending = replace(OPEN, hold_status=HoldStatus.REQUESTED)

    answer, body = _answer(_outcome("FundIntent", status, pending))

    assert answer.http_status == 202
    assert answer.headers["location"] == "/v1/operations/op_c1"
    assert body["operation_id"] == "op_c1"
    required = {"tenant", "intent_id", "state", "settlement_rail", "currency", "amount_cents"}
    assert required | {"funded", "funding"} <= body.keys()
    assert "capability_token" not in body


def test_a_poll_names_the_operation_that_it_waits_for() -> None:
    outcome = replace(
        _outcome("FundIntent", OutcomeStatus.ACCEPTED, OPEN), operation_command_id="c0"
    )

    assert _answer(outcome)[1]["operation_id"] == "op_c0"


def test_evidence_shows_verdict_digests_and_trace() -> None:
    evaluated = replace(
        FUNDED,
        status=IntentStatus.EVIDENCE_SUBMITTED,
        evidence_id="e1",
        payload_digest=b"\x01" * 32,
        artifacts_digest=b"\x02" * 32,
        predicate_passed=False,
        report_json='{"passed":null,"evaluator":"1","trace":[]}',
    )

    answer, body = _answer(_outcome("SubmitEvidence", OutcomeStatus.DONE, evaluated))

    assert answer.http_status == 200
    assert body["predicate_passed"] is False
    assert body["payload_digest"] == "01" * 32
    assert body["artifacts_digest"] == "02" * 32
    assert body["predicate_evaluation"] == {"passed": None, "evaluator": "1", "trace": []}


def test_a_settled_intent_says_where_its_money_went() -> None:
    refunded = replace(
        FUNDED,
        status=IntentStatus.REFUNDED,
        reason=RefundReason.PREDICATE_FAILED,
        refunded_minor=20000,
    )

    answer, body = _answer(_outcome("ConfirmSettlement", OutcomeStatus.DONE, refunded))

    assert answer.http_status == 200
    assert (body["state"], body["reason"]) == ("refunded", "predicate_failed")
    assert (body["released_cents"], body["refunded_cents"], body["custody_cents"]) == (0, 20000, 0)


@pytest.mark.parametrize("kind", ["ConfirmSettlement", "ResolveDispute"])
def test_a_settlement_on_its_way_is_202(kind: str) -> None:
    assert _answer(_outcome(kind, OutcomeStatus.ACCEPTED, FUNDED))[0].http_status == 202


def test_a_refusal_keeps_the_first_requests_id_in_its_envelope() -> None:
    refused = replace(
        _outcome("FundIntent", OutcomeStatus.REFUSED),
        refusal=Refusal(
            code="payment_declined",
            message="The rail declined the payment.",
            details_json='{"rail_code":"card_declined"}',
        ),
    )

    first, body = _answer(refused, "req_first")
    again, _ = _answer(refused, "req_later")

    assert first == again
    assert first.http_status == 402
    assert body == {
        "error": {
            "code": "payment_declined",
            "message": "The rail declined the payment.",
            "details": {"rail_code": "card_declined"},
        },
        "request_id": "req_first",
    }


def test_what_may_pass_says_when_to_come_back() -> None:
    stopped = replace(
        _outcome("FundIntent", OutcomeStatus.RETRY),
        refusal=Refusal(code="tenant_quarantined", message="Stopped."),
    )

    answer, _ = _answer(stopped)

    assert answer.http_status == 503
    assert answer.headers == {"retry-after": "1"}


def test_an_outcome_does_not_depend_on_its_proof_or_time() -> None:
    outcome = _outcome("CreateIntent", OutcomeStatus.DONE, OPEN)
    other = replace(
        outcome,
        spent=SpentNonce(key_id="k", nonce="n", expires_at=NOW),
        recorded_at=datetime(2031, 1, 1, tzinfo=UTC),
    )

    assert _answer(outcome)[0] == _answer(other)[0]


def test_an_operations_result_is_the_answers_members() -> None:
    outcome = _outcome("FundIntent", OutcomeStatus.DONE, FUNDED)

    assert result_members(outcome, StandingSecrets()) == _answer(outcome)[1]


PAUSED = replace(
    OPEN,
    hold_status=HoldStatus.REQUESTED,
    next_action=NextAction(kind="resume_rails", at=None, blocked_by="rails_paused"),
)


def test_a_fund_during_a_pause_is_pending_and_says_what_it_waits_for() -> None:
    answer, body = _answer(_outcome("FundIntent", OutcomeStatus.ACCEPTED, PAUSED))

    assert answer.http_status == 202
    assert body["next_action"] == {
        "kind": "resume_rails",
        "at": None,
        "blocked_by": "rails_paused",
    }


def test_what_an_older_release_answered_is_answered_so_again() -> None:
    older = replace(_outcome("FundIntent", OutcomeStatus.ACCEPTED, OPEN), renderer=1)

    _, body = _answer(older)

    assert "next_action" not in body
