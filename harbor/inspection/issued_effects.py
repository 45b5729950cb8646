"""What rails were asked, from `paybond.effects`: each effect once, with how often it was issued and when last."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime

from harbor.engine.ports import LogReader
from harbor.inspection.states import partitions_of
from schemas.errors import IntegrityError
from schemas.ids import TenantId
from schemas.messages.avro_codec import decode_as
from schemas.messages.effects import Effect
from schemas.topics import EFFECTS, tenant_of_key


@dataclass(frozen=True, slots=True, kw_only=True)
class IssuedEffect:
    """`effect` as it was issued last; `issues` counts its records that the topic still has (30 days)."""

    effect: Effect
    issues: int
    issued_at: datetime


async def read_effects(
    reader: LogReader,
    tenant_id: TenantId | None,
    *,
    partitions: int,
    intent_id: str | None = None,
) -> Mapping[str, IssuedEffect]:
    """By effect id; of one tenant or all, of one intent or all. Raises BrokerUnavailableError.

    What can't be decoded is the rail worker's to bury.
    """
    found: dict[str, IssuedEffect] = {}
    await asyncio.gather(
        *(
            _read_partition(reader, partition, found, only=tenant_id, intent_id=intent_id)
            for partition in partitions_of(tenant_id, partitions)
        )
    )
    return found


async def _read_partition(
    reader: LogReader,
    partition: int,
    found: dict[str, IssuedEffect],
    *,
    only: TenantId | None,
    intent_id: str | None,
) -> None:
    start = await reader.beginning_offset(EFFECTS, partition)
    end = await reader.stable_offset(EFFECTS, partition)
    async for record in reader.read(EFFECTS, partition, start=start, end=end):
        if record.key is None or record.value is None:
            continue
        if only is not None and tenant_of_key(record.key) != only:
            continue
        try:
            effect = decode_as(Effect, record.value)
        except IntegrityError:
            continue
        if intent_id is not None and effect.intent_id != intent_id:
            continue
        before = found.get(effect.effect_id)
        found[effect.effect_id] = (
            IssuedEffect(effect=effect, issues=1, issued_at=record.timestamp)
            if before is None
            else replace(
                before, effect=effect, issues=before.issues + 1, issued_at=record.timestamp
            )
        )
