"""A tenant's ledger in memory with all that follows from it: entries, states, pins, tips and signed checkpoints.

Every byte comes from the real encoder, hash and fold; a test then damages what it likes.
"""

import random
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import sha256

from harbor.engine.ports import LogRecord
from schemas.canonical.evidence_bytes import artifacts_digest
from schemas.canonical.intent_bytes import tools_digest
from schemas.canonical.json_digest import jd_bytes
from schemas.ids import IntentId, TenantId, uuid8_of
from schemas.intent_fold import IntentState, PartyPin, TenantState, evolve, provision
from schemas.ledger.checkpoint import Checkpoint, origin_of, sign_checkpoint
from schemas.ledger.entry_chain import ZERO_HASH, leaf_hash
from schemas.ledger.merkle_tree import EMPTY_FRONTIER, Frontier
from schemas.messages.avro_codec import encode
from schemas.messages.bodies import EvidenceBody, IntentBody
from schemas.messages.events import (
    Event,
    EvidenceSubmitted,
    IntentCreated,
    LedgerEntry,
    PredicateEvaluated,
    Refunded,
    Released,
    SettlementHoldPlaced,
    SettlementRailConfirmed,
    SettlementRailFailed,
    SettlementRailRequested,
    TenantProvisioned,
)
from schemas.messages.shared import (
    Actor,
    ActorKind,
    Environment,
    RailAction,
    RefundReason,
    SettlementCause,
    SettlementMode,
)
from schemas.messages.tips import SignedCheckpoint, Tip
from schemas.topics import (
    checkpoint_key,
    evidence_body_key,
    intent_body_key,
    intent_key,
    ledger_key,
    party_key,
    tenant_key,
    tip_key,
)
from tests.support.builders import PAYEE, PRINCIPAL, STRANGER, T0, TENANT, Party

DEPLOYMENT = "test"
LEDGER_SEED = b"\x77" * 32
BUDGET = '{"currency":"usd","max_spend_usd":200}'
EVIDENCE_SCHEMA = '{"required":["status"],"type":"object"}'
PREDICATE = '{"root":{"op":"true"},"version":1}'
TOOLS = ("travel.search",)
PAYLOAD = '{"cost_cents":18700,"status":"done"}'
REPORT = '{"passed":true}'
ACTOR = Actor(kind=ActorKind.SYSTEM, ref="test")


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyValue:
    key: bytes
    value: bytes | None


async def records_of(records: Sequence[KeyValue]) -> AsyncIterator[LogRecord]:
    """As they lie on a topic."""
    for offset, record in enumerate(records):
        yield LogRecord(offset=offset, key=record.key, value=record.value, timestamp=T0)


class LedgerBuilder:
    """`append` events; every other member follows from them."""

    def __init__(self, tenant_id: TenantId = TENANT) -> None:
        self.tenant_id = tenant_id
        self.entries: list[LedgerEntry] = []
        self.ledger: list[KeyValue] = []
        self.states: dict[str, IntentState] = {}
        self.pins: dict[str, PartyPin] = {}
        self.tenant: TenantState | None = None
        self.tips: list[KeyValue] = []
        self.checkpoints: list[KeyValue] = []
        self.bodies: dict[bytes, bytes] = {}
        self.frontier: Frontier = EMPTY_FRONTIER
        self._last_leaf_hash = ZERO_HASH

    @property
    def intents(self) -> dict[bytes, bytes]:
        """`paybond.intents`, newest value per key."""
        rows = {
            intent_key(self.tenant_id, IntentId(state.intent_id)): encode(state)
            for state in self.states.values()
        }
        rows |= {party_key(self.tenant_id, pin.did): encode(pin) for pin in self.pins.values()}
        if self.tenant is not None:
            rows[tenant_key(self.tenant_id)] = encode(self.tenant)
        return rows

    @property
    def now(self) -> datetime:
        return T0 + timedelta(seconds=len(self.entries))

    def append(self, event: Event, *, intent_id: str | None = None) -> LedgerEntry:
        entry = LedgerEntry(
            tenant_id=self.tenant_id,
            seq=len(self.entries) + 1,
            prev_hash=self._last_leaf_hash,
            recorded_at=self.now,
            command_id=uuid8_of("test.command", str(len(self.entries))),
            actor=ACTOR,
            intent_id=intent_id,
            event=event,
        )
        value = encode(entry)
        if isinstance(event, TenantProvisioned):
            self.tenant = provision(entry)
        else:
            assert intent_id is not None
            self.states[intent_id] = evolve(self.states.get(intent_id), entry)
        if isinstance(event, IntentCreated):
            self._pin(event.principal_did, event.principal_pubkey, entry.seq)
            self._pin(event.payee_did, event.payee_pubkey, entry.seq)
        self.entries.append(entry)
        self.ledger.append(KeyValue(key=ledger_key(self.tenant_id, entry.seq), value=value))
        self._last_leaf_hash = leaf_hash(value)
        self.frontier = self.frontier.append(self._last_leaf_hash)
        return entry

    def commit(self) -> None:
        """The end of a transaction: a tip, and after it a signed checkpoint."""
        self.tips.append(KeyValue(key=tip_key(self.tenant_id), value=encode(self.tip())))
        key = checkpoint_key(self.tenant_id, self.frontier.size)
        self.checkpoints.append(KeyValue(key=key, value=encode(self.signed())))

    def tip(self) -> Tip:
        return Tip(
            tenant_id=self.tenant_id,
            size=self.frontier.size,
            root=self.frontier.root(),
            last_leaf_hash=self._last_leaf_hash,
            frontier=self.frontier.hashes,
            recorded_at=self.entries[-1].recorded_at,
        )

    def signed(self, *, root: bytes | None = None, size: int | None = None) -> SignedCheckpoint:
        """A checkpoint as the ledger's key signs it; another root or size is what a thief of the key could sign."""
        checkpoint = Checkpoint(
            origin=origin_of(DEPLOYMENT, self.tenant_id),
            size=self.frontier.size if size is None else size,
            root=self.frontier.root() if root is None else root,
        )
        note = sign_checkpoint(checkpoint, seed=LEDGER_SEED)
        return SignedCheckpoint(tenant_id=self.tenant_id, size=checkpoint.size, note=note)

    def provision(self) -> None:
        self.append(
            TenantProvisioned(
                environment=Environment.SANDBOX,
                settlement_config_version=1,
                settlement_mode=SettlementMode.SIMULATED,
                origin=origin_of(DEPLOYMENT, self.tenant_id),
            )
        )

    def create(self, number: int, *, payee: Party = PAYEE, amount_minor: int = 20_000) -> str:
        intent_id = uuid8_of("test.intent", self.tenant_id, str(number))
        self.append(_created(payee, amount_minor), intent_id=intent_id)
        body = IntentBody(
            tenant_id=self.tenant_id,
            intent_id=intent_id,
            budget=BUDGET,
            evidence_schema=EVIDENCE_SCHEMA,
            predicate=PREDICATE,
            allowed_tools=TOOLS,
        )
        self.bodies[intent_body_key(self.tenant_id, IntentId(intent_id))] = encode(body)
        return intent_id

    def fund(self, intent_id: str) -> None:
        """Asked for and placed."""
        state = self.states[intent_id]
        effect_id = self._request(intent_id, RailAction.HOLD, SettlementCause.FUNDING)
        self.append(
            SettlementHoldPlaced(
                effect_id=effect_id,
                rail_object=f"pi_{number_of(effect_id)}",
                amount_minor=state.amount_minor,
                currency=state.currency,
                expires_at=self.now + timedelta(days=7),
                settlement_config_version=1,
                settlement_mode=SettlementMode.SIMULATED,
            ),
            intent_id=intent_id,
        )

    def decline(self, intent_id: str) -> None:
        """Asked for, and refused by the rail."""
        effect_id = self._request(intent_id, RailAction.HOLD, SettlementCause.FUNDING)
        failed = SettlementRailFailed(
            effect_id=effect_id, action=RailAction.HOLD, attempt=1, code="card_declined"
        )
        self.append(failed, intent_id=intent_id)

    def submit(self, intent_id: str, *, passed: bool) -> None:
        evidence_id = uuid8_of("test.evidence", intent_id)
        state = self.states[intent_id]
        body = EvidenceBody(
            tenant_id=self.tenant_id,
            intent_id=intent_id,
            evidence_id=evidence_id,
            payload=PAYLOAD,
            artifacts=(b"\xab" * 32,),
            payload_digest=jd_bytes(PAYLOAD.encode()),
            artifacts_digest=artifacts_digest((b"\xab" * 32,)),
            payee_did=state.payee_did,
            payee_pubkey=state.payee_pubkey,
            payee_signature=b"\x0e" * 64,
            submitted_at="2026-01-05T12:00:00Z",
            salt=b"\x5a" * 32,
            report=REPORT,
        )
        self.bodies[evidence_body_key(self.tenant_id, IntentId(intent_id))] = encode(body)
        committed = body.salt + body.payload_digest + body.artifacts_digest + body.payee_signature
        self.append(
            EvidenceSubmitted(
                evidence_id=evidence_id,
                payee_pubkey=state.payee_pubkey,
                commitment=sha256(committed).digest(),
                submitted_at=self.now,
            ),
            intent_id=intent_id,
        )
        evaluated = PredicateEvaluated(
            evidence_id=evidence_id,
            evaluator="predicate-1",
            passed=passed,
            report_digest=jd_bytes(REPORT.encode()),
        )
        self.append(evaluated, intent_id=intent_id)

    def settle(self, intent_id: str) -> None:
        """What the evaluation implies, carried out."""
        state = self.states[intent_id]
        assert state.evidence is not None
        is_passed = state.evidence.passed is True
        action = RailAction.CAPTURE if is_passed else RailAction.CANCEL
        cause = SettlementCause.PREDICATE_PASSED if is_passed else SettlementCause.PREDICATE_FAILED
        effect_id = self._request(intent_id, action, cause)
        rail_object = state.hold.rail_object
        assert rail_object is not None
        amount, currency = state.amount_minor, state.currency
        self.append(
            SettlementRailConfirmed(
                effect_id=effect_id,
                action=action,
                rail_object=rail_object,
                amount_minor=amount,
                currency=currency,
            ),
            intent_id=intent_id,
        )
        ended: Event = Released(amount_minor=amount, currency=currency)
        if not is_passed:
            reason = RefundReason.PREDICATE_FAILED
            ended = Refunded(amount_minor=amount, currency=currency, reason=reason)
        self.append(ended, intent_id=intent_id)

    def _request(self, intent_id: str, action: RailAction, cause: SettlementCause) -> str:
        state = self.states[intent_id]
        effect_id = f"{uuid8_of('test.command', str(len(self.entries)))}-{state.hold.requests + 1}"
        requested = SettlementRailRequested(
            action=action,
            amount_minor=state.amount_minor,
            currency=state.currency,
            attempt=1,
            effect_id=effect_id,
            cause=cause,
        )
        self.append(requested, intent_id=intent_id)
        return effect_id

    def _pin(self, did: str, pubkey: bytes, seq: int) -> None:
        pin = PartyPin(tenant_id=self.tenant_id, did=did, pubkey=pubkey, since_seq=seq)
        self.pins.setdefault(did, pin)


def a_ledger(seed: int = 1, *, intents: int = 5, tenant_id: str = "tenant-one") -> LedgerBuilder:
    """A random ledger: intents at every stage of their lives, interleaved, in transactions of one to four steps."""
    dice = random.Random(seed)
    ledger = LedgerBuilder(TenantId(tenant_id))
    ledger.provision()
    ledger.commit()
    lives = [_life(ledger, number, dice) for number in range(intents)]
    while lives:
        for _ in range(dice.randint(1, 4)):
            if lives:
                life = dice.choice(lives)
                life.pop(0)()
                lives = [left for left in lives if left]
        ledger.commit()
    return ledger


def number_of(effect_id: str) -> str:
    return effect_id.rpartition("-")[0][-12:]


def _life(ledger: LedgerBuilder, number: int, dice: random.Random) -> list[Callable[[], None]]:
    """An intent's steps up to a random one of them."""
    ids: list[str] = []
    payee = dice.choice([PAYEE, STRANGER])
    amount = dice.randint(1, 10**9)
    passed = dice.random() < 0.5

    def create() -> None:
        ids.append(ledger.create(number, payee=payee, amount_minor=amount))

    steps: list[Callable[[], None]] = [create]
    if dice.random() < 0.3:
        steps.append(lambda: ledger.decline(ids[0]))
    steps += [
        lambda: ledger.fund(ids[0]),
        lambda: ledger.submit(ids[0], passed=passed),
        lambda: ledger.settle(ids[0]),
    ]
    return steps[: dice.randint(1, len(steps))]


def _created(payee: Party, amount_minor: int) -> IntentCreated:
    return IntentCreated(
        signing_version=6,
        principal_did=PRINCIPAL.did,
        principal_pubkey=PRINCIPAL.pubkey,
        principal_signature=b"\x0f" * 64,
        payee_did=payee.did,
        payee_pubkey=payee.pubkey,
        amount_minor=amount_minor,
        currency="usd",
        deadline=T0 + timedelta(days=3),
        deadline_text="2026-01-08T12:00:00Z",
        budget_digest=jd_bytes(BUDGET.encode()),
        evidence_schema_digest=jd_bytes(EVIDENCE_SCHEMA.encode()),
        predicate_digest=jd_bytes(PREDICATE.encode()),
        predicate_ref="",
        tools_digest=tools_digest(TOOLS),
        settlement_rail="stripe_connect",
    )
