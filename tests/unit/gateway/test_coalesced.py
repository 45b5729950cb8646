"""Look-ups that share a round trip: together in the next one, never from one that began before they were asked for."""

import asyncio
from collections.abc import Mapping, Sequence

import pytest

from gateway.adapters.coalesced import Coalesced
from schemas.errors import DatabaseUnavailableError


class Table:
    """Rows that a look-up sees as they are when it begins; it ends when it is let."""

    def __init__(self, *, most: int = 10) -> None:
        self.rows: dict[tuple[str, str], str] = {}
        self.looked_up: list[tuple[str, ...]] = []
        # Of the next look-up alone.
        self.error: Exception | None = None
        self.may_end = asyncio.Event()
        self.coalesced = Coalesced(self._look_up, most=most)

    async def _look_up(self, group: str, keys: Sequence[str]) -> Mapping[str, str]:
        self.looked_up.append((group, *keys))
        found = {key: self.rows[group, key] for key in keys if (group, key) in self.rows}
        await self.may_end.wait()
        error, self.error = self.error, None
        if error is not None:
            raise error
        return found

    def asked(self, group: str, key: str) -> "asyncio.Task[str | None]":
        return asyncio.create_task(self.coalesced.find(group, key))


async def _settle() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


def test_what_is_asked_during_a_look_up_goes_out_together_in_the_next() -> None:
    async def scenario() -> None:
        table = Table()
        table.rows = {("acme", key): key.upper() for key in "abc"}
        first = table.asked("acme", "a")
        await _settle()
        others = [table.asked("acme", key) for key in ("b", "c", "b", "absent")]
        await _settle()
        table.may_end.set()

        assert await first == "A"
        assert await asyncio.gather(*others) == ["B", "C", "B", None]
        assert table.looked_up == [("acme", "a"), ("acme", "b", "c", "absent")]

    asyncio.run(scenario())


def test_an_answer_is_never_older_than_its_question() -> None:
    async def scenario() -> None:
        table = Table()
        table.rows = {("acme", "a"): "live"}
        before = table.asked("acme", "a")
        await _settle()
        table.rows = {("acme", "a"): "revoked"}
        after = table.asked("acme", "a")
        await _settle()
        table.may_end.set()

        assert [await before, await after] == ["live", "revoked"]

    asyncio.run(scenario())


def test_groups_do_not_wait_for_each_other_and_share_nothing() -> None:
    async def scenario() -> None:
        table = Table()
        table.rows = {("acme", "a"): "of acme", ("umbrella", "a"): "of umbrella"}
        both = [table.asked("acme", "a"), table.asked("umbrella", "a")]
        await _settle()

        assert table.looked_up == [("acme", "a"), ("umbrella", "a")]
        table.may_end.set()
        assert await asyncio.gather(*both) == ["of acme", "of umbrella"]

    asyncio.run(scenario())


def test_a_look_up_takes_only_so_many() -> None:
    async def scenario() -> None:
        table = Table(most=2)
        table.may_end.set()
        await asyncio.gather(*(table.asked("acme", key) for key in "abcde"))

        assert table.looked_up == [("acme", "a", "b"), ("acme", "c", "d"), ("acme", "e")]

    asyncio.run(scenario())


def test_a_failure_reaches_all_who_asked_and_nobody_after_them() -> None:
    async def scenario() -> None:
        table = Table()
        table.rows, table.error = {("acme", "a"): "A"}, DatabaseUnavailableError("gone")
        asked = [table.asked("acme", key) for key in "ab"]
        await _settle()
        later = table.asked("acme", "a")
        table.may_end.set()
        results = await asyncio.gather(*asked, return_exceptions=True)

        assert [type(result) for result in results] == [DatabaseUnavailableError] * 2
        assert await later == "A"
        assert await table.asked("acme", "a") == "A"

    asyncio.run(scenario())


def test_who_gives_up_takes_nothing_from_the_others() -> None:
    async def scenario() -> None:
        table = Table()
        table.rows = {("acme", "a"): "A"}
        impatient, patient = table.asked("acme", "a"), table.asked("acme", "a")
        await _settle()
        impatient.cancel()
        await _settle()
        table.may_end.set()

        with pytest.raises(asyncio.CancelledError):
            await impatient
        assert await patient == "A"

    asyncio.run(scenario())


def test_who_waits_when_the_loop_ends_does_not_wait_for_ever() -> None:
    async def scenario() -> None:
        table = Table()
        taken = table.asked("acme", "a")
        await _settle()
        waiting = table.asked("acme", "b")
        await _settle()
        (serving,) = table.coalesced._serving
        serving.cancel()

        results = await asyncio.gather(taken, waiting, return_exceptions=True)
        assert [type(result) for result in results] == [asyncio.CancelledError] * 2
        table.may_end.set()
        assert await table.asked("acme", "a") is None

    asyncio.run(scenario())
