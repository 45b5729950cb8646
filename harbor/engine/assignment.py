"""The assignment protocol: a partition is decided only from a state that the topics agree on.

    (1) the committed input offset, read as stable, against the partition's record on `paybond.positions`
    (2) the high watermark of each changelog and ledger once; wait until the last stable offset reaches it; the position
        once more: who decided since (1), while this process hung, is read as well, from (1) on
    (3) restore the store to there
    (4) tip, ledger end and states of each tenant agree, and neither store nor checkpoint is ahead; else quarantine
    (5) only then is the partition decided

Nothing is wiped for disagreeing and nothing repaired: what does not agree stops its tenant, or this process.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TypeAlias

import structlog

from harbor.engine.agreement import (
    Standing,
    StatesSeen,
    disagreement,
    is_store_ahead,
    ledger_end,
    served_sizes,
    tenants_of_partition,
    tips_on_topic,
)
from harbor.engine.local_state import (
    DOUBTS,
    MARKS,
    RESTORED_TOPICS,
    SERVED,
    is_too_old,
    note_writes,
    restored_key,
    writes_of,
)
from harbor.engine.ports import Clock, LogReader, Restored, StateStore
from harbor.engine.stable_end import stable_offset_until
from schemas.errors import BrokerUnavailableError, ConfigurationError
from schemas.ids import TenantId
from schemas.messages.avro_codec import decode_as, encode
from schemas.messages.tips import Position, Tip
from schemas.topics import (
    CHECKPOINTS,
    COMMANDS,
    INTENTS,
    OUTCOMES,
    OUTCOMES_RESTORED_HOURS,
    POSITIONS,
    TIPS,
    ledger_topic,
    position_key,
    tenant_of_key,
)

_log = structlog.get_logger("harbor")
# `transaction.timeout.ms` is 10 s and the coordinator looks every second: a minute is no ordinary predecessor.
WAIT_MAX = timedelta(seconds=60)
_WRITE_RECORDS = 5000
# Ends are asked and last records looked for side by side, so that a partition of many tenants does not queue.
_SIDE_BY_SIDE = 8
_OUTCOMES_WINDOW = timedelta(hours=OUTCOMES_RESTORED_HOURS)
Place: TypeAlias = tuple[str, int]
StoreKey: TypeAlias = tuple[str, bytes]


@dataclass(frozen=True, slots=True, kw_only=True)
class Stop:
    """Why going on would skip or repeat commands."""

    reason: str


def start_offset(*, committed: int | None, position: int | None, beginning: int) -> int | Stop:
    """Where to go on: always the position, once there is one.

    `committed` is the group's, which tools can move; `position` is the transaction's own record. `beginning` is where
    the log of commands begins now.
    """
    if position is None:
        # The group was never moved by us, or to where nothing was decided: both mean that nothing was.
        if committed is not None and committed > 0:
            return Stop(reason=f"the group stands at {committed}, but no transaction ever decided")
        if beginning > 0:
            return Stop(
                reason=f"the log begins at {beginning} and nothing says what was decided:"
                " commands may be lost"
            )
        return 0
    if committed is not None and committed > position:
        return Stop(
            reason=f"the group stands at {committed}, the last transaction at {position}:"
            " somebody moved the group forward; commands would be skipped"
        )
    if position < beginning:
        return Stop(
            reason=f"the log begins at {beginning}, decided is up to {position}:"
            " commands were deleted before they were decided"
        )
    return position


@dataclass(frozen=True, slots=True, kw_only=True)
class _Frame:
    """What step (2) fixed: tenants and topics of the partition, and the ends that everything is read to."""

    partition: int
    topics: frozenset[str]
    tenants: frozenset[TenantId]
    ends: Mapping[Place, int]

    def end(self, topic: str) -> int:
        return self.ends[topic, self.partition]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Warmth:
    """How the store stood before.

    Its input position, whether it has the topics' tips, whose tip is ahead, and whose records it could not take.
    """

    standing: int | None
    is_whole: bool
    ahead: frozenset[TenantId]
    doubts: Mapping[TenantId, str]


class KafkaAssigner:
    """`harbor.engine.ports.Assigner` over `LogReader` and `StateStore`."""

    def __init__(
        self, *, reader: LogReader, store: StateStore, clock: Clock, partitions: int
    ) -> None:
        self._reader = reader
        self._store = store
        self._clock = clock
        self._partitions = partitions

    async def restore(self, partition: int) -> Restored:
        next_offset, frame = await self._fixed(partition)
        states = StatesSeen()
        tips = await tips_on_topic(self._reader, partition, end=frame.end(TIPS), states=states)
        stored = await self._stored_tips(partition)
        ahead = frozenset(t for t, tip in stored.items() if is_store_ahead(tip, tips.get(t)))
        warmth = _Warmth(
            standing=await self._stored_position(partition),
            is_whole=tips == stored,
            ahead=ahead,
            doubts=await self._doubts(partition),
        )
        await self._restore(frame, next_offset, warmth, states)  # (3)
        served = await self._served(frame, states)
        everybody = frame.tenants | tips.keys() | stored.keys() | states.newest_seq.keys()
        judged = await self._disagreeing(  # (4)
            frame,
            {
                tenant_id: Standing(
                    tip=tips.get(tenant_id),
                    end=(),
                    has_topic=ledger_topic(tenant_id) in frame.topics,
                    stored_tip=stored.get(tenant_id) if tenant_id in ahead else None,
                    newest_seq=states.newest_seq.get(tenant_id, 0),
                    served_size=served.get(tenant_id, 0),
                    unreadable=states.unreadable.get(tenant_id),
                )
                for tenant_id in sorted(everybody | states.unreadable.keys() | served.keys())
            },
        )
        await self._note(frame, next_offset, warmth, judged)
        return Restored(  # (5)
            partition=partition,
            next_offset=next_offset,
            quarantined={tenant_id: found.reason for tenant_id, found in judged.items()},
            tips=tuple(tips.values()),
        )

    async def recheck(self, partition: int, tenant_id: TenantId) -> str | None:
        topics = await self._reader.ledger_topics()
        end = await self._reader.stable_offset(TIPS, partition)
        states = StatesSeen()
        tips = await tips_on_topic(self._reader, partition, end=end, states=states)
        stored = await self._stored_tips(partition)
        async for key, value in self._store.scan(partition, INTENTS, f"{tenant_id}/".encode()):
            states.see(key, value)
        frame = _Frame(
            partition=partition,
            topics=topics,
            tenants=frozenset(),
            ends={
                (CHECKPOINTS, partition): await self._reader.stable_offset(CHECKPOINTS, partition)
            },
        )
        served = await self._served(frame, states)
        doubt = (await self._doubts(partition)).get(tenant_id)
        if doubt is not None:
            return f"{doubt}; only a process that starts anew reads it again"
        standing = Standing(
            tip=tips.get(tenant_id),
            end=(),
            has_topic=ledger_topic(tenant_id) in topics,
            stored_tip=stored.get(tenant_id),
            newest_seq=states.newest_seq.get(tenant_id, 0),
            served_size=served.get(tenant_id, 0),
            unreadable=states.unreadable.get(tenant_id),
        )
        judged = (await self._disagreeing(frame, {tenant_id: standing})).get(tenant_id)
        return None if judged is None else judged.reason

    async def _fixed(self, partition: int) -> tuple[int, _Frame]:
        """(1) and (2): ends below which nothing lies that was decided after the position.

        Else a store that stands at the position, and so is not read on, would vouch for what another wrote meanwhile.
        """
        while True:
            next_offset = await self._next_offset(partition)
            frame = await self._frame(partition)
            if (await self._stable_position(partition) or 0) == next_offset:
                return next_offset, frame
            _log.warning("decided_by_another_meanwhile", partition=partition, position=next_offset)

    async def _next_offset(self, partition: int) -> int:
        """(1). The offsets' commit marker may be there before the one of `paybond.positions`, so that is waited for."""
        committed = await self._reader.committed_offset(partition)
        position = await self._stable_position(partition)
        beginning = await self._reader.beginning_offset(COMMANDS, partition)
        start = start_offset(committed=committed, position=position, beginning=beginning)
        if isinstance(start, Stop):
            raise ConfigurationError(f"partition {partition} of {COMMANDS}: {start.reason}")
        if (committed or 0) != start:
            _log.warning(
                "group_offset_ignored", partition=partition, committed=committed, start=start
            )
        return start

    async def _stable_position(self, partition: int) -> int | None:
        """That of every transaction which had begun to write it."""
        end = await self._reader.end_offset(POSITIONS, partition)
        await self._wait_until_stable((POSITIONS, partition), end=end)
        record = await self._reader.last_record(POSITIONS, partition)
        if record is None or record.value is None:
            return None
        return decode_as(Position, record.value).next_offset

    async def _frame(self, partition: int) -> _Frame:
        """(2). High watermarks once; then wait until nothing below them is undecided."""
        topics = await self._reader.ledger_topics()
        tenants = tenants_of_partition(topics, partition=partition, partitions=self._partitions)
        places = [(topic, partition) for topic in (*RESTORED_TOPICS, TIPS, POSITIONS, CHECKPOINTS)]
        places += [(ledger_topic(tenant_id), 0) for tenant_id in sorted(tenants)]
        ends = dict(zip(places, await self._ends(places), strict=True))
        for place, end in ends.items():
            await self._wait_until_stable(place, end=end)
        return _Frame(partition=partition, topics=topics, tenants=tenants, ends=ends)

    async def _ends(self, places: Sequence[Place]) -> list[int]:
        ends: list[int] = []
        for at in range(0, len(places), _SIDE_BY_SIDE):
            group = places[at : at + _SIDE_BY_SIDE]
            ends += await asyncio.gather(*(self._reader.end_offset(*place) for place in group))
        return ends

    async def _wait_until_stable(self, place: Place, *, end: int) -> None:
        stable = await stable_offset_until(
            self._reader, self._clock, *place, end=end, most=WAIT_MAX
        )
        if stable < end:
            holder = await self._reader.undecided_by(*place)
            raise BrokerUnavailableError(
                f"{place[0]}/{place[1]} is undecided from offset {stable} to {end}"
                f" after {WAIT_MAX.total_seconds():g} s: {holder}"
            )

    async def _restore(
        self, frame: _Frame, next_offset: int, warmth: _Warmth, states: StatesSeen
    ) -> None:
        """(3). A store that stands where the topics stand needs no reading; another is read on, or anew if too old.

        Anew also where a tenant's record could not be taken before: this release may know it. Of a tenant whose store
        is ahead nothing is written: it is what an operator has to look at.
        """
        restored = 0
        is_current = warmth.is_whole and warmth.standing == next_offset and not warmth.doubts
        if not is_current:
            for topic, start in (await self._starts(frame, next_offset, warmth)).items():
                restored += await self._apply(frame, topic, start, states, warmth.ahead)
        _log.info(
            "partition_restored",
            partition=frame.partition,
            next_offset=next_offset,
            records=restored,
            tenants=len(frame.tenants),
            was_current=is_current,
        )

    async def _starts(self, frame: _Frame, next_offset: int, warmth: _Warmth) -> dict[str, int]:
        """Where each changelog is read from: where the store is known to have it, or the beginning."""
        partition, standing = frame.partition, warmth.standing
        noted = await self._store.get_many(
            partition, [restored_key(topic) for topic in RESTORED_TOPICS]
        )
        # One that lacks tips that it should have, or has more than the topics, proves nothing about the rest.
        is_usable = standing is not None and standing < next_offset
        if warmth.ahead or warmth.doubts:
            is_usable = False
        if await is_too_old(self._store, partition, now=self._clock.now()):
            is_usable = False
            if not warmth.ahead:
                await self._forget(partition)
                _log.info("local_state_made_anew", partition=partition, stood_at=standing)
        return {
            topic: int(noted[restored_key(topic)])
            if is_usable and restored_key(topic) in noted
            else await self._first(topic, partition)
            for topic in RESTORED_TOPICS
        }

    async def _first(self, topic: str, partition: int) -> int:
        if topic != OUTCOMES:
            return await self._reader.beginning_offset(topic, partition)
        oldest = self._clock.now() - _OUTCOMES_WINDOW
        return await self._reader.offset_at(topic, partition, oldest)

    async def _forget(self, partition: int) -> None:
        """A tombstone that it missed may be gone: rows could live on that were erased. Marks of stops are kept."""
        marks = {
            (MARKS, key): value async for key, value in self._store.scan(partition, MARKS, b"")
        }
        await self._store.drop(partition)
        await self._store.write({partition: marks})

    async def _apply(
        self,
        frame: _Frame,
        topic: str,
        start: int,
        states: StatesSeen,
        ahead: frozenset[TenantId],
    ) -> int:
        oldest = self._clock.now() - _OUTCOMES_WINDOW
        partition, count = frame.partition, 0
        writes: dict[StoreKey, bytes | None] = {}
        async for record in self._reader.read(topic, partition, start=start, end=frame.end(topic)):
            if record.key is None or tenant_of_key(record.key) in ahead:
                continue
            writes |= writes_of(topic, record, oldest=oldest, states=states)
            count += 1
            if len(writes) >= _WRITE_RECORDS:
                await self._store.write({partition: writes})
                writes = {}
        await self._store.write({partition: writes})
        return count

    async def _note(
        self,
        frame: _Frame,
        next_offset: int,
        warmth: _Warmth,
        judged: Mapping[TenantId, "_Judged"],
    ) -> None:
        """Last, and in one write: only now does the store stand where the topics stand, and with which doubts.

        Where they stood, that is: had this process hung meanwhile, its successor's position would be there by now, and
        the store would vouch for what it never read.
        """
        partition = frame.partition
        noted = dict(
            note_writes({topic: frame.end(topic) for topic in RESTORED_TOPICS}, self._clock.now())
        )
        if next_offset > 0:
            position = Position(partition=partition, next_offset=next_offset)
            noted[POSITIONS, position_key(partition)] = encode(position)
        noted |= {(DOUBTS, tenant_id.encode()): None for tenant_id in warmth.doubts}
        noted |= {
            (DOUBTS, tenant_id.encode()): found.reason.encode()
            for tenant_id, found in judged.items()
            if found.is_by_states
        }
        await self._store.write({partition: noted})

    async def _doubts(self, partition: int) -> dict[TenantId, str]:
        return {
            TenantId(key.decode()): reason.decode()
            async for key, reason in self._store.scan(partition, DOUBTS, b"")
        }

    async def _stored_position(self, partition: int) -> int | None:
        key = (POSITIONS, position_key(partition))
        found = await self._store.get_many(partition, [key])
        return decode_as(Position, found[key]).next_offset if key in found else None

    async def _stored_tips(self, partition: int) -> dict[TenantId, Tip]:
        return {
            tenant_of_key(key): decode_as(Tip, value)
            async for key, value in self._store.scan(partition, TIPS, b"")
        }

    async def _served(self, frame: _Frame, states: StatesSeen) -> dict[TenantId, int]:
        """Every checkpoint ever published is kept, so the store remembers how far they were read."""
        partition, end = frame.partition, frame.end(CHECKPOINTS)
        noted = await self._store.get_many(partition, [restored_key(CHECKPOINTS)])
        start = await self._reader.beginning_offset(CHECKPOINTS, partition)
        known: dict[TenantId, int] = {}
        if restored_key(CHECKPOINTS) in noted:
            start = min(int(noted[restored_key(CHECKPOINTS)]), end)
            async for key, value in self._store.scan(partition, SERVED, b""):
                known[tenant_of_key(key)] = int(value)
        found = await served_sizes(self._reader, partition, start=start, end=end, states=states)
        grown = {t: size for t, size in found.sizes.items() if size > known.get(t, 0)}
        writes: dict[StoreKey, bytes | None] = {
            (SERVED, tenant_id.encode()): str(size).encode() for tenant_id, size in grown.items()
        }
        writes[restored_key(CHECKPOINTS)] = str(found.known_to).encode()
        await self._store.write({partition: writes})
        return known | grown

    async def _disagreeing(
        self, frame: _Frame, standings: Mapping[TenantId, Standing]
    ) -> dict[TenantId, "_Judged"]:
        """(4). Each with the last record of its ledger."""
        found: dict[TenantId, _Judged] = {}
        tenants = list(standings)
        for at in range(0, len(tenants), _SIDE_BY_SIDE):
            group = tenants[at : at + _SIDE_BY_SIDE]
            verdicts = await asyncio.gather(*(self._judged(t, standings[t]) for t in group))
            pairs = zip(group, verdicts, strict=True)
            found |= {tenant_id: one for tenant_id, one in pairs if one is not None}
        for tenant_id, judged in found.items():
            _log.error(
                "tenant_quarantined",
                tenant_id=tenant_id,
                partition=frame.partition,
                reason=judged.reason,
            )
        return found

    async def _judged(self, tenant_id: TenantId, standing: Standing) -> "_Judged | None":
        end = await ledger_end(self._reader, tenant_id) if standing.has_topic else ()
        whole = replace(standing, end=end)
        reason = disagreement(tenant_id, whole)
        if reason is None:
            return None
        without_states = replace(whole, unreadable=None, newest_seq=0)
        return _Judged(
            reason=reason, is_by_states=disagreement(tenant_id, without_states) != reason
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Judged:
    """Why a tenant is stopped. `is_by_states` = what was restored tells, and a store that has it would not read it."""

    reason: str
    is_by_states: bool
