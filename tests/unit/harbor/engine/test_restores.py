"""Partitions are restored beside the loop; a revoked one is forgotten, a failed one is an error."""

import asyncio

import pytest

from harbor.engine.ports import Restored
from harbor.engine.quarantine import Quarantines, check_release, reason_of
from harbor.engine.restores import Restores
from schemas.errors import StateMismatchError
from schemas.ids import TenantId
from tests.support.builders import TENANT
from tests.support.harbor_world import run


class SlowAssigner:
    """A restore ends when its gate opens."""

    def __init__(self) -> None:
        self.gates: dict[int, asyncio.Event] = {}
        self.cancelled: list[int] = []
        self.error: Exception | None = None

    async def restore(self, partition: int) -> Restored:
        self.gates[partition] = asyncio.Event()
        try:
            await self.gates[partition].wait()
        except asyncio.CancelledError:
            self.cancelled.append(partition)
            raise
        if self.error is not None:
            raise self.error
        return Restored(partition=partition, next_offset=partition * 10)

    async def recheck(self, partition: int, tenant_id: TenantId) -> str | None:
        raise AssertionError((partition, tenant_id))


async def pause() -> None:
    for _ in range(3):
        await asyncio.sleep(0)


def test_each_partition_starts_when_it_is_ready_not_when_all_are() -> None:
    async def scenario() -> None:
        assigner = SlowAssigner()
        restores = Restores(assigner)
        restores.begin([1, 2])
        await pause()
        assigner.gates[2].set()
        await pause()
        ready = restores.completed()

        assert [(r.partition, r.next_offset) for r in ready] == [(2, 20)]
        assert restores.is_busy
        assert restores.completed() == ()
        await restores.close()
        assert not restores.is_busy

    run(scenario)


def test_a_revoked_partition_is_forgotten_and_may_come_back() -> None:
    async def scenario() -> None:
        assigner = SlowAssigner()
        restores = Restores(assigner)
        restores.begin([1])
        await pause()
        await restores.forget([1, 7])
        restores.begin([1])
        await pause()
        assigner.gates[1].set()
        await pause()

        assert assigner.cancelled == [1]
        assert len(restores.completed()) == 1

    run(scenario)


def test_a_failed_restore_is_raised_to_the_loop() -> None:
    async def scenario() -> None:
        assigner = SlowAssigner()
        assigner.error = StateMismatchError(subject="x", reason="y")
        restores = Restores(assigner)
        restores.begin([1])
        await pause()
        assigner.gates[1].set()
        await pause()

        with pytest.raises(StateMismatchError):
            restores.completed()

    run(scenario)


def test_tenants_found_in_doubt_leave_with_their_partition() -> None:
    quarantines = Quarantines()
    other = TenantId("tenant-two")
    quarantines.take_over(Restored(partition=0, next_offset=0, quarantined={TENANT: "tip"}))
    quarantines.take_over(Restored(partition=1, next_offset=0, quarantined={other: "state"}))
    quarantines.release(TENANT)

    assert quarantines.current() == {other: "state"}
    assert reason_of(other, None, quarantines.current()) == "state"
    assert reason_of(TENANT, None, quarantines.current()) is None
    quarantines.drop(1)
    assert quarantines.current() == {}


def test_an_operators_word_does_not_make_a_broken_ledger_whole() -> None:
    refused = check_release("the tip says 3 entries, the ledger ends with seq 2")

    assert refused is not None
    assert refused.refusal.code == "quarantine_stands"
    assert check_release(None) is None
