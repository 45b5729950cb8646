"""The agent's host: the batch in flight is stored before it ends, a failure ends it, and it leaves nothing behind."""

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import pytest

from schemas.errors import DatabaseUnavailableError
from streams.runtime.agents import run_agent

if TYPE_CHECKING:
    from streams.runtime.batch_loop import BatchLoop
    from streams.runtime.records import RecordSource


class Source:
    """Hands out its batches, and has `stop` set before the last one is stored."""

    def __init__(self, *batches: str) -> None:
        self._batches = list(batches)
        self.is_to_stop = asyncio.Event()
        self.is_stopped = False

    async def start(self, owner: Any) -> None:
        assert owner is not None

    async def read(self) -> Sequence[str]:
        batch = self._batches.pop(0)
        if not self._batches:
            self.is_to_stop.set()
        return [batch]

    async def stop(self) -> None:
        self.is_stopped = True


class Loop:
    def __init__(self, *, fails_at: str | None = None) -> None:
        self._fails_at = fails_at
        self.stored: list[str] = []
        self.is_stopped = False

    async def store(self, records: Sequence[str]) -> None:
        [batch] = records
        await asyncio.sleep(0)
        if batch == self._fails_at:
            raise DatabaseUnavailableError("gone")
        self.stored.append(batch)

    async def stopped(self) -> None:
        self.is_stopped = True


async def _run(source: Source, loop: Loop) -> None:
    await run_agent(
        "views-of-a-test",
        source=cast("RecordSource", source),
        loop=cast("BatchLoop", loop),
        stop=source.is_to_stop,
    )


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_batch_in_flight_is_stored_and_no_folder_stays(folder: Path) -> None:
    source, loop = Source("first", "last"), Loop()

    asyncio.run(_run(source, loop))

    assert loop.stored == ["first", "last"]
    assert source.is_stopped
    assert loop.is_stopped
    assert list(folder.iterdir()) == []


def test_a_batch_that_cannot_be_stored_ends_the_program(folder: Path) -> None:
    source, loop = Source("first", "second", "third"), Loop(fails_at="second")

    with pytest.raises(DatabaseUnavailableError, match="gone"):
        asyncio.run(_run(source, loop))

    assert loop.stored == ["first"]
    assert source.is_stopped
    assert not loop.is_stopped
    assert list(folder.iterdir()) == []
