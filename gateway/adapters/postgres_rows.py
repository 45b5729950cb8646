"""The gateway's own rows in Postgres: a change with its outbox row, the relay's connection, and restoring.

The relay reads and acknowledges on the very connection that holds its lock, so that a lost lock is a failed query.
"""

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict
from typing import Any, LiteralString

import psycopg
from psycopg.rows import dict_row

from gateway.adapters.postgres_reads import SET_TENANT
from gateway.auth.api_key import KeyKind
from gateway.outbox.ports import Written
from gateway.outbox.rows import (
    AgentKeyRow,
    ApiKeyRow,
    OwnedRow,
    RowKey,
    Table,
    key_of,
    row_json,
    row_of,
)
from schemas.errors import DatabaseUnavailableError
from schemas.ids import TenantId
from schemas.messages.operations import GatewayRow
from schemas.messages.shared import Environment
from streams.runtime.postgres import Connection, Pool, options, outages, sql_blocks

_SQL = sql_blocks("gateway.outbox", "rows.sql")
_FIND: dict[Table, LiteralString] = {table: _SQL[f"find_{table}"] for table in Table}
_WRITE: dict[Table, LiteralString] = {table: _SQL[f"write_{table}"] for table in Table}
_DELETE: dict[Table, LiteralString] = {table: _SQL[f"delete_{table}"] for table in Table}
_ACKNOWLEDGE: dict[Table, LiteralString] = {table: _SQL[f"acknowledge_{table}"] for table in Table}


class PostgresRowStore:
    """Changes a row and enqueues it, in one transaction; also puts restored rows back."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def find(self, key: RowKey) -> OwnedRow | None:
        """Raises DatabaseUnavailableError."""
        async with self._transaction(key.tenant_id) as connection:
            return await _found(connection, key, is_acknowledged=True)

    async def change(
        self, key: RowKey, change: Callable[[OwnedRow | None], OwnedRow | None]
    ) -> Written | None:
        """Raises DatabaseUnavailableError, and what `change` raises."""
        async with self._transaction(key.tenant_id) as connection:
            await connection.execute(_SQL["serialize"], {"record_key": key.record_key.decode()})
            present = await _found(connection, key, is_acknowledged=False)
            row = change(present)
            if row is None:
                return None
            assert row.key == key
            values = {**_names(key), "table": key.table, "row_json": row_json(row)}
            enqueued = await (await connection.execute(_SQL["enqueue"], values)).fetchone()
            assert enqueued is not None
            outbox_id = int(enqueued[0])
            await _write(
                connection,
                row,
                outbox_id=outbox_id,
                is_acknowledged=False,
                is_unchanged=row == present,
            )
            await connection.execute(_SQL["announce"])
        return Written(row=row, outbox_id=outbox_id)

    async def is_acknowledged(self, tenant_id: TenantId, outbox_id: int) -> bool:
        """Raises DatabaseUnavailableError."""
        async with self._transaction(tenant_id) as connection:
            values = {"tenant_id": tenant_id, "outbox_id": outbox_id}
            cursor = await connection.execute(_SQL["is_waiting"], values)
            return await cursor.fetchone() is None

    async def restore(self, message: GatewayRow) -> bool:
        """Raises DatabaseUnavailableError, CodecError."""
        row, key = row_of(message), key_of(message)
        async with self._transaction(key.tenant_id) as connection:
            await connection.execute(_SQL["serialize"], {"record_key": key.record_key.decode()})
            if row is None:
                values = {**_names(key), "outbox_id": message.outbox_id}
                return (await connection.execute(_DELETE[key.table], values)).rowcount == 1
            return await _write(
                connection,
                row,
                outbox_id=message.outbox_id,
                is_acknowledged=True,
                is_unchanged=False,
            )

    async def continue_after(self, outbox_id: int) -> None:
        """Raises DatabaseUnavailableError."""
        with outages():
            async with self._pool.connection() as connection:
                await connection.execute(_SQL["continue_after"], {"outbox_id": outbox_id})

    @asynccontextmanager
    async def _transaction(self, tenant_id: TenantId) -> AsyncIterator[Connection]:
        with outages():
            async with self._pool.connection() as connection, connection.transaction():
                await connection.execute(SET_TENANT, {"tenant_id": tenant_id})
                yield connection


class PostgresOutbox:
    """The relay's own connection: it holds the lock, and everything the relay does goes through it."""

    def __init__(self, dsn: str) -> None:
        self._dsn = dsn
        self._connection: Connection | None = None

    async def lock(self) -> bool:
        """Raises DatabaseUnavailableError."""
        with outages():
            if self._connection is None:
                self._connection = await psycopg.AsyncConnection.connect(
                    self._dsn, autocommit=True, **_relay_options()
                )
                await self._connection.execute(_SQL["listen"])
            row = await (await self._connection.execute(_SQL["lock"])).fetchone()
        return row is not None and bool(row[0])

    async def tenants(self) -> Sequence[TenantId]:
        """Raises DatabaseUnavailableError."""
        with outages():
            rows = await (await self._held().execute(_SQL["tenants"])).fetchall()
        return [TenantId(row[0]) for row in rows]

    async def pending(self, tenant_id: TenantId, limit: int) -> Sequence[GatewayRow]:
        """Raises DatabaseUnavailableError."""
        async with self._transaction(tenant_id) as connection:
            values = {"tenant_id": tenant_id, "limit": limit}
            rows = await (await connection.execute(_SQL["pending"], values)).fetchall()
        return [
            GatewayRow(
                tenant_id=row[0],
                outbox_id=row[1],
                table=row[2],
                primary_key=row[3],
                row_json=row[4],
            )
            for row in rows
        ]

    async def acknowledge(self, tenant_id: TenantId, outbox_ids: Sequence[int]) -> None:
        """Raises DatabaseUnavailableError."""
        values = {"tenant_id": tenant_id, "outbox_ids": list(outbox_ids)}
        async with self._transaction(tenant_id) as connection:
            for acknowledge in _ACKNOWLEDGE.values():
                await connection.execute(acknowledge, values)
            await connection.execute(_SQL["forget"], values)
            for outbox_id in outbox_ids:
                await connection.execute(_SQL["tell"], {"outbox_id": outbox_id})

    async def wait(self, seconds: float) -> None:
        """Raises DatabaseUnavailableError."""
        with outages():
            async for _ in self._held().notifies(timeout=seconds, stop_after=1):
                pass

    async def release(self) -> None:
        """Closing the connection gives the lock up."""
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.close()

    def _held(self) -> Connection:
        if self._connection is None or self._connection.closed:
            raise DatabaseUnavailableError("the relay's connection, and with it its lock, is gone")
        return self._connection

    @asynccontextmanager
    async def _transaction(self, tenant_id: TenantId) -> AsyncIterator[Connection]:
        with outages():
            connection = self._held()
            async with connection.transaction():
                await connection.execute(SET_TENANT, {"tenant_id": tenant_id})
                yield connection


def _relay_options() -> dict[str, Any]:
    return options(program="paybond-gateway-relay")


def _names(key: RowKey) -> dict[str, str]:
    return {"tenant_id": key.tenant_id, "primary_key": key.primary_key}


async def _found(connection: Connection, key: RowKey, *, is_acknowledged: bool) -> OwnedRow | None:
    """`is_acknowledged`: only a version that Kafka has; else whatever is there."""
    cursor = connection.cursor(row_factory=dict_row)
    values = {**_names(key), "is_acknowledged": is_acknowledged}
    found = await (await cursor.execute(_FIND[key.table], values)).fetchone()
    return None if found is None else _owned_row(key.table, found)


async def _write(
    connection: Connection,
    row: OwnedRow,
    *,
    outbox_id: int,
    is_acknowledged: bool,
    is_unchanged: bool,
) -> bool:
    """Whether it was written. `is_unchanged`: what Kafka has of it already says the same, so it stays seen."""
    values = {
        name: list(value) if isinstance(value, tuple) else value
        for name, value in asdict(row).items()
    }
    values |= {
        "outbox_id": outbox_id,
        "is_acknowledged": is_acknowledged,
        "is_unchanged": is_unchanged,
    }
    return (await connection.execute(_WRITE[row.key.table], values)).rowcount == 1


def _owned_row(table: Table, found: dict[str, Any]) -> OwnedRow:
    match table:
        case Table.API_KEYS:
            return ApiKeyRow(
                **{
                    **found,
                    "environment": Environment(found["environment"]),
                    "kind": KeyKind(found["kind"]),
                    "permissions": tuple(found["permissions"]),
                    "digest": bytes(found["digest"]),
                }
            )
        case Table.AGENT_KEYS:
            return AgentKeyRow(
                **{
                    **found,
                    "purposes": tuple(found["purposes"]),
                    "public_key": bytes(found["public_key"]),
                }
            )
