"""Refusals as values: one constructor, so that code, message and details come from one table."""

import json

from harbor.domain.decision import Refused
from schemas.intent_fold import IntentState
from schemas.messages.outcomes import Refusal
from schemas.messages.refusals import rule_of


def refuse(code: str, message: str | None = None, **details: str | int | None) -> Refused:
    """A refusal by its code; `details` are ids and limits that are safe to show."""
    return Refused(refusal=refusal(code, message, **details))


def refusal(code: str, message: str | None = None, **details: str | int | None) -> Refusal:
    shown = {name: value for name, value in details.items() if value is not None}
    return Refusal(
        code=code,
        message=message or rule_of(code).message,
        details_json=json.dumps(shown, sort_keys=True, separators=(",", ":")) if shown else None,
    )


def intent_final(intent: IntentState) -> Refused:
    return refuse("intent_final", intent_id=intent.intent_id, state=intent.status.value)


def intent_frozen(intent: IntentState) -> Refused:
    case_id = intent.dispute.case_id if intent.dispute else None
    return refuse("intent_frozen", intent_id=intent.intent_id, case_id=case_id)


def settlement_in_progress(intent: IntentState) -> Refused:
    return refuse(
        "settlement_in_progress", intent_id=intent.intent_id, effect_id=intent.hold.effect_id
    )
