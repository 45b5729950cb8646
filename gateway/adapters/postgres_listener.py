"""What Postgres announces, on a connection of its own: new rows of the views, acknowledged rows of the gateway.

It only listens and reads nothing, so it may be in autocommit. A lost connection wakes everybody, because what was
announced meanwhile is not announced again.
"""

import asyncio
from typing import Protocol

import psycopg
import structlog

from gateway.outbox.acknowledgements import Acknowledgements
from gateway.queries.arrivals import Arrivals
from schemas.errors import DatabaseUnavailableError
from streams.runtime.postgres import Connection, options, outages

VIEWS_CHANNEL = "paybond_views"
ACKNOWLEDGED_CHANNEL = "paybond_gateway_acknowledged"
_RECONNECT_SECONDS = 0.5
_log = structlog.get_logger("gateway")


class Pause(Protocol):
    async def pause(self, seconds: float) -> None: ...


class PostgresListener:
    """Starts listening before the public listener opens; reconnects for as long as it runs."""

    def __init__(
        self, dsn: str, *, arrivals: Arrivals, acknowledgements: Acknowledgements, pause: Pause
    ) -> None:
        self._dsn = dsn
        self._arrivals = arrivals
        self._acknowledgements = acknowledgements
        self._pause = pause
        self._connection: Connection | None = None

    @property
    def is_alive(self) -> bool:
        return self._connection is not None and not self._connection.closed

    async def start(self) -> None:
        """Raises DatabaseUnavailableError."""
        with outages():
            connection: Connection = await psycopg.AsyncConnection.connect(
                self._dsn, autocommit=True, **options(program="paybond-gateway-listener")
            )
            self._connection = connection
            await connection.execute(f"LISTEN {VIEWS_CHANNEL}")
            await connection.execute(f"LISTEN {ACKNOWLEDGED_CHANNEL}")

    async def run(self) -> None:
        """Deliver until cancelled."""
        try:
            while True:
                try:
                    await self._deliver()
                except DatabaseUnavailableError as error:
                    _log.warning("listener_interrupted", error=str(error))
                    await self._reconnect()
        finally:
            await asyncio.shield(self.close())

    async def close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.close()

    async def _deliver(self) -> None:
        connection = self._connection
        if connection is None:
            raise DatabaseUnavailableError("the listener is not connected")
        with outages():
            async for notification in connection.notifies():
                if notification.channel == VIEWS_CHANNEL:
                    self._arrivals.arrived()
                else:
                    self._acknowledgements.deliver(int(notification.payload))
        raise DatabaseUnavailableError("the listener's connection has ended")

    async def _reconnect(self) -> None:
        await self.close()
        await self._pause.pause(_RECONNECT_SECONDS)
        try:
            await self.start()
        except DatabaseUnavailableError as error:
            _log.warning("listener_unconnected", error=str(error))
            return
        self._arrivals.arrived()
        self._acknowledgements.wake_all()
