"""Trouble that comes from outside any one call: planned by step, from the seed."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING

from schemas.messages.command_sealing import command_headers, seal
from schemas.messages.commands import Command
from schemas.partitioner import partition_of
from schemas.topics import CHECKPOINTS, COMMANDS, EVIDENCE, INTENTS, OUTCOMES, POSITIONS, TIPS
from tests.simulation.faults import Fault
from tests.support.builders import a_command_id, an_intent_id
from tests.support.harbor_world import ISSUER_KEYS

if TYPE_CHECKING:
    from tests.simulation.world import World

_STEPS_MAX = 2_500
_OFTEN = {
    Fault.REBALANCE: (0, 0, 1, 2),
    Fault.EXCHANGE: (0, 1, 2),
    Fault.INDEXER_REBALANCE: (0, 1, 3),
}
_COMPACTED = (INTENTS, EVIDENCE, TIPS, CHECKPOINTS, POSITIONS, OUTCOMES)


@dataclass(frozen=True, slots=True, kw_only=True)
class Trouble:
    step: int
    fault: Fault
    act: Callable[["World"], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Junk:
    """A record that is no command. `named` = what its headers say; `is_answered` = they alone are believed."""

    named: Command
    is_answered: bool = False


def plan(world: "World") -> list[Trouble]:
    rng = world.faults.rng
    kinds: tuple[tuple[Fault, Callable[[World], None]], ...] = (
        (Fault.REBALANCE, lambda world: world.rebalance()),
        (Fault.EXCHANGE, lambda world: world.exchange()),
        (Fault.GROUP_MOVED_BACK, _move_group_back),
        (Fault.GROUP_LOST, lambda world: world.move_group(dict.fromkeys(range(world.partitions)))),
        (Fault.COMPACTION, _compact),
        (Fault.CLOCK_BACK, lambda world: _step_clock(world, -1)),
        (Fault.CLOCK_FORWARD, lambda world: _step_clock(world, 1)),
        (Fault.BROKER_CLOCK_BACK, _step_broker_back),
        (Fault.HINT_RESET, lambda world: world.indexers.reset_to_earliest()),
        (Fault.CHECKPOINT_LOWERED, lambda world: world.indexers.lower_checkpoints()),
        (Fault.INDEXER_REBALANCE, lambda world: world.indexers.rebalance()),
        (Fault.FORGED, _forge),
        (Fault.UNDECODABLE, _garble),
        (Fault.WRONG_PARTITION, _misplace),
    )
    planned = [
        # Most runs are over after a thousand steps.
        Trouble(
            step=min(rng.randrange(_STEPS_MAX), rng.randrange(_STEPS_MAX)), fault=fault, act=act
        )
        for fault, act in kinds
        for _ in range(rng.choice(_OFTEN.get(fault, (0, 0, 1))))
    ]
    return sorted(planned, key=lambda trouble: trouble.step)


def _move_group_back(world: "World") -> None:
    """With the tools of Kafka, and by mistake: what is decided stands on `paybond.positions`."""
    rng, positions = world.faults.rng, world.auditor.positions
    world.move_group({p: rng.randrange(at + 1) for p, at in positions.items()})


def _compact(world: "World") -> None:
    ledgers = sorted(topic for topic in world.kafka.topics() if topic.startswith("paybond.ledger."))
    for topic in (*_COMPACTED, *ledgers):
        world.kafka.compact(topic)


def _step_clock(world: "World", direction: int) -> None:
    """Of one slot's machine, up to an hour; its later processes have it too."""
    rng = world.faults.rng
    slot = world.slots[rng.randrange(len(world.slots))]
    slot.skew += direction * timedelta(seconds=rng.randrange(3_600))
    world.clock_ahead_max = max(world.clock_ahead_max, slot.skew)
    if slot.process is not None:
        slot.process.skew = slot.skew


def _step_broker_back(world: "World") -> None:
    world.broker_skew -= timedelta(seconds=world.faults.rng.randrange(3_600))


def _fund(world: "World") -> Command:
    from tests.simulation.world import provisioning  # noqa: PLC0415

    tenant_id = world.tenants[world.faults.rng.randrange(len(world.tenants))]
    return replace(
        provisioning(tenant_id, 0),
        command_id=a_command_id(world.faults.rng.randrange(1 << 30)),
        intent_id=an_intent_id(),
    )


def _append(world: "World", command: Command, value: bytes, partition: int) -> int:
    return world.kafka.append(
        COMMANDS,
        partition,
        key=command.tenant_id.encode(),
        value=value,
        headers=command_headers(command),
    )


def _forge(world: "World") -> None:
    command = _fund(world)
    partition = partition_of(command.tenant_id, world.partitions)
    offset = _append(world, command, seal(command, b"?" * 32), partition)
    world.junk[partition, offset] = Junk(named=command)


def _garble(world: "World") -> None:
    command = _fund(world)
    partition = partition_of(command.tenant_id, world.partitions)
    offset = _append(world, command, b"\0\0\0\0\0junk", partition)
    world.junk[partition, offset] = Junk(named=command, is_answered=True)


def _misplace(world: "World") -> None:
    command = _fund(world)
    partition = (partition_of(command.tenant_id, world.partitions) + 1) % world.partitions
    offset = _append(world, command, seal(command, ISSUER_KEYS[command.issuer][0]), partition)
    world.junk[partition, offset] = Junk(named=command)
