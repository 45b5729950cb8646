"""What the program needs beside its listeners: where one part of it ends, the whole ends, and says why."""

import asyncio

import pytest

from gateway.app import stop_with
from schemas.errors import BrokerUnavailableError


async def _never() -> None:
    await asyncio.Event().wait()


async def _fails() -> None:
    raise BrokerUnavailableError("gone")


def test_work_that_ends_stops_the_program_with_its_error() -> None:
    async def scenario() -> None:
        stop = asyncio.Event()
        work = [asyncio.create_task(_never()), asyncio.create_task(_fails())]

        with pytest.raises(BrokerUnavailableError, match="gone"):
            await stop_with(work, stop)

        assert stop.is_set()
        assert not work[0].done()
        work[0].cancel()

    asyncio.run(scenario())


def test_work_that_goes_on_is_no_reason_to_stop_and_none_to_fail() -> None:
    async def scenario() -> None:
        stop = asyncio.Event()
        work = [asyncio.create_task(_never())]
        watching = asyncio.create_task(stop_with(work, stop))
        await asyncio.sleep(0)
        assert not watching.done()

        stop.set()
        await watching

        work[0].cancel()

    asyncio.run(scenario())
