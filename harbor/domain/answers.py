"""The intent as a command left it → what its outcome carries, so that any route's answer can be shown from it."""

from datetime import datetime

from schemas.intent_fold import IntentState
from schemas.messages.bodies import EvidenceBody, IntentBody
from schemas.messages.outcomes import IntentAnswer
from schemas.messages.shared import IntentStatus
from schemas.next_action import next_action


def intent_answer(
    intent: IntentState,
    intent_body: IntentBody | None,
    evidence_body: EvidenceBody | None,
    *,
    now: datetime,
    are_rails_paused: bool = False,
) -> IntentAnswer:
    """`funded` = the amount is held now, or was when it was settled. `now` = the command's time."""
    evidence = intent.evidence
    return IntentAnswer(
        intent_id=intent.intent_id,
        status=intent.status,
        settlement_rail=intent.settlement_rail,
        currency=intent.currency,
        amount_minor=intent.amount_minor,
        funded=intent.status is not IntentStatus.OPEN and intent.placed_minor > 0,
        hold_status=intent.hold.status,
        rail_object=intent.hold.rail_object,
        settlement_mode=intent.settlement_mode,
        hold_expires_at=intent.hold.expires_at,
        evidence_due_at=intent.evidence_due_at,
        reason=intent.reason,
        held_minor=intent.held_minor,
        released_minor=intent.released_minor,
        refunded_minor=intent.refunded_minor,
        custody_minor=intent.custody_minor,
        custody=intent.custody,
        case_id=intent.dispute.case_id if intent.dispute else None,
        evidence_id=evidence.evidence_id if evidence else None,
        payload_digest=evidence_body.payload_digest if evidence_body else None,
        artifacts_digest=evidence_body.artifacts_digest if evidence_body else None,
        # Unknown is not passed.
        predicate_passed=evidence.passed is True if evidence else None,
        report_json=evidence_body.report if evidence_body else None,
        payee_did=intent.payee_did,
        principal_did=intent.principal_did,
        allowed_tools=intent_body.allowed_tools if intent_body else (),
        next_action=next_action(intent, now=now, are_rails_paused=are_rails_paused),
    )
