"""The assignment protocol: a partition is decided only from a state that the topics agree on.

    (1) the committed input offset, read as stable, against the partition's record on `paybond.positions`
    (2) the high watermark of each changelog and ledger once; wait until the last stable offset reaches it
    (3) restore the store to there
    (4) tip, ledger end and states of each tenant agree, and neither store nor checkpoint is ahead; else quarantine
    (5) only then is the partition decided

Nothing is wiped and nothing repaired: what does not agree stops its tenant, or this process.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TypeAlias

import structlog

from harbor.engine.batch_lookup import nonce_writes_of
from harbor.engine.due_index import due_key_of
from harbor.engine.ports import Clock, LogReader, LogRecord, Restored, StateStore
from schemas.errors import BrokerUnavailableError, ConfigurationError, StateMismatchError
from schemas.ids import TenantId
from schemas.intent_fold import IntentState
from schemas.ledger.entry_chain import leaf_hash
from schemas.ledger.merkle_tree import Frontier
from schemas.messages.avro_codec import decode, decode_as
from schemas.messages.events import LedgerEntry
from schemas.messages.outcomes import Outcome
from schemas.messages.tips import Position, SignedCheckpoint, Tip
from schemas.partitioner import partition_of
from schemas.topics import (
    CHECKPOINTS,
    COMMANDS,
    EVIDENCE,
    IDEMPOTENCY_WINDOW_HOURS,
    INTENTS,
    OUTCOMES,
    POSITIONS,
    TIPS,
    ledger_topic,
    position_key,
    tenant_of_key,
    tenant_of_ledger_topic,
)

_log = structlog.get_logger("harbor")
META = "meta"
# In this order, so that what a record refers to is there before it.
_RESTORED = (EVIDENCE, INTENTS, TIPS, OUTCOMES)
_WAIT_STEP = timedelta(milliseconds=100)
_WAIT_MAX = timedelta(seconds=60)
_WRITE_RECORDS = 5000
# How far back a served checkpoint is looked for; each transaction signs at most one per tenant.
_CHECKPOINTS_LOOKED_AT = 10_000
Ends: TypeAlias = Mapping[tuple[str, int], int]


def start_offset(*, committed: int | None, position: int | None, beginning: int) -> int:
    """Where to go on. Raises ConfigurationError where going on would skip commands.

    `committed` is the group's, `position` the transaction's own record; only the second is never reset.
    """
    if position is None and committed is None:
        if beginning > 0:
            raise ConfigurationError(
                f"{COMMANDS} begins at {beginning} and nothing says what was decided: commands may be lost"
            )
        return 0
    if position is None or (committed is not None and committed > position):
        raise ConfigurationError(
            f"the group stands at {committed}, the last transaction at {position}:"
            " somebody moved the group forward; commands would be skipped"
        )
    if position < beginning:
        raise ConfigurationError(
            f"{COMMANDS} begins at {beginning}, decided is up to {position}:"
            " commands were deleted before they were decided"
        )
    return position


@dataclass(slots=True)
class _Newest:
    """The highest seq any state of a tenant stands at, seen while restoring."""

    seqs: dict[TenantId, int] = field(default_factory=dict)

    def see(self, state: IntentState) -> None:
        tenant_id = TenantId(state.tenant_id)
        self.seqs[tenant_id] = max(self.seqs.get(tenant_id, 0), state.last_seq)


class KafkaAssigner:
    """`harbor.engine.ports.Assigner`, over `LogReader` and `StateStore`: it names no Kafka either."""

    def __init__(
        self, *, reader: LogReader, store: StateStore, clock: Clock, partitions: int
    ) -> None:
        self._reader = reader
        self._store = store
        self._clock = clock
        self._partitions = partitions

    async def restore(self, partition: int) -> Restored:
        next_offset = await self._next_offset(partition)  # (1)
        tenants = await self._tenants(partition)
        ends = await self._stable_ends(partition, tenants)  # (2)
        newest = await self._restore(partition, ends, next_offset)  # (3)
        tips = await self._tips(partition)
        served = await self._served(partition)
        quarantined: dict[TenantId, str] = {}
        for tenant_id in sorted(tenants | tips.keys()):  # (4)
            reason = await self._disagreement(
                tenant_id, tips.get(tenant_id), newest.seqs.get(tenant_id, 0), served.get(tenant_id)
            )
            if reason is not None:
                quarantined[tenant_id] = reason
                _log.error("tenant_quarantined", tenant_id=tenant_id, reason=reason)
        return Restored(  # (5)
            partition=partition,
            next_offset=next_offset,
            quarantined=quarantined,
            tips=tuple(tips.values()),
        )

    async def recheck(self, partition: int, tenant_id: TenantId) -> str | None:
        tips = await self._tips(partition)
        newest = await self._newest_of(partition, tenant_id)
        served = await self._served(partition)
        return await self._disagreement(
            tenant_id, tips.get(tenant_id), newest, served.get(tenant_id)
        )

    async def _next_offset(self, partition: int) -> int:
        committed = await self._reader.committed_offset(partition)
        record = await self._reader.last_record(POSITIONS, partition)
        position = None
        if record is not None and record.value is not None:
            position = decode_as(Position, record.value).next_offset
        beginning = await self._reader.beginning_offset(COMMANDS, partition)
        offset = start_offset(committed=committed, position=position, beginning=beginning)
        if committed != position:
            _log.warning(
                "group_offset_ignored", partition=partition, committed=committed, start=offset
            )
        return offset

    async def _tenants(self, partition: int) -> set[TenantId]:
        named = map(tenant_of_ledger_topic, await self._reader.ledger_topics())
        return {
            tenant_id
            for tenant_id in named
            if tenant_id is not None and partition_of(tenant_id, self._partitions) == partition
        }

    async def _stable_ends(self, partition: int, tenants: set[TenantId]) -> Ends:
        """High watermarks once; then wait until nothing below them is undecided."""
        places = [(topic, partition) for topic in _RESTORED]
        places += [(ledger_topic(tenant_id), 0) for tenant_id in sorted(tenants)]
        ends = {place: await self._reader.end_offset(*place) for place in places}
        for place, end in ends.items():
            await self._wait_until_stable(*place, end=end)
        return ends

    async def _wait_until_stable(self, topic: str, partition: int, *, end: int) -> None:
        waited = timedelta()
        while (stable := await self._reader.stable_offset(topic, partition)) < end:
            if waited >= _WAIT_MAX:
                raise BrokerUnavailableError(
                    f"a transaction hangs on {topic}/{partition} at offset {stable}"
                    " (kafka-transactions find-hanging, abort)"
                )
            await self._clock.sleep(_WAIT_STEP)
            waited += _WAIT_STEP

    async def _restore(self, partition: int, ends: Ends, next_offset: int) -> _Newest:
        """A store that stands where the topics stand is current; another is read on from where it was known to be."""
        newest = _Newest()
        standing = await self._store_position(partition)
        if standing is not None and standing > next_offset:
            raise StateMismatchError(
                subject=f"the local store of partition {partition}",
                reason=f"it stands at input {standing}, the topics at {next_offset}",
            )
        restored = 0
        if standing is None or standing != next_offset:
            for topic in _RESTORED:
                start = await self._restored_to(partition, topic)
                restored += await self._apply(
                    partition, topic, start=start, end=ends[topic, partition], newest=newest
                )
        await self._note(partition, ends, next_offset)
        _log.info(
            "partition_restored", partition=partition, records=restored, next_offset=next_offset
        )
        return newest

    async def _store_position(self, partition: int) -> int | None:
        key = (POSITIONS, position_key(partition))
        found = await self._store.get_many(partition, [key])
        return decode_as(Position, found[key]).next_offset if key in found else None

    async def _restored_to(self, partition: int, topic: str) -> int:
        key = (META, topic.encode())
        found = await self._store.get_many(partition, [key])
        beginning = await self._reader.beginning_offset(topic, partition)
        return max(beginning, int(found[key]) if key in found else 0)

    async def _note(self, partition: int, ends: Ends, next_offset: int) -> None:
        from_topics: dict[tuple[str, bytes], bytes | None] = {
            (META, topic.encode()): str(ends[topic, partition]).encode() for topic in _RESTORED
        }
        if next_offset > 0:
            record = await self._reader.last_record(POSITIONS, partition)
            assert record is not None
            from_topics[POSITIONS, position_key(partition)] = record.value
        await self._store.write({partition: from_topics})

    async def _apply(
        self, partition: int, topic: str, *, start: int, end: int, newest: _Newest
    ) -> int:
        oldest = self._clock.now() - timedelta(hours=IDEMPOTENCY_WINDOW_HOURS)
        writes: dict[tuple[str, bytes], bytes | None] = {}
        count = 0
        async for record in self._reader.read(topic, partition, start=start, end=end):
            if record.key is None:
                continue
            writes |= _writes_of(topic, record, oldest=oldest, newest=newest)
            count += 1
            if len(writes) >= _WRITE_RECORDS:
                await self._store.write({partition: writes})
                writes = {}
        await self._store.write({partition: writes})
        return count

    async def _tips(self, partition: int) -> dict[TenantId, Tip]:
        found = {}
        async for key, value in self._store.scan(partition, TIPS, b""):
            found[tenant_of_key(key)] = decode_as(Tip, value)
        return found

    async def _newest_of(self, partition: int, tenant_id: TenantId) -> int:
        newest = _Newest()
        async for _, value in self._store.scan(partition, INTENTS, f"{tenant_id}/".encode()):
            message = decode(value)
            if isinstance(message, IntentState):
                newest.see(message)
        return newest.seqs.get(tenant_id, 0)

    async def _served(self, partition: int) -> dict[TenantId, int]:
        """The largest size of which somebody may hold a signed checkpoint."""
        end = await self._reader.stable_offset(CHECKPOINTS, partition)
        beginning = await self._reader.beginning_offset(CHECKPOINTS, partition)
        start = max(beginning, end - _CHECKPOINTS_LOOKED_AT)
        served: dict[TenantId, int] = {}
        async for record in self._reader.read(CHECKPOINTS, partition, start=start, end=end):
            if record.value is not None:
                signed = decode_as(SignedCheckpoint, record.value)
                tenant_id = TenantId(signed.tenant_id)
                served[tenant_id] = max(served.get(tenant_id, 0), signed.size)
        return served

    async def _disagreement(
        self, tenant_id: TenantId, tip: Tip | None, newest_seq: int, served_size: int | None
    ) -> str | None:
        """Why tip, ledger end, states and checkpoints of a tenant can't all be true, or None."""
        topic = ledger_topic(tenant_id)
        if topic not in await self._reader.ledger_topics():
            return f"there is a tip but no topic {topic}"
        last = await self._reader.last_record(topic, 0)
        if tip is None or last is None:
            return None if tip is None and last is None else "only one of tip and ledger is there"
        return disagreement_of(tip, last, newest_seq=newest_seq, served_size=served_size or 0)


def disagreement_of(tip: Tip, last: LogRecord, *, newest_seq: int, served_size: int) -> str | None:
    """Pure: the tip against the ledger's last record, the newest state and the largest checkpoint."""
    if last.value is None:
        return f"a tombstone ends the ledger at offset {last.offset}"
    entry = decode_as(LedgerEntry, last.value)
    if entry.seq != tip.size:
        return f"the tip says {tip.size} entries, the ledger ends with seq {entry.seq}"
    if leaf_hash(last.value) != tip.last_leaf_hash:
        return f"the ledger's last entry (seq {entry.seq}) is not the tip's"
    frontier = Frontier.restored(subject=tip.tenant_id, size=tip.size, hashes=tip.frontier)
    if frontier.root() != tip.root:
        return f"the tip's frontier does not give its root at size {tip.size}"
    if newest_seq > tip.size:
        return f"a state stands at seq {newest_seq}, the ledger ends at {tip.size}"
    if served_size > tip.size:
        return f"a checkpoint of size {served_size} was served, the ledger ends at {tip.size}"
    return None


def _writes_of(
    topic: str, record: LogRecord, *, oldest: datetime, newest: _Newest
) -> dict[tuple[str, bytes], bytes | None]:
    """What a changelog's record is in the store, with the indexes that follow from it."""
    assert record.key is not None
    if topic == OUTCOMES and record.timestamp < oldest:
        return {}
    writes: dict[tuple[str, bytes], bytes | None] = {(topic, record.key): record.value}
    if record.value is None:
        return writes
    message = decode(record.value) if topic in {OUTCOMES, INTENTS} else None
    if isinstance(message, Outcome):
        writes |= nonce_writes_of(message)
    elif isinstance(message, IntentState):
        newest.see(message)
        due = due_key_of(message)
        if due is not None:
            writes[due] = b""
    return writes
