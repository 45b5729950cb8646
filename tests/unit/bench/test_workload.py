"""The load of the benchmarks is what it says: whole lives of intents, none refused, none ignored."""

import asyncio

from schemas.topics import ledger_topic
from tests.bench.workload import mixed, provisioned, stages, tenants
from tests.support.builders import T0
from tests.support.harbor_world import HarborWorld


def test_every_intent_of_the_load_is_released_by_its_last_command() -> None:
    world, names = HarborWorld(), tenants(2)

    async def live() -> None:
        for tenant_id in names:
            world.kafka.create_ledger_topic(ledger_topic(tenant_id))
        process = world.process(records_max=2_000)
        await process.loop.start()
        world.send(*provisioned(names), *mixed(stages(names, 4, now=T0)))
        await world.settle(process)
        await process.loop.stop()

    asyncio.run(live())

    events = [event for tenant_id in names for event in world.events(tenant_id)]
    assert events.count("released") == 4
    assert len(events) == 2 + 4 * 8
