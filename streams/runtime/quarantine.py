"""Partitions that are paused, and why: on a ledger topic a tenant's. Nothing is skipped silently.

A release lets the owner check the same record again. Passing over a record is an order of its own, by topic, partition
and offset, with a reason: it stays, so that a rebuild passes over the same record.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Protocol

from psycopg.rows import TupleRow

from streams.runtime.checkpoints import LIVE_GENERATION
from streams.runtime.postgres import Pool, outages, sql_blocks
from streams.runtime.records import TopicPartition

_SQL = sql_blocks("streams.runtime", "quarantine.sql")
DETAIL_CHARACTERS_MAX = 500


class QuarantineReason(StrEnum):
    """`unknown_schema` is no break: the partition is parked until a release knows the id, and tried at each start."""

    CHAIN_BREAK = "chain_break"
    UNREADABLE = "unreadable"
    IMPOSSIBLE_ENTRY = "impossible_entry"
    HISTORY_CHANGED = "history_changed"
    CHECKPOINT_MISMATCH = "checkpoint_mismatch"
    DATA_REFUSED = "data_refused"
    UNKNOWN_SCHEMA = "unknown_schema"


@dataclass(frozen=True, slots=True, kw_only=True)
class Break:
    """What a projection found; `offset` is that of the record that does not fit, `seq` the entry expected there."""

    reason: QuarantineReason
    detail: str
    tenant_id: str | None = None
    offset: int | None = None
    seq: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class QuarantinedPartition:
    """An open row."""

    quarantine_id: int
    projection: str
    at: TopicPartition
    found: Break
    since: datetime


class QuarantineStore(Protocol):
    async def put(
        self, *, projection: str, at: TopicPartition, found: Break, now: datetime
    ) -> None:
        """One that is quarantined already stays as it is. Raises DatabaseUnavailableError."""
        ...

    async def open_rows(self) -> Sequence[QuarantinedPartition]:
        """Raises DatabaseUnavailableError."""
        ...

    async def release(
        self, *, quarantine_id: int, released_by: str, reason: str, now: datetime
    ) -> bool:
        """False if it was not open. Raises DatabaseUnavailableError."""
        ...

    async def skip(
        self, *, at: TopicPartition, offset: int, approved_by: str, reason: str, now: datetime
    ) -> None:
        """Order that a record is passed over, now and by every rebuild. Raises DatabaseUnavailableError."""
        ...

    async def skipped(
        self, partitions: Collection[TopicPartition]
    ) -> frozenset[tuple[TopicPartition, int]]:
        """Raises DatabaseUnavailableError."""
        ...


class PostgresQuarantine:
    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def put(
        self, *, projection: str, at: TopicPartition, found: Break, now: datetime
    ) -> None:
        arguments = {
            "generation": LIVE_GENERATION,
            "projection": projection,
            "topic": at.topic,
            "partition": at.partition,
            "tenant_id": found.tenant_id,
            "record_offset": found.offset,
            "seq": found.seq,
            "reason": found.reason.value,
            # U+0000 can't be stored, and a reason may quote what it found.
            "detail": found.detail.replace("\0", "\\0")[:DETAIL_CHARACTERS_MAX],
            "now": now,
        }
        with outages():
            async with self._pool.connection() as connection:
                await connection.execute(_SQL["put"], arguments)

    async def open_rows(self) -> Sequence[QuarantinedPartition]:
        with outages():
            async with self._pool.connection() as connection:
                cursor = await connection.execute(
                    _SQL["open_rows"], {"generation": LIVE_GENERATION}
                )
                return [_row(row) for row in await cursor.fetchall()]

    async def release(
        self, *, quarantine_id: int, released_by: str, reason: str, now: datetime
    ) -> bool:
        arguments = {
            "quarantine_id": quarantine_id,
            "released_by": released_by,
            "reason": reason,
            "now": now,
        }
        with outages():
            async with self._pool.connection() as connection:
                return (await connection.execute(_SQL["release"], arguments)).rowcount == 1

    async def skip(
        self, *, at: TopicPartition, offset: int, approved_by: str, reason: str, now: datetime
    ) -> None:
        arguments = {
            "topic": at.topic,
            "partition": at.partition,
            "record_offset": offset,
            "approved_by": approved_by,
            "reason": reason,
            "now": now,
        }
        with outages():
            async with self._pool.connection() as connection:
                await connection.execute(_SQL["skip"], arguments)

    async def skipped(
        self, partitions: Collection[TopicPartition]
    ) -> frozenset[tuple[TopicPartition, int]]:
        arguments = {
            "topics": [at.topic for at in partitions],
            "partitions": [at.partition for at in partitions],
        }
        with outages():
            async with self._pool.connection() as connection:
                cursor = await connection.execute(_SQL["skipped"], arguments)
                rows = await cursor.fetchall()
        return frozenset(
            (TopicPartition(topic=topic, partition=partition), offset)
            for topic, partition, offset in rows
        )


def _row(row: TupleRow) -> QuarantinedPartition:
    quarantine_id, projection, topic, partition, tenant_id, offset, seq, reason, detail, since = row
    return QuarantinedPartition(
        quarantine_id=quarantine_id,
        projection=projection,
        at=TopicPartition(topic=topic, partition=partition),
        found=Break(
            reason=QuarantineReason(reason),
            detail=detail,
            tenant_id=tenant_id,
            offset=offset,
            seq=seq,
        ),
        since=since,
    )
