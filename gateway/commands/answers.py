"""Outcome → status, headers and bytes, as a pure function: a retry gets the first answer, byte for byte.

`renderer` of the outcome names the version of this function that must be used. Only what `Secrets` makes
(capability token) stands outside that promise.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol, assert_never

from gateway.edge.refused import error_body
from schemas.instants import format_instant
from schemas.messages.outcomes import IntentAnswer, NextAction, Outcome, OutcomeStatus, Refusal
from schemas.messages.refusals import rule_of
from schemas.messages.shared import HoldStatus, IntentStatus

_RETRY_AFTER_SECONDS = 1
# The first renderer whose answers carry it; what an older release answered stays as it was.
_WITH_NEXT_ACTION = 2
_JSON_SEPARATORS = (",", ":")


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    http_status: int
    body: bytes
    headers: Mapping[str, str]


class Secrets(Protocol):
    """What is made anew on each answer, and never stored."""

    def capability_token(self, *, tenant_id: str, intent_id: str) -> str: ...

    def operation_id(self, outcome: Outcome) -> str: ...


def answer_of(outcome: Outcome, secrets: Secrets, *, request_id: str) -> Answer:
    """What the caller gets. `request_id` is the present request's, used where the outcome holds no first one."""
    match outcome.status:
        case OutcomeStatus.REFUSED | OutcomeStatus.RETRY:
            assert outcome.refusal is not None
            return refusal_answer(outcome.refusal, outcome.request_id or request_id)
        case OutcomeStatus.ACCEPTED | OutcomeStatus.DONE:
            assert isinstance(outcome.answer, IntentAnswer)
            return _intent_answer(outcome, outcome.answer, secrets)
        case _:
            assert_never(outcome.status)


def refusal_answer(refusal: Refusal, request_id: str) -> Answer:
    rule = rule_of(refusal.code)
    details = None if refusal.details_json is None else json.loads(refusal.details_json)
    body = error_body(
        code=refusal.code, message=refusal.message, request_id=request_id, details=details
    )
    headers: dict[str, str] = {}
    if rule.http_status in {429, 503}:
        headers["retry-after"] = str(_RETRY_AFTER_SECONDS)
    if rule.http_status == 401:
        headers["www-authenticate"] = "Bearer"
    return Answer(http_status=rule.http_status, body=body, headers=headers)


def _intent_answer(outcome: Outcome, answer: IntentAnswer, secrets: Secrets) -> Answer:
    members = _members_of(outcome, answer, secrets)
    http_status = _http_status(outcome, answer)
    headers: dict[str, str] = {}
    if http_status == 202:
        operation_id = secrets.operation_id(outcome)
        members["operation_id"] = operation_id
        headers["location"] = f"/v1/operations/{operation_id}"
    return Answer(http_status=http_status, body=compact(members), headers=headers)


def result_members(outcome: Outcome, secrets: Secrets) -> dict[str, object]:
    """The answer's members without status: what `GET /v1/operations/{id}` shows as its result."""
    assert isinstance(outcome.answer, IntentAnswer)
    return _members_of(outcome, outcome.answer, secrets)


def _http_status(outcome: Outcome, answer: IntentAnswer) -> int:
    if outcome.command_kind == "CreateIntent":
        return 201
    if outcome.status is OutcomeStatus.ACCEPTED:
        return 202
    if outcome.command_kind == "FundIntent" and not answer.funded:
        return 202
    return 200


def _members_of(outcome: Outcome, answer: IntentAnswer, secrets: Secrets) -> dict[str, object]:
    members: dict[str, object] = {
        "tenant": outcome.tenant_id,
        "intent_id": answer.intent_id,
        "state": answer.status.value,
    }
    if outcome.ledger_seq is not None:
        members["ledger_seq"] = outcome.ledger_seq
    if outcome.renderer >= _WITH_NEXT_ACTION:
        members["next_action"] = _next_action(answer.next_action)
    match outcome.command_kind:
        case "FundIntent":
            members |= funding_members(answer)
            if answer.funded:
                members["capability_token"] = secrets.capability_token(
                    tenant_id=outcome.tenant_id, intent_id=answer.intent_id
                )
        case "SubmitEvidence":
            members |= _evidence_members(answer)
        case "ConfirmSettlement" | "ResolveDispute" | "OpenDispute" | "WithdrawDispute":
            members |= _settlement_members(answer)
        case _:
            members |= _money_members(answer)
    return members


def _next_action(action: NextAction | None) -> dict[str, object] | None:
    if action is None:
        return None
    at = None if action.at is None else format_instant(action.at)
    return {"kind": action.kind, "at": at, "blocked_by": action.blocked_by}


def _money_members(answer: IntentAnswer) -> dict[str, object]:
    return {
        "settlement_rail": answer.settlement_rail,
        "currency": answer.currency,
        "amount_cents": answer.amount_minor,
    }


def funding_members(answer: IntentAnswer) -> dict[str, object]:
    """What every answer of fund carries, 202 included."""
    members = _money_members(answer) | {"funded": answer.funded}
    funding: dict[str, object] = {
        "settlement_rail": answer.settlement_rail,
        "status": _funding_status(answer),
    }
    if answer.settlement_mode is not None:
        members["settlement_mode"] = answer.settlement_mode.value
    if answer.rail_object is not None:
        funding["stripe_payment_intent_id"] = answer.rail_object
    if answer.hold_expires_at is not None:
        funding["authorization_expires_at"] = _instant(answer.hold_expires_at)
        funding["capture_expires_at"] = _instant(answer.hold_expires_at)
    return members | {"funding": funding}


def _funding_status(answer: IntentAnswer) -> str:
    return "pending" if answer.hold_status is HoldStatus.REQUESTED else answer.hold_status.value


def _evidence_members(answer: IntentAnswer) -> dict[str, object]:
    members: dict[str, object] = {"evidence_id": answer.evidence_id}
    if answer.payload_digest is not None:
        members["payload_digest"] = answer.payload_digest.hex()
    if answer.artifacts_digest is not None:
        members["artifacts_digest"] = answer.artifacts_digest.hex()
    members["predicate_passed"] = bool(answer.predicate_passed)
    if answer.report_json is not None:
        members["predicate_evaluation"] = json.loads(answer.report_json)
    return members


def _settlement_members(answer: IntentAnswer) -> dict[str, object]:
    members = _money_members(answer)
    if answer.case_id is not None:
        members["case_id"] = answer.case_id
    if answer.reason is not None:
        members["reason"] = answer.reason.value
    if answer.predicate_passed is not None:
        members["predicate_passed"] = answer.predicate_passed
    if answer.status in _SETTLED:
        members |= {
            "released_cents": answer.released_minor,
            "refunded_cents": answer.refunded_minor,
            "custody_cents": answer.custody_minor,
        }
    return members


_SETTLED = frozenset(
    {
        IntentStatus.RELEASED,
        IntentStatus.REFUNDED,
        IntentStatus.RESOLVED_SPLIT,
        IntentStatus.ESCALATED_EXTERNAL,
    }
)


def _instant(instant: datetime) -> str:
    return format_instant(instant.replace(microsecond=0))


def compact(members: Mapping[str, object]) -> bytes:
    return json.dumps(members, ensure_ascii=False, separators=_JSON_SEPARATORS).encode()
