"""Every read of a tenant's rows: an explicit transaction that first says whose rows it may see.

BEGIN, the setting, the reads and COMMIT go out in one round trip (psycopg's pipeline), under one snapshot.
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, LiteralString

import psycopg
from psycopg import AsyncCursor
from psycopg.pq import TransactionStatus
from psycopg.rows import dict_row

from schemas.ids import TenantId
from streams.runtime.postgres import Connection, Pool, outages, sql_blocks

Row = Mapping[str, Any]
_BEGIN: LiteralString = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"
_COMMIT: LiteralString = "COMMIT"
SET_TENANT = sql_blocks("gateway.queries", "tenant.sql")["set_tenant"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """One statement of `gateway/queries/*.sql`; the tenant is bound by whoever runs it."""

    text: LiteralString
    values: Mapping[str, object] = field(default_factory=dict)


class TenantReads:
    """Reads under row-level security. All methods raise DatabaseUnavailableError."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def fetch(self, tenant_id: TenantId, text: LiteralString, **values: object) -> list[Row]:
        [rows] = await self.fetch_all(tenant_id, [Query(text=text, values=values)])
        return rows

    async def fetch_one(
        self, tenant_id: TenantId, text: LiteralString, **values: object
    ) -> Row | None:
        rows = await self.fetch(tenant_id, text, **values)
        assert len(rows) <= 1
        return rows[0] if rows else None

    async def fetch_all(self, tenant_id: TenantId, queries: Sequence[Query]) -> list[list[Row]]:
        """The rows of each query, all of one snapshot, in one round trip."""
        with outages():
            async with self._pool.connection() as connection:
                refuse_autocommit(connection)
                cursors = await _run(connection, tenant_id, queries)
                return [list(await cursor.fetchall()) for cursor in cursors]


async def _run(
    connection: Connection, tenant_id: TenantId, queries: Sequence[Query]
) -> list[AsyncCursor[dict[str, Any]]]:
    tenant = {"tenant_id": tenant_id}
    cursors = [connection.cursor(row_factory=dict_row) for _ in queries]
    async with _without_implicit_begin(connection), connection.pipeline():
        await connection.execute(_BEGIN)
        await connection.execute(SET_TENANT, tenant)
        for cursor, query in zip(cursors, queries, strict=True):
            await cursor.execute(query.text, {**query.values, **tenant})
        await connection.execute(_COMMIT)
    return cursors


@asynccontextmanager
async def _without_implicit_begin(connection: Connection) -> AsyncIterator[None]:
    """A BEGIN by psycopg itself is a round trip of its own, even in a pipeline; ours is spelled out and is not.

    `set_autocommit` says nothing to the server. However this ends, the connection is as it was.
    """
    await connection.set_autocommit(True)
    try:
        yield
    except BaseException:
        # Cancellation too. A broken connection can't roll back; the pool drops it.
        with suppress(psycopg.Error):
            await connection.rollback()
            await connection.set_autocommit(False)
        raise
    assert connection.info.transaction_status is TransactionStatus.IDLE
    await connection.set_autocommit(False)


def refuse_autocommit(connection: Connection) -> None:
    """Without a transaction the tenant's setting would be gone before the read that needs it."""
    assert not connection.autocommit, "reads of a tenant's rows need a transaction"
