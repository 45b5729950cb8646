"""A request that wrote a row waits until Kafka has it; only then is it answered, and only then the row is seen.

1. change the row and enqueue it, in one transaction
2. register the wait, then look whether it is acknowledged already: a notification before 2 is not missed
3. wait; not in time = not known: the caller gets 503 and the row may still appear
"""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from gateway.edge.refused import RefusedError
from gateway.outbox.ports import RowStore, Written
from gateway.outbox.rows import OwnedRow, RowKey

# Kafka's acknowledgement takes milliseconds; a client waits about this long.
WAIT_SECONDS = 5.0
_RETRY_AFTER_SECONDS = 1


class Acknowledgements:
    """All waits of this process, by outbox id; the listener delivers."""

    def __init__(self) -> None:
        self._waits: dict[int, asyncio.Event] = {}

    def deliver(self, outbox_id: int) -> None:
        event = self._waits.get(outbox_id)
        if event is not None:
            event.set()

    def wake_all(self) -> None:
        """After a lost connection: notifications may have been missed, so everybody looks again."""
        for event in self._waits.values():
            event.set()

    @contextmanager
    def waiting(self, outbox_id: int) -> Iterator[asyncio.Event]:
        event = self._waits[outbox_id] = asyncio.Event()
        try:
            yield event
        finally:
            del self._waits[outbox_id]


class RowWriter:
    """Changes that are answered only when they can't be lost any more."""

    def __init__(
        self, *, store: RowStore, acknowledgements: Acknowledgements, seconds: float = WAIT_SECONDS
    ) -> None:
        self._store = store
        self._acknowledgements = acknowledgements
        self._seconds = seconds

    async def find(self, key: RowKey) -> OwnedRow | None:
        """Raises DatabaseUnavailableError."""
        return await self._store.find(key)

    async def change(
        self, key: RowKey, change: Callable[[OwnedRow | None], OwnedRow | None]
    ) -> OwnedRow | None:
        """Steps 1–3; None = `change` left the row as it is.

        Raises RefusedError (`unavailable`), DatabaseUnavailableError, and what `change` raises.
        """
        written = await self._store.change(key, change)  # 1
        if written is None:
            return None
        with self._acknowledgements.waiting(written.outbox_id) as event:  # 2
            if not await self._is_acknowledged(written, event):
                raise RefusedError("unavailable", retry_after_seconds=_RETRY_AFTER_SECONDS)
        return written.row

    async def _is_acknowledged(self, written: Written, event: asyncio.Event) -> bool:
        end = asyncio.get_running_loop().time() + self._seconds
        tenant_id = written.row.tenant_id
        while not await self._store.is_acknowledged(tenant_id, written.outbox_id):
            left = end - asyncio.get_running_loop().time()
            if left <= 0:
                return False
            try:
                await asyncio.wait_for(event.wait(), left)  # 3
            except TimeoutError:
                return await self._store.is_acknowledged(tenant_id, written.outbox_id)
            event.clear()
        return True
