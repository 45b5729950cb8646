"""The tenants' rows on a real PostgreSQL: whichever order their records are read in, the newest stands."""

import asyncio

import psycopg
import pytest

from schemas.ids import TenantId
from schemas.intent_state import TenantState
from schemas.messages.avro_codec import encode
from schemas.tables.rows import TenantStateRow
from schemas.topics import INTENTS
from streams.runtime.checkpoints import Advance, PostgresCheckpoints
from streams.runtime.postgres import open_pool
from streams.runtime.records import TopicPartition
from streams.views.sink import PostgresViews
from streams.views.tables import TenantStateChange
from tests.support.databases import FreshDatabase
from tests.support.ledgers import paused, tenant_state

pytestmark = [pytest.mark.integration, pytest.mark.embedded_only]

_AT = TopicPartition(topic=INTENTS, partition=3)
_ROLE = "paybond_streams"
BEFORE, PAUSED = tenant_state(TenantId("acme")), paused(TenantId("acme"))


def _change(state: TenantState, offset: int, *, is_known: bool) -> TenantStateChange:
    row = TenantStateRow(tenant_id=state.tenant_id, state=encode(state))
    return TenantStateChange(row=row, offset=offset, at=_AT, is_known=is_known)


def _stored(database: FreshDatabase, *changes: TenantStateChange) -> list[int]:
    """How many rows each change had to restore, one transaction each."""

    async def whole() -> list[int]:
        async with open_pool(database.login_dsn(_ROLE), program="test", connections_max=1) as pool:
            claimed = await PostgresCheckpoints(pool).claim({_AT: "tenant_states"})
            move = Advance(before=claimed[_AT], after=claimed[_AT])
            tables = PostgresViews(pool)
            return [
                (await tables.store_tenant_states([move], [change])).get(_AT, 0)
                for change in changes
            ]

    return asyncio.run(whole())


def _shown(
    database: FreshDatabase, sql: str = "SELECT state FROM views.tenant_states"
) -> list[bytes]:
    with psycopg.connect(database.login_dsn(_ROLE)) as connection:
        return [state for (state,) in connection.execute(sql).fetchall()]


def test_an_older_record_never_replaces_a_newer_one(migrated: FreshDatabase) -> None:
    restored = _stored(
        migrated,
        _change(BEFORE, 2, is_known=False),
        _change(PAUSED, 5, is_known=False),
        _change(BEFORE, 2, is_known=True),
        _change(PAUSED, 5, is_known=True),
    )

    assert restored == [0, 0, 0, 0]
    assert _shown(migrated) == [encode(PAUSED)]


def test_a_lost_row_comes_back_from_its_own_record_and_from_no_older_one(
    migrated: FreshDatabase,
) -> None:
    _stored(migrated, _change(PAUSED, 5, is_known=False))
    with psycopg.connect(migrated.login_dsn(_ROLE)) as connection:
        connection.execute("DELETE FROM views.tenant_states")

    restored = _stored(
        migrated, _change(BEFORE, 2, is_known=True), _change(PAUSED, 5, is_known=True)
    )

    assert restored == [0, 1]
    assert _shown(migrated) == [encode(PAUSED)]
