"""The read tables in Postgres, one tenant at a time: a repeatable-read transaction and cursors on the server's side."""

from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, LiteralString, TypeVar

import psycopg
from psycopg.rows import dict_row

from harbor.fsck.ports import CheckpointRow, TileRow, TotalsRow
from schemas.ids import TenantId
from schemas.tables.rows import (
    BodyRow,
    EntryRow,
    IntentRow,
    OperationRow,
    TenantRow,
    TenantStateRow,
)
from streams.runtime.postgres import Connection, options, outages, sql_blocks

Row = TypeVar("Row")

_SQL = sql_blocks("harbor.fsck", "tables.sql")
# Rows on their way from the server at a time: an entry is about 1 KB.
_FETCH_ROWS = 2_000


class PostgresTables:
    """`harbor.fsck.ports.Tables`; a connection per snapshot, since one is long and rare."""

    def __init__(self, dsn: str) -> None:
        self._dsn = dsn

    @asynccontextmanager
    async def snapshot(self, tenant_id: TenantId) -> AsyncIterator["PostgresSnapshot"]:
        with outages():
            # The ledger is read while the cursor of the entries waits: the usual limits are for short statements.
            connection = await psycopg.AsyncConnection.connect(
                self._dsn, **_unhurried(options(program="paybond-fsck"))
            )
        snapshot = PostgresSnapshot(connection, tenant_id)
        try:
            with outages():
                await connection.execute(_SQL["begin"])
                # Only the first query fixes the moment.
                await snapshot.tenant()
            yield snapshot
        finally:
            await snapshot.close()
            await connection.close()


class PostgresSnapshot:
    """`harbor.fsck.ports.TableSnapshot`."""

    def __init__(self, connection: Connection, tenant_id: TenantId) -> None:
        self._connection = connection
        self._tenant_id = tenant_id
        self._reading: list[AsyncGenerator[Any, None]] = []

    async def close(self) -> None:
        """Of readings that were not brought to their end, as after a break of the ledger."""
        for reading in self._reading:
            await reading.aclose()

    async def tenant(self) -> TenantRow | None:
        rows = [row async for row in self._rows("tenant", TenantRow)]
        return rows[0] if rows else None

    async def tenant_state(self) -> TenantStateRow | None:
        rows = [row async for row in self._rows("tenant_state", TenantStateRow)]
        return rows[0] if rows else None

    async def totals(self) -> tuple[TotalsRow, ...]:
        return tuple([row async for row in self._rows("totals", TotalsRow)])

    def entries(self) -> AsyncIterator[EntryRow]:
        return self._rows("entries", EntryRow)

    def intents(self) -> AsyncIterator[IntentRow]:
        return self._rows("intents", IntentRow)

    def tiles(self) -> AsyncIterator[TileRow]:
        return self._rows("tiles", TileRow)

    def checkpoints(self) -> AsyncIterator[CheckpointRow]:
        return self._rows("checkpoints", CheckpointRow)

    async def waiting_sizes(self) -> frozenset[int]:
        with outages():
            arguments = {"tenant_id": self._tenant_id}
            found = await self._connection.execute(_SQL["waiting_sizes"], arguments)
            return frozenset(int(size) for (size,) in await found.fetchall())

    def bodies(self) -> AsyncIterator[BodyRow]:
        return self._rows("bodies", BodyRow)

    def operations(self) -> AsyncIterator[OperationRow]:
        return self._rows("operations", OperationRow)

    async def reached(self, partition: int) -> Mapping[str, int]:
        with outages():
            found = await self._connection.execute(_SQL["reached"], {"partition": partition})
            return {str(topic): int(offset) for topic, offset in await found.fetchall()}

    def _rows(self, block: LiteralString, made: type[Row]) -> AsyncIterator[Row]:
        reading = self._read(block, made)
        self._reading.append(reading)
        return reading

    async def _read(self, block: LiteralString, made: type[Row]) -> AsyncGenerator[Row, None]:
        """Raises DatabaseUnavailableError."""
        with outages():
            async with self._connection.cursor(f"fsck_{block}", row_factory=dict_row) as cursor:
                cursor.itersize = _FETCH_ROWS
                await cursor.execute(_SQL[block], {"tenant_id": self._tenant_id})
                async for row in cursor:
                    yield made(**{name: _value(value) for name, value in row.items()})


def _value(value: Any) -> Any:
    """Instants in the one spelling of UTC, so that equal rows have equal digests; `numeric` counters as int."""
    if isinstance(value, datetime):
        return value.astimezone(UTC)
    if isinstance(value, memoryview):
        return bytes(value)
    if isinstance(value, Decimal):
        return int(value)
    return value


def _unhurried(connection: dict[str, Any]) -> dict[str, Any]:
    limits = "-c statement_timeout=0 -c idle_in_transaction_session_timeout=0"
    return connection | {"options": f"{connection['options']} {limits}"}
