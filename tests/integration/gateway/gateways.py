"""A gateway over a real database, asked through its ASGI interface; Kafka's part of the outbox is in memory."""

import asyncio
import secrets
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import httpx
from fastapi import FastAPI

from gateway.adapters.memory.gateway_rows import MemoryRowLog, MemoryRowTopic
from gateway.adapters.postgres_keys import PostgresApiKeys
from gateway.adapters.postgres_listener import PostgresListener
from gateway.adapters.postgres_reads import TenantReads
from gateway.adapters.postgres_rows import PostgresOutbox, PostgresRowStore
from gateway.app import create_app
from gateway.auth.api_key import KeyKind, Peppers
from gateway.auth.guard import Guard
from gateway.auth.key_admin import IssuedKey, KeyAdmin
from gateway.auth.permissions import ROLES
from gateway.commands.attempt import attempt_of
from gateway.commands.operation_id import Operation, operation_id_of
from gateway.outbox.acknowledgements import Acknowledgements, RowWriter
from gateway.outbox.relay import Relay
from gateway.queries.arrivals import Arrivals
from gateway.queries.authority import LedgerAuthority
from gateway.queries.intents import IntentReads
from gateway.queries.ledger import LedgerReads
from gateway.queries.read_path import ReadPath
from schemas.canonical import ed25519
from schemas.ids import CommandId, TenantId
from schemas.messages.outcomes import Outcome
from schemas.messages.shared import Environment
from streams.runtime.clock import SystemPause
from streams.runtime.postgres import Pool, open_pool
from tests.integration.gateway.tables import DEPLOYMENT, LEDGER_SEED
from tests.support.builders import T0
from tests.support.databases import FreshDatabase

ROLE = "paybond_gateway"
OPERATION_KEY = b"\x55" * 32
PEPPERS = Peppers(active_id="p1", keys={"p1": b"\x66" * 32})


class FixedClock:
    """An hour after the histories begin."""

    def __init__(self) -> None:
        self.instant = T0 + timedelta(hours=1)

    def now(self) -> datetime:
        return self.instant


class AnySecrets:
    def capability_token(self, *, tenant_id: str, intent_id: str) -> str:
        return f"token-of-{tenant_id}-{intent_id}"

    def operation_id(self, outcome: Outcome) -> str:
        operation = Operation(
            command_id=CommandId(outcome.command_id),
            started_at=outcome.recorded_at,
            attempt=attempt_of(outcome),
        )
        return operation_id_of(OPERATION_KEY, TenantId(outcome.tenant_id), operation)


@dataclass(slots=True, kw_only=True)
class RunningGateway:
    app: FastAPI
    client: httpx.AsyncClient
    pool: Pool
    reads: TenantReads
    keys: KeyAdmin
    topic: MemoryRowTopic
    clock: FixedClock
    tasks: list["asyncio.Task[None]"]

    async def issue(
        self,
        tenant_id: str,
        *,
        role: str = "tenant_admin",
        environment: Environment = Environment.SANDBOX,
        permissions: frozenset[str] | None = None,
    ) -> IssuedKey:
        return await self.keys.issue(
            TenantId(tenant_id),
            environment=environment,
            kind=KeyKind.STANDARD,
            permissions=frozenset(ROLES[role]) if permissions is None else permissions,
            label="of a test",
        )

    async def bearer(self, tenant_id: str, **issued: Any) -> dict[str, str]:
        """Headers of a new key."""
        return authorization((await self.issue(tenant_id, **issued)).bearer)

    async def get(self, path: str, headers: dict[str, str], **parameters: object) -> httpx.Response:
        return await self.client.get(path, headers=headers, params=parameters)  # type: ignore[arg-type]

    async def stop_relay(self) -> None:
        relay = self.tasks.pop(0)
        relay.cancel()
        with suppress(asyncio.CancelledError):
            await relay


def authorization(bearer: str) -> dict[str, str]:
    return {"authorization": f"Bearer {bearer}"}


def code_of(response: httpx.Response) -> tuple[int, str]:
    return response.status_code, response.json()["error"]["code"]


@asynccontextmanager
async def running_gateway(
    database: FreshDatabase,
    *,
    topic: MemoryRowTopic | None = None,
    minimum_seq_seconds: float = 0.3,
    acknowledgement_seconds: float = 3.0,
) -> AsyncIterator[RunningGateway]:
    """A gateway with its relay and listener; everything is stopped at the end."""
    dsn = database.login_dsn(ROLE)
    shared_topic = MemoryRowTopic() if topic is None else topic
    async with open_pool(dsn, program="paybond-gateway-test", connections_max=4) as pool:
        reads, arrivals, acknowledgements = TenantReads(pool), Arrivals(), Acknowledgements()
        clock, pause = FixedClock(), SystemPause()
        writer = RowWriter(
            store=PostgresRowStore(pool),
            acknowledgements=acknowledgements,
            seconds=acknowledgement_seconds,
        )
        keys = KeyAdmin(rows=writer, peppers=PEPPERS, clock=clock, random=secrets.token_bytes)
        authority = LedgerAuthority(
            deployment=DEPLOYMENT, public_keys_hex=[ed25519.public_key(LEDGER_SEED).hex()]
        )
        app = create_app()
        app.state.guard = Guard(api_keys=PostgresApiKeys(pool), peppers=PEPPERS)
        app.state.read_path = ReadPath(
            reads=reads,
            intents=IntentReads(reads),
            ledger=LedgerReads(reads, authority),
            authority=authority,
            arrivals=arrivals,
            keys=keys,
            secrets=AnySecrets(),
            operation_key=OPERATION_KEY,
            clock=clock,
            minimum_seq_seconds=minimum_seq_seconds,
        )
        listener = PostgresListener(
            dsn, arrivals=arrivals, acknowledgements=acknowledgements, pause=pause
        )
        await listener.start()
        relay = Relay(outbox=PostgresOutbox(dsn), log=MemoryRowLog(shared_topic), pause=pause)
        tasks = [asyncio.create_task(relay.run()), asyncio.create_task(listener.run())]
        transport = httpx.ASGITransport(app=app)
        try:
            async with httpx.AsyncClient(transport=transport, base_url="http://gateway") as client:
                yield RunningGateway(
                    app=app,
                    client=client,
                    pool=pool,
                    reads=reads,
                    keys=keys,
                    topic=shared_topic,
                    clock=clock,
                    tasks=tasks,
                )
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


def run(
    database: FreshDatabase,
    scenario: Callable[[RunningGateway], Coroutine[Any, Any, None]],
    **options: Any,
) -> None:
    """One scenario in an event loop of its own."""

    async def whole() -> None:
        async with running_gateway(database, **options) as gateway:
            await scenario(gateway)

    asyncio.run(whole())
