"""Which stored values a batch may look at, and the view of them: overlay first, then store. Pure.

Two rounds of keys: the first follows from the commands alone, the second from the first's values. Asking for a key
that no round named is a mistake of this program, never an empty answer.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TypeVar

from harbor.engine.intake import Received, Rejected, RejectReason
from schemas.ids import CommandId, EffectId, IntentId, TenantId, command_of_effect
from schemas.intent_fold import IntentState, PartyPin, TenantState
from schemas.messages.avro_codec import decode_as, encode
from schemas.messages.bodies import EvidenceBody, IntentBody
from schemas.messages.commands import (
    Command,
    CreateIntent,
    RecordRailAnswer,
    ReissueEffect,
    SpentNonce,
    SubmitEvidence,
)
from schemas.messages.outcomes import Outcome, OutcomeStatus
from schemas.messages.tips import Tip
from schemas.topics import (
    EVIDENCE,
    IDEMPOTENCY_WINDOW_HOURS,
    INTENTS,
    OUTCOMES,
    TIPS,
    evidence_body_key,
    intent_body_key,
    intent_key,
    mismatch_outcome_key,
    outcome_key,
    party_key,
    tenant_key,
    tip_key,
)

Message = TypeVar("Message")

StoreKey = tuple[str, bytes]
# A namespace of the store beside the changelogs: (tenant, key id, nonce) → the command that spent it.
NONCE = "nonce"
IDEMPOTENCY_WINDOW = timedelta(hours=IDEMPOTENCY_WINDOW_HOURS)


def nonce_key(tenant_id: TenantId, spent: SpentNonce) -> StoreKey:
    # The length tells key id and nonce apart, whatever characters they have.
    return NONCE, f"{tenant_id}/{len(spent.key_id)}/{spent.key_id}/{spent.nonce}".encode()


def nonce_writes_of(outcome: Outcome) -> dict[StoreKey, bytes]:
    """What an outcome adds to the index of spent nonces: written with it, and again when it is restored.

    Refusals spend too: the same proof under another idempotency key is a replay. `retry` spends nothing.
    """
    if outcome.spent is None or outcome.status is OutcomeStatus.RETRY:
        return {}
    return {nonce_key(TenantId(outcome.tenant_id), outcome.spent): outcome.command_id.encode()}


def is_kept(outcome: Outcome, *, now: datetime) -> bool:
    """Whether a look-up may find it. A store that was never restored forgets as one that just was: warm = cold."""
    is_recent = outcome.recorded_at > now - IDEMPOTENCY_WINDOW
    return outcome.status is not OutcomeStatus.RETRY and is_recent


def keys_of(received: Received) -> Iterator[StoreKey]:
    """First round: all that follows from the command alone."""
    command, tenant_id = received.command, received.tenant_id
    yield INTENTS, tenant_key(tenant_id)
    yield TIPS, tip_key(tenant_id)
    yield OUTCOMES, outcome_key(tenant_id, received.command_id)
    yield OUTCOMES, mismatch_outcome_key(tenant_id, received.command_id, command.input_hash)
    if command.spent is not None:
        yield nonce_key(tenant_id, command.spent)
    if received.intent_id is not None:
        yield INTENTS, intent_key(tenant_id, received.intent_id)
        yield EVIDENCE, intent_body_key(tenant_id, received.intent_id)
        yield EVIDENCE, evidence_body_key(tenant_id, received.intent_id)
    for did in dids_of(command):
        yield INTENTS, party_key(tenant_id, did)
    if isinstance(command.body, RecordRailAnswer | ReissueEffect):
        yield OUTCOMES, _asking_outcome_key(tenant_id, command.body.effect_id)


def keys_of_poison(rejected: Rejected) -> Iterator[StoreKey]:
    """Its tenant is quarantined: that row is all it touches."""
    if rejected.reason is RejectReason.CRASHED_DECIDE and rejected.tenant_id is not None:
        yield INTENTS, tenant_key(rejected.tenant_id)


def dids_of(command: Command) -> tuple[str, ...]:
    """The parties whose pins the decision looks at."""
    match command.body:
        case CreateIntent(principal_did=principal_did, payee_did=payee_did):
            return principal_did, payee_did
        case SubmitEvidence(payee_did=payee_did):
            return (payee_did,)
        case _:
            return ()


def keys_of_state(state: IntentState) -> Iterator[StoreKey]:
    """Second round: the outcome of the command whose request to the rail is outstanding may be rewritten."""
    if state.hold.effect_id is not None:
        yield OUTCOMES, _asking_outcome_key(TenantId(state.tenant_id), state.hold.effect_id)


def keys_of_stored(stored: Outcome | None) -> Iterator[StoreKey]:
    """Second round: a poll's repeat is answered by the operation that the poll named."""
    if stored is not None and stored.operation_command_id is not None:
        asked_by = CommandId(stored.operation_command_id)
        yield OUTCOMES, outcome_key(TenantId(stored.tenant_id), asked_by)


def _asking_outcome_key(tenant_id: TenantId, effect_id: str) -> bytes:
    return outcome_key(tenant_id, command_of_effect(EffectId(effect_id)))


@dataclass(frozen=True, slots=True)
class _Fetched:
    """A value of the store, decoded when somebody first looks."""

    raw: bytes


class View:
    """Values of one batch by (partition, key). What is put is an overlay: it reaches the store after the commit."""

    def __init__(self) -> None:
        self._values: dict[tuple[int, StoreKey], object | None] = {}
        # What was changed, in the order of first change, with the bytes where they were made already.
        self._changed: dict[tuple[int, StoreKey], bytes | None] = {}

    def fetch(
        self, partition: int, asked: Iterable[StoreKey], found: Mapping[StoreKey, bytes]
    ) -> None:
        """Take in one round of the store's answers."""
        for key in asked:
            raw = found.get(key)
            self._values.setdefault((partition, key), None if raw is None else _Fetched(raw))

    def knows(self, partition: int, key: StoreKey) -> bool:
        return (partition, key) in self._values

    def get(self, message: type[Message], partition: int, key: StoreKey) -> Message | None:
        place = partition, key
        assert place in self._values, f"{key} of partition {partition} was not fetched"
        value = self._values[place]
        if isinstance(value, _Fetched):
            value = decode_as(message, value.raw) if message is not bytes else value.raw
            self._values[place] = value
        assert value is None or isinstance(value, message)
        return value

    def put(
        self, partition: int, key: StoreKey, value: object, *, encoded: bytes | None = None
    ) -> None:
        """`encoded` = the value's bytes, where somebody has made them already."""
        self._values[partition, key] = value
        self._changed[partition, key] = encoded

    def changes(self) -> Iterator[tuple[int, StoreKey, bytes]]:
        """The overlay, encoded: each key once, with its last value, in the order of first change."""
        for (partition, key), encoded in self._changed.items():
            value = self._values[partition, key]
            if encoded is not None:
                yield partition, key, encoded
            else:
                yield partition, key, value if isinstance(value, bytes) else encode(value)

    def tenant(self, partition: int, tenant_id: TenantId) -> TenantState | None:
        return self.get(TenantState, partition, (INTENTS, tenant_key(tenant_id)))

    def intent(
        self, partition: int, tenant_id: TenantId, intent_id: IntentId
    ) -> IntentState | None:
        return self.get(IntentState, partition, (INTENTS, intent_key(tenant_id, intent_id)))

    def intent_body(
        self, partition: int, tenant_id: TenantId, intent_id: IntentId
    ) -> IntentBody | None:
        return self.get(IntentBody, partition, (EVIDENCE, intent_body_key(tenant_id, intent_id)))

    def evidence_body(
        self, partition: int, tenant_id: TenantId, intent_id: IntentId
    ) -> EvidenceBody | None:
        key = evidence_body_key(tenant_id, intent_id)
        return self.get(EvidenceBody, partition, (EVIDENCE, key))

    def pin(self, partition: int, tenant_id: TenantId, did: str) -> PartyPin | None:
        return self.get(PartyPin, partition, (INTENTS, party_key(tenant_id, did)))

    def tip(self, partition: int, tenant_id: TenantId) -> Tip | None:
        return self.get(Tip, partition, (TIPS, tip_key(tenant_id)))

    def outcome(self, partition: int, tenant_id: TenantId, command_id: CommandId) -> Outcome | None:
        return self.get(Outcome, partition, (OUTCOMES, outcome_key(tenant_id, command_id)))

    def nonce_spender(
        self, partition: int, tenant_id: TenantId, spent: SpentNonce
    ) -> CommandId | None:
        spender = self.get(bytes, partition, nonce_key(tenant_id, spent))
        return None if spender is None else CommandId(spender.decode())
