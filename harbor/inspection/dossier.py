"""An intent's file as documents: what a person looks at, and the dossier one hands to a colleague or to the rail. Pure.

A dossier stands alone: record bytes, inclusion proofs, the signed checkpoint and the key's name are in it. It holds no
secret, capability, nonce or body of evidence. The record of `intent_created` holds the principal's signature, so its
bytes are left out unless asked for; its leaf hash and proof stay.
"""

import json
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from harbor.inspection.intent_file import FiledEntry, IntentFile, SignedHead
from harbor.inspection.issued_effects import IssuedEffect
from schemas.canonical import base64_strict
from schemas.instants import format_instant
from schemas.intent_fold import IntentState
from schemas.ledger.signed_note import VerifierKey
from schemas.messages.events import (
    Event,
    IntentCreated,
    SettlementHoldPlaced,
    SettlementRailConfirmed,
    SettlementRailFailed,
    event_type_of,
)
from schemas.messages.outcomes import NextAction, Outcome
from schemas.next_action import next_action_under
from schemas.tables.rows import event_json, instant_text

Document = dict[str, Any]
VERSION = 1
_ANSWERS = (SettlementHoldPlaced, SettlementRailConfirmed, SettlementRailFailed)


def intent_document(file: IntentFile, now: datetime) -> Document:
    """State, timeline, rail ids, effects, outcomes and what comes next; `problems` is empty where all agrees."""
    state = file.state
    return {
        "tenant_id": file.tenant_id,
        "intent_id": file.intent_id,
        "as_of": format_instant(now),
        "state": None if state is None else _state(state),
        "next_action": _next_action(file, now),
        "timeline": [_timeline_item(filed) for filed in file.entries],
        "rail_ids": _rail_ids(file),
        "outstanding": [_effect(one, file) for one in file.effects if _is_outstanding(one, file)],
        "effects": [_effect(one, file) for one in file.effects],
        "outcomes": [_outcome(outcome) for outcome in file.outcomes],
        "ledger": {"entries": file.size, "checkpoint_size": file.head and file.head.size},
        "problems": list(file.problems),
    }


def dossier(
    file: IntentFile, now: datetime, *, keys: Iterable[VerifierKey], is_with_consent: bool = False
) -> Document:
    """The document with every entry's record, leaf hash and proof; `proof` is what verifiers of the API take."""
    head = file.head
    entries = [
        {
            "seq": filed.entry.seq,
            "event_type": event_type_of(filed.entry.event),
            **_record(filed, is_with_consent=is_with_consent),
            "leaf_hash_hex": filed.leaf_hash.hex(),
            "proof": None if head is None else _proof(file.tenant_id, filed, head),
        }
        for filed in file.entries
    ]
    return {
        "paybond_dossier": VERSION,
        **intent_document(file, now),
        "checkpoint": None if head is None else head.note,
        # Says which key; whom to trust is the reader's to know.
        "verifier_keys": [key.vkey for key in keys],
        "entries": entries,
    }


def next_action_document(action: NextAction | None) -> Document | None:
    if action is None:
        return None
    at = None if action.at is None else format_instant(action.at)
    return {"kind": action.kind, "at": at, "blocked_by": action.blocked_by}


def _record(filed: FiledEntry, *, is_with_consent: bool) -> Document:
    if isinstance(filed.entry.event, IntentCreated) and not is_with_consent:
        return {"value_b64": None, "withheld": "the record holds the principal's signature"}
    return {"value_b64": base64_strict.encode(filed.value), "withheld": None}


def _proof(tenant_id: str, filed: FiledEntry, head: SignedHead) -> Document | None:
    if filed.proof is None:
        return None
    return {
        "tenant_id": tenant_id,
        "seq": filed.entry.seq,
        "leaf_index": filed.entry.seq - 1,
        "tree_size": head.size,
        "root_hash_hex": head.root.hex(),
        "leaf_hash_hex": filed.leaf_hash.hex(),
        "proof": [base64_strict.encode(node) for node in filed.proof],
        "checkpoint": head.note,
    }


def _state(state: IntentState) -> Document:
    hold, evidence, dispute = state.hold, state.evidence, state.dispute
    return {
        "status": state.status.value,
        "reason": state.reason and state.reason.value,
        "amount_cents": state.amount_minor,
        "currency": state.currency,
        "principal_did": state.principal_did,
        "payee_did": state.payee_did,
        "deadline": format_instant(state.deadline),
        "evidence_due_at": format_instant(state.evidence_due_at),
        "settlement_rail": state.settlement_rail,
        "settlement_mode": state.settlement_mode and state.settlement_mode.value,
        "hold": {
            "status": hold.status.value,
            "amount_cents": hold.amount_minor,
            "currency": hold.currency,
            "rail_object": hold.rail_object,
            "expires_at": hold.expires_at and format_instant(hold.expires_at),
            "action": hold.action and hold.action.value,
            "attempt": hold.attempt,
            "effect_id": hold.effect_id,
        },
        "rail_status": state.rail_status,
        "placed_cents": state.placed_minor,
        "held_cents": state.held_minor,
        "released_cents": state.released_minor,
        "refunded_cents": state.refunded_minor,
        "custody_cents": state.custody_minor,
        "evidence_id": evidence and evidence.evidence_id,
        "evidence_passed": evidence and evidence.passed,
        "dispute_case_id": dispute and dispute.case_id,
        "created_at": format_instant(state.created_at),
        "final_at": state.final_at and format_instant(state.final_at),
        "ledger_seq": state.last_seq,
    }


def _next_action(file: IntentFile, now: datetime) -> Document | None:
    if file.state is None:
        return None
    return next_action_document(next_action_under(file.tenant, file.state, now=now))


def _timeline_item(filed: FiledEntry) -> Document:
    entry = filed.entry
    return {
        "seq": entry.seq,
        "at": instant_text(entry.recorded_at),
        "event": event_type_of(entry.event),
        "actor": {"kind": entry.actor.kind.value, "ref": entry.actor.ref},
        "command_id": entry.command_id,
        "details": _details(entry.event),
    }


def _details(event: Event) -> Mapping[str, Any]:
    """The event's members, but for signatures."""
    members: dict[str, Any] = json.loads(event_json(event))
    return {name: value for name, value in members.items() if not name.endswith("signature")}


def _rail_ids(file: IntentFile) -> Document:
    """What a rail knows: its objects, and the effect ids, which it was given as idempotency keys."""
    objects: dict[str, None] = {}
    effect_ids: dict[str, None] = {}
    for filed in file.entries:
        event = filed.entry.event
        for names, member in ((objects, "rail_object"), (effect_ids, "effect_id")):
            found = getattr(event, member, None)
            if found:
                names[str(found)] = None
    return {"objects": list(objects), "idempotency_keys": list(effect_ids)}


def _is_outstanding(one: IssuedEffect, file: IntentFile) -> bool:
    return file.state is not None and file.state.hold.effect_id == one.effect.effect_id


def _effect(one: IssuedEffect, file: IntentFile) -> Document:
    effect = one.effect
    return {
        "effect_id": effect.effect_id,
        "action": effect.action.value,
        "amount_cents": effect.amount_minor,
        "currency": effect.currency,
        "attempt": effect.attempt,
        "issues": one.issues,
        "requested_at": format_instant(effect.requested_at),
        "issued_at": format_instant(one.issued_at),
        "ledger_seq": effect.ledger_seq,
        "rail_object": effect.rail_object,
        "is_outstanding": _is_outstanding(one, file),
        "answered_by": next(
            (
                {"seq": filed.entry.seq, "event": event_type_of(filed.entry.event)}
                for filed in file.entries
                if isinstance(filed.entry.event, _ANSWERS)
                and filed.entry.event.effect_id == effect.effect_id
            ),
            None,
        ),
    }


def _outcome(outcome: Outcome) -> Document:
    refusal = outcome.refusal
    return {
        "command_id": outcome.command_id,
        "command": outcome.command_kind,
        "status": outcome.status.value,
        "code": refusal and refusal.code,
        "message": refusal and refusal.message,
        "ledger_seq": outcome.ledger_seq,
        "operation_command_id": outcome.operation_command_id,
        "request_id": outcome.request_id,
        "recorded_at": format_instant(outcome.recorded_at),
        "decided_at": format_instant(outcome.decided_at),
    }
