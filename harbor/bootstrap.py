"""The only place that builds Harbor's adapters: from settings to a loop that can run."""

import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta

from harbor.adapters.kafka_checkpoints import KafkaCheckpoints
from harbor.adapters.kafka_commands import KafkaCommandConsumer
from harbor.adapters.kafka_reader import KafkaLogReader
from harbor.adapters.kafka_sender import KafkaCommandSender
from harbor.adapters.kafka_topics import KafkaTopics
from harbor.adapters.kafka_transactions import KafkaTransactions
from harbor.adapters.noted_store import NotedStore
from harbor.adapters.rocksdb_store import RocksDbStore
from harbor.adapters.signature_pool import ThreadSignaturePool
from harbor.domain.decision import RailPolicy
from harbor.engine.assignment import KafkaAssigner
from harbor.engine.batch import BatchRules
from harbor.engine.checkpoint_signing import CheckpointSigner, LedgerKey
from harbor.engine.cluster_layout import (
    DURABLE,
    SINGLE_NODE,
    Difference,
    Durability,
    TopicLayout,
    differences,
    ledger_layout,
    reasons_not_to_start,
    wanted_layouts,
)
from harbor.engine.loop import HarborLoop, LoopParts
from harbor.engine.ports import StateStore
from harbor.engine.preparation import Preparation
from harbor.engine.provisioning import CommandDesk
from harbor.inspection.states import States, read_states
from harbor.observer import MetricsObserver
from harbor.recovery.tick import RecoveryTick
from harbor.settings import HarborSettings
from schemas.errors import ConfigurationError
from schemas.ids import TenantId
from schemas.messages.commands import Issuer
from schemas.topics import CHANGELOGS, COMMANDS, GROUP_HARBOR, tenant_of_ledger_topic
from streams.runtime.acknowledged_producer import AcknowledgedProducer
from streams.runtime.clock import SystemClock
from streams.runtime.kafka_clients import (
    client_settings,
    consumer_settings,
    producer_settings,
    reader_settings,
    transactional_settings,
)
from streams.runtime.metrics import Metrics
from streams.runtime.shared_settings import Broker, GroupProtocol

# The other partitions go on while one moves; Harbor's group has one topic, so this balances as well.
_COOPERATIVE = {"partition.assignment.strategy": "cooperative-sticky"}
_SIGNATURE_THREADS_MAX = 4
# One wrong setting of a cluster is told of a thousand ledgers.
_REASONS_MAX = 12


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """What runs, and what a companion of the loop may stand on."""

    settings: HarborSettings
    loop: HarborLoop
    store: StateStore
    reader: KafkaLogReader
    clock: SystemClock
    metrics: Metrics


# A task beside the loop, in the same process, until cancelled; what it raises ends the process.
Companion = Callable[[Parts], Awaitable[None]]


def companions(settings: HarborSettings) -> tuple[Companion, ...]:  # noqa: ARG001
    """Tasks that share the loop's process and its store: the tick."""
    return (_recover,)


async def _recover(parts: Parts) -> None:
    """Raises ConfigurationError without the tick's key."""
    settings = parts.settings
    sender = KafkaCommandSender(
        producer_settings(settings, client_id=f"{settings.transactional_id}-recovery"),
        issuer_key=settings.issuer_key(Issuer.RECOVERY),
        partitions=settings.kafka_partitions,
    )
    tick = RecoveryTick(
        store=parts.store,
        sender=sender,
        clock=parts.clock,
        partitions=lambda: parts.loop.partitions,
        quarantined=lambda: parts.loop.quarantined,
        reissue_first=_reissue_first(settings),
    )
    try:
        await tick.run()
    finally:
        sender.close()


def _reissue_first(settings: HarborSettings) -> timedelta:
    return timedelta(seconds=settings.reissue_seconds)


def durability_of(settings: HarborSettings) -> Durability:
    return SINGLE_NODE if settings.single_node else DURABLE


async def compared_cluster(
    topics: KafkaTopics, settings: HarborSettings
) -> tuple[tuple[TopicLayout, ...], tuple[Difference, ...]]:
    """How every topic shall be, those of the ledgers that are there too, and in what it differs.

    Raises BrokerUnavailableError.
    """
    durability = durability_of(settings)
    tenants = sorted(
        tenant_id
        for tenant_id in map(tenant_of_ledger_topic, await topics.all_names())
        if tenant_id is not None
    )
    wanted = (
        *wanted_layouts(partitions=settings.kafka_partitions, durability=durability),
        *(ledger_layout(tenant_id, durability=durability) for tenant_id in tenants),
    )
    return wanted, differences(wanted, await topics.layouts(layout.name for layout in wanted))


async def check_cluster(settings: HarborSettings) -> None:
    """Raises ConfigurationError that names the topics under which records would be lost or misplaced."""
    topics = KafkaTopics(client_settings(settings, client_id="paybond-harbor-check"))
    try:
        _, found = await compared_cluster(topics, settings)
    finally:
        await topics.close()
    reasons = list(reasons_not_to_start(found))
    if len(reasons) > _REASONS_MAX:
        reasons[_REASONS_MAX:] = [f"and {len(reasons) - _REASONS_MAX} more"]
    if reasons:
        advice = "" if settings.single_node else "; one machine without replication: --single-node"
        raise ConfigurationError(
            f"{'; '.join(reasons)} (paybond-harbor topics diff shows all; what may not be described "
            f"looks missing, too: topics acls{advice})"
        )


@asynccontextmanager
async def harbor_parts(settings: HarborSettings) -> AsyncIterator[Parts]:
    """Everything `paybond-harbor run` stands on, closed in order at the end.

    Raises BrokerUnavailableError, ConfigurationError.
    """
    clock, metrics = SystemClock(), Metrics()
    signing_key = LedgerKey(deployment=settings.deployment, seed=settings.signing_seed)
    issuer_keys = {issuer: (key,) for issuer, key in settings.issuer_keys.items()}
    async with AsyncExitStack() as stack:
        reader = log_reader(settings, client_id=settings.transactional_id)
        stack.push_async_callback(reader.close)
        transactions = KafkaTransactions(
            transactional_settings(
                settings,
                client_id=settings.transactional_id,
                transactional_id=settings.transactional_id,
            )
        )
        database = RocksDbStore(
            settings.data / str(settings.slot), identity=await _identity(reader)
        )
        store = NotedStore(database, take_committed=transactions.take_committed, clock=clock)
        stack.push_async_callback(store.close)
        pool = ThreadSignaturePool(threads=min(os.cpu_count() or 1, _SIGNATURE_THREADS_MAX))
        stack.callback(pool.close)
        checkpoints = KafkaCheckpoints(
            producer_settings(settings, client_id=f"{settings.transactional_id}-checkpoints"),
            on_published=lambda count: metrics.count("paybond_harbor_checkpoints_total", count),
        )
        stack.push_async_callback(checkpoints.close)
        partitions = settings.kafka_partitions
        assigner = KafkaAssigner(reader=reader, store=store, clock=clock, partitions=partitions)
        loop = HarborLoop(
            LoopParts(
                consumer=KafkaCommandConsumer(_member_settings(settings)),
                transactions=transactions,
                preparation=Preparation(
                    store=store, reader=reader, pool=pool, assigner=assigner, clock=clock
                ),
                signer=CheckpointSigner(checkpoints, key=signing_key, partitions=partitions),
                rules=BatchRules(
                    partitions=partitions,
                    rails=RailPolicy(reissue_first=_reissue_first(settings)),
                ),
                issuer_keys=issuer_keys,
                observer=MetricsObserver(metrics),
                records_max=settings.batch_records_max,
            )
        )
        yield Parts(
            settings=settings,
            loop=loop,
            store=store,
            reader=reader,
            clock=clock,
            metrics=metrics,
        )


def log_reader(settings: HarborSettings, *, client_id: str) -> KafkaLogReader:
    return KafkaLogReader(
        reader_settings(settings, client_id=f"{client_id}-reader"),
        client_settings(settings, client_id=f"{client_id}-reader"),
        is_embedded=settings.kafka_broker is Broker.EMBEDDED,
        partitions=settings.kafka_partitions,
    )


async def present_states(settings: HarborSettings, tenant_id: TenantId | None) -> States:
    """All tenants' states, or one's, as the topics have them now. Raises BrokerUnavailableError."""
    reader = log_reader(settings, client_id="paybond-harbor-cli")
    try:
        return await read_states(reader, tenant_id, partitions=settings.kafka_partitions)
    finally:
        await reader.close()


def record_sender(settings: HarborSettings) -> AcknowledgedProducer:
    """The command line's way to write a record as it is; it seals nothing."""
    return AcknowledgedProducer(
        producer_settings(settings, client_id="paybond-harbor-cli"), name="record-sender"
    )


@asynccontextmanager
async def command_desk(settings: HarborSettings) -> AsyncIterator[CommandDesk]:
    """The command line's way to send a command and to hear its outcome. Raises ConfigurationError without a key."""
    sender = KafkaCommandSender(
        producer_settings(settings, client_id="paybond-harbor-cli"),
        issuer_key=settings.issuer_key(Issuer.CLI),
        partitions=settings.kafka_partitions,
    )
    reader = log_reader(settings, client_id="paybond-harbor-cli")
    try:
        yield CommandDesk(
            reader=reader,
            sender=sender,
            clock=SystemClock(),
            partitions=settings.kafka_partitions,
        )
    finally:
        sender.close()
        await reader.close()


def _member_settings(settings: HarborSettings) -> dict[str, object]:
    member = consumer_settings(settings, client_id=settings.transactional_id, group=GROUP_HARBOR)
    if settings.kafka_group_protocol is GroupProtocol.CONSUMER:
        return member
    return member | _COOPERATIVE


async def _identity(reader: KafkaLogReader) -> str:
    """Of the cluster and the topics a store belongs to: another one's state would be a lie."""
    topics = [f"{topic}={await reader.topic_id(topic)}" for topic in (COMMANDS, *CHANGELOGS)]
    return " ".join([await reader.cluster_id(), *topics])
