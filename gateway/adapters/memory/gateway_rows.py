"""Row store, outbox and row log in memory, with the real ones' semantics: one lock, fencing, unseen until acknowledged.

`MemoryDatabase` and `MemoryRowTopic` are what several gateways share; everything else is one gateway's.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from gateway.outbox.ports import Written
from gateway.outbox.rows import OwnedRow, RowKey, key_of, message_of, row_of
from schemas.errors import DatabaseUnavailableError, OwnershipLostError
from schemas.ids import TenantId
from schemas.messages.operations import GatewayRow


@dataclass(slots=True, kw_only=True)
class StoredRow:
    row: OwnedRow
    outbox_id: int
    is_acknowledged: bool


@dataclass(slots=True)
class MemoryDatabase:
    """Tables, outbox and the relay's lock of one database."""

    rows: dict[RowKey, StoredRow] = field(default_factory=dict)
    outbox: list[GatewayRow] = field(default_factory=list)
    last_outbox_id: int = 0
    lock_holder: object | None = None
    listeners: list[Callable[[int], None]] = field(default_factory=list)

    def visible(self, key: RowKey) -> OwnedRow | None:
        """What reads and authentication see."""
        stored = self.rows.get(key)
        return stored.row if stored is not None and stored.is_acknowledged else None


class MemoryRowStore:
    def __init__(self, database: MemoryDatabase) -> None:
        self._database = database

    async def find(self, key: RowKey) -> OwnedRow | None:
        return self._database.visible(key)

    async def change(
        self, key: RowKey, change: Callable[[OwnedRow | None], OwnedRow | None]
    ) -> Written | None:
        stored = self._database.rows.get(key)
        row = change(None if stored is None else stored.row)
        if row is None:
            return None
        assert row.key == key
        self._database.last_outbox_id += 1
        outbox_id = self._database.last_outbox_id
        self._database.rows[key] = StoredRow(
            row=row,
            outbox_id=outbox_id,
            is_acknowledged=stored is not None and stored.is_acknowledged and stored.row == row,
        )
        self._database.outbox.append(message_of(row, outbox_id))
        return Written(row=row, outbox_id=outbox_id)

    async def is_acknowledged(self, tenant_id: TenantId, outbox_id: int) -> bool:
        return all(
            (waiting.tenant_id, waiting.outbox_id) != (tenant_id, outbox_id)
            for waiting in self._database.outbox
        )

    async def restore(self, message: GatewayRow) -> bool:
        key, row = key_of(message), row_of(message)
        stored = self._database.rows.get(key)
        if stored is not None and stored.outbox_id >= message.outbox_id:
            return False
        if row is None:
            return self._database.rows.pop(key, None) is not None
        self._database.rows[key] = StoredRow(
            row=row, outbox_id=message.outbox_id, is_acknowledged=True
        )
        return True

    async def continue_after(self, outbox_id: int) -> None:
        self._database.last_outbox_id = max(self._database.last_outbox_id, outbox_id)


class MemoryOutbox:
    """One relay's connection; `lose_connection` is what a dead network or a restarted server does to it."""

    def __init__(self, database: MemoryDatabase) -> None:
        self._database = database
        self._is_lost = False

    async def lock(self) -> bool:
        self._is_lost = False
        if self._database.lock_holder not in (None, self):
            return False
        self._database.lock_holder = self
        return True

    async def tenants(self) -> Sequence[TenantId]:
        self._check()
        return sorted({TenantId(waiting.tenant_id) for waiting in self._database.outbox})

    async def pending(self, tenant_id: TenantId, limit: int) -> Sequence[GatewayRow]:
        self._check()
        waiting = [row for row in self._database.outbox if row.tenant_id == tenant_id]
        return sorted(waiting, key=lambda row: row.outbox_id)[:limit]

    async def acknowledge(self, tenant_id: TenantId, outbox_ids: Sequence[int]) -> None:
        self._check()
        done = set(outbox_ids)
        for key, stored in self._database.rows.items():
            if key.tenant_id == tenant_id and stored.outbox_id in done:
                stored.is_acknowledged = True
        self._database.outbox = [
            row
            for row in self._database.outbox
            if not (row.tenant_id == tenant_id and row.outbox_id in done)
        ]
        for outbox_id in outbox_ids:
            for listener in self._database.listeners:
                listener(outbox_id)

    async def wait(self, seconds: float) -> None:
        assert seconds > 0
        self._check()
        await asyncio.sleep(0)

    async def release(self) -> None:
        if self._database.lock_holder is self:
            self._database.lock_holder = None

    def lose_connection(self) -> None:
        self._is_lost = True
        self._database.lock_holder = None

    def _check(self) -> None:
        if self._is_lost or self._database.lock_holder is not self:
            raise DatabaseUnavailableError("the relay's connection, and with it its lock, is gone")


@dataclass(slots=True)
class MemoryRowTopic:
    """`paybond.gateway.rows`: committed records in order, and who wrote last."""

    records: list[GatewayRow] = field(default_factory=list)
    epoch: int = 0


class MemoryRowLog:
    def __init__(self, topic: MemoryRowTopic) -> None:
        self._topic = topic
        self._epoch: int | None = None

    async def open(self) -> None:
        self._topic.epoch += 1
        self._epoch = self._topic.epoch

    async def publish(self, rows: Sequence[GatewayRow]) -> None:
        if self._epoch != self._topic.epoch:
            raise OwnershipLostError(resource="the row topic", reason="a newer relay has opened it")
        self._topic.records.extend(rows)

    async def close(self) -> None:
        self._epoch = None


class MemoryRowHistory:
    def __init__(self, topic: MemoryRowTopic) -> None:
        self._topic = topic

    async def newest(self) -> Sequence[GatewayRow]:
        return tuple({key_of(row): row for row in self._topic.records}.values())
