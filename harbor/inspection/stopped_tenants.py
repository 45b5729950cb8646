"""Which tenants are stopped: by a command that stopped Harbor, or by topics that any owner would find to disagree.

Per partition, so that a system that goes on working stops nobody (as `harbor.fsck.audit` reads):
    1. states and checkpoints, which say how far each ledger has been at least
    2. the tips, as far as they are stable
    3. the end of each ledger; of one that seems to disagree once more, when nothing below its end is undecided
    4. the tips once more: what is said counts if the tip is the same. Else from 2, for those tenants alone
"""

from collections.abc import AsyncIterator, Collection, Mapping
from dataclasses import dataclass, replace
from datetime import timedelta

from harbor.engine.agreement import (
    Standing,
    StatesSeen,
    disagreement,
    ledger_end,
    served_sizes,
    tenants_of_partition,
    tips_on_topic,
)
from harbor.engine.ports import Clock, LogReader
from harbor.engine.stable_end import stable_offset_until
from schemas.ids import TenantId
from schemas.messages.tips import Tip
from schemas.topics import CHECKPOINTS, INTENTS, TIPS, ledger_topic

# Of a tenant whose tip moves each time entries are decided, so no owner has stopped it.
_LOOKS_MAX = 5
# `transaction.timeout.ms` is 10 s and the coordinator looks every second: what is open after that hangs.
_WAIT_MAX = timedelta(seconds=12)


@dataclass(frozen=True, slots=True, kw_only=True)
class Stopped:
    """A tenant that is stopped: `found_by` a command that stopped Harbor, or topics that do not agree."""

    tenant_id: TenantId
    found_by: str
    reason: str


async def stopped_tenants(reader: LogReader, *, clock: Clock, partitions: int) -> list[Stopped]:
    """For operators, without a local store. Raises BrokerUnavailableError, CodecError."""
    found: list[Stopped] = []
    for partition in range(partitions):
        look = _PartitionLook(reader, clock, partition=partition, partitions=partitions)
        found += [stopped async for stopped in look.stopped()]
    return sorted(found, key=lambda stopped: (stopped.tenant_id, stopped.found_by))


class _PartitionLook:
    def __init__(self, reader: LogReader, clock: Clock, *, partition: int, partitions: int) -> None:
        self._reader = reader
        self._clock = clock
        self._partition = partition
        self._partitions = partitions
        self._states = StatesSeen()
        self._served: Mapping[TenantId, int] = {}

    async def stopped(self) -> AsyncIterator[Stopped]:
        await self._read_followers()  # 1
        for tenant_id, state in self._states.tenants.items():
            if state.quarantine is not None:
                reason = state.quarantine.reason
                yield Stopped(tenant_id=tenant_id, found_by="command", reason=reason)
        asked: Collection[TenantId] | None = None
        for _ in range(_LOOKS_MAX):
            tips = await self._tips()  # 2
            reasons = await self._disagreeing(tips, asked)  # 3
            if not reasons:
                return
            await self._until_settled(TIPS, self._partition)
            after = await self._tips()  # 4
            asked = [t for t in reasons if after.get(t) != tips.get(t)]
            for tenant_id, reason in reasons.items():
                if tenant_id not in asked:
                    yield Stopped(tenant_id=tenant_id, found_by="topics", reason=reason)

    async def _read_followers(self) -> None:
        """Before the tips: whatever they tell of stands in the ledgers that are looked at later."""
        reader, partition = self._reader, self._partition
        start, end = await self._span(INTENTS)
        async for record in reader.read(INTENTS, partition, start=start, end=end):
            if record.key is not None and record.value is not None:
                self._states.see(record.key, record.value)
        start, end = await self._span(CHECKPOINTS)
        served = await served_sizes(reader, partition, start=start, end=end, states=self._states)
        self._served = served.sizes

    async def _tips(self) -> Mapping[TenantId, Tip]:
        end = await self._reader.stable_offset(TIPS, self._partition)
        return await tips_on_topic(self._reader, self._partition, end=end, states=self._states)

    async def _disagreeing(
        self, tips: Mapping[TenantId, Tip], asked: Collection[TenantId] | None
    ) -> dict[TenantId, str]:
        """Of those that are asked for, or of all. Topics are listed after the tips: a tenant may begin meanwhile."""
        states = self._states
        topics = await self._reader.ledger_topics()
        tenants = tenants_of_partition(
            topics, partition=self._partition, partitions=self._partitions
        )
        named = tenants | tips.keys() | states.newest_seq.keys() | states.unreadable.keys()
        found: dict[TenantId, str] = {}
        for tenant_id in named if asked is None else asked:
            standing = Standing(
                tip=tips.get(tenant_id),
                end=(),
                has_topic=ledger_topic(tenant_id) in topics,
                newest_seq=states.newest_seq.get(tenant_id, 0),
                served_size=self._served.get(tenant_id, 0),
                unreadable=states.unreadable.get(tenant_id),
            )
            reason = await self._judged(tenant_id, standing)
            if reason is not None:
                found[tenant_id] = reason
        return found

    async def _judged(self, tenant_id: TenantId, standing: Standing) -> str | None:
        if not standing.has_topic:
            return disagreement(tenant_id, standing)
        end = await ledger_end(self._reader, tenant_id)
        if disagreement(tenant_id, replace(standing, end=end)) is None:
            return None
        await self._until_settled(ledger_topic(tenant_id), 0)
        end = await ledger_end(self._reader, tenant_id)
        return disagreement(tenant_id, replace(standing, end=end))

    async def _until_settled(self, topic: str, partition: int) -> None:
        """A transaction that hangs counts as not there."""
        end = await self._reader.end_offset(topic, partition)
        await stable_offset_until(
            self._reader, self._clock, topic, partition, end=end, most=_WAIT_MAX
        )

    async def _span(self, topic: str) -> tuple[int, int]:
        start = await self._reader.beginning_offset(topic, self._partition)
        return start, await self._reader.stable_offset(topic, self._partition)
