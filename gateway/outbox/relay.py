"""The one relay of a database: from the outbox to `paybond.gateway.rows`, in outbox order per key.

    1. take the lock: another relay of this database holds it, or nobody does
    2. open the log: its transactional id fences a predecessor that stalls but still has a producer
    3. read the oldest waiting rows, tenant by tenant
    4. publish them in one Kafka transaction
    5. acknowledge them: visible to reads and authentication, gone from the outbox, waiting requests woken
    6. nothing waiting: wait for an announcement, or look again after a while

Dying between 4 and 5 publishes the same rows again, oldest first: the newest per key stays the last.
"""

import asyncio
from typing import Protocol

import structlog

from gateway.outbox.ports import Outbox, RowLog
from schemas.errors import OutageError
from schemas.ids import TenantId

_log = structlog.get_logger("gateway.relay")
# One Kafka transaction, and one Postgres transaction with a notification each: both stay short.
ROWS_MAX = 200
# Announcements are a hint: a gateway that died between commit and notify loses one.
IDLE_SECONDS = 1.0
LOCK_SECONDS = 1.0
BACK_OFF_SECONDS = 1.0


class Pause(Protocol):
    async def pause(self, seconds: float) -> None: ...


class Relay:
    """Runs beside the listener of every gateway; all but one of them stand by for the lock."""

    def __init__(self, *, outbox: Outbox, log: RowLog, pause: Pause) -> None:
        self._outbox = outbox
        self._log = log
        self._pause = pause
        self.is_holder = False

    async def run(self) -> None:
        """Steps 1–6 until cancelled. An outage gives the lock up and starts again; being fenced ends it.

        Raises OwnershipLostError.
        """
        try:
            while True:
                try:
                    await self.hold()
                except OutageError as error:
                    _log.warning("relay_interrupted", error=str(error))
                    await self._let_go()
                    await self._pause.pause(BACK_OFF_SECONDS)
        finally:
            # Also when cancelled: the lock must not wait for the server to notice.
            await asyncio.shield(self._let_go())
            await self._log.close()

    async def hold(self) -> None:
        """Steps 1–6 until something fails. Raises OutageError, OwnershipLostError."""
        while not await self._outbox.lock():  # 1
            await self._pause.pause(LOCK_SECONDS)
        await self._log.open()  # 2
        self.is_holder = True
        while True:
            if not await self.relay_once():
                await self._outbox.wait(IDLE_SECONDS)  # 6

    async def relay_once(self) -> int:
        """Steps 3–5 once for every tenant that waits; how many rows. Raises OutageError, OwnershipLostError."""
        tenants = await self._outbox.tenants()
        return sum([await self._relay_tenant(tenant_id) for tenant_id in tenants])

    async def _relay_tenant(self, tenant_id: TenantId) -> int:
        rows = await self._outbox.pending(tenant_id, ROWS_MAX)  # 3
        if not rows:
            return 0
        await self._log.publish(rows)  # 4
        await self._outbox.acknowledge(tenant_id, [row.outbox_id for row in rows])  # 5
        return len(rows)

    async def _let_go(self) -> None:
        self.is_holder = False
        await self._outbox.release()
