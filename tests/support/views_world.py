"""The indexer whole, in memory: one cluster, one database, and as many members as a test starts."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from schemas.partitioner import partition_of
from schemas.topics import CHECKPOINTS, EVIDENCE, INTENTS, OUTCOMES, ledger_topic
from streams.runtime.batch_loop import QUARANTINE_POLL, BatchLoop
from streams.runtime.memory.source import MemoryLog, MemorySource
from streams.runtime.memory.stores import (
    MemoryCheckpoints,
    MemoryClock,
    MemoryDeadLetters,
    MemoryQuarantine,
)
from streams.runtime.metrics import Metrics
from streams.runtime.records import Record, TopicPartition
from streams.views.chain_check import TrustedKeys
from streams.views.checkpoints_view import LOOK_INTERVAL, CheckpointsView
from streams.views.evidence_view import EvidenceView
from streams.views.ledger_view import LedgerView
from streams.views.memory import MemoryViews
from streams.views.operations_view import OperationsView
from streams.views.tenant_states_view import TenantStatesView
from tests.support.ledgers import DEPLOYMENT, LEDGER_KEY, T0, Ledger

PARTITIONS = 4
TURNS_MAX = 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """One process of the group."""

    source: MemorySource
    loop: BatchLoop
    clock: MemoryClock

    async def drain(self) -> None:
        """Until there is nothing to read, and what waits has been looked at once more."""
        for _ in range(TURNS_MAX):
            self.clock.advance(LOOK_INTERVAL)
            if await self.loop.run_once() == 0:
                self.clock.advance(QUARANTINE_POLL)
                await self.loop.run_once()
                if await self.loop.run_once() == 0:
                    return
        raise AssertionError("records are left over")

    async def stop(self) -> None:
        await self.source.stop()
        await self.loop.stopped()


class ViewsWorld:
    """What outlives a member: log, checkpoints, tables, quarantine."""

    def __init__(self) -> None:
        self.clock = MemoryClock(T0)
        self.log = MemoryLog()
        self.checkpoints = MemoryCheckpoints()
        self.quarantine = MemoryQuarantine()
        self.tables = MemoryViews(self.checkpoints, self.quarantine)
        self.dead_letters = MemoryDeadLetters()

    def write(self, ledger: Ledger, *, since: int = 0, gap: int = 0) -> None:
        """The entries of a ledger from index `since` on."""
        for record in ledger.records[since:]:
            self.append(ledger_topic(ledger.tenant_id), record.key, record.value, gap=gap)

    def append(self, topic: str, key: bytes | None, value: bytes | None, *, gap: int = 0) -> Record:
        """In the partition of the key's tenant."""
        is_shared = topic in {EVIDENCE, OUTCOMES, INTENTS, CHECKPOINTS}
        tenant_id = (key or b"").split(b"/")[0]
        partition = partition_of(tenant_id, PARTITIONS) if is_shared else 0
        return self.log.append(
            topic, key=key, value=value, timestamp=T0, partition=partition, gap=gap
        )

    async def member(self, *, records_max: int = 100, is_assigned: bool = True) -> Member:
        source = MemorySource(self.log, records_max=records_max)
        member = Member(source=source, loop=self._loop(source), clock=self.clock)
        await source.start(member.loop)
        if is_assigned:
            await source.take(self.log.partitions)
        return member

    async def index(self, *, records_max: int = 100) -> None:
        """One member's whole life."""
        member = await self.member(records_max=records_max)
        await member.drain()
        await member.stop()

    def reset_to_earliest(self) -> None:
        """What `kafka-consumer-groups --reset-offsets --to-earliest` does to a stopped group."""
        self.log.committed = dict.fromkeys(self.log.committed, 0)

    def _loop(self, source: MemorySource) -> BatchLoop:
        metrics = Metrics()
        tables, letters, clock = self.tables, self.dead_letters, self.clock
        return BatchLoop(
            source=source,
            projections=(
                LedgerView(tables=tables, metrics=metrics),
                EvidenceView(tables=tables, dead_letters=letters, clock=clock, metrics=metrics),
                OperationsView(tables=tables, dead_letters=letters, clock=clock, metrics=metrics),
                TenantStatesView(tables=tables, dead_letters=letters, clock=clock, metrics=metrics),
                CheckpointsView(
                    tables=tables,
                    quarantine=self.quarantine,
                    dead_letters=letters,
                    keys=TrustedKeys(deployment=DEPLOYMENT, public_keys=(LEDGER_KEY,)),
                    clock=clock,
                    metrics=metrics,
                ),
            ),
            checkpoints=self.checkpoints,
            quarantine=self.quarantine,
            clock=clock,
            metrics=metrics,
        )


def ledger_partition(ledger: Ledger) -> TopicPartition:
    return TopicPartition(topic=ledger_topic(ledger.tenant_id), partition=0)


def run(scenario: Callable[[], Awaitable[None]]) -> None:
    async def whole() -> None:
        await scenario()

    asyncio.run(whole())
