"""The indexer and what it is measured beside: `python -m tests.bench.indexer_process KIND`, settings as the indexer's.

`views` is the indexer itself. `unfenced` writes the same checkpoints whoever owns them, wherever they stood: no epoch,
no old offset, no look at how many rows it moved. `unmarked` writes none, so it could not go on after a restart. The
others are the agents of `stock_faust`.
"""

import asyncio
import sys
from collections.abc import Callable, Iterable
from enum import StrEnum
from unittest.mock import patch

from streams.app import run_views
from streams.runtime.checkpoints import LIVE_GENERATION, Advance
from streams.runtime.postgres import Connection
from streams.settings import StreamsSettings
from streams.views import sink
from tests.bench import stock_faust

_MARK = """UPDATE streams.checkpoints
SET next_offset = %(next_offset)s, seq = %(seq)s, entry_hash = %(entry_hash)b, frontier = %(frontier)b
WHERE generation = %(generation)s AND projection = %(projection)s AND topic = %(topic)s
  AND partition = %(partition)s"""


class Kind(StrEnum):
    VIEWS = "views"
    UNFENCED = "unfenced"
    UNMARKED = "unmarked"
    FAUST_BATCH = stock_faust.Agent.BATCH.value
    FAUST_EVENT = stock_faust.Agent.EVENT.value
    FAUST_ROW = stock_faust.Agent.ROW.value

    @property
    def is_faust(self) -> bool:
        return self in {Kind.FAUST_BATCH, Kind.FAUST_EVENT, Kind.FAUST_ROW}


def main(kind: Kind) -> None:
    if kind.is_faust:
        stock_faust.run(StreamsSettings(), stock_faust.Agent(kind.value))
        return
    advance = {Kind.VIEWS: sink.__dict__["advance"], Kind.UNFENCED: _unfenced}.get(kind, _unmarked)
    with patch.object(sink, "advance", advance):
        asyncio.run(run_views(StreamsSettings()))


async def _unfenced(connection: Connection, advances: Iterable[Advance]) -> Callable[[], None]:
    rows = [
        {
            "generation": LIVE_GENERATION,
            "projection": move.before.projection,
            "topic": move.before.at.topic,
            "partition": move.before.at.partition,
            "next_offset": move.after.next_offset,
            "seq": move.after.seq,
            "entry_hash": move.after.entry_hash,
            "frontier": move.after.frontier,
        }
        for move in advances
    ]
    if rows:
        await connection.cursor().executemany(_MARK, rows)
    return lambda: None


async def _unmarked(_connection: Connection, _advances: Iterable[Advance]) -> Callable[[], None]:
    return lambda: None


if __name__ == "__main__":
    main(Kind(sys.argv[1]))
