"""A partition with a history in memory, and an owner that comes new to it."""

from collections.abc import AsyncGenerator

from harbor.adapters.memory.log import MemoryKafka
from harbor.adapters.memory.ports import MemoryLogReader, MemoryStateStore
from harbor.engine.assignment import KafkaAssigner
from harbor.engine.ports import LogRecord
from schemas.ids import TenantId
from schemas.messages.avro_codec import decode_as, encode
from schemas.messages.commands import Command
from schemas.messages.tips import Tip
from schemas.partitioner import partition_of
from schemas.topics import COMMANDS, TIPS
from tests.support.builders import TENANT, a_command, an_intent_id, create_intent, provision_tenant
from tests.support.harbor_world import PARTITIONS, HarborWorld

PARTITION = partition_of(TENANT, PARTITIONS)


def a_creation(number: int) -> Command:
    intent_id = an_intent_id(number)
    body = create_intent(intent_id=intent_id)
    return a_command(body, number=number, intent_id=intent_id, nonce=f"nonce-{number}")


class CountingReader(MemoryLogReader):
    """Which topics were read, and how many records came."""

    def __init__(self, kafka: MemoryKafka) -> None:
        super().__init__(kafka, process="reader")
        self.records: dict[str, int] = {}

    async def read(
        self, topic: str, partition: int, *, start: int, end: int
    ) -> AsyncGenerator[LogRecord, None]:
        async for record in super().read(topic, partition, start=start, end=end):
            self.records[topic] = self.records.get(topic, 0) + 1
            yield record


class Restoring:
    """A world whose tenant has a history, and an owner that comes new."""

    def __init__(self, world: HarborWorld, store: MemoryStateStore | None = None) -> None:
        self.world = world
        self.store = store or MemoryStateStore()
        self.reader = CountingReader(world.kafka)
        self.assigner = KafkaAssigner(
            reader=self.reader, store=self.store, clock=world.clock, partitions=PARTITIONS
        )

    def append(self, topic: str, *, key: bytes, message: object) -> None:
        """As nobody should: past every transaction."""
        self.world.kafka.append(topic, PARTITION, key=key, value=encode(message))

    def tip(self) -> Tip:
        records = list(self.world.kafka.read(TIPS, PARTITION))
        return decode_as(Tip, records[-1].value or b"")

    async def stored(self, topic: str, key: bytes) -> bytes | None:
        return (await self.store.get_many(PARTITION, [(topic, key)])).get((topic, key))

    async def reason(self) -> str:
        restored = await self.assigner.restore(PARTITION)
        return restored.quarantined[TENANT]


async def a_history() -> Restoring:
    world = HarborWorld()
    await world.decide(
        a_command(provision_tenant(), number=1),
        a_creation(2),
        a_creation(3),
    )
    return Restoring(world)


def positions(restoring: Restoring) -> int:
    return restoring.world.kafka.partition(COMMANDS, PARTITION).high_watermark


def a_neighbour() -> TenantId:
    """A tenant of the same partition."""
    names = (TenantId(f"neighbour-{number}") for number in range(100))
    return next(name for name in names if partition_of(name, PARTITIONS) == PARTITION)
