"""What one decision would write: entries folded into states, bodies, pins, effects and outcomes. Pure.

A draft is made whole before anything of it counts, so that a record that does not fit refuses its command and leaves
nothing half done.
"""

from dataclasses import dataclass

from harbor.domain.answers import intent_answer
from harbor.domain.decision import Decision, Facts
from harbor.domain.settlement import effect_of
from harbor.engine.batch_output import (
    DraftedEntry,
    body_record,
    effect_record,
    entry_record,
)
from harbor.engine.intake import Received
from harbor.engine.ports import OutputRecord
from schemas.intent_fold import IntentState, PartyPin, TenantState, evolve, provision
from schemas.messages.bodies import EvidenceBody, IntentBody
from schemas.messages.events import SettlementRailRequested, TenantProvisioned
from schemas.messages.outcomes import (
    IntentAnswer,
    Outcome,
    OutcomeStatus,
    Refusal,
    TenantAnswer,
)
from schemas.replacing import replace


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """`records` = entries, bodies and effects, in this order. `settled` = the rewritten outcome of another command.

    `intent` and `tenant` are set where they changed.
    """

    entries: list[DraftedEntry]
    records: tuple[OutputRecord, ...]
    intent: IntentState | None
    tenant: TenantState | None
    bodies: tuple[IntentBody | EvidenceBody, ...]
    pins: tuple[PartyPin, ...]
    outcome: Outcome
    settled: Outcome | None


def draft_of(
    received: Received,
    facts: Facts,
    decision: Decision,
    *,
    entries: list[DraftedEntry],
    asking: Outcome | None,
    partitions: int,
) -> Draft:
    """`entries` are the decision's events on the tenant's chain; `asking` is the outcome that `settled` rewrites."""
    intent, tenant = facts.intent, facts.tenant
    records = [entry_record(draft) for draft in entries]
    records += [body_record(body, partitions=partitions) for body in decision.bodies]
    for draft in entries:
        event = draft.entry.event
        if isinstance(event, TenantProvisioned):
            tenant = provision(draft.entry)
            continue
        intent = evolve(intent, draft.entry)
        if isinstance(event, SettlementRailRequested):
            assert tenant is not None, "a rail is asked for a provisioned tenant only"
            effect = effect_of(intent, tenant, issue=0)
            records.append(effect_record(effect, partitions=partitions))
    if decision.reissued is not None:
        records.append(effect_record(decision.reissued, partitions=partitions))
    answer = _answer(facts, decision, intent=intent, tenant=tenant)
    last_seq = entries[-1].entry.seq if entries else None
    return Draft(
        entries=entries,
        records=tuple(records),
        intent=intent if intent is not facts.intent else None,
        tenant=tenant if tenant is not facts.tenant else None,
        bodies=decision.bodies,
        pins=_pins(received, decision, entries),
        outcome=outcome_of(
            received,
            status=decision.status,
            answer=answer,
            ledger_seq=last_seq,
            operation_command_id=decision.operation_command_id,
        ),
        settled=_settled(received, decision, asking, answer=answer, last_seq=last_seq),
    )


def outcome_of(
    received: Received,
    *,
    status: OutcomeStatus,
    refusal: Refusal | None = None,
    answer: IntentAnswer | TenantAnswer | None = None,
    ledger_seq: int | None = None,
    operation_command_id: str | None = None,
) -> Outcome:
    """The answer to this command; its times are the record's, so that deciding it again gives the same bytes."""
    command = received.command
    return Outcome(
        command_id=command.command_id,
        tenant_id=command.tenant_id,
        intent_id=command.intent_id,
        command_kind=type(command.body).__name__,
        status=status,
        input_hash=command.input_hash,
        recorded_at=received.record.timestamp,
        decided_at=received.record.timestamp,
        spent=command.spent,
        request_id=command.request_id,
        answer=answer,
        refusal=refusal,
        ledger_seq=ledger_seq,
        operation_command_id=operation_command_id,
    )


def tenant_answer(tenant: TenantState | None) -> TenantAnswer | None:
    if tenant is None:
        return None
    return TenantAnswer(
        environment=tenant.environment,
        settlement_mode=tenant.settlement_mode,
        rails_paused_since=tenant.rails_pause.since if tenant.rails_pause else None,
    )


def _answer(
    facts: Facts, decision: Decision, *, intent: IntentState | None, tenant: TenantState | None
) -> IntentAnswer | TenantAnswer | None:
    if intent is None:
        return tenant_answer(tenant)
    intent_body, evidence_body = facts.intent_body, facts.evidence_body
    for body in decision.bodies:
        if isinstance(body, IntentBody):
            intent_body = body
        else:
            evidence_body = body
    return intent_answer(
        intent,
        intent_body,
        evidence_body,
        now=facts.now,
        are_rails_paused=tenant is not None and tenant.rails_pause is not None,
    )


def _pins(
    received: Received, decision: Decision, entries: list[DraftedEntry]
) -> tuple[PartyPin, ...]:
    """Written with the entry that first shows them."""
    if not decision.pins:
        return ()
    assert entries, "a pin comes with an entry"
    return tuple(
        PartyPin(
            tenant_id=received.tenant_id,
            did=pin.did,
            pubkey=pin.pubkey,
            since_seq=entries[0].entry.seq,
        )
        for pin in decision.pins
    )


def _settled(
    received: Received,
    decision: Decision,
    asking: Outcome | None,
    *,
    answer: IntentAnswer | TenantAnswer | None,
    last_seq: int | None,
) -> Outcome | None:
    """What the asking command's waiter and later repeats get: its own identity, the rail's result."""
    if decision.settled is None or asking is None:
        return None
    assert asking.command_id == decision.settled.command_id
    return replace(
        asking,
        status=decision.settled.status,
        refusal=decision.settled.refusal,
        decided_at=received.record.timestamp,
        answer=answer,
        ledger_seq=last_seq if last_seq is not None else asking.ledger_seq,
    )
