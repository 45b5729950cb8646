"""The engine's ports over a `MemoryKafka`: each call asks a hook before and after it takes effect.

A hook that raises before a call is a crash before it; one that raises after it is the worse kind, where the call
took effect and nobody was told. The default hook only lets others run.
"""

import asyncio
from collections.abc import (
    AsyncGenerator,
    Awaitable,
    Callable,
    Iterable,
    Mapping,
    Sequence,
)
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from harbor.adapters.memory.group import MemberEpoch
from harbor.adapters.memory.log import MemoryKafka, ProducerHandle
from harbor.adapters.memory.partition_log import TransactionStatus
from harbor.engine.ports import (
    Consumed,
    GroupMetadata,
    InputRecord,
    LogRecord,
    OutputRecord,
)
from schemas.topics import COMMANDS, GROUP_HARBOR, LEDGER_PREFIX


class When(StrEnum):
    BEFORE = "before"
    AFTER = "after"


@dataclass(frozen=True, slots=True, kw_only=True)
class PortCall:
    """One side of one port call; `process` is who makes it, `call` for example `transactions.commit`."""

    process: str
    call: str
    when: When


Hook = Callable[[PortCall], Awaitable[None]]


async def let_others_run(call: PortCall) -> None:
    """The default hook: a port call is a suspension point, nothing more."""
    assert call.process
    await asyncio.sleep(0)


class HookedPort:
    """A port over a `MemoryKafka` that calls its process's hook before and after each call."""

    def __init__(self, kafka: MemoryKafka, *, process: str, hook: Hook = let_others_run) -> None:
        self._kafka = kafka
        self._process = process
        self._hook = hook

    async def _before(self, call: str) -> None:
        await self._hook(PortCall(process=self._process, call=call, when=When.BEFORE))

    async def _after(self, call: str) -> None:
        await self._hook(PortCall(process=self._process, call=call, when=When.AFTER))


class MemoryCommandConsumer(HookedPort):
    """A member of `paybond-harbor`; `process` is its member id. It joins at its first `consume`."""

    def __init__(self, kafka: MemoryKafka, *, process: str, hook: Hook = let_others_run) -> None:
        super().__init__(kafka, process=process, hook=hook)
        self._group = kafka.group(GROUP_HARBOR)
        self._has_joined = False
        # Next offset per started partition; an owned partition that is not here is paused.
        self._positions: dict[int, int] = {}
        self.is_closed = False

    async def consume(self, *, records_max: int) -> Consumed:
        await self._before("consumer.consume")
        revoked: tuple[int, ...] = ()
        if not self._group.is_member(self._process):
            # A zombie learns here that its session ran out: it lost everything, and joins anew.
            revoked = tuple(sorted(self._owned_before)) if self._has_joined else ()
            self._positions.clear()
            self._group.join(self._process, COMMANDS)
            self._has_joined = True
        change = self._group.poll(self._process, self._kafka.partitions_of(COMMANDS))
        for partition in change.revoked:
            self._positions.pop(partition, None)
        self._owned_before = self._group.owned_by(self._process)
        epoch = self._group.epoch_of(self._process)
        consumed = Consumed(
            group=GroupMetadata(epoch),
            records=tuple(self._fetch(records_max)),
            assigned=change.assigned,
            revoked=revoked + change.revoked,
        )
        await self._after("consumer.consume")
        return consumed

    async def start(self, offsets: Mapping[int, int]) -> None:
        await self._before("consumer.start")
        owned = self._group.owned_by(self._process)
        self._positions.update({p: offset for p, offset in offsets.items() if p in owned})
        await self._after("consumer.start")

    async def seek(self, offsets: Mapping[int, int]) -> None:
        await self._before("consumer.seek")
        self._positions.update({p: o for p, o in offsets.items() if p in self._positions})
        await self._after("consumer.seek")

    async def close(self) -> None:
        await self._before("consumer.close")
        self._group.remove(self._process)
        self._positions.clear()
        self.is_closed = True
        await self._after("consumer.close")

    def _fetch(self, records_max: int) -> list[InputRecord]:
        fetched: list[InputRecord] = []
        for partition in sorted(self._positions):
            log = self._kafka.partition(COMMANDS, partition)
            start, end = self._positions[partition], log.last_stable_offset
            for record in log.committed(start=start, end=end):
                if len(fetched) == records_max:
                    return fetched
                fetched.append(
                    InputRecord(
                        partition=partition,
                        offset=record.offset,
                        timestamp=record.timestamp,
                        key=record.key,
                        value=record.value,
                        headers=record.headers,
                    )
                )
                self._positions[partition] = record.offset + 1
        return fetched

    _owned_before: frozenset[int] = frozenset()


class MemoryTransactions(HookedPort):
    """The transactional producer of one process slot."""

    def __init__(
        self,
        kafka: MemoryKafka,
        *,
        process: str,
        transactional_id: str,
        hook: Hook = let_others_run,
    ) -> None:
        super().__init__(kafka, process=process, hook=hook)
        self._transactional_id = transactional_id
        self._handle: ProducerHandle | None = None
        # Per topic and partition the last offset of the open transaction, and the one after it of committed ones.
        self._last: dict[tuple[str, int], int] = {}
        self._committed: dict[tuple[str, int], int] = {}

    async def initialize(self) -> None:
        await self._before("transactions.initialize")
        self._handle = self._kafka.init_transactions(self._transactional_id)
        await self._after("transactions.initialize")

    async def begin(self) -> None:
        await self._before("transactions.begin")
        self._kafka.begin(self._held)
        self._last = {}
        await self._after("transactions.begin")

    async def produce(self, records: Sequence[OutputRecord]) -> None:
        await self._before("transactions.produce")
        for record in records:
            self._last[record.topic, record.partition] = self._kafka.produce(
                self._held,
                record.topic,
                record.partition,
                key=record.key,
                value=record.value,
                headers=record.headers,
            )
        await self._after("transactions.produce")

    async def flush(self) -> None:
        await self._before("transactions.flush")
        await self._after("transactions.flush")

    async def send_offsets(self, offsets: Mapping[int, int], group: GroupMetadata) -> None:
        await self._before("transactions.send_offsets")
        assert isinstance(group, MemberEpoch)
        by_topic = {(COMMANDS, partition): offset for partition, offset in offsets.items()}
        self._kafka.send_offsets(self._held, by_topic, group)
        await self._after("transactions.send_offsets")

    async def commit(self) -> None:
        await self._before("transactions.commit")
        self._kafka.commit(self._held)
        await self._after("transactions.commit")
        self._committed.update({place: last + 1 for place, last in self._last.items()})

    async def abort(self) -> None:
        await self._before("transactions.abort")
        self._kafka.abort(self._held)
        await self._after("transactions.abort")

    async def close(self) -> None:
        await self._before("transactions.close")
        await self._after("transactions.close")

    def take_committed(self) -> Mapping[tuple[str, int], int]:
        """As the real one: for `harbor.adapters.noted_store`."""
        taken, self._committed = self._committed, {}
        return taken

    @property
    def _held(self) -> ProducerHandle:
        assert self._handle is not None, "initialize first"
        return self._handle


class MemoryCheckpoints(HookedPort):
    """The second producer, and good for any other that is not transactional."""

    async def publish(self, records: Sequence[OutputRecord]) -> None:
        await self._before("checkpoints.publish")
        for record in records:
            self._kafka.append(
                record.topic,
                record.partition,
                key=record.key,
                value=record.value,
                headers=record.headers,
            )
        await self._after("checkpoints.publish")


class MemoryLogReader(HookedPort):
    """Committed reads beside the group."""

    async def committed_offset(self, partition: int) -> int | None:
        await self._before("reader.committed_offset")
        group = self._kafka.group(GROUP_HARBOR)
        while group.is_pending((COMMANDS, partition)):
            # As `require_stable` answers UNSTABLE_OFFSET_COMMIT: ask again until the transaction has ended.
            await self._before("reader.committed_offset.unstable")
            await asyncio.sleep(0)
        return group.committed((COMMANDS, partition))

    async def beginning_offset(self, topic: str, partition: int) -> int:
        await self._before("reader.beginning_offset")
        return self._kafka.partition(topic, partition).start

    async def end_offset(self, topic: str, partition: int) -> int:
        await self._before("reader.end_offset")
        return self._kafka.partition(topic, partition).high_watermark

    async def stable_offset(self, topic: str, partition: int) -> int:
        await self._before("reader.stable_offset")
        return self._kafka.partition(topic, partition).last_stable_offset

    async def read(
        self, topic: str, partition: int, *, start: int, end: int
    ) -> AsyncGenerator[LogRecord, None]:
        await self._before("reader.read")
        for record in tuple(self._kafka.read(topic, partition, start=start, end=end)):
            yield LogRecord(
                offset=record.offset,
                key=record.key,
                value=record.value,
                timestamp=record.timestamp,
            )

    async def last_record(self, topic: str, partition: int) -> LogRecord | None:
        found = await self.last_records(topic, partition, most=1)
        return found[-1] if found else None

    async def last_records(self, topic: str, partition: int, *, most: int) -> tuple[LogRecord, ...]:
        await self._before("reader.last_record")
        return tuple(
            LogRecord(
                offset=record.offset,
                key=record.key,
                value=record.value,
                timestamp=record.timestamp,
            )
            for record in self._kafka.partition(topic, partition).last_committed(most)
        )

    async def offset_at(self, topic: str, partition: int, instant: datetime) -> int:
        await self._before("reader.offset_at")
        log = self._kafka.partition(topic, partition)
        return next(
            (one.offset for one in log.everything() if one.timestamp >= instant),
            log.high_watermark,
        )

    async def undecided_by(self, topic: str, partition: int) -> str:
        await self._before("reader.undecided_by")
        log = self._kafka.partition(topic, partition)
        holders = {
            one.transaction.transactional_id
            for one in log.everything()
            if one.transaction is not None and one.transaction.status is TransactionStatus.OPEN
        }
        return f"open transactions of {sorted(holders)}"

    async def ledger_topics(self) -> frozenset[str]:
        await self._before("reader.ledger_topics")
        return frozenset(name for name in self._kafka.topics() if name.startswith(LEDGER_PREFIX))

    async def topic_id(self, topic: str) -> str:
        await self._before("reader.topic_id")
        return self._kafka.topic_id(topic)


StoreKey = tuple[str, bytes]


class MemoryStateStore:
    """The object outlives the process that used it, as a folder does; `snapshot` is a moment to go back to."""

    def __init__(self, *, process: str = "store", hook: Hook = let_others_run) -> None:
        self._process = process
        self._hook = hook
        self._rows: dict[int, dict[StoreKey, bytes]] = {}

    async def get_many(self, partition: int, keys: Iterable[StoreKey]) -> dict[StoreKey, bytes]:
        await self._ask("store.get_many", When.BEFORE)
        rows = self._rows.get(partition, {})
        return {key: rows[key] for key in keys if key in rows}

    async def scan(
        self, partition: int, namespace: str, prefix: bytes, *, after: bytes | None = None
    ) -> AsyncGenerator[tuple[bytes, bytes], None]:
        await self._ask("store.scan", When.BEFORE)
        rows = self._rows.get(partition, {})
        found = [
            (key, value)
            for (space, key), value in rows.items()
            if space == namespace and key.startswith(prefix) and (after is None or key > after)
        ]
        for key, value in sorted(found):
            yield key, value

    async def write(self, writes: Mapping[int, Mapping[StoreKey, bytes | None]]) -> None:
        await self._ask("store.write", When.BEFORE)
        for partition, changes in writes.items():
            rows = self._rows.setdefault(partition, {})
            for key, value in changes.items():
                if value is None:
                    rows.pop(key, None)
                else:
                    rows[key] = value
        await self._ask("store.write", When.AFTER)

    async def drop(self, partition: int) -> None:
        await self._ask("store.drop", When.BEFORE)
        self._rows.pop(partition, None)

    async def close(self) -> None:
        await self._ask("store.close", When.BEFORE)

    def snapshot(self) -> dict[int, dict[StoreKey, bytes]]:
        return {partition: dict(rows) for partition, rows in self._rows.items()}

    def go_back_to(self, snapshot: Mapping[int, Mapping[StoreKey, bytes]]) -> None:
        """A store that lost its last writes."""
        self._rows = {partition: dict(rows) for partition, rows in snapshot.items()}

    async def _ask(self, call: str, when: When) -> None:
        await self._hook(PortCall(process=self._process, call=call, when=when))
