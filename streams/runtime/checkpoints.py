"""Where each projection stands, fenced: who advances a checkpoint proves in the same transaction that it still owns it.

1. `claim` raises the epoch, waiting for a predecessor's transaction; 2. rows and `advance` are one transaction, WHERE
epoch = mine AND next_offset = old; 3. fewer rows than asked for = another owner:
OwnershipLostError, nothing is written.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Protocol, Self

from psycopg.rows import TupleRow

from schemas.errors import OwnershipLostError
from schemas.ledger.entry_chain import CHAIN_START, ChainEnd
from schemas.ledger.merkle_tree import Frontier
from streams.runtime.postgres import Connection, Pool, outages, sql_blocks
from streams.runtime.records import TopicPartition

_SQL = sql_blocks("streams.runtime", "checkpoints.sql")
# The generation that readers see; a shadow rebuild fills another.
LIVE_GENERATION = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Position:
    """One checkpoint row as its owner holds it. `seq`, `entry_hash`, `frontier` are those of a ledger topic."""

    projection: str
    at: TopicPartition
    epoch: int
    next_offset: int = 0
    hint_acked: int | None = None
    seq: int = CHAIN_START.seq
    entry_hash: bytes = CHAIN_START.leaf_hash
    frontier: bytes = b""

    @property
    def chain_end(self) -> ChainEnd:
        return ChainEnd(seq=self.seq, leaf_hash=self.entry_hash)

    @property
    def tree(self) -> Frontier:
        """Raises StateMismatchError if the stored frontier can't be one of `seq` leaves."""
        return Frontier.unpacked(subject=self.at.topic, size=self.seq, packed=self.frontier)

    def moved(
        self, next_offset: int, *, end: ChainEnd | None = None, tree: Frontier | None = None
    ) -> Self:
        moved = replace(self, next_offset=next_offset)
        if end is not None and tree is not None:
            assert tree.size == end.seq
            moved = replace(moved, seq=end.seq, entry_hash=end.leaf_hash, frontier=tree.packed())
        return moved


@dataclass(frozen=True, slots=True, kw_only=True)
class Advance:
    """`before` is what the row must still say."""

    before: Position
    after: Position


class CheckpointStore(Protocol):
    async def claim(
        self, wanted: Mapping[TopicPartition, str]
    ) -> Mapping[TopicPartition, Position]:
        """Step 1: partition → projection; every earlier owner is fenced. Raises DatabaseUnavailableError."""
        ...

    async def acknowledge(self, hints: Sequence[tuple[Position, int]]) -> None:
        """Note which hint the broker has; a row of a newer epoch is left alone. Raises DatabaseUnavailableError."""
        ...

    async def positions(self) -> Sequence[Position]:
        """Every row, for people. Raises DatabaseUnavailableError."""
        ...


class PostgresCheckpoints:
    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def claim(
        self, wanted: Mapping[TopicPartition, str]
    ) -> Mapping[TopicPartition, Position]:
        if not wanted:
            return {}
        rows = sorted((projection, at) for at, projection in wanted.items())
        arguments = {
            "generation": LIVE_GENERATION,
            "projections": [projection for projection, _ in rows],
            "topics": [at.topic for _, at in rows],
            "partitions": [at.partition for _, at in rows],
        }
        with outages():
            async with self._pool.connection() as connection:
                cursor = await connection.execute(_SQL["claim"], arguments)
                found = [_position(row) for row in await cursor.fetchall()]
        return {position.at: position for position in found}

    async def acknowledge(self, hints: Sequence[tuple[Position, int]]) -> None:
        rows = [
            {**_key(position), "epoch": position.epoch, "hint_acked": offset}
            for position, offset in sorted(hints, key=lambda hint: _order(hint[0]))
        ]
        if rows:
            with outages():
                async with self._pool.connection() as connection, connection.cursor() as cursor:
                    await cursor.executemany(_SQL["acknowledge"], rows)

    async def positions(self) -> Sequence[Position]:
        with outages():
            async with self._pool.connection() as connection:
                cursor = await connection.execute(
                    _SQL["positions"], {"generation": LIVE_GENERATION}
                )
                return [_position(row) for row in await cursor.fetchall()]


async def advance(connection: Connection, advances: Iterable[Advance]) -> Callable[[], None]:
    """Steps 2 and 3, inside the caller's transaction and pipeline, rows in key order.

    The answer is to be called after the pipeline's sync and before the commit: it raises OwnershipLostError.
    """
    ordered = sorted(advances, key=lambda move: _order(move.before))
    cursor = connection.cursor()
    rows = [
        {
            **_key(move.before),
            "epoch": move.before.epoch,
            "old_offset": move.before.next_offset,
            "next_offset": move.after.next_offset,
            "seq": move.after.seq,
            "entry_hash": move.after.entry_hash,
            "frontier": move.after.frontier,
        }
        for move in ordered
    ]
    if rows:
        await cursor.executemany(_SQL["advance"], rows)

    def check() -> None:
        if not rows or cursor.rowcount == len(rows):
            return
        first = ordered[0].before
        missing = len(rows) - cursor.rowcount
        raise OwnershipLostError(
            resource=f"{first.projection} of {first.at.topic}/{first.at.partition} "
            f"and {len(rows) - 1} more",
            reason=f"{missing} checkpoint rows have a newer epoch or another offset",
        )

    return check


def _order(position: Position) -> tuple[str, TopicPartition]:
    return position.projection, position.at


def _key(position: Position) -> dict[str, object]:
    return {
        "generation": LIVE_GENERATION,
        "projection": position.projection,
        "topic": position.at.topic,
        "partition": position.at.partition,
    }


def _position(row: TupleRow) -> Position:
    projection, topic, partition, epoch, next_offset, hint_acked, seq, entry_hash, frontier = row
    return Position(
        projection=projection,
        at=TopicPartition(topic=topic, partition=partition),
        epoch=epoch,
        next_offset=next_offset,
        hint_acked=hint_acked,
        seq=seq,
        entry_hash=bytes(entry_hash),
        frontier=bytes(frontier),
    )
