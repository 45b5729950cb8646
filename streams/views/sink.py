"""The read tables in Postgres: what a batch writes goes out in one pipeline, rows and checkpoints in one transaction.

The checkpoint is moved first, so that a worker that was replaced learns it before it writes a row.
"""

from collections.abc import AsyncIterator, Callable, Collection, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import fields
from datetime import datetime
from typing import Any, TypeVar

import psycopg
from psycopg.rows import TupleRow

from schemas.intent_fold import IntentState
from schemas.ledger.merkle_tree import Frontier
from schemas.ledger.tiles import TileId, TilePlan
from schemas.messages.avro_codec import decode_as
from schemas.tables.rows import EntryRow, TenantRow, TotalsChange
from schemas.topics import LEDGER_PREFIX
from streams.runtime.checkpoints import LIVE_GENERATION, Advance, advance
from streams.runtime.postgres import Connection, Pool, outages, sql_blocks
from streams.runtime.records import TopicPartition
from streams.views import ledger_view
from streams.views.tables import (
    BodyChange,
    LedgerStored,
    LedgerWrite,
    LoadedStates,
    OperationChange,
    ReadyRoot,
    SignedRoot,
    StoredHashes,
    TenantStateChange,
)

_SQL = sql_blocks("streams.views", "sink.sql")
# Postgres refuses a payload of 8,000 bytes.
NOTIFY_BYTES_MAX = 7_000
_ENTRY_COLUMNS = tuple(field.name for field in fields(EntryRow))
_CHANGE_COLUMNS = tuple(field.name for field in fields(TotalsChange))
_TENANT_COLUMNS = tuple(field.name for field in fields(TenantRow))

_Cursor = psycopg.AsyncCursor[TupleRow]
_Change = TypeVar("_Change", BodyChange, OperationChange, TenantStateChange, SignedRoot)


class PostgresViews:
    """ViewsTables, as `paybond_streams`."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def load(self, wanted: Mapping[str, Collection[str]]) -> LoadedStates:
        pairs = [(tenant_id, intent_id) for tenant_id in wanted for intent_id in wanted[tenant_id]]
        arguments = {
            "tenant_ids": [tenant_id for tenant_id, _ in pairs],
            "intent_ids": [intent_id for _, intent_id in pairs],
        }
        states: dict[str, dict[str, IntentState]] = {}
        with outages():
            async with self._pool.connection() as connection, connection.pipeline():
                tenants = await connection.execute(_SQL["tenants"], {"tenant_ids": list(wanted)})
                found = await connection.execute(_SQL["states"], arguments, binary=True)
                rows = [_row(_TENANT_COLUMNS, row) for row in await tenants.fetchall()]
                for tenant_id, intent_id, state in await found.fetchall():
                    states.setdefault(tenant_id, {})[intent_id] = decode_as(IntentState, state)
        return LoadedStates(
            tenants={row["tenant_id"]: TenantRow(**row) for row in rows}, states=states
        )

    async def store_entries(self, writes: Sequence[LedgerWrite]) -> LedgerStored:
        ordered = sorted(writes, key=lambda write: write.tenant_id)
        entries = [row for write in ordered for row in write.folded.entries]
        known = [row for write in ordered for row in write.known]
        found: Sequence[TupleRow] = ()
        async with self._transaction() as batch:
            await batch.advance([write.advance for write in ordered])
            if entries:
                changes = [row for write in ordered for row in write.folded.changes]
                arguments = _arrays(_ENTRY_COLUMNS, entries) | {
                    f"change_{name}": column
                    for name, column in _arrays(_CHANGE_COLUMNS, changes).items()
                }
                await batch.one("put_entries", arguments)
                await _put_states(batch, ordered)
                await _grow(batch, ordered)
                await batch.notify({row.tenant_id: row.seq for row in entries})
            if known:
                cursor = await batch.one("restore_entries", _arrays(_ENTRY_COLUMNS, known))
                found = await cursor.fetchall()
        return LedgerStored(
            restored={tenant_id: rows for tenant_id, rows, _ in found},
            changed={tenant_id: seq for tenant_id, _, seq in found if seq is not None},
        )

    async def store_bodies(
        self, advances: Sequence[Advance], changes: Sequence[BodyChange]
    ) -> Mapping[TopicPartition, int]:
        erased = [_body_arguments(change) for change in changes if change.row is None]
        kept = [change for change in changes if change.row is not None]
        async with self._transaction() as batch:
            await batch.advance(advances)
            await batch.many("erase_body", erased)
            restored = [
                (at, await batch.many("put_body", [_body_arguments(change) for change in known]))
                for at, known in _groups(kept)
            ]
            await batch.notify(dict.fromkeys((change.key.tenant_id for change in changes), 0))
        return _restored(restored)

    async def store_operations(
        self, advances: Sequence[Advance], changes: Sequence[OperationChange]
    ) -> Mapping[TopicPartition, int]:
        async with self._transaction() as batch:
            await batch.advance(advances)
            restored = [
                (at, await batch.many("put_operation", [_columns(change.row) for change in known]))
                for at, known in _groups(changes)
            ]
            await batch.notify(dict.fromkeys((change.row.tenant_id for change in changes), 0))
        return _restored(restored)

    async def store_tenant_states(
        self, advances: Sequence[Advance], changes: Sequence[TenantStateChange]
    ) -> Mapping[TopicPartition, int]:
        async with self._transaction() as batch:
            await batch.advance(advances)
            restored = [
                (at, await batch.many("put_tenant_state", [_state_arguments(one) for one in known]))
                for at, known in _groups(changes)
            ]
        return _restored(restored)

    async def prune_operations(self, *, before: datetime, rows_max: int) -> int:
        async with self._transaction() as batch:
            cursor = await batch.one("prune_operations", {"before": before, "rows_max": rows_max})
        return cursor.rowcount

    async def store_waiting(
        self, advances: Sequence[Advance], roots: Sequence[SignedRoot]
    ) -> Mapping[TopicPartition, int]:
        async with self._transaction() as batch:
            await batch.advance(advances)
            restored = [
                (at, await batch.many("put_waiting", [_root_arguments(root) for root in known]))
                for at, known in _groups(roots)
            ]
        return _restored(restored)

    async def ready(
        self, partitions: Collection[TopicPartition], *, rows_max: int
    ) -> Sequence[ReadyRoot]:
        arguments = {
            "topics": [at.topic for at in partitions],
            "partitions": [at.partition for at in partitions],
            "generation": LIVE_GENERATION,
            "projection": ledger_view.NAME,
            "ledger_prefix": LEDGER_PREFIX,
            "rows_max": rows_max,
        }
        with outages():
            async with self._pool.connection() as connection:
                cursor = await connection.execute(_SQL["ready_roots"], arguments)
                return [_ready(row) for row in await cursor.fetchall()]

    async def hashes(self, tenant_id: str, plan: TilePlan) -> StoredHashes:
        arguments = {
            "tenant_id": tenant_id,
            "levels": [tile.level for tile in plan.tiles],
            "tiles": [tile.tile for tile in plan.tiles],
        }
        leaves = b""
        with outages():
            async with self._pool.connection() as connection:
                cursor = await connection.execute(_SQL["tiles"], arguments)
                tiles = {
                    TileId(level=level, tile=tile): bytes(hashes)
                    for level, tile, hashes in await cursor.fetchall()
                }
                if plan.leaves is not None:
                    cursor = await connection.execute(
                        _SQL["leaves"],
                        {
                            "tenant_id": tenant_id,
                            "first": plan.leaves.first,
                            "end": plan.leaves.end,
                        },
                    )
                    row = await cursor.fetchone()
                    leaves = bytes(row[0]) if row and row[0] is not None else b""
        return StoredHashes(tiles=tiles, leaves=leaves)

    async def publish(self, roots: Sequence[SignedRoot]) -> None:
        rows = [_root_arguments(root) for root in roots]
        async with self._transaction() as batch:
            await batch.many("publish", rows)
            await batch.many("drop_waiting", rows)
            await batch.notify(dict.fromkeys((root.tenant_id for root in roots), 0))

    @asynccontextmanager
    async def _transaction(self) -> AsyncIterator["_Batch"]:
        """One transaction in one pipeline: sent at once, and the checkpoints' answers read before the commit.

        Raises OwnershipLostError, DataRefusedError, DatabaseUnavailableError.
        """
        with outages():
            async with (
                self._pool.connection() as connection,
                connection.pipeline() as pipeline,
                connection.transaction(),
            ):
                batch = _Batch(connection)
                yield batch
                await pipeline.sync()
                batch.check()


class _Batch:
    """Statements of one transaction. A cursor of its own each: their counts are read after the sync."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self.check: Callable[[], None] = lambda: None

    async def advance(self, advances: Sequence[Advance]) -> None:
        self.check = await advance(self._connection, advances)

    async def one(self, block: str, arguments: Mapping[str, Any]) -> _Cursor:
        cursor = self._connection.cursor()
        await cursor.execute(_SQL[block], arguments)
        return cursor

    async def many(self, block: str, rows: Sequence[Mapping[str, Any]]) -> _Cursor | None:
        if not rows:
            return None
        cursor = self._connection.cursor()
        await cursor.executemany(_SQL[block], rows)
        return cursor

    async def notify(self, seqs: Mapping[str, int]) -> None:
        if not seqs:
            return
        payload = ",".join(f"{tenant_id}:{seq}" for tenant_id, seq in seqs.items())
        await self.one("notify", {"payload": "*" if len(payload) > NOTIFY_BYTES_MAX else payload})


async def _put_states(batch: _Batch, writes: Sequence[LedgerWrite]) -> None:
    tenants = [write.folded.tenant for write in writes if write.folded.tenant is not None]
    await batch.many("put_tenant", [_columns(row) for row in tenants])
    intents = [row for write in writes for row in write.folded.intents]
    await batch.many("put_intent", [_columns(row) for row in intents])


async def _grow(batch: _Batch, writes: Sequence[LedgerWrite]) -> None:
    runs = [
        {"tenant_id": write.tenant_id, **_columns(run)}
        for write in writes
        for run in write.growth.runs
    ]
    await batch.many("grow_tile", runs)
    full = [
        {"tenant_id": write.tenant_id, "tile": tile}
        for write in writes
        for tile in write.growth.full_leaf_tiles
    ]
    await batch.many("fill_leaf_tile", full)


def _groups(changes: Sequence[_Change]) -> Iterator[tuple[TopicPartition | None, list[_Change]]]:
    """New ones together under None; those that were read again by partition, so that they can be counted."""
    new = [change for change in changes if not change.is_known]
    yield None, new
    for at in sorted({change.at for change in changes if change.is_known}):
        yield at, [change for change in changes if change.is_known and change.at == at]


def _restored(
    counted: Sequence[tuple[TopicPartition | None, _Cursor | None]],
) -> dict[TopicPartition, int]:
    return {at: cursor.rowcount for at, cursor in counted if at is not None and cursor is not None}


def _arrays(names: Sequence[str], rows: Sequence[object]) -> dict[str, Any]:
    return {name: [getattr(row, name) for row in rows] for name in names}


def _columns(row: Any) -> dict[str, Any]:
    return {field.name: getattr(row, field.name) for field in fields(row)}


def _row(names: Sequence[str], values: TupleRow) -> dict[str, Any]:
    return dict(zip(names, values, strict=True))


def _body_arguments(change: BodyChange) -> dict[str, Any]:
    key = _columns(change.key) if change.row is None else _columns(change.row)
    return key | {"record_offset": change.offset}


def _state_arguments(change: TenantStateChange) -> dict[str, Any]:
    return _columns(change.row) | {"record_offset": change.offset}


def _root_arguments(root: SignedRoot) -> dict[str, Any]:
    return {
        "tenant_id": root.tenant_id,
        "size": root.size,
        "root": root.root,
        "note": root.note,
        "topic": root.at.topic,
        "partition": root.at.partition,
    }


def _ready(row: TupleRow) -> ReadyRoot:
    tenant_id, size, root, note, topic, partition, frontier = row
    return ReadyRoot(
        signed=SignedRoot(
            tenant_id=tenant_id,
            size=size,
            root=bytes(root),
            note=note,
            at=TopicPartition(topic=topic, partition=partition),
        ),
        tree=None
        if frontier is None
        else Frontier.unpacked(subject=tenant_id, size=size, packed=bytes(frontier)),
    )
