"""Ledgers as Harbor would write them, without Harbor: chained entries, bodies and signed checkpoints as records."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from schemas.canonical import ed25519
from schemas.ids import (
    CommandId,
    IntentId,
    TenantId,
    case_id_of,
    command_id_of,
    effect_id_of,
    uuid8_of,
)
from schemas.intent_state import RailsPause, TenantState
from schemas.ledger.checkpoint import Checkpoint, origin_of, sign_checkpoint
from schemas.ledger.entry_chain import CHAIN_START, leaf_hash
from schemas.ledger.merkle_tree import root_of
from schemas.messages.avro_codec import encode
from schemas.messages.bodies import EvidenceBody, IntentBody
from schemas.messages.events import (
    Disputed,
    Event,
    EvidenceSubmitted,
    IntentCreated,
    LedgerEntry,
    PredicateEvaluated,
    Refunded,
    Released,
    SettlementHoldPlaced,
    SettlementRailConfirmed,
    SettlementRailRequested,
    TenantProvisioned,
)
from schemas.messages.outcomes import Outcome, OutcomeStatus
from schemas.messages.shared import (
    Actor,
    ActorKind,
    Environment,
    RailAction,
    RefundReason,
    SettlementCause,
    SettlementMode,
)
from schemas.messages.tips import SignedCheckpoint
from schemas.topics import (
    checkpoint_key,
    evidence_body_key,
    intent_body_key,
    ledger_key,
    outcome_key,
    tenant_key,
)

DEPLOYMENT = "test"
LEDGER_SEED = b"\x77" * 32
LEDGER_KEY = ed25519.public_key(LEDGER_SEED)
T0 = datetime(2026, 1, 5, 12, 0, 0, tzinfo=UTC)
AMOUNT = 20_000
_ACTOR = Actor(kind=ActorKind.API_KEY, ref="key-1")


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerRecord:
    key: bytes
    value: bytes
    entry: LedgerEntry


@dataclass(slots=True)
class Ledger:
    """One tenant's chain; `stories` append whole lives of intents, told apart by their number."""

    tenant_id: TenantId
    records: list[LedgerRecord] = field(default_factory=list)

    def add(self, event: Event, intent_id: IntentId | None = None) -> LedgerRecord:
        seq = len(self.records) + 1
        before = leaf_hash(self.records[-1].value) if self.records else CHAIN_START.leaf_hash
        entry = LedgerEntry(
            tenant_id=self.tenant_id,
            seq=seq,
            prev_hash=before,
            recorded_at=T0 + timedelta(seconds=seq),
            command_id=command_id_of("test", self.tenant_id, str(seq)),
            actor=_ACTOR,
            intent_id=intent_id,
            event=event,
        )
        record = LedgerRecord(key=ledger_key(self.tenant_id, seq), value=encode(entry), entry=entry)
        self.records.append(record)
        return record

    def provision(self) -> "Ledger":
        self.add(
            TenantProvisioned(
                environment=Environment.SANDBOX,
                settlement_config_version=1,
                settlement_mode=SettlementMode.SIMULATED,
                origin=origin_of(DEPLOYMENT, self.tenant_id),
            )
        )
        return self

    def tell(self, story: str, number: int) -> IntentId:
        """The whole life of an intent; see STORIES."""
        intent_id = intent_id_of(self.tenant_id, number)
        for event in STORIES[story](self.tenant_id, number):
            self.add(event, intent_id)
        return intent_id

    @property
    def entries(self) -> list[LedgerEntry]:
        return [record.entry for record in self.records]

    def leaf_hashes(self, size: int | None = None) -> list[bytes]:
        return [leaf_hash(record.value) for record in self.records[:size]]

    def checkpoint(
        self, size: int | None = None, *, seed: bytes = LEDGER_SEED, root: bytes | None = None
    ) -> tuple[bytes, bytes]:
        """Key and value of the signed checkpoint of a size; `root` for a false one."""
        hashes = self.leaf_hashes(size)
        checkpoint = Checkpoint(
            origin=origin_of(DEPLOYMENT, self.tenant_id),
            size=len(hashes),
            root=root or root_of(hashes),
        )
        signed = SignedCheckpoint(
            tenant_id=self.tenant_id,
            size=checkpoint.size,
            note=sign_checkpoint(checkpoint, seed=seed),
        )
        return checkpoint_key(self.tenant_id, checkpoint.size), encode(signed)


def intent_id_of(tenant_id: TenantId, number: int) -> IntentId:
    return IntentId(uuid8_of("test.intent", tenant_id, str(number)))


def created(**changes: Any) -> IntentCreated:
    values: dict[str, Any] = {
        "signing_version": 6,
        "principal_did": "did:web:principal.example",
        "principal_pubkey": b"\x01" * 32,
        "principal_signature": b"\x02" * 64,
        "payee_did": "did:web:payee.example",
        "payee_pubkey": b"\x03" * 32,
        "amount_minor": AMOUNT,
        "currency": "usd",
        "deadline": T0 + timedelta(days=3),
        "deadline_text": "2026-01-08T12:00:00Z",
        "budget_digest": b"\x04" * 32,
        "evidence_schema_digest": b"\x05" * 32,
        "predicate_digest": b"\x06" * 32,
        "predicate_ref": "",
        "tools_digest": b"\x07" * 32,
        "settlement_rail": "stripe_connect",
    }
    return IntentCreated(**(values | changes))


def intent_body(ledger: Ledger, number: int, *, budget: str = '{"max":1.0}') -> tuple[bytes, bytes]:
    """Key and value of an intent's documents."""
    intent_id = intent_id_of(ledger.tenant_id, number)
    body = IntentBody(
        tenant_id=ledger.tenant_id,
        intent_id=intent_id,
        budget=budget,
        evidence_schema='{"type":"object"}',
        predicate='{"root":{"op":"true"},"version":1}',
        allowed_tools=("search", "pay,now"),
    )
    return intent_body_key(ledger.tenant_id, intent_id), encode(body)


def evidence_body(
    ledger: Ledger, number: int, *, payload: str = '{"amount":10.00}'
) -> tuple[bytes, bytes]:
    """Key and value of submitted evidence."""
    intent_id = intent_id_of(ledger.tenant_id, number)
    body = EvidenceBody(
        tenant_id=ledger.tenant_id,
        intent_id=intent_id,
        evidence_id=uuid8_of("test.evidence", str(number)),
        payload=payload,
        artifacts=(b"\x08" * 32, b"\x09" * 32),
        payload_digest=b"\x0a" * 32,
        artifacts_digest=b"\x0b" * 32,
        payee_did="did:web:payee.example",
        payee_pubkey=b"\x03" * 32,
        payee_signature=b"\x0c" * 64,
        submitted_at="2026-01-05T12:00:00Z",
        salt=b"\x0d" * 32,
        report='{"passed":true}',
    )
    return evidence_body_key(ledger.tenant_id, intent_id), encode(body)


def outcome(
    ledger: Ledger,
    number: int,
    *,
    status: OutcomeStatus = OutcomeStatus.DONE,
    recorded_at: datetime = T0,
    decided_after: timedelta = timedelta(0),
) -> tuple[bytes, bytes]:
    """Key and value of a command's answer."""
    command_id = _command(ledger.tenant_id, number)
    message = Outcome(
        command_id=command_id,
        tenant_id=ledger.tenant_id,
        intent_id=intent_id_of(ledger.tenant_id, number),
        command_kind="FundIntent",
        status=status,
        input_hash=b"\x0e" * 32,
        recorded_at=recorded_at,
        decided_at=recorded_at + decided_after,
    )
    return outcome_key(ledger.tenant_id, command_id), encode(message)


def tenant_state(tenant_id: TenantId, **changes: Any) -> TenantState:
    """Harbor's row of a tenant, with what an operator or a defect has changed of it."""
    state = TenantState(
        tenant_id=tenant_id,
        environment=Environment.SANDBOX,
        settlement_config_version=1,
        settlement_mode=SettlementMode.SIMULATED,
        origin=origin_of(DEPLOYMENT, tenant_id),
        provisioned_at=T0,
    )
    return replace(state, **changes)


def paused(tenant_id: TenantId, *, since: datetime = T0) -> TenantState:
    pause = RailsPause(reason="drift at the rail", since=since, paused_by=_ACTOR)
    return tenant_state(tenant_id, rails_pause=pause)


def tenant_record(state: TenantState) -> tuple[bytes, bytes]:
    """Key and value on `paybond.intents`."""
    return tenant_key(TenantId(state.tenant_id)), encode(state)


def _command(tenant_id: TenantId, number: int) -> CommandId:
    return command_id_of("test", tenant_id, "intent", str(number))


def _asked(
    tenant_id: TenantId, number: int, nth: int, action: RailAction, cause: SettlementCause
) -> SettlementRailRequested:
    return SettlementRailRequested(
        action=action,
        amount_minor=AMOUNT,
        currency="usd",
        attempt=1,
        effect_id=effect_id_of(_command(tenant_id, number), nth),
        cause=cause,
    )


def _funded(tenant_id: TenantId, number: int) -> Iterator[Event]:
    yield created()
    asked = _asked(tenant_id, number, 1, RailAction.HOLD, SettlementCause.FUNDING)
    yield asked
    yield SettlementHoldPlaced(
        effect_id=asked.effect_id,
        rail_object=f"pi_{number}",
        amount_minor=AMOUNT,
        currency="usd",
        expires_at=T0 + timedelta(days=7),
        settlement_config_version=1,
        settlement_mode=SettlementMode.SIMULATED,
    )


def _evidenced(tenant_id: TenantId, number: int, *, passed: bool = True) -> Iterator[Event]:
    yield from _funded(tenant_id, number)
    evidence_id = uuid8_of("test.evidence", str(number))
    yield EvidenceSubmitted(
        evidence_id=evidence_id,
        payee_pubkey=b"\x03" * 32,
        commitment=b"\x0f" * 32,
        submitted_at=T0 + timedelta(minutes=5, microseconds=7),
    )
    yield PredicateEvaluated(
        evidence_id=evidence_id, evaluator="1", passed=passed, report_digest=b"\x10" * 32
    )


def _released(tenant_id: TenantId, number: int) -> Iterator[Event]:
    yield from _evidenced(tenant_id, number)
    yield from _done(tenant_id, number, RailAction.CAPTURE, SettlementCause.PREDICATE_PASSED)
    yield Released(amount_minor=AMOUNT, currency="usd")


def _refunded(tenant_id: TenantId, number: int) -> Iterator[Event]:
    yield from _evidenced(tenant_id, number, passed=False)
    yield from _done(tenant_id, number, RailAction.CANCEL, SettlementCause.PREDICATE_FAILED)
    yield Refunded(amount_minor=AMOUNT, currency="usd", reason=RefundReason.PREDICATE_FAILED)


def _done(
    tenant_id: TenantId, number: int, action: RailAction, cause: SettlementCause
) -> Iterator[Event]:
    asked = _asked(tenant_id, number, 2, action, cause)
    yield asked
    yield SettlementRailConfirmed(
        effect_id=asked.effect_id,
        action=action,
        rail_object=f"pi_{number}",
        amount_minor=AMOUNT,
        currency="usd",
    )


def _disputed(tenant_id: TenantId, number: int) -> Iterator[Event]:
    yield from _funded(tenant_id, number)
    case_id = case_id_of(_command(tenant_id, number))
    yield Disputed(case_id=case_id, reason_code="not_delivered")


def _open(_tenant_id: TenantId, number: int) -> Iterator[Event]:
    yield created(currency="eur", payee_did=f"did:web:payee-{number}.example")


STORIES: dict[str, Callable[[TenantId, int], Iterator[Event]]] = {
    "open": _open,
    "funded": _funded,
    "evidenced": _evidenced,
    "released": _released,
    "refunded": _refunded,
    "disputed": _disputed,
}


def a_ledger(name: str, stories: Sequence[str] = tuple(STORIES)) -> Ledger:
    """Provisioned, with one intent for each story."""
    ledger = Ledger(TenantId(name)).provision()
    for number, story in enumerate(stories, start=1):
        ledger.tell(story, number)
    return ledger
