"""The read tables in Postgres: what a batch writes goes out in one pipeline, rows and checkpoints in one transaction.

The checkpoint is moved first, so that a worker that was replaced learns it before it writes a row.
"""

from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import fields
from datetime import datetime
from typing import Any

import psycopg
from psycopg.rows import TupleRow

from schemas.intent_fold import IntentState
from schemas.ledger.merkle_tree import Frontier
from schemas.ledger.tiles import TileId, TilePlan
from schemas.messages.avro_codec import decode_as
from schemas.tables.rows import EntryRow, TenantRow, TotalsChange
from schemas.topics import LEDGER_PREFIX
from streams.runtime.checkpoints import LIVE_GENERATION, Advance, advance
from streams.runtime.postgres import Pool, outages, sql_blocks
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
)

_SQL = sql_blocks("streams.views", "sink.sql")
# Postgres refuses a payload of 8,000 bytes.
NOTIFY_BYTES_MAX = 7_000
_ENTRY_COLUMNS = tuple(field.name for field in fields(EntryRow))
_CHANGE_COLUMNS = tuple(field.name for field in fields(TotalsChange))
_TENANT_COLUMNS = tuple(field.name for field in fields(TenantRow))

_Cursor = psycopg.AsyncCursor[TupleRow]


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
        restored: dict[str, int] = {}
        changed: dict[str, int] = {}
        async with self._transaction() as cursor:
            await advance(cursor, [write.advance for write in ordered])
            if entries:
                changes = [row for write in ordered for row in write.folded.changes]
                arguments = _arrays(_ENTRY_COLUMNS, entries) | {
                    f"change_{name}": column
                    for name, column in _arrays(_CHANGE_COLUMNS, changes).items()
                }
                await cursor.execute(_SQL["put_entries"], arguments)
                await self._put_states(cursor, ordered)
                await self._grow(cursor, ordered)
                await _notify(cursor, {row.tenant_id: row.seq for row in entries})
            if known:
                await cursor.execute(_SQL["restore_entries"], _arrays(_ENTRY_COLUMNS, known))
                for tenant_id, rows, changed_seq in await cursor.fetchall():
                    restored[tenant_id] = rows
                    if changed_seq is not None:
                        changed[tenant_id] = changed_seq
        return LedgerStored(restored=restored, changed=changed)

    async def store_bodies(
        self, advances: Sequence[Advance], changes: Sequence[BodyChange]
    ) -> Mapping[TopicPartition, int]:
        erased = [_body_arguments(change) for change in changes if change.row is None]
        restored: dict[TopicPartition, int] = {}
        async with self._transaction() as cursor:
            await advance(cursor, advances)
            await _many(cursor, "erase_body", erased)
            for at, is_known in sorted({(change.at, change.is_known) for change in changes}):
                rows = [
                    _body_arguments(change)
                    for change in changes
                    if change.row is not None and (change.at, change.is_known) == (at, is_known)
                ]
                count = await _many(cursor, "put_body", rows)
                if is_known:
                    restored[at] = count
            await _notify(cursor, dict.fromkeys((change.key.tenant_id for change in changes), 0))
        return restored

    async def store_operations(
        self, advances: Sequence[Advance], changes: Sequence[OperationChange]
    ) -> Mapping[TopicPartition, int]:
        restored: dict[TopicPartition, int] = {}
        async with self._transaction() as cursor:
            await advance(cursor, advances)
            for at, is_known in sorted({(change.at, change.is_known) for change in changes}):
                rows = [
                    _columns(change.row)
                    for change in changes
                    if (change.at, change.is_known) == (at, is_known)
                ]
                count = await _many(cursor, "put_operation", rows)
                if is_known:
                    restored[at] = count
            await _notify(cursor, dict.fromkeys((change.row.tenant_id for change in changes), 0))
        return restored

    async def prune_operations(self, *, before: datetime, rows_max: int) -> int:
        async with self._transaction() as cursor:
            await cursor.execute(_SQL["prune_operations"], {"before": before, "rows_max": rows_max})
            return cursor.rowcount

    async def store_waiting(
        self, advances: Sequence[Advance], roots: Sequence[SignedRoot]
    ) -> Mapping[TopicPartition, int]:
        restored: dict[TopicPartition, int] = {}
        async with self._transaction() as cursor:
            await advance(cursor, advances)
            for at, is_known in sorted({(root.at, root.is_known) for root in roots}):
                rows = [
                    _root_arguments(root)
                    for root in roots
                    if (root.at, root.is_known) == (at, is_known)
                ]
                count = await _many(cursor, "put_waiting", rows)
                if is_known:
                    restored[at] = count
        return restored

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
        async with self._transaction() as cursor:
            await _many(cursor, "publish", rows)
            await _many(cursor, "drop_waiting", rows)
            await _notify(cursor, dict.fromkeys((root.tenant_id for root in roots), 0))

    async def _put_states(self, cursor: _Cursor, writes: Sequence[LedgerWrite]) -> None:
        tenants = [write.folded.tenant for write in writes if write.folded.tenant is not None]
        await _many(cursor, "put_tenant", [_columns(row) for row in tenants])
        intents = [row for write in writes for row in write.folded.intents]
        await _many(cursor, "put_intent", [_columns(row) for row in intents])

    async def _grow(self, cursor: _Cursor, writes: Sequence[LedgerWrite]) -> None:
        runs = [
            {"tenant_id": write.tenant_id, **_columns(run)}
            for write in writes
            for run in write.growth.runs
        ]
        await _many(cursor, "grow_tile", runs)
        full = [
            {"tenant_id": write.tenant_id, "tile": tile}
            for write in writes
            for tile in write.growth.full_leaf_tiles
        ]
        await _many(cursor, "fill_leaf_tile", full)

    @asynccontextmanager
    async def _transaction(self) -> AsyncIterator[_Cursor]:
        """One transaction in one pipeline. Raises DataRefusedError, DatabaseUnavailableError."""
        with outages():
            async with (
                self._pool.connection() as connection,
                connection.transaction(),
                connection.pipeline(),
                connection.cursor() as cursor,
            ):
                yield cursor


async def _many(cursor: _Cursor, block: str, rows: Sequence[Mapping[str, Any]]) -> int:
    """How many rows were written."""
    if not rows:
        return 0
    await cursor.executemany(_SQL[block], rows)
    return cursor.rowcount


async def _notify(cursor: _Cursor, seqs: Mapping[str, int]) -> None:
    if not seqs:
        return
    payload = ",".join(f"{tenant_id}:{seq}" for tenant_id, seq in seqs.items())
    if len(payload) > NOTIFY_BYTES_MAX:
        payload = "*"
    await cursor.execute(_SQL["notify"], {"payload": payload})


def _arrays(names: Sequence[str], rows: Sequence[object]) -> dict[str, Any]:
    return {name: [getattr(row, name) for row in rows] for name in names}


def _columns(row: Any) -> dict[str, Any]:
    return {field.name: getattr(row, field.name) for field in fields(row)}


def _row(names: Sequence[str], values: TupleRow) -> dict[str, Any]:
    return dict(zip(names, values, strict=True))


def _body_arguments(change: BodyChange) -> dict[str, Any]:
    key = _columns(change.key) if change.row is None else _columns(change.row)
    return key | {"record_offset": change.offset}


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
