"""The gateway's parts, built once: settings in, ports filled, tasks that run beside the listener."""

import asyncio
import secrets
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

from gateway.adapters.kafka_commands import KafkaCommandPublisher, KafkaOutcomeReader
from gateway.adapters.kafka_gateway_rows import KafkaRowLog
from gateway.adapters.postgres_keys import PostgresAgentKeys, PostgresApiKeys
from gateway.adapters.postgres_listener import PostgresListener
from gateway.adapters.postgres_reads import TenantReads
from gateway.adapters.postgres_rows import PostgresOutbox, PostgresRowStore
from gateway.adapters.timing import EventLoopTimer
from gateway.auth.capability import CapabilityKey, capability_token
from gateway.auth.guard import Guard
from gateway.auth.key_admin import KeyAdmin
from gateway.commands.attempt import attempt_of
from gateway.commands.in_flight import InFlight
from gateway.commands.operation_id import Operation, operation_id_of
from gateway.commands.outcome_waiter import OutcomeWaiters
from gateway.commands.submit import CommandPath
from gateway.outbox.acknowledgements import Acknowledgements, RowWriter
from gateway.outbox.relay import Relay
from gateway.queries.arrivals import WAIT_SECONDS, Arrivals
from gateway.queries.authority import LedgerAuthority
from gateway.queries.intents import IntentReads
from gateway.queries.ledger import LedgerReads
from gateway.queries.read_path import ReadPath
from gateway.settings import GatewaySettings, hex_bytes
from schemas.ids import CommandId, TenantId
from schemas.messages.outcomes import Outcome
from streams.runtime.clock import SystemClock, SystemPause
from streams.runtime.kafka_clients import client_settings, producer_settings, reader_settings
from streams.runtime.postgres import Pool, open_pool

PROGRAM = "paybond-gateway"


@dataclass(frozen=True, slots=True, kw_only=True)
class GatewaySecrets:
    """`gateway.commands.answers.Secrets`: made anew on each answer, deterministic, never stored."""

    capability: CapabilityKey
    operation_key: bytes

    def capability_token(self, *, tenant_id: str, intent_id: str) -> str:
        return capability_token(self.capability, tenant_id=tenant_id, intent_id=intent_id)

    def operation_id(self, outcome: Outcome) -> str:
        """A poll of a pending hold names the operation of the command that asked for it: another request's attempt."""
        asked_by = outcome.operation_command_id
        operation = Operation(
            command_id=CommandId(asked_by or outcome.command_id),
            started_at=outcome.recorded_at,
            attempt=attempt_of(outcome) if asked_by is None else None,
        )
        return operation_id_of(self.operation_key, TenantId(outcome.tenant_id), operation)


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """What the app needs. `readiness` = part → works now; `work` runs as long as the program, or is why it must end."""

    command_path: CommandPath
    read_path: ReadPath
    guard: Guard
    readiness: dict[str, Callable[[], bool]]
    waiting: Callable[[], int]
    work: Sequence["asyncio.Task[None]"] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Administration:
    """What changes keys, and the tasks without which no change is ever acknowledged."""

    pool: Pool
    keys: KeyAdmin
    arrivals: Arrivals
    listener: PostgresListener
    listening: "asyncio.Task[None]"
    relay: "asyncio.Task[None]"


@asynccontextmanager
async def administration(settings: GatewaySettings) -> AsyncIterator[Administration]:
    """Pool, listener and relay: one of all relays holds the lock, here or in another process."""
    async with AsyncExitStack() as stack:
        dsn = settings.postgres_dsn.get_secret_value()
        pool = await stack.enter_async_context(
            open_pool(dsn, program=PROGRAM, connections_max=settings.pool_connections_max)
        )
        arrivals, acknowledgements = Arrivals(), Acknowledgements()
        listener = PostgresListener(
            dsn, arrivals=arrivals, acknowledgements=acknowledgements, pause=SystemPause()
        )
        await listener.start()
        listening = _running(stack, listener.run(), "postgres-listener")
        row_log = KafkaRowLog(
            producer_settings(settings, client_id="paybond-gateway-relay"),
            partitions=settings.kafka_partitions,
        )
        relay = Relay(outbox=PostgresOutbox(dsn), log=row_log, pause=SystemPause())
        relaying = _running(stack, relay.run(), "outbox-relay")
        keys = KeyAdmin(
            rows=RowWriter(store=PostgresRowStore(pool), acknowledgements=acknowledgements),
            peppers=settings.peppers,
            clock=SystemClock(),
            random=secrets.token_bytes,
        )
        yield Administration(
            pool=pool,
            keys=keys,
            arrivals=arrivals,
            listener=listener,
            listening=listening,
            relay=relaying,
        )


@asynccontextmanager
async def parts(
    settings: GatewaySettings, *, on_answered: Callable[[float], None]
) -> AsyncIterator[Parts]:
    """Everything connected and positioned; closed in reverse. `on_answered` as `CommandPath` has it.

    Raises OutageError, ConfigurationError.
    """
    async with AsyncExitStack() as stack:
        admin = await stack.enter_async_context(administration(settings))
        waiters = OutcomeWaiters()
        outcomes = KafkaOutcomeReader(
            reader_settings(settings, client_id="paybond-gateway-outcomes"),
            partitions=settings.kafka_partitions,
            deliver=lambda key, value: _deliver(waiters, key, value),
        )
        # Before the listener opens: an outcome of the first request must not be missed.
        await outcomes.start()
        stack.push_async_callback(outcomes.close)
        reading = _running(stack, outcomes.ended(), "outcome-reader")
        publisher = KafkaCommandPublisher(
            client_settings(settings, client_id=PROGRAM),
            partitions=settings.kafka_partitions,
            seconds=settings.command_wait_seconds,
        )
        stack.push_async_callback(asyncio.to_thread, publisher.close)
        command_path, read_path, guard = _paths(settings, admin, waiters, publisher, on_answered)
        yield Parts(
            command_path=command_path,
            read_path=read_path,
            guard=guard,
            readiness={
                "outcomes": lambda: outcomes.is_alive,
                "postgres": lambda: admin.listener.is_alive,
                "outbox relay": lambda: not admin.relay.done(),
            },
            waiting=lambda: waiters.count,
            work=(reading, admin.listening, admin.relay),
        )


def _paths(
    settings: GatewaySettings,
    admin: Administration,
    waiters: OutcomeWaiters,
    publisher: KafkaCommandPublisher,
    on_answered: Callable[[float], None],
) -> tuple[CommandPath, ReadPath, Guard]:
    reads = TenantReads(admin.pool)
    intents = IntentReads(reads)
    api_keys = PostgresApiKeys(admin.pool)
    operation_key = hex_bytes(settings.capability_key)
    capability = CapabilityKey(key_id=settings.capability_key_id, secret=operation_key)
    made = GatewaySecrets(capability=capability, operation_key=operation_key)
    clock = SystemClock()
    command_path = CommandPath(
        api_keys=api_keys,
        agent_keys=PostgresAgentKeys(reads),
        peppers=settings.peppers,
        issuer_key=hex_bytes(settings.issuer_key),
        publisher=publisher,
        waiters=waiters,
        in_flight=InFlight(),
        intents=intents,
        secrets=made,
        timer=EventLoopTimer(),
        clock=clock,
        random=secrets.token_bytes,
        decision_seconds=settings.command_wait_seconds,
        rail_seconds=settings.rail_wait_seconds,
        on_answered=on_answered,
    )
    authority = LedgerAuthority(
        deployment=settings.deployment, public_keys_hex=settings.ledger_verifier_keys
    )
    read_path = ReadPath(
        reads=reads,
        intents=intents,
        ledger=LedgerReads(reads, authority),
        authority=authority,
        arrivals=admin.arrivals,
        keys=admin.keys,
        secrets=made,
        operation_key=operation_key,
        clock=clock,
        minimum_seq_seconds=WAIT_SECONDS,
    )
    return command_path, read_path, Guard(api_keys=api_keys, peppers=settings.peppers)


def _deliver(waiters: OutcomeWaiters, key: bytes | None, value: bytes | None) -> None:
    waiters.deliver(key=key, value=value)


def _running(
    stack: AsyncExitStack, work: Coroutine[None, None, None], name: str
) -> "asyncio.Task[None]":
    task = asyncio.create_task(work, name=name)

    async def end() -> None:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    stack.push_async_callback(end)
    return task
