"""The only place of streams that builds adapters: settings in, running parts out."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from schemas.topics import (
    CHECKPOINTS,
    EVIDENCE,
    GROUP_VIEWS,
    INTENTS,
    LEDGER_SUBSCRIPTION,
    OUTCOMES,
)
from streams.runtime.batch_loop import BatchLoop
from streams.runtime.checkpoints import CheckpointStore, PostgresCheckpoints
from streams.runtime.clock import SystemClock
from streams.runtime.dead_letters import KafkaDeadLetters
from streams.runtime.kafka_clients import consumer_settings, producer_settings
from streams.runtime.kafka_source import KafkaSource, Subscription
from streams.runtime.metrics import Metrics
from streams.runtime.postgres import open_pool
from streams.runtime.quarantine import PostgresQuarantine, QuarantineStore
from streams.runtime.shared_settings import GroupProtocol
from streams.settings import StreamsSettings
from streams.views.chain_check import TrustedKeys
from streams.views.checkpoints_view import CheckpointsView
from streams.views.evidence_view import EvidenceView
from streams.views.ledger_view import LedgerView
from streams.views.operations_view import OperationsView
from streams.views.sink import PostgresViews
from streams.views.tenant_states_view import TenantStatesView

PROGRAM = "paybond-streams"


@dataclass(frozen=True, slots=True, kw_only=True)
class Views:
    source: KafkaSource
    loop: BatchLoop
    metrics: Metrics


@dataclass(frozen=True, slots=True, kw_only=True)
class Tools:
    """What the CLI's questions and orders need."""

    checkpoints: CheckpointStore
    quarantine: QuarantineStore


@asynccontextmanager
async def views(settings: StreamsSettings) -> AsyncIterator[Views]:
    """The indexer, not yet started. Raises ConfigurationError, DatabaseUnavailableError."""
    keys = TrustedKeys(deployment=settings.deployment, public_keys=settings.public_keys)
    dsn = settings.postgres_dsn.get_secret_value()
    client_id = f"{PROGRAM}-views"
    connections = settings.pool_connections_max
    async with open_pool(dsn, program=client_id, connections_max=connections) as pool:
        clock, metrics = SystemClock(), Metrics()
        tables, quarantine = PostgresViews(pool), PostgresQuarantine(pool)
        letters = KafkaDeadLetters(
            producer_settings(settings, client_id=client_id), partitions=settings.kafka_partitions
        )
        source = KafkaSource(
            consumer_settings(settings, client_id=client_id, group=GROUP_VIEWS),
            subscription=Subscription(
                topics=(LEDGER_SUBSCRIPTION, EVIDENCE, OUTCOMES, INTENTS, CHECKPOINTS),
                expected=LEDGER_SUBSCRIPTION,
                is_incremental=settings.kafka_group_protocol is GroupProtocol.CONSUMER,
            ),
            records_max=settings.batch_records_max,
        )
        loop = BatchLoop(
            source=source,
            projections=(
                LedgerView(tables=tables, metrics=metrics),
                EvidenceView(tables=tables, dead_letters=letters, clock=clock, metrics=metrics),
                OperationsView(tables=tables, dead_letters=letters, clock=clock, metrics=metrics),
                TenantStatesView(tables=tables, dead_letters=letters, clock=clock, metrics=metrics),
                CheckpointsView(
                    tables=tables,
                    quarantine=quarantine,
                    dead_letters=letters,
                    keys=keys,
                    clock=clock,
                    metrics=metrics,
                ),
            ),
            checkpoints=PostgresCheckpoints(pool),
            quarantine=quarantine,
            clock=clock,
            metrics=metrics,
        )
        try:
            yield Views(source=source, loop=loop, metrics=metrics)
        finally:
            await letters.close()


@asynccontextmanager
async def tools(settings: StreamsSettings) -> AsyncIterator[Tools]:
    """Raises DatabaseUnavailableError."""
    dsn = settings.postgres_dsn.get_secret_value()
    async with open_pool(dsn, program=f"{PROGRAM}-tools", connections_max=1) as pool:
        yield Tools(checkpoints=PostgresCheckpoints(pool), quarantine=PostgresQuarantine(pool))
