"""Step 4: what a decided batch writes, record by record: its topic, partition, key and size limit. Pure."""

from dataclasses import dataclass, field
from datetime import datetime

from harbor.engine.intake import Rejected, value_digest
from harbor.engine.ports import OutputRecord
from schemas.ids import CommandId, IntentId, TenantId
from schemas.ledger.entry_chain import ZERO_HASH, leaf_hash
from schemas.ledger.merkle_tree import EMPTY_FRONTIER, Appender, Frontier
from schemas.messages.avro_codec import encode
from schemas.messages.bodies import EvidenceBody, IntentBody
from schemas.messages.commands import Command
from schemas.messages.effects import Effect
from schemas.messages.events import Event, LedgerEntry, TenantProvisioned
from schemas.messages.operations import DeadLetter
from schemas.messages.outcomes import Outcome, OutcomeStatus
from schemas.messages.tips import Position, Tip
from schemas.partitioner import partition_of
from schemas.topics import (
    COMMANDS,
    DEAD_LETTERS,
    EFFECTS,
    EVIDENCE,
    GROUP_HARBOR,
    OUTCOMES,
    POSITIONS,
    dead_letter_key,
    effect_key,
    evidence_body_key,
    intent_body_key,
    ledger_key,
    ledger_topic,
    mismatch_outcome_key,
    outcome_key,
    position_key,
    spec_of,
)

_MESSAGE_BYTES_DEFAULT = 1_048_588
# Batch header, record header, headers, key lengths: Kafka's limit is on the batch, ours on what we put into it.
_OVERHEAD_BYTES = 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class DraftedEntry:
    """An entry with the bytes that lie on the topic, and so are what is hashed, and their hash."""

    entry: LedgerEntry
    value: bytes
    leaf_hash: bytes


@dataclass(slots=True, kw_only=True)
class Chain:
    """A tenant's ledger end while a batch is decided."""

    tenant_id: TenantId
    partition: int
    recorded_at: datetime | None
    last_leaf_hash: bytes
    appender: Appender
    is_touched: bool = field(default=False)

    @classmethod
    def from_tip(cls, tenant_id: TenantId, partition: int, tip: Tip | None) -> "Chain":
        """Raises StateMismatchError for a stored tip that can't be one."""
        frontier = (
            EMPTY_FRONTIER
            if tip is None
            else Frontier.restored(subject=tenant_id, size=tip.size, hashes=tip.frontier)
        )
        return cls(
            tenant_id=tenant_id,
            partition=partition,
            recorded_at=None if tip is None else tip.recorded_at,
            last_leaf_hash=ZERO_HASH if tip is None else tip.last_leaf_hash,
            appender=Appender(frontier),
        )

    def draft(
        self, command: Command, events: tuple[Event, ...], now: datetime
    ) -> list[DraftedEntry]:
        """The entries these events would become; nothing is appended yet."""
        recorded_at = now if self.recorded_at is None else max(now, self.recorded_at)
        drafted: list[DraftedEntry] = []
        prev_hash = self.last_leaf_hash
        for seq, event in enumerate(events, start=self.appender.size + 1):
            entry = LedgerEntry(
                tenant_id=self.tenant_id,
                seq=seq,
                prev_hash=prev_hash,
                recorded_at=recorded_at,
                command_id=command.command_id,
                actor=command.actor,
                intent_id=None if isinstance(event, TenantProvisioned) else command.intent_id,
                event=event,
            )
            value = encode(entry)
            prev_hash = leaf_hash(value)
            drafted.append(DraftedEntry(entry=entry, value=value, leaf_hash=prev_hash))
        return drafted

    def append(self, drafted: list[DraftedEntry]) -> None:
        for draft in drafted:
            assert draft.entry.seq == self.appender.size + 1
            assert draft.entry.prev_hash == self.last_leaf_hash
            self.last_leaf_hash = draft.leaf_hash
            self.appender.append(draft.leaf_hash)
            self.recorded_at = draft.entry.recorded_at
            self.is_touched = True

    def tip(self) -> Tip:
        assert self.recorded_at is not None, "a ledger without entries has no tip"
        frontier = self.appender.frontier()
        return Tip(
            tenant_id=self.tenant_id,
            size=frontier.size,
            root=frontier.root(),
            last_leaf_hash=self.last_leaf_hash,
            frontier=frontier.hashes,
            recorded_at=self.recorded_at,
        )


def record_bytes_max(topic: str) -> int:
    """How many bytes of key and value fit into one record of the topic."""
    spec = spec_of(topic)
    assert spec is not None
    return int(spec.config.get("max.message.bytes", _MESSAGE_BYTES_DEFAULT)) - _OVERHEAD_BYTES


def is_too_large(record: OutputRecord) -> bool:
    return len(record.key) + len(record.value or b"") > record_bytes_max(record.topic)


def entry_record(draft: DraftedEntry) -> OutputRecord:
    tenant_id = TenantId(draft.entry.tenant_id)
    return OutputRecord(
        topic=ledger_topic(tenant_id),
        partition=0,
        key=ledger_key(tenant_id, draft.entry.seq),
        value=draft.value,
    )


def body_key(body: IntentBody | EvidenceBody) -> bytes:
    tenant_id, intent_id = TenantId(body.tenant_id), IntentId(body.intent_id)
    if isinstance(body, IntentBody):
        return intent_body_key(tenant_id, intent_id)
    return evidence_body_key(tenant_id, intent_id)


def body_record(body: IntentBody | EvidenceBody, *, partitions: int) -> OutputRecord:
    return OutputRecord(
        topic=EVIDENCE,
        partition=partition_of(body.tenant_id, partitions),
        key=body_key(body),
        value=encode(body),
    )


def effect_record(effect: Effect, *, partitions: int) -> OutputRecord:
    return OutputRecord(
        topic=EFFECTS,
        partition=partition_of(effect.tenant_id, partitions),
        key=effect_key(TenantId(effect.tenant_id), IntentId(effect.intent_id)),
        value=encode(effect),
    )


def outcome_record_key(outcome: Outcome, *, is_mismatch: bool) -> bytes:
    """Beside the first answer, never over it: a reused key's refusal, and every outcome that decides nothing."""
    tenant_id, command_id = TenantId(outcome.tenant_id), CommandId(outcome.command_id)
    if is_mismatch or outcome.status is OutcomeStatus.RETRY:
        return mismatch_outcome_key(tenant_id, command_id, outcome.input_hash)
    return outcome_key(tenant_id, command_id)


def outcome_record(outcome: Outcome, *, is_mismatch: bool, partitions: int) -> OutputRecord:
    return OutputRecord(
        topic=OUTCOMES,
        partition=partition_of(outcome.tenant_id, partitions),
        key=outcome_record_key(outcome, is_mismatch=is_mismatch),
        value=encode(outcome),
    )


def position_record(partition: int, next_offset: int) -> OutputRecord:
    return OutputRecord(
        topic=POSITIONS,
        partition=partition,
        key=position_key(partition),
        value=encode(Position(partition=partition, next_offset=next_offset)),
    )


def dead_letter_record(rejected: Rejected, *, partitions: int) -> OutputRecord:
    """With the record's bytes where they fit; else the reference and the digest say which it was."""
    record = rejected.record
    key = dead_letter_key(GROUP_HARBOR, COMMANDS, record.partition, record.offset)
    is_small = (
        len(record.key or b"") + len(record.value or b"") <= record_bytes_max(DEAD_LETTERS) // 2
    )
    letter = DeadLetter(
        group=GROUP_HARBOR,
        topic=COMMANDS,
        partition=record.partition,
        offset=record.offset,
        reason=f"{rejected.reason.value}: {rejected.detail}",
        attempts=rejected.attempts,
        recorded_at=record.timestamp,
        tenant_id=rejected.tenant_id,
        command_id=rejected.command_id,
        key=record.key if is_small else None,
        value=record.value if is_small else None,
        value_digest=value_digest(record),
    )
    return OutputRecord(
        topic=DEAD_LETTERS,
        partition=partition_of(key, partitions),
        key=key,
        value=encode(letter),
    )
