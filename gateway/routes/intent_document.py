"""An intent as operators read it: pure functions from stored rows to the documents of gateway.md §3."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from gateway.queries.intents import StoredIntent
from gateway.routes.reading import JsonDocument, json_text
from schemas.due import settles_at
from schemas.instants import format_instant
from schemas.intent_fold import Hold, IntentState
from schemas.messages.outcomes import NextAction

Row = Mapping[str, Any]


def intent_document(stored: StoredIntent, now: datetime) -> JsonDocument:
    """Every member is always there; `reason` and others are null where they say nothing."""
    state = stored.state
    return {
        "tenant_id": state.tenant_id,
        "intent_id": state.intent_id,
        "state": state.status.value,
        "status": state.status.value,
        "reason": None if state.reason is None else state.reason.value,
        "principal_did": state.principal_did,
        "payee_did": state.payee_did,
        "operator_did": state.payee_did,
        "amount_cents": state.amount_minor,
        "currency": state.currency,
        "settlement_rail": state.settlement_rail,
        "settlement_mode": None if state.settlement_mode is None else state.settlement_mode.value,
        "allowed_tools": list(stored.allowed_tools or ()),
        "deadline": format_instant(state.deadline),
        "evidence_due_at": format_instant(state.evidence_due_at),
        "hold_expires_at": instant(state.hold.expires_at),
        "settles_at": instant(settles_at(state)),
        "next_action": next_action_document(stored.next_action(now=now)),
        "hold": _hold(state.hold),
        "placed_cents": state.placed_minor,
        "held_cents": state.held_minor,
        "released_cents": state.released_minor,
        "refunded_cents": state.refunded_minor,
        "custody_cents": state.custody_minor,
        "custody": None if state.custody is None else state.custody.value,
        "external_ref": state.external_ref,
        "predicate_passed": None if state.evidence is None else state.evidence.passed is True,
        "dispute": _dispute(state),
        "created_at": format_instant(state.created_at),
        "updated_at": format_instant(state.updated_at),
        "final_at": instant(state.final_at),
        "ledger_seq": state.last_seq,
        "timeline": [timeline_item(row) for row in stored.timeline],
        "evidence": _evidence(stored),
    }


def next_action_document(action: NextAction | None) -> JsonDocument | None:
    if action is None:
        return None
    return {"kind": action.kind, "at": instant(action.at), "blocked_by": action.blocked_by}


def list_item(row: Row) -> JsonDocument:
    """One line of the list of intents."""
    return {
        "intent_id": row["intent_id"],
        "status": row["status"],
        "state": row["status"],
        "reason": row["reason"],
        "amount_cents": row["amount_minor"],
        "currency": row["currency"],
        "principal_did": row["principal_did"],
        "operator_did": row["payee_did"],
        "settlement_rail": row["settlement_rail"],
        "deadline": format_instant(row["deadline"]),
        "evidence_due_at": format_instant(row["evidence_due_at"]),
        "hold_status": row["hold_status"],
        "hold_expires_at": instant(row["hold_expires_at"]),
        "created_at": format_instant(row["created_at"]),
        "updated_at": format_instant(row["updated_at"]),
        "final_at": instant(row["final_at"]),
        "ledger_seq": row["last_seq"],
    }


def timeline_item(row: Row) -> JsonDocument:
    return {
        "seq": row["seq"],
        "at": format_instant(row["recorded_at"]),
        "event_type": row["event_type"],
        "actor": {"kind": row["actor_kind"], "ref": row["actor_ref"]},
        "command_id": row["command_id"],
        "event": json_text(row["event_json"]),
    }


def totals_item(row: Row) -> JsonDocument:
    return {
        "status": row["status"],
        "currency": row["currency"],
        "intents": row["intents"],
        "placed_cents": int(row["placed_minor"]),
        "held_cents": int(row["held_minor"]),
        "released_cents": int(row["released_minor"]),
        "refunded_cents": int(row["refunded_minor"]),
        "custody_cents": int(row["custody_minor"]),
    }


def instant(value: datetime | None) -> str | None:
    return None if value is None else format_instant(value)


def _hold(hold: Hold) -> JsonDocument:
    return {
        "status": hold.status.value,
        "amount_cents": hold.amount_minor,
        "currency": hold.currency,
        "rail_object": hold.rail_object,
        "expires_at": instant(hold.expires_at),
        "attempt": hold.attempt,
        "effect_id": hold.effect_id,
    }


def _dispute(state: IntentState) -> JsonDocument | None:
    dispute = state.dispute
    if dispute is None:
        return None
    return {
        "case_id": dispute.case_id,
        "reason_code": dispute.reason_code,
        "opened_at": format_instant(dispute.opened_at),
    }


def _evidence(stored: StoredIntent) -> list[JsonDocument]:
    """What was submitted; body members are null once the body was erased: the commitment stays in the ledger."""
    state, row = stored.state.evidence, stored.evidence
    if state is None:
        return []
    document: JsonDocument = {
        "evidence_id": state.evidence_id,
        "submitted_at": format_instant(state.submitted_at),
        "commitment": state.commitment.hex(),
        "passed": state.passed,
        "evaluator": state.evaluator,
        "payload": None,
        "artifacts": None,
        "payload_digest": None,
        "artifacts_digest": None,
        "payee_did": stored.state.payee_did,
        "predicate_evaluation": None,
    }
    if row is not None:
        document |= {
            "payload": json_text(row["payload"]),
            "artifacts": [bytes(artifact).hex() for artifact in row["artifacts"]],
            "payload_digest": bytes(row["payload_digest"]).hex(),
            "artifacts_digest": bytes(row["artifacts_digest"]).hex(),
            "predicate_evaluation": json_text(row["report"]),
        }
    return [document]
