"""The newest states of a partition, or of all, as `paybond.intents` has them up to its last stable offset."""

import asyncio
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from harbor.engine.ports import LogReader
from schemas.errors import IntegrityError
from schemas.ids import TenantId
from schemas.intent_fold import IntentState, TenantState
from schemas.messages.avro_codec import decode
from schemas.partitioner import partition_of
from schemas.topics import INTENTS, tenant_of_key


@dataclass(slots=True, kw_only=True)
class States:
    """`unreadable` = keys whose newest value can't be decoded: told, never passed over in silence."""

    tenants: dict[TenantId, TenantState] = field(default_factory=dict)
    intents: dict[tuple[TenantId, str], IntentState] = field(default_factory=dict)
    unreadable: dict[bytes, str] = field(default_factory=dict)

    def sorted_intents(self) -> Iterator[IntentState]:
        for key in sorted(self.intents):
            yield self.intents[key]


def partitions_of(tenant_id: TenantId | None, partitions: int) -> Iterable[int]:
    """Where a tenant's records lie, or everybody's."""
    return range(partitions) if tenant_id is None else [partition_of(tenant_id, partitions)]


async def read_states(
    reader: LogReader, tenant_id: TenantId | None, *, partitions: int, intent_id: str | None = None
) -> States:
    """Of one tenant or of all, of one intent or of all. Raises BrokerUnavailableError."""
    states = States()
    await asyncio.gather(
        *(
            _read_partition(reader, partition, states, only=tenant_id, intent_id=intent_id)
            for partition in partitions_of(tenant_id, partitions)
        )
    )
    return states


async def _read_partition(
    reader: LogReader,
    partition: int,
    states: States,
    *,
    only: TenantId | None,
    intent_id: str | None,
) -> None:
    newest: dict[bytes, bytes | None] = {}
    start = await reader.beginning_offset(INTENTS, partition)
    end = await reader.stable_offset(INTENTS, partition)
    async for record in reader.read(INTENTS, partition, start=start, end=end):
        if record.key is not None and _is_asked_for(record.key, only, intent_id):
            newest[record.key] = record.value
    for key, value in newest.items():
        if value is None:
            continue
        try:
            message = decode(value)
        except IntegrityError as error:
            states.unreadable[key] = str(error)
            continue
        match message:
            case TenantState():
                states.tenants[TenantId(message.tenant_id)] = message
            case IntentState():
                states.intents[TenantId(message.tenant_id), message.intent_id] = message
            case _:
                pass


def _is_asked_for(key: bytes, tenant_id: TenantId | None, intent_id: str | None) -> bool:
    if tenant_id is not None and tenant_of_key(key) != tenant_id:
        return False
    _, _, rest = key.decode("utf-8", "replace").partition("/")
    if rest.startswith("party/"):
        return False
    return rest == "tenant" or intent_id is None or rest == intent_id
