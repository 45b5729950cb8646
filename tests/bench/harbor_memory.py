"""What a command costs Harbor's loop itself: processor time, in memory, no broker, no disk, signatures verified."""

import asyncio
import time
from collections.abc import Iterator, Sequence

from schemas.messages.command_sealing import command_headers, seal
from schemas.messages.commands import Command
from schemas.partitioner import partition_of
from schemas.topics import COMMANDS, ledger_topic
from tests.bench.figures import Figure, quantile
from tests.bench.workload import provisioned, stages, tenants
from tests.support.builders import T0
from tests.support.harbor_world import ISSUER_KEYS, PARTITIONS, HarborProcess, HarborWorld

_TENANTS = 8
_INTENTS = 400
_ROUNDS = 5
_STEPS = ("create", "fund", "hold placed", "evidence", "confirm", "captured")


def run(share: float) -> Iterator[Figure]:
    intents = max(8, int(_INTENTS * share))
    per_step = asyncio.run(measured(intents))
    for step, seconds in zip(_STEPS, per_step, strict=True):
        yield Figure(name=f"Harbor, processor time of one {step}", value=seconds * 1e6, unit="µs")
    mean = sum(per_step) / len(per_step)
    yield Figure(
        name="Harbor, commands per second of processor time", value=1 / mean, unit="commands/s"
    )


async def measured(intents: int) -> list[float]:
    """Seconds per command of each step, the median of several rounds over a growing ledger."""
    world, names = HarborWorld(), tenants(_TENANTS)
    for tenant_id in names:
        world.kafka.create_ledger_topic(ledger_topic(tenant_id))
    process = world.process(records_max=2_000)
    await process.loop.start()
    world.send(*provisioned(names))
    await world.settle(process)
    rounds = []
    for number in range(_ROUNDS):
        lives = stages(names, intents, now=T0, run=f"memory-{number}")
        rounds.append([await _timed(world, process, step) for step in lives.in_order()])
    await process.loop.stop()
    return [quantile(step, 0.5) for step in zip(*rounds, strict=True)]


async def _timed(world: HarborWorld, process: HarborProcess, commands: Sequence[Command]) -> float:
    for command in commands:
        # All at one time: `HarborWorld.send` lets a second pass, and proofs would run out.
        world.kafka.append(
            COMMANDS,
            partition_of(command.tenant_id, PARTITIONS),
            key=command.tenant_id.encode(),
            value=seal(command, ISSUER_KEYS[command.issuer][0]),
            headers=command_headers(command),
        )
    began = time.process_time()
    await world.settle(process)
    return (time.process_time() - began) / len(commands)
