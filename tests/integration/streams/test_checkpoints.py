"""The fence of the read tables on a real PostgreSQL: a checkpoint moves for its holder only, from where it was held."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence

import psycopg
import pytest

from schemas.errors import OwnershipLostError
from streams.runtime.checkpoints import Advance, PostgresCheckpoints, advance
from streams.runtime.postgres import Pool, open_pool
from streams.runtime.records import TopicPartition
from tests.support.databases import FreshDatabase

pytestmark = [pytest.mark.integration, pytest.mark.embedded_only]

_ROLE = "paybond_streams"
_FIRST = TopicPartition(topic="paybond.ledger.acme", partition=0)
_SECOND = TopicPartition(topic="paybond.ledger.acme-corp", partition=0)
_WANTED = {_FIRST: "ledger", _SECOND: "ledger"}
_NOTE = "INSERT INTO views.checkpoints VALUES ('acme', 1, decode(repeat('00', 32), 'hex'), 'note')"


def _run(database: FreshDatabase, act: Callable[[Pool], Awaitable[None]]) -> None:
    async def whole() -> None:
        async with open_pool(database.login_dsn(_ROLE), program="test", connections_max=2) as pool:
            await act(pool)

    asyncio.run(whole())


async def _stored(pool: Pool, moves: Sequence[Advance]) -> None:
    """A row of a projection and its checkpoints, as the tables' adapter writes them."""
    async with pool.connection() as connection:
        async with connection.pipeline():
            check = await advance(connection, moves)
            await connection.execute(_NOTE)
        check()


async def _where(pool: Pool) -> dict[TopicPartition, tuple[int, int]]:
    return {
        one.at: (one.epoch, one.next_offset) for one in await PostgresCheckpoints(pool).positions()
    }


def _notes(database: FreshDatabase) -> int:
    with psycopg.connect(database.login_dsn(_ROLE)) as connection:
        [row] = connection.execute("SELECT count(*) FROM views.checkpoints").fetchall()
    return int(row[0])


def _set_back(database: FreshDatabase) -> None:
    """As somebody does by hand, to have a ledger read again."""
    with psycopg.connect(database.owner_dsn) as connection:
        connection.execute(
            "UPDATE streams.checkpoints SET next_offset = 3 WHERE topic = %s", (_SECOND.topic,)
        )


def test_checkpoints_move_with_the_rows_for_whoever_claimed_them(migrated: FreshDatabase) -> None:
    async def act(pool: Pool) -> None:
        claimed = await PostgresCheckpoints(pool).claim(_WANTED)
        moves = [Advance(before=one, after=one.moved(7)) for one in claimed.values()]

        await _stored(pool, moves)

        assert await _where(pool) == {_FIRST: (1, 7), _SECOND: (1, 7)}

    _run(migrated, act)
    assert _notes(migrated) == 1


def test_a_checkpoint_that_was_set_back_under_its_owner_fences_it_and_nothing_is_written(
    migrated: FreshDatabase,
) -> None:
    async def act(pool: Pool) -> None:
        claimed = await PostgresCheckpoints(pool).claim(_WANTED)
        there = [Advance(before=one, after=one.moved(7)) for one in claimed.values()]
        async with pool.connection() as connection:
            (await advance(connection, there))()
        _set_back(migrated)

        with pytest.raises(OwnershipLostError, match="1 checkpoint rows"):
            await _stored(
                pool, [Advance(before=move.after, after=move.after.moved(9)) for move in there]
            )

        assert await _where(pool) == {_FIRST: (1, 7), _SECOND: (1, 3)}

    _run(migrated, act)
    assert _notes(migrated) == 0


def test_a_later_claim_fences_whoever_held_the_checkpoint(migrated: FreshDatabase) -> None:
    async def act(pool: Pool) -> None:
        checkpoints = PostgresCheckpoints(pool)
        before = await checkpoints.claim(_WANTED)
        after = await checkpoints.claim({_FIRST: "ledger"})

        with pytest.raises(OwnershipLostError, match="1 checkpoint rows"):
            await _stored(
                pool, [Advance(before=one, after=one.moved(7)) for one in before.values()]
            )
        await checkpoints.acknowledge([(before[_FIRST], 7)])
        [held] = [one for one in await checkpoints.positions() if one.at == _FIRST]

        assert after[_FIRST].epoch == before[_FIRST].epoch + 1
        assert (held.next_offset, held.hint_acked) == (0, None)

    _run(migrated, act)
    assert _notes(migrated) == 0
