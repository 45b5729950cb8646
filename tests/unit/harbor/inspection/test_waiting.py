"""What waits: rails that owe an answer by age, and holds by the time they have left."""

from datetime import timedelta

import pytest

from harbor.adapters.memory.ports import MemoryLogReader
from harbor.cli_options import duration_of
from harbor.cli_waiting import document_of
from harbor.inspection.issued_effects import IssuedEffect, read_effects
from harbor.inspection.states import States, read_states
from harbor.inspection.waiting import all_effects, expiring_holds, outstanding_effects
from schemas.errors import ConfigurationError
from schemas.ids import TenantId
from schemas.messages.commands import ReissueEffect
from schemas.partitioner import partition_of
from schemas.topics import INTENTS
from tests.support.builders import HOLD_LIFETIME, RAIL_OBJECT, TENANT, a_command, an_intent_id
from tests.support.harbor_world import PARTITIONS, HarborWorld, run
from tests.unit.harbor.engine.test_life_of_an_intent import (
    CONFIRM,
    CREATE,
    FUND,
    PROVISION,
    with_evidence,
)

NOTHING = timedelta()


async def read(
    world: HarborWorld, tenant_id: TenantId | None = None
) -> tuple[States, dict[str, IssuedEffect]]:
    reader = MemoryLogReader(world.kafka, process="operator")
    issued = await read_effects(reader, tenant_id, partitions=PARTITIONS)
    return await read_states(reader, tenant_id, partitions=PARTITIONS), dict(issued)


def test_an_effect_without_an_answer_is_listed_once_it_is_old_enough() -> None:
    async def scenario() -> None:
        world = HarborWorld()
        await world.decide(PROVISION, CREATE, FUND)
        world.clock.advance(timedelta(minutes=4))
        states, issued = await read(world)
        young = outstanding_effects(
            states, issued, now=world.clock.now(), older_than=timedelta(minutes=5)
        )
        (row,) = outstanding_effects(states, issued, now=world.clock.now(), older_than=NOTHING)

        assert young == []
        assert (row.effect_id, row.attempt, row.issues) == (world.effects()[0].effect_id, 1, 1)
        document = document_of(row)
        assert document["age_seconds"] == 240
        assert document["next_action"]["blocked_by"] == "rail"

    run(scenario)


def test_each_issue_of_an_effect_is_counted() -> None:
    async def scenario() -> None:
        world = HarborWorld()
        await world.decide(PROVISION, CREATE, FUND)
        world.clock.advance(timedelta(minutes=1))
        effect_id = world.effects()[0].effect_id
        await world.decide(a_command(ReissueEffect(effect_id=effect_id, issue=1), number=9))
        states, issued = await read(world, TENANT)
        (row,) = outstanding_effects(states, issued, now=world.clock.now(), older_than=NOTHING)

        assert row.issues == 2

    run(scenario)


def test_an_answered_effect_is_listed_only_if_all_are_asked_for() -> None:
    async def scenario() -> None:
        world = HarborWorld()
        await with_evidence(world)
        await world.decide(CONFIRM)
        states, issued = await read(world)
        now = world.clock.now()

        waiting = outstanding_effects(states, issued, now=now, older_than=NOTHING)
        everything = all_effects(states, issued, now=now, older_than=NOTHING)
        assert [row.action for row in waiting] == ["capture"]
        assert [(row.action, row.is_outstanding) for row in everything] == [
            ("hold", False),
            ("capture", True),
        ]

    run(scenario)


def test_a_hold_is_listed_while_it_ends_within_the_time_asked_for() -> None:
    async def scenario() -> None:
        world = HarborWorld()
        await with_evidence(world)
        states, _ = await read(world)
        now = world.clock.now()
        far = expiring_holds(states, now=now, within=timedelta(hours=72))
        world.clock.advance(HOLD_LIFETIME - timedelta(hours=71))
        (row,) = expiring_holds(states, now=world.clock.now(), within=timedelta(hours=72))
        world.clock.advance(timedelta(days=30))
        (over,) = expiring_holds(states, now=world.clock.now(), within=timedelta(hours=72))

        assert far == []
        assert (row.rail_object, row.hold_status) == (RAIL_OBJECT, "held")
        assert row.next_action is not None
        assert row.next_action.kind == "settle"
        assert over.left < NOTHING

    run(scenario)


def test_another_tenants_waiting_is_not_shown() -> None:
    async def scenario() -> None:
        world = HarborWorld()
        await world.decide(PROVISION, CREATE, FUND)
        other = next(
            TenantId(f"other-{n}")
            for n in range(99)
            if partition_of(f"other-{n}", PARTITIONS) == partition_of(TENANT, PARTITIONS)
        )
        states, issued = await read(world, other)

        assert (states.intents, issued) == ({}, {})

    run(scenario)


def test_a_state_that_cannot_be_read_is_told() -> None:
    async def scenario() -> None:
        world = HarborWorld()
        await world.decide(PROVISION, CREATE)
        key = f"{TENANT}/{an_intent_id()}".encode()
        world.kafka.append(INTENTS, partition_of(TENANT, PARTITIONS), key=key, value=b"\x00junk")
        states, _ = await read(world)

        assert list(states.unreadable) == [key]

    run(scenario)


@pytest.mark.parametrize(
    ("text", "seconds"), [("0s", 0), ("30s", 30), ("5m", 300), ("72h", 259_200), ("7d", 604_800)]
)
def test_a_duration_is_read(text: str, seconds: int) -> None:
    assert duration_of(text) == timedelta(seconds=seconds)


@pytest.mark.parametrize("text", ["", "5", "m", "-5m", "5 m", "1.5h", "1w", "9999999d", "5m\n"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(ConfigurationError):
        duration_of(text)
