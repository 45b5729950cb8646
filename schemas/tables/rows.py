"""From messages to the rows of the read tables, pure: the views write them, `fsck` compares them.

A row is a function of the records alone: no clock, offset or epoch. Field names are the columns' names.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

import orjson

from schemas.ids import CommandId, IntentId, TenantId
from schemas.intent_fold import IntentState, TenantState
from schemas.messages.avro_codec import encode
from schemas.messages.bodies import EvidenceBody, IntentBody
from schemas.messages.events import LedgerEntry, event_type_of
from schemas.messages.outcomes import Outcome, OutcomeStatus
from schemas.topics import evidence_body_key, intent_body_key, outcome_key


@dataclass(frozen=True, slots=True, kw_only=True)
class EntryRow:
    """`views.ledger_entries`."""

    tenant_id: str
    seq: int
    value: bytes
    leaf_hash: bytes
    prev_hash: bytes
    recorded_at: datetime
    command_id: str
    actor_kind: str
    actor_ref: str
    intent_id: str | None
    event_type: str
    event_json: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TenantRow:
    """`views.tenants`."""

    tenant_id: str
    environment: str
    settlement_mode: str
    settlement_config_version: int
    origin: str
    provisioned_at: datetime
    last_seq: int
    last_leaf_hash: bytes
    last_recorded_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class IntentRow:
    """`views.intents`; `state` is what the fold goes on from, the rest is for people and indexes."""

    tenant_id: str
    intent_id: str
    status: str
    reason: str | None
    signing_version: int
    principal_did: str
    payee_did: str
    amount_minor: int
    currency: str
    settlement_rail: str
    settlement_mode: str | None
    settlement_config_version: int | None
    deadline: datetime
    evidence_due_at: datetime
    hold_status: str
    hold_rail_object: str | None
    hold_amount_minor: int
    hold_currency: str
    hold_expires_at: datetime | None
    hold_effect_id: str | None
    hold_action: str | None
    hold_attempt: int
    hold_cause: str | None
    hold_requested_minor: int
    hold_requested_at: datetime | None
    rail_status: str | None
    placed_minor: int
    held_minor: int
    released_minor: int
    refunded_minor: int
    custody_minor: int
    evidence_id: str | None
    evidence_submitted_at: datetime | None
    evidence_is_evaluated: bool
    evidence_passed: bool | None
    evidence_evaluator: str | None
    dispute_case_id: str | None
    dispute_reason_code: str | None
    dispute_opened_at: datetime | None
    custody: str | None
    external_ref: str | None
    created_at: datetime
    created_seq: int
    updated_at: datetime
    last_seq: int
    final_at: datetime | None
    state: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class TotalsChange:
    """What entry `seq` adds to a row of `views.intent_totals`; may be negative."""

    tenant_id: str
    seq: int
    status: str
    currency: str
    intents: int
    placed_minor: int
    held_minor: int
    released_minor: int
    refunded_minor: int
    custody_minor: int


class BodyKind(StrEnum):
    INTENT = "intent"
    EVIDENCE = "evidence"


@dataclass(frozen=True, slots=True, kw_only=True)
class BodyRow:
    """`views.evidence`: documents as text with their literals, never parsed here."""

    tenant_id: str
    intent_id: str
    kind: str
    budget: str | None = None
    evidence_schema: str | None = None
    predicate: str | None = None
    allowed_tools: list[str] | None = None
    evidence_id: str | None = None
    payload: str | None = None
    artifacts: list[bytes] | None = None
    payload_digest: bytes | None = None
    artifacts_digest: bytes | None = None
    payee_did: str | None = None
    payee_pubkey: bytes | None = None
    payee_signature: bytes | None = None
    submitted_at: str | None = None
    salt: bytes | None = None
    report: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class OperationRow:
    """`views.operations`."""

    tenant_id: str
    command_id: str
    intent_id: str | None
    status: str
    recorded_at: datetime
    decided_at: datetime
    outcome: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class TenantStateRow:
    """`views.tenant_states`: the bytes of `<tenant>/tenant` on `paybond.intents`."""

    tenant_id: str
    state: bytes


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class BodyKey:
    """Which body a record of `paybond.evidence` is, or erases."""

    tenant_id: str
    intent_id: str
    kind: str


def entry_row(entry: LedgerEntry, *, value: bytes, leaf_hash: bytes) -> EntryRow:
    """`value` = the record's bytes, `leaf_hash` = their leaf hash."""
    return EntryRow(
        tenant_id=entry.tenant_id,
        seq=entry.seq,
        value=value,
        leaf_hash=leaf_hash,
        prev_hash=entry.prev_hash,
        recorded_at=entry.recorded_at,
        command_id=entry.command_id,
        actor_kind=entry.actor.kind.value,
        actor_ref=entry.actor.ref,
        intent_id=entry.intent_id,
        event_type=event_type_of(entry.event),
        event_json=event_json(entry.event),
    )


def tenant_row(
    state: TenantState, *, last_seq: int, last_leaf_hash: bytes, last_recorded_at: datetime
) -> TenantRow:
    return TenantRow(
        tenant_id=state.tenant_id,
        environment=state.environment.value,
        settlement_mode=state.settlement_mode.value,
        settlement_config_version=state.settlement_config_version,
        origin=state.origin,
        provisioned_at=state.provisioned_at,
        last_seq=last_seq,
        last_leaf_hash=last_leaf_hash,
        last_recorded_at=last_recorded_at,
    )


def intent_row(state: IntentState) -> IntentRow:
    hold, evidence, dispute = state.hold, state.evidence, state.dispute
    return IntentRow(
        tenant_id=state.tenant_id,
        intent_id=state.intent_id,
        status=state.status.value,
        reason=_wire(state.reason),
        signing_version=state.signing_version,
        principal_did=state.principal_did,
        payee_did=state.payee_did,
        amount_minor=state.amount_minor,
        currency=state.currency,
        settlement_rail=state.settlement_rail,
        settlement_mode=_wire(state.settlement_mode),
        settlement_config_version=state.settlement_config_version,
        deadline=state.deadline,
        evidence_due_at=state.evidence_due_at,
        hold_status=hold.status.value,
        hold_rail_object=hold.rail_object,
        hold_amount_minor=hold.amount_minor,
        hold_currency=hold.currency,
        hold_expires_at=hold.expires_at,
        hold_effect_id=hold.effect_id,
        hold_action=_wire(hold.action),
        hold_attempt=hold.attempt,
        hold_cause=_wire(hold.cause),
        hold_requested_minor=hold.requested_minor,
        hold_requested_at=hold.requested_at,
        rail_status=state.rail_status,
        placed_minor=state.placed_minor,
        held_minor=state.held_minor,
        released_minor=state.released_minor,
        refunded_minor=state.refunded_minor,
        custody_minor=state.custody_minor,
        evidence_id=evidence.evidence_id if evidence else None,
        evidence_submitted_at=evidence.submitted_at if evidence else None,
        evidence_is_evaluated=evidence.is_evaluated if evidence else False,
        evidence_passed=evidence.passed if evidence else None,
        evidence_evaluator=evidence.evaluator if evidence else None,
        dispute_case_id=dispute.case_id if dispute else None,
        dispute_reason_code=dispute.reason_code if dispute else None,
        dispute_opened_at=dispute.opened_at if dispute else None,
        custody=_wire(state.custody),
        external_ref=state.external_ref,
        created_at=state.created_at,
        created_seq=state.created_seq,
        updated_at=state.updated_at,
        last_seq=state.last_seq,
        final_at=state.final_at,
        state=encode(state),
    )


def totals_changes(
    before: IntentState | None, after: IntentState, *, seq: int
) -> tuple[TotalsChange, ...]:
    """What the entry that led from `before` to `after` moves; empty if no counter changes."""
    if before is not None and _counted(before) == _counted(after):
        return ()
    removed = () if before is None else (_totals(before, seq=seq, sign=-1),)
    return (*removed, _totals(after, seq=seq, sign=1))


def body_row(body: IntentBody | EvidenceBody) -> BodyRow:
    match body:
        case IntentBody():
            return BodyRow(
                tenant_id=body.tenant_id,
                intent_id=body.intent_id,
                kind=BodyKind.INTENT.value,
                budget=body.budget,
                evidence_schema=body.evidence_schema,
                predicate=body.predicate,
                allowed_tools=list(body.allowed_tools),
            )
        case EvidenceBody():
            return BodyRow(
                tenant_id=body.tenant_id,
                intent_id=body.intent_id,
                kind=BodyKind.EVIDENCE.value,
                evidence_id=body.evidence_id,
                payload=body.payload,
                artifacts=list(body.artifacts),
                payload_digest=body.payload_digest,
                artifacts_digest=body.artifacts_digest,
                payee_did=body.payee_did,
                payee_pubkey=body.payee_pubkey,
                payee_signature=body.payee_signature,
                submitted_at=body.submitted_at,
                salt=body.salt,
                report=body.report,
            )


def body_key_of(key: bytes) -> BodyKey | None:
    """The body that a record's key names; None if it names none."""
    parts = key.decode("utf-8", "replace").split("/")
    if len(parts) != 3:
        return None
    tenant_id, intent_id, kind = parts
    if kind not in set(BodyKind):
        return None
    return BodyKey(tenant_id=tenant_id, intent_id=intent_id, kind=kind)


def record_key_of_body(row: BodyRow) -> bytes:
    """The key that a body's record must have."""
    tenant_id, intent_id = TenantId(row.tenant_id), IntentId(row.intent_id)
    if row.kind == BodyKind.INTENT:
        return intent_body_key(tenant_id, intent_id)
    return evidence_body_key(tenant_id, intent_id)


def operation_row(outcome: Outcome, *, key: bytes, value: bytes) -> OperationRow | None:
    """None for what is no operation's answer: `retry` decides nothing, a reused key lies under its own key."""
    if outcome.status is OutcomeStatus.RETRY:
        return None
    if key != outcome_key(TenantId(outcome.tenant_id), CommandId(outcome.command_id)):
        return None
    return OperationRow(
        tenant_id=outcome.tenant_id,
        command_id=outcome.command_id,
        intent_id=outcome.intent_id,
        status=outcome.status.value,
        recorded_at=outcome.recorded_at,
        decided_at=outcome.decided_at,
        outcome=value,
    )


def event_json(event: object) -> str:
    """The event's fields as compact JSON: bytes in lower-case hex, instants RFC 3339 with the fraction they have."""
    return orjson.dumps(event, default=_text_of, option=orjson.OPT_PASSTHROUGH_DATETIME).decode()


def instant_text(instant: datetime) -> str:
    """RFC 3339 UTC with `Z`; micros only where there are any, so that nothing signed or recorded is cut."""
    assert instant.utcoffset() == timedelta(0), "instants are UTC"
    text = instant.replace(microsecond=0, tzinfo=None).isoformat()
    return f"{text}.{instant.microsecond:06d}Z" if instant.microsecond else f"{text}Z"


def _text_of(value: object) -> str:
    """What orjson leaves to us."""
    match value:
        case bytes():
            return value.hex()
        case datetime():
            return instant_text(value)
        case _:
            raise TypeError(f"{type(value).__name__} has no JSON")


def _wire(value: StrEnum | None) -> str | None:
    return None if value is None else value.value


def _counted(state: IntentState) -> tuple[object, ...]:
    return (
        state.status,
        state.currency,
        state.placed_minor,
        state.held_minor,
        state.released_minor,
        state.refunded_minor,
        state.custody_minor,
    )


def _totals(state: IntentState, *, seq: int, sign: int) -> TotalsChange:
    return TotalsChange(
        tenant_id=state.tenant_id,
        seq=seq,
        status=state.status.value,
        currency=state.currency,
        intents=sign,
        placed_minor=sign * state.placed_minor,
        held_minor=sign * state.held_minor,
        released_minor=sign * state.released_minor,
        refunded_minor=sign * state.refunded_minor,
        custody_minor=sign * state.custody_minor,
    )
