"""What a transaction carried against what the model expects of it, topic by topic."""

from collections.abc import Sequence
from datetime import datetime
from enum import Enum
from typing import TYPE_CHECKING

from harbor.adapters.memory.partition_log import StoredRecord
from schemas.intent_fold import IntentState, PartyPin, TenantState
from schemas.messages.avro_codec import decode, decode_as
from schemas.messages.commands import Command
from schemas.messages.effects import Effect
from schemas.messages.events import LedgerEntry, event_type_of
from schemas.messages.outcomes import IntentAnswer, Outcome
from schemas.topics import party_key
from tests.simulation.audit.intent_model import Intent, Shape
from tests.simulation.audit.ledger_model import Expected, ExpectedOutcome
from tests.simulation.audit.rules import Rule, ViolationError

if TYPE_CHECKING:
    from tests.simulation.audit.auditor import Auditor

ExpectedEntry = tuple[Command, str | None, Shape, datetime]


def check_entries(
    tenant_id: str, entries: Sequence[LedgerEntry], expected: Sequence[ExpectedEntry]
) -> None:
    told = [entry.command_id for entry in entries]
    wanted = [command.command_id for command, _, _, _ in expected]
    if told != wanted:
        raise ViolationError(
            Rule.COMMAND_ONCE, f"{tenant_id}: entries of {told}, the commands were {wanted}"
        )
    for entry, (command, intent_id, (event_type, members), at) in zip(
        entries, expected, strict=True
    ):
        if entry.intent_id != intent_id or entry.actor != command.actor:
            raise ViolationError(Rule.TENANT, f"{tenant_id}/{entry.seq} is about another's intent")
        # Another kind of event may lack them.
        shown = {name: _plain(getattr(entry.event, name, None)) for name in members}
        told_shape = event_type_of(entry.event), shown
        if told_shape != (event_type, members) or entry.recorded_at != at:
            raise ViolationError(
                Rule.ENTRIES_AS_PREDICTED,
                f"{tenant_id}/{entry.seq}: {told_shape} at {entry.recorded_at},"
                f" not {event_type}, {members} at {at}",
            )


def check_outcomes(
    auditor: "Auditor", told: list[tuple[StoredRecord, Outcome]], expected: Expected
) -> None:
    for (record, outcome), wanted in zip(told, expected.outcomes, strict=False):
        _check_outcome(auditor, record, outcome, wanted)
    if len(told) < len(expected.outcomes):
        missing = expected.outcomes[len(told)]
        rule = Rule.ANSWERED_AGAIN if missing.again else Rule.OUTCOME_AS_PREDICTED
        raise ViolationError(rule, f"no outcome of {missing.stored.command_id}")
    if len(told) > len(expected.outcomes):
        outcome = told[len(expected.outcomes)][1]
        raise ViolationError(
            Rule.OUTCOME_AS_PREDICTED,
            f"an outcome of {outcome.command_id} ({outcome.command_kind}) that nothing explains",
        )


def _check_outcome(
    auditor: "Auditor", record: StoredRecord, outcome: Outcome, wanted: ExpectedOutcome
) -> None:
    stored = wanted.stored
    key = f"{outcome.tenant_id}/{stored.command_id}"
    if wanted.beside:
        key += f"/{stored.input_hash.hex()}"
    before = auditor.answers.last_value(record.key or b"")
    auditor.answers.published(record.key or b"", record.value or b"", outcome)
    told = (
        (record.key or b"").decode(),
        outcome.status.value,
        None if outcome.refusal is None else outcome.refusal.code,
        outcome.input_hash,
        outcome.ledger_seq,
    )
    if told != (key, stored.status, stored.code, stored.input_hash, stored.ledger_seq):
        raise ViolationError(
            Rule.ANSWERED_AGAIN if wanted.again else Rule.OUTCOME_AS_PREDICTED,
            f"{outcome.command_kind} {outcome.command_id}: {told[1:]}, not"
            f" {(stored.status, stored.code, stored.input_hash, stored.ledger_seq)} under {key}",
        )
    if wanted.again and before != record.value:
        raise ViolationError(Rule.ANSWERED_AGAIN, f"{key} has other bytes than before")
    if isinstance(outcome.answer, IntentAnswer) and stored.shown is not None:
        answer = outcome.answer
        shown = (
            answer.status.value,
            answer.held_minor,
            answer.released_minor,
            answer.refunded_minor,
            answer.custody_minor,
        )
        if shown != stored.shown:
            raise ViolationError(
                Rule.OUTCOME_AS_PREDICTED, f"{key} shows {shown}, not {stored.shown}"
            )


def check_effects(auditor: "Auditor", records: list[StoredRecord], expected: Expected) -> None:
    effects = [decode_as(Effect, record.value or b"") for record in records]
    told = [(effect.effect_id, effect.issue) for effect in effects]
    if told != expected.effects:
        raise ViolationError(Rule.EFFECT, f"{told}, not {expected.effects}")
    for effect in effects:
        content = (effect.tenant_id, effect.intent_id, effect.action.value, effect.amount_minor)
        first = auditor.effects.setdefault(effect.effect_id, content)
        intent = auditor.model.tenant(effect.tenant_id).intents.get(effect.intent_id)
        if first != content or intent is None:
            raise ViolationError(Rule.EFFECT, f"{effect.effect_id} is {content}, was {first}")


def check_states(auditor: "Auditor", records: list[StoredRecord], expected: Expected) -> None:
    seen: set[object] = set()
    for record in records:
        state = decode(record.value or b"")
        match state:
            case IntentState():
                name: object = (state.tenant_id, state.intent_id)
                _check_intent(state, expected.intents.get((state.tenant_id, state.intent_id)))
            case PartyPin():
                name = (state.tenant_id, "party", state.did)
                if (
                    expected.parties.get((state.tenant_id, state.did)) != state.pubkey
                    or record.key != party_key(state.tenant_id, state.did)  # type: ignore[arg-type]
                ):
                    raise ViolationError(Rule.STATE, f"{state.did} is pinned, but not by this")
            case TenantState():
                name = (state.tenant_id, "tenant")
                tenant = auditor.model.tenant(state.tenant_id)
                if (state.quarantine is not None) != tenant.is_quarantined:
                    raise ViolationError(Rule.STATE, f"quarantine of {state.tenant_id}")
            case _:
                raise ViolationError(Rule.STATE, f"{record.key!r} is no state")
        if name in seen:
            raise ViolationError(Rule.STATE, f"{name} twice in one transaction")
        seen.add(name)
    wanted: set[object] = set(expected.intents)
    wanted |= {(tenant_id, "party", did) for tenant_id, did in expected.parties}
    wanted |= {(tenant_id, "tenant") for tenant_id in expected.tenants}
    if seen != wanted:
        differing = sorted(map(str, seen ^ wanted))
        raise ViolationError(Rule.STATE, f"not as the entries say: {differing}")


def _check_intent(state: IntentState, intent: Intent | None) -> None:
    name = f"{state.tenant_id}/{state.intent_id}"
    parts = state.held_minor + state.released_minor + state.refunded_minor + state.custody_minor
    if state.placed_minor != parts or (intent is not None and not intent.is_conserved):
        raise ViolationError(Rule.CONSERVATION, f"{name}: {state.placed_minor} became {parts}")
    if intent is None:
        raise ViolationError(Rule.STATE, f"{name} changed without an entry")
    outstanding = intent.outstanding
    told = (
        state.status.value,
        state.placed_minor,
        state.held_minor,
        state.released_minor,
        state.refunded_minor,
        state.custody_minor,
        state.hold.effect_id,
        state.last_seq,
        state.deadline,
        state.currency,
    )
    wanted = (
        intent.status,
        intent.placed,
        intent.held,
        intent.released,
        intent.refunded,
        intent.custody,
        None if outstanding is None else outstanding.effect_id,
        intent.last_seq,
        intent.deadline,
        intent.currency,
    )
    if told != wanted:
        raise ViolationError(Rule.STATE, f"{name}: {told}, not {wanted}")


def check_bodies(records: list[StoredRecord], expected: Expected) -> None:
    told = sorted((record.key or b"").decode() for record in records)
    wanted = sorted("/".join(body) for body in expected.bodies)
    if told != wanted:
        raise ViolationError(Rule.BODIES, f"{told}, not {wanted}")


def _plain(value: object) -> object:
    return value.value if isinstance(value, Enum) else value
