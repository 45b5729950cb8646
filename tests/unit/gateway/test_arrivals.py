"""Read-your-writes: nobody polls, nobody misses a batch, nobody waits for ever."""

import asyncio

from gateway.queries.arrivals import Arrivals, until_shown


def test_what_is_there_already_is_not_waited_for() -> None:
    looks = 0

    async def is_shown() -> bool:
        nonlocal looks
        looks += 1
        return True

    assert asyncio.run(until_shown(is_shown, Arrivals(), seconds=1.0))
    assert looks == 1


def test_a_wait_looks_once_per_batch_and_not_in_between() -> None:
    async def scenario() -> None:
        arrivals, looks = Arrivals(), 0

        async def is_shown() -> bool:
            nonlocal looks
            looks += 1
            return looks == 3

        waiting = asyncio.create_task(until_shown(is_shown, arrivals, seconds=5.0))
        counts = []
        for _ in range(3):
            await asyncio.sleep(0.02)
            counts.append(looks)
            arrivals.arrived()

        assert await waiting
        assert counts == [1, 2, 3]

    asyncio.run(scenario())


def test_a_batch_that_comes_while_somebody_looks_is_not_missed() -> None:
    async def scenario() -> None:
        arrivals, looks = Arrivals(), 0

        async def is_shown() -> bool:
            nonlocal looks
            looks += 1
            if looks == 1:
                arrivals.arrived()
                return False
            return True

        assert await until_shown(is_shown, arrivals, seconds=5.0)

    asyncio.run(scenario())


def test_a_wait_ends_in_time() -> None:
    async def is_shown() -> bool:
        return False

    assert not asyncio.run(until_shown(is_shown, Arrivals(), seconds=0.01))
    assert not asyncio.run(until_shown(is_shown, Arrivals(), seconds=0.0))
