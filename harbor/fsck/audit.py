"""`fsck` of some tenants: which are there, what is read in which order, and what is compared with what. Reads only.

Per partition, so that a system that goes on working is no finding:
    1. tips, states, checkpoints, bodies and outcomes of the partition's tenants
    2. of each tenant the rows of Postgres, as of one moment, and bodies and outcomes on to that moment
    3. its ledger from the first record to an end that is later than 1 and 2, compared entry by entry
    4. the tips once more: none may be behind the ledger that was read
"""

from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, replace
from typing import Protocol

from harbor.engine.ports import Clock, LogReader, LogRecord
from harbor.fsck.bodies import BodyComparison
from harbor.fsck.compare import (
    CheckpointComparison,
    StateComparison,
    TenantTopics,
    TipComparison,
    quarantine_of,
)
from harbor.fsck.compare_tables import SharedRows, TableComparison
from harbor.fsck.findings import Finding, FindingKind, FindingList
from harbor.fsck.operations import compare_operations
from harbor.fsck.ports import Tables
from harbor.fsck.reread import LedgerReading, Rereading
from harbor.fsck.shared_topics import LedgerKeys, SharedTopics
from harbor.fsck.signed_sizes import compare_signed_sizes
from harbor.fsck.tenant_states import compare_tenant_state
from schemas.ids import TenantId
from schemas.messages.tips import Tip
from schemas.partitioner import partition_of
from schemas.topics import (
    CHECKPOINTS,
    EVIDENCE,
    INTENTS,
    OUTCOMES,
    ledger_topic,
    tenant_of_ledger_topic,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class TenantReport:
    """`findings` by seq. `omitted` = how many more there are. `table_size` is null where no tables were compared.

    `quarantine` = why the tenant is stopped; that is an operator's matter and no finding.
    """

    tenant_id: TenantId
    size: int
    root: bytes
    intents: int
    checkpoints: int
    table_size: int | None
    quarantine: str | None
    findings: tuple[Finding, ...]
    omitted: int

    @property
    def is_clean(self) -> bool:
        return not self.findings

    @property
    def first_bad(self) -> Finding | None:
        return self.findings[0] if self.findings else None


class Watcher(Protocol):
    """Who is told how far it is."""

    def began(self, tenant_id: TenantId, *, records: int) -> None:
        """`records` = how many there are at most."""

    def read(self, tenant_id: TenantId, *, entries: int) -> None: ...

    def ended(self, report: TenantReport) -> None: ...


class Audit:
    """`tables` None = Postgres is left out."""

    def __init__(
        self,
        *,
        reader: LogReader,
        tables: Tables | None,
        clock: Clock,
        keys: LedgerKeys,
        partitions: int,
    ) -> None:
        self._reader = reader
        self._tables = tables
        self._topics = SharedTopics(reader, clock=clock, keys=keys)
        self._clock = clock
        self._keys = keys
        self._partitions = partitions

    async def run(self, tenant_id: TenantId | None, watcher: Watcher) -> list[TenantReport]:
        """One tenant, or all that have a ledger or a tip. An unknown tenant gives no report.

        Raises BrokerUnavailableError, DatabaseUnavailableError.
        """
        reports: list[TenantReport] = []
        partitions: Collection[int] = range(self._partitions)
        if tenant_id is not None:
            partitions = [partition_of(tenant_id, self._partitions)]
        for partition in partitions:
            reports += [
                report async for report in self._of_partition(partition, tenant_id, watcher)
            ]
        return sorted(reports, key=lambda report: report.tenant_id)

    async def _of_partition(
        self, partition: int, only: TenantId | None, watcher: Watcher
    ) -> AsyncIterator[TenantReport]:
        named = await self._with_ledger(partition)
        shared = await self._topics.of_partition(partition, only)  # 1
        compared = []
        for tenant_id in sorted(named | {t for t in shared if shared[t].tips}):
            if only is None or tenant_id == only:
                topics = shared.pop(tenant_id, None) or TenantTopics(tenant_id=tenant_id)
                is_there = tenant_id in named
                compared.append(await self._of_tenant(topics, watcher, has_topic=is_there))
        newest = await self._topics.newest_tips(partition) if compared else {}  # 4
        for tenant in compared:
            report = tenant.report(newest.get(tenant.reading.tenant_id))
            watcher.ended(report)
            yield report

    async def _with_ledger(self, partition: int) -> set[TenantId]:
        named = map(tenant_of_ledger_topic, await self._reader.ledger_topics())
        return {
            tenant_id
            for tenant_id in named
            if tenant_id is not None and partition_of(tenant_id, self._partitions) == partition
        }

    async def _of_tenant(
        self, topics: TenantTopics, watcher: Watcher, *, has_topic: bool
    ) -> "_Compared":
        tenant_id = topics.tenant_id
        async with self._table_comparison(tenant_id) as tables:
            rows = None
            if tables is not None:
                await tables.load()  # 2
                partition = partition_of(tenant_id, self._partitions)
                rows = await tables.shared_rows(partition)
                await self._topics.catch_up(topics, partition, rows_reached=rows.reached)
            records, count = await self._ledger(tenant_id) if has_topic else (_nothing(), 0)
            watcher.began(tenant_id, records=count)
            tip = topics.tips[-1] if topics.tips else None
            rereading = Rereading(tenant_id, records, tip=tip)
            states, tips = StateComparison(topics), TipComparison(topics)
            bodies = BodyComparison(tenant_id, topics.bodies, reached=topics.reached)
            signed = [*topics.checkpoints, *(tables.signed_sizes if tables is not None else ())]
            checkpoints = CheckpointComparison(signed)
            async with aclosing(rereading.steps()) as steps:
                async for step in steps:  # 3
                    states.see(step)
                    tips.see(step)
                    bodies.see(step)
                    checkpoints.see(step)
                    if tables is not None:
                        await tables.see(step)
                    watcher.read(tenant_id, entries=step.entry.seq)
            reading = rereading.reading()
            found = [states.finish(reading), _finished(bodies, reading, rows)]
            if tables is not None:
                found += await tables.finish(reading)
            if rows is not None:
                found.append(
                    compare_operations(
                        topics.decisions,
                        rows.operations,
                        rows_reached=rows.reached.get(OUTCOMES, 0),
                        now=self._clock.now(),
                    )
                )
                found.append(
                    compare_tenant_state(
                        topics.tenant_state,
                        rows.tenant_state,
                        rows_reached=rows.reached.get(INTENTS, 0),
                    )
                )
                found.append(
                    compare_signed_sizes(
                        topics.signed_offsets,
                        rows.checkpoint_sizes,
                        rows_reached=rows.reached.get(CHECKPOINTS, 0),
                    )
                )
            return _Compared(
                # What is as large as the ledger is let go here: the next tenant needs the room.
                reading=replace(reading, states={}, pins={}),
                intents=len(reading.states),
                quarantine=quarantine_of(topics.intents, tenant_id),
                tips=tips,
                findings=[*topics.findings, *checkpoints.finish(reading)],
                lists=found,
                checkpoints=len({checkpoint.size for checkpoint in signed}),
                table_size=None if tables is None else tables.size,
            )

    async def _ledger(self, tenant_id: TenantId) -> tuple[AsyncIterator[LogRecord], int]:
        """Its records, and how many there are at most."""
        topic = ledger_topic(tenant_id)
        start, end = await self._topics.span(topic, 0)
        return self._reader.read(topic, 0, start=start, end=end), end - start

    @asynccontextmanager
    async def _table_comparison(self, tenant_id: TenantId) -> AsyncIterator[TableComparison | None]:
        if self._tables is None:
            yield None
            return
        async with self._tables.snapshot(tenant_id) as snapshot:
            yield TableComparison(tenant_id, snapshot, keys=self._keys)


def _finished(
    bodies: BodyComparison, reading: LedgerReading, rows: SharedRows | None
) -> FindingList:
    if rows is None:
        return bodies.finish(reading, rows=None, rows_reached=0)
    return bodies.finish(reading, rows=rows.bodies, rows_reached=rows.reached.get(EVIDENCE, 0))


async def _nothing() -> AsyncIterator[LogRecord]:
    """A topic that is not there."""
    none: tuple[LogRecord, ...] = ()
    for record in none:
        yield record


@dataclass(frozen=True, slots=True, kw_only=True)
class _Compared:
    """A tenant after step 3; the newest tip is all that is missing."""

    reading: LedgerReading
    intents: int
    quarantine: str | None
    tips: TipComparison
    findings: list[Finding]
    lists: Sequence[FindingList]
    checkpoints: int
    table_size: int | None

    def report(self, newest: Tip | None) -> TenantReport:
        reading = self.reading
        findings = [*self.findings, *self.tips.finish(reading, newest=newest)]
        findings += [finding for kept in self.lists for finding in kept.kept]
        if reading.first_bad is not None:
            findings.insert(0, reading.first_bad)
        return TenantReport(
            tenant_id=reading.tenant_id,
            size=reading.size,
            root=reading.root,
            intents=self.intents,
            checkpoints=self.checkpoints,
            table_size=self.table_size,
            quarantine=self.quarantine,
            findings=tuple(sorted(findings, key=_severity)),
            omitted=sum(kept.omitted for kept in self.lists),
        )


# Of findings at one seq the ledger's own comes first: it is the cause, the others follow from it.
_OF_THE_LEDGER = frozenset(
    {
        FindingKind.TOMBSTONE,
        FindingKind.MISSING,
        FindingKind.DOUBLED,
        FindingKind.SWAPPED,
        FindingKind.INSERTED,
        FindingKind.DAMAGED,
        FindingKind.WRONG_TENANT,
        FindingKind.SCHEMA_UNKNOWN,
        FindingKind.IMPOSSIBLE,
    }
)


def _severity(finding: Finding) -> tuple[int, bool]:
    return finding.seq, finding.kind not in _OF_THE_LEDGER
