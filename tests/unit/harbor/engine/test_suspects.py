"""A command that stops the process is tried twice with others, once alone, and then given up with its tenant."""

from collections.abc import Callable
from typing import Any

import pytest

from harbor.adapters.memory.ports import MemoryStateStore
from harbor.domain.decide import decide
from harbor.domain.decision import Decision, Refused
from harbor.engine.ports import InputRecord
from harbor.engine.suspects import Mark, Suspects, poison
from schemas.intent_fold import TenantState
from schemas.messages.avro_codec import decode
from schemas.messages.commands import Command, FundIntent, ReleaseQuarantine
from schemas.messages.outcomes import OutcomeStatus
from schemas.partitioner import partition_of
from schemas.topics import INTENTS, tenant_key
from tests.support.builders import (
    T0,
    TENANT,
    a_command,
    an_intent_id,
    create_intent,
    provision_tenant,
)
from tests.support.harbor_world import PARTITIONS, Crash, HarborProcess, HarborWorld, run

PROVISION = a_command(provision_tenant(), number=1)
CREATE = a_command(create_intent(), number=2)
POISON = a_command(FundIntent(), number=3)
OTHER = an_intent_id(2)
AFTER = a_command(create_intent(intent_id=OTHER), number=4, intent_id=OTHER)
RELEASE = a_command(ReleaseQuarantine(reason="defect fixed"), number=5)
PARTITION = partition_of(TENANT, PARTITIONS)

Decide = Callable[[Command, Any], Decision | Refused]


class DefectError(Exception):
    """What a bug in a decision looks like from outside."""


@pytest.fixture
def defect(monkeypatch: pytest.MonkeyPatch) -> Callable[[BaseException | None], None]:
    """From now on deciding POISON raises this; None mends it."""
    honest: Decide = decide
    current: list[BaseException] = []

    def deciding(command: Command, facts: Any) -> Decision | Refused:
        if current and command.command_id == POISON.command_id:
            raise current[0]
        return honest(command, facts)

    def set_to(error: BaseException | None) -> None:
        current[:] = [] if error is None else [error]

    monkeypatch.setattr("harbor.engine.batch.decide", deciding)
    return set_to


async def started(world: HarborWorld, after: HarborProcess | None = None) -> HarborProcess:
    process = world.process("again" if after else "first", after=after)
    await process.loop.start()
    return process


async def stopped_twice(world: HarborWorld, error: type[BaseException]) -> HarborProcess:
    process = None
    for _ in range(2):
        process = await started(world, after=process)
        with pytest.raises(error):
            await world.settle(process)
        # The process is dead: its session runs out.
        world.kafka.group("paybond-harbor").remove(process.name)
    assert process is not None
    return process


def tenant_row(world: HarborWorld) -> TenantState:
    rows = [r for r in world.kafka.read(INTENTS, PARTITION) if r.key == tenant_key(TENANT)]
    state = decode(rows[-1].value or b"")
    assert isinstance(state, TenantState)
    return state


def test_the_third_failure_alone_gives_the_command_up_and_the_others_go_on(
    defect: Callable[[BaseException | None], None],
) -> None:
    async def scenario() -> None:
        world = HarborWorld()
        world.send(PROVISION, CREATE, POISON, AFTER)
        defect(DefectError("secret"))
        second = await stopped_twice(world, DefectError)
        third = await started(world, after=second)
        await world.settle(third)

        assert world.events() == ["tenant_provisioned", "intent_created"]
        (outcome,) = world.outcomes(POISON)
        assert outcome.status is OutcomeStatus.RETRY
        assert outcome.refusal is not None
        assert outcome.refusal.code == "internal_error"
        (letter,) = world.dead_letters()
        assert (letter.offset, letter.attempts, letter.tenant_id) == (2, 3, TENANT)
        assert letter.reason == "crashed_decide: DefectError"
        quarantine = tenant_row(world).quarantine
        assert quarantine is not None
        assert quarantine.offset == 2
        (after,) = world.outcomes(AFTER)
        assert after.refusal is not None
        assert after.refusal.code == "tenant_quarantined"
        assert [r.record.offset for r, _ in third.witness.poisons] == [2]
        world.assert_whole()

    run(scenario)


def test_a_process_that_dies_without_a_word_is_counted_too(
    defect: Callable[[BaseException | None], None],
) -> None:
    async def scenario() -> None:
        world = HarborWorld()
        world.send(PROVISION, CREATE, POISON, AFTER)
        defect(Crash())
        second = await stopped_twice(world, Crash)
        third = await started(world, after=second)
        with pytest.raises(Crash):
            await world.settle(third)
        world.kafka.group("paybond-harbor").remove(third.name)
        fourth = await started(world, after=third)
        await world.settle(fourth)

        assert world.dead_letters()[0].reason == "crashed_decide: the process died deciding it"
        assert tenant_row(world).quarantine is not None
        assert world.events() == ["tenant_provisioned", "intent_created"]

    run(scenario)


def test_what_lay_beside_the_one_to_blame_is_not_given_up_for_one_more_stop(
    defect: Callable[[BaseException | None], None],
) -> None:
    """A process that is killed then would else take an innocent command, and its tenant, with it."""

    async def scenario() -> None:
        world = HarborWorld()
        world.send(PROVISION, CREATE, POISON, AFTER)
        defect(DefectError("secret"))
        second = await stopped_twice(world, DefectError)
        third = await started(world, after=second)

        async def killed_with_the_one_after_it() -> None:
            if third.witness.poisons:
                third.faults.plan("transactions.flush before", Crash())
            third.faults.meanwhile("transactions.commit after", killed_with_the_one_after_it)

        third.faults.meanwhile("transactions.commit after", killed_with_the_one_after_it)
        with pytest.raises(Crash):
            await world.settle(third)
        world.kafka.group("paybond-harbor").remove(third.name)
        fourth = await started(world, after=third)
        await world.settle(fourth)

        assert [r.record.offset for r, _ in third.witness.poisons] == [2]
        assert fourth.witness.poisons == []
        assert [letter.offset for letter in world.dead_letters()] == [2]

    run(scenario)


def test_a_suspect_that_goes_well_alone_is_nobodys_fault(
    defect: Callable[[BaseException | None], None],
) -> None:
    async def scenario() -> None:
        world = HarborWorld()
        world.send(PROVISION, CREATE, POISON, AFTER)
        defect(DefectError())
        second = await stopped_twice(world, DefectError)
        defect(None)
        third = await started(world, after=second)
        await world.settle(third)

        assert [len(result.next_offsets) for result in third.witness.results] == [1, 1, 1, 1]
        assert world.outcomes(POISON)[0].status is OutcomeStatus.ACCEPTED
        assert world.dead_letters() == []
        assert third.store.snapshot()[PARTITION].keys().isdisjoint({("attempts", b"deciding")})

    run(scenario)


def test_a_release_re_checks_and_then_the_tenant_goes_on(
    defect: Callable[[BaseException | None], None],
) -> None:
    async def scenario() -> None:
        world = HarborWorld()
        world.send(PROVISION, CREATE, POISON)
        defect(DefectError())
        second = await stopped_twice(world, DefectError)
        third = await started(world, after=second)
        await world.settle(third)
        defect(None)
        assert tenant_row(world).quarantine is not None
        third.assigner.in_doubt[TENANT] = "the tip is ahead"
        world.send(RELEASE)
        await world.settle(third)
        third.assigner.in_doubt.clear()
        world.send(RELEASE, AFTER)
        await world.settle(third)

        stands, done = world.outcomes(RELEASE)
        assert stands.refusal is not None
        assert stands.refusal.code == "quarantine_stands"
        assert done.status is OutcomeStatus.DONE
        assert tenant_row(world).quarantine is None
        assert world.outcomes(AFTER)[-1].status is OutcomeStatus.DONE

    run(scenario)


def a_record(
    offset: int, *, key: bytes = TENANT.encode(), partition: int = PARTITION
) -> InputRecord:
    return InputRecord(
        partition=partition, offset=offset, timestamp=T0, key=key, value=b"", headers={}
    )


def test_suspects_go_one_by_one_and_what_lies_around_them_together() -> None:
    async def scenario() -> None:
        store = MemoryStateStore()
        mark = Mark(first=2, end=4, count=2)
        await store.write({PARTITION: {("attempts", b"deciding"): mark.encoded()}})
        suspects = Suspects(store)
        await suspects.load(PARTITION)
        shares = list(suspects.shares([a_record(offset) for offset in range(6)]))

        assert [[r.offset for r in share.records] for share in shares] == [[0, 1], [2], [3], [4, 5]]
        assert [share.is_alone for share in shares] == [False, True, True, False]

    run(scenario)


def test_an_acquittal_leaves_as_many_stops_on_record_as_before() -> None:
    async def scenario() -> None:
        store = MemoryStateStore()
        mark = Mark(first=0, end=2, count=1)
        await store.write({PARTITION: {("attempts", b"deciding"): mark.encoded()}})
        suspects = Suspects(store)
        await suspects.load(PARTITION)
        records = [a_record(0), a_record(1)]
        await suspects.mark(records)
        marked = store.snapshot()[PARTITION]["attempts", b"deciding"]
        await suspects.acquit(records)

        assert Mark.decoded(marked).count == 2
        assert store.snapshot()[PARTITION]["attempts", b"deciding"] == mark.encoded()

    run(scenario)


def test_a_revoked_partition_takes_its_suspects_with_it() -> None:
    async def scenario() -> None:
        store = MemoryStateStore()
        mark = Mark(first=0, end=1, count=2)
        await store.write({PARTITION: {("attempts", b"deciding"): mark.encoded()}})
        suspects = Suspects(store)
        await suspects.load(PARTITION)
        suspects.drop(PARTITION)
        (share,) = suspects.shares([a_record(0)])

        assert not share.is_alone

    run(scenario)


def test_a_poison_never_quarantines_a_tenant_of_another_partition() -> None:
    elsewhere = a_record(0, partition=(PARTITION + 1) % PARTITIONS)

    assert poison(elsewhere, "x", partitions=PARTITIONS).tenant_id is None
    assert poison(a_record(0, key=b"No Tenant"), "x", partitions=PARTITIONS).tenant_id is None
    assert poison(a_record(0), "x", partitions=PARTITIONS).tenant_id == TENANT
