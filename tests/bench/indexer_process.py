"""The indexer and what it is measured beside: `python -m tests.bench.indexer_process KIND`, settings as the indexer's.

`views` is the indexer itself; `unfenced` writes no checkpoint: what that saves is at least what the fence costs.
"""

import asyncio
import sys
from collections.abc import Callable, Iterable
from enum import StrEnum
from unittest.mock import patch

from streams.app import run_views
from streams.runtime.checkpoints import Advance
from streams.runtime.postgres import Connection
from streams.settings import StreamsSettings
from streams.views import sink


class Kind(StrEnum):
    VIEWS = "views"
    UNFENCED = "unfenced"


def main(kind: Kind) -> None:
    settings = StreamsSettings()
    match kind:
        case Kind.VIEWS:
            asyncio.run(run_views(settings))
        case Kind.UNFENCED:
            with patch.object(sink, "advance", _unfenced):
                asyncio.run(run_views(settings))


async def _unfenced(_connection: Connection, _advances: Iterable[Advance]) -> Callable[[], None]:
    return lambda: None


if __name__ == "__main__":
    main(Kind(sys.argv[1]))
