"""What the tenant-keyed topics hold of each tenant of a partition, read in one pass: tips, then all others.

The tips come first: whatever is read after them must have reached their sizes, because one transaction wrote both.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta

from harbor.engine.ports import Clock, LogReader, LogRecord
from harbor.engine.stable_end import stable_offset_until
from harbor.fsck.bodies import stored_body
from harbor.fsck.compare import SignedSize, TenantTopics
from harbor.fsck.findings import Finding, FindingKind
from harbor.fsck.operations import is_newer, stored_decision
from harbor.fsck.tenant_states import StoredTenantState
from schemas.errors import BrokerUnavailableError, IntegrityError
from schemas.ids import TenantId
from schemas.ledger.checkpoint import open_checkpoint, origin_of, verifier_key_of
from schemas.ledger.signed_note import NoteRefusal
from schemas.messages.avro_codec import decode_as
from schemas.messages.tips import SignedCheckpoint, Tip
from schemas.topics import (
    CHECKPOINTS,
    EVIDENCE,
    INTENTS,
    OUTCOMES,
    TIPS,
    checkpoint_key,
    tenant_key,
    tenant_of_key,
    tip_key,
)

# As the assignment waits: a transaction lives for 10 s at most, a minute is no ordinary one.
_WAIT_MAX = timedelta(seconds=60)


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerKeys:
    """The public keys that are believed, whatever stands beside a signature."""

    deployment: str
    public_keys: tuple[bytes, ...]


class SharedTopics:
    def __init__(self, reader: LogReader, *, clock: Clock, keys: LedgerKeys) -> None:
        self._reader = reader
        self._clock = clock
        self._keys = keys
        # Up to where each partition was read.
        self._ends: dict[tuple[str, int], int] = {}

    async def of_partition(
        self, partition: int, only: TenantId | None = None
    ) -> dict[TenantId, TenantTopics]:
        """Every tenant of which the partition has any record, or one. Raises BrokerUnavailableError."""
        found: dict[TenantId, TenantTopics] = {}
        for topic, take in (
            (TIPS, _take_tip),
            (INTENTS, _take_state),
            (CHECKPOINTS, self._take),
            (EVIDENCE, _take_body),
            (OUTCOMES, _take_outcome),
        ):
            start, end = await self.span(topic, partition)
            self._ends[topic, partition] = end
            async for record in self._reader.read(topic, partition, start=start, end=end):
                if record.key is None:
                    continue
                tenant_id = tenant_of_key(record.key)
                if only is None or tenant_id == only:
                    topics = found.setdefault(tenant_id, TenantTopics(tenant_id=tenant_id))
                    take(topics, record, record.key)
        return found

    async def catch_up(
        self, topics: TenantTopics, partition: int, *, rows_reached: Mapping[str, int]
    ) -> None:
        """Read on to where the tables stood when they were looked at. Raises BrokerUnavailableError."""
        for topic, take in (
            (EVIDENCE, _take_body),
            (OUTCOMES, _take_outcome),
            (INTENTS, _take_state),
        ):
            start, end = self._ends.get((topic, partition), 0), rows_reached.get(topic, 0)
            if start >= end:
                continue
            async for record in self._reader.read(topic, partition, start=start, end=end):
                if record.key is not None and tenant_of_key(record.key) == topics.tenant_id:
                    take(topics, record, record.key)

    async def newest_tips(self, partition: int) -> Mapping[TenantId, Tip]:
        """The last readable tip of each tenant, now. Raises BrokerUnavailableError."""
        found: dict[TenantId, TenantTopics] = {}
        start, end = await self.span(TIPS, partition)
        async for record in self._reader.read(TIPS, partition, start=start, end=end):
            if record.key is not None:
                tenant_id = tenant_of_key(record.key)
                topics = found.setdefault(tenant_id, TenantTopics(tenant_id=tenant_id))
                _take_tip(topics, record, record.key)
        return {tenant_id: topics.tips[-1] for tenant_id, topics in found.items() if topics.tips}

    async def span(self, topic: str, partition: int) -> tuple[int, int]:
        """From the first record to the present end, when nothing below that is undecided any more.

        Raises BrokerUnavailableError, also for a transaction that hangs.
        """
        start = await self._reader.beginning_offset(topic, partition)
        end = await self._reader.end_offset(topic, partition)
        stable = await stable_offset_until(
            self._reader, self._clock, topic, partition, end=end, most=_WAIT_MAX
        )
        if stable < end:
            raise BrokerUnavailableError(
                f"a transaction hangs on {topic}/{partition} at offset {stable}"
                " (kafka-transactions find-hanging, abort)"
            )
        return start, end

    def _take(self, topics: TenantTopics, record: LogRecord, key: bytes) -> None:
        """A checkpoint counts only with the signature of a configured key."""
        signed = _signed_size(topics.tenant_id, record, key, self._keys)
        if isinstance(signed, SignedSize):
            topics.checkpoints.append(signed)
            topics.signed_offsets.setdefault(signed.size, record.offset)
        else:
            topics.findings.append(signed)


def open_note(
    note: str, *, tenant_id: TenantId, size: int, keys: LedgerKeys, where: str
) -> SignedSize | Finding:
    """The size and root that a configured key signed for this tenant."""
    origin = origin_of(keys.deployment, tenant_id)
    trusted = [
        verifier_key_of(deployment=keys.deployment, tenant_id=tenant_id, public_key=key)
        for key in keys.public_keys
    ]
    opened = open_checkpoint(note, origin=origin, trusted_keys=trusted)
    if isinstance(opened, NoteRefusal):
        return _untrusted(size, where, f"{opened.reason.value}: {opened.detail}")
    if opened.size != size:
        return _untrusted(size, where, f"the note is signed for size {opened.size}")
    return SignedSize(size=opened.size, root=opened.root, where=where)


def _signed_size(
    tenant_id: TenantId, record: LogRecord, key: bytes, keys: LedgerKeys
) -> SignedSize | Finding:
    size = _size_of_key(key)
    if record.value is None:
        return _untrusted(size, CHECKPOINTS, f"a tombstone under {key!r}: nothing signed is undone")
    try:
        signed = decode_as(SignedCheckpoint, record.value)
    except IntegrityError as error:
        return _untrusted(size, CHECKPOINTS, f"{key!r}: {error}")
    if signed.tenant_id != tenant_id or key != checkpoint_key(tenant_id, signed.size):
        return _untrusted(size, CHECKPOINTS, f"the record's key is {key!r}, its size {signed.size}")
    return open_note(
        signed.note, tenant_id=tenant_id, size=signed.size, keys=keys, where=CHECKPOINTS
    )


def _untrusted(size: int, where: str, detail: str) -> Finding:
    return Finding(seq=size, kind=FindingKind.CHECKPOINT_UNTRUSTED, where=where, detail=detail)


def _take_tip(topics: TenantTopics, record: LogRecord, key: bytes) -> None:
    detail = None
    if record.value is None:
        detail = "a tombstone took the tip away"
    else:
        try:
            tip = decode_as(Tip, record.value)
        except IntegrityError as error:
            detail = str(error)
        else:
            if key == tip_key(TenantId(tip.tenant_id)):
                topics.tips.append(tip)
                return
            detail = f"the tip of {tip.tenant_id!r} lies under {key!r}"
    topics.findings.append(
        Finding(
            seq=topics.reached + 1, kind=FindingKind.TIP_DOES_NOT_EXTEND, where=TIPS, detail=detail
        )
    )


def _take_state(topics: TenantTopics, record: LogRecord, key: bytes) -> None:
    if record.value is None:
        topics.intents.pop(key, None)
    else:
        topics.intents[key] = record.value
    if record.value is not None and key == tenant_key(topics.tenant_id):
        topics.tenant_state = StoredTenantState(offset=record.offset, value=record.value)


def _take_body(topics: TenantTopics, record: LogRecord, key: bytes) -> None:
    topics.bodies[key] = stored_body(record)


def _take_outcome(topics: TenantTopics, record: LogRecord, _: bytes) -> None:
    found = stored_decision(record)
    if found is None:
        return
    command_id, decision = found
    before = topics.decisions.get(command_id)
    if before is None or is_newer(decision, before):
        topics.decisions[command_id] = decision


def _size_of_key(key: bytes) -> int:
    digits = key.rpartition(b"/")[2]
    return int(digits) if len(digits) == 16 and digits.isdigit() else 0
