"""The rail worker's ports in memory: committed effects in order, commits of owners only, states as they are newest."""

from harbor.adapters.memory.rails import (
    MemoryCommandSender,
    MemoryEffectLog,
    MemoryOutstanding,
)
from schemas.ids import IntentId
from schemas.messages.commands import FundIntent, Issuer
from schemas.partitioner import partition_of
from schemas.topics import COMMANDS, EFFECTS, GROUP_RAILS
from tests.support.builders import (
    TENANT,
    a_command,
    an_intent_id,
    create_intent,
    provision_tenant,
    rail_answer,
)
from tests.support.harbor_world import ISSUER_KEYS, PARTITIONS, HarborWorld, run

PARTITION = partition_of(TENANT, PARTITIONS)
INTENT: IntentId = an_intent_id()


async def funding() -> HarborWorld:
    """An intent whose hold was asked for."""
    world = HarborWorld()
    await world.decide(
        a_command(provision_tenant(), number=1),
        a_command(create_intent(), number=2, nonce="n-2"),
        a_command(FundIntent(), number=3, nonce="n-3"),
    )
    return world


def test_a_member_reads_committed_effects_once_and_its_successor_from_what_was_committed() -> None:
    async def scenario() -> None:
        world = await funding()
        first = MemoryEffectLog(world.kafka, process="first")
        handle = world.kafka.init_transactions("open")
        world.kafka.begin(handle)
        world.kafka.produce(handle, EFFECTS, PARTITION, key=b"k", value=b"never committed")

        batch = await first.consume()
        assert [record.effect for record in batch.records] == world.effects()
        assert (await first.consume()).records == ()
        await first.close()
        again = await MemoryEffectLog(world.kafka, process="second").consume()
        assert again.records == batch.records

        world.kafka.abort(handle)

    run(scenario)


def test_what_a_member_commits_that_lost_its_partitions_is_dropped() -> None:
    async def scenario() -> None:
        world = await funding()
        lost = MemoryEffectLog(world.kafka, process="lost")
        await lost.consume()
        world.kafka.group(GROUP_RAILS).remove("lost")

        await lost.commit({PARTITION: 1})
        assert world.kafka.group(GROUP_RAILS).committed((EFFECTS, PARTITION)) is None

        await lost.consume()
        await lost.commit({PARTITION: 1})
        assert world.kafka.group(GROUP_RAILS).committed((EFFECTS, PARTITION)) == 1

    run(scenario)


def test_an_effect_is_outstanding_until_the_state_that_has_its_answer() -> None:
    async def scenario() -> None:
        world = await funding()
        (effect,) = world.effects()
        outstanding = MemoryOutstanding(world.kafka, process="rails")

        await outstanding.catch_up(PARTITION)
        assert outstanding.effect_of(tenant_id=TENANT, intent_id=INTENT) == effect.effect_id

        await world.decide(a_command(rail_answer(effect), number=4))
        await outstanding.catch_up(PARTITION)
        assert outstanding.effect_of(tenant_id=TENANT, intent_id=INTENT) is None

    run(scenario)


def test_a_sent_command_lies_in_its_tenants_partition_sealed_by_its_issuer() -> None:
    async def scenario() -> None:
        world = await funding()
        (effect,) = world.effects()
        before = world.kafka.partition(COMMANDS, PARTITION).high_watermark
        sender = MemoryCommandSender(
            world.kafka,
            process="rails",
            issuer_key=ISSUER_KEYS[Issuer.RAILS][0],
            partitions=PARTITIONS,
        )

        await sender.send(a_command(rail_answer(effect), number=4))
        assert world.kafka.partition(COMMANDS, PARTITION).high_watermark == before + 1
        process = await world.decide()
        assert world.dead_letters() == []
        assert process.witness.results[-1].tally.entries == 1

    run(scenario)
