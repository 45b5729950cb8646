"""Harbor's parts, built once: settings in, ports filled. The only place that names adapters."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta

from harbor.adapters.kafka_checkpoints import KafkaCheckpoints
from harbor.adapters.kafka_commands import KafkaCommandConsumer
from harbor.adapters.kafka_reader import KafkaLogReader
from harbor.adapters.kafka_sender import KafkaCommandSender
from harbor.adapters.kafka_topics import KafkaTopics
from harbor.adapters.kafka_transactions import KafkaTransactions
from harbor.adapters.rocksdb_store import RocksDbStore
from harbor.adapters.signature_pool import ThreadSignaturePool
from harbor.domain.decision import RailPolicy
from harbor.engine.assignment import KafkaAssigner
from harbor.engine.batch import BatchRules
from harbor.engine.checkpoint_signing import CheckpointSigner, LedgerKey
from harbor.engine.loop import HarborLoop, LoopParts
from harbor.engine.preparation import Preparation
from harbor.metrics_observer import MetricsObserver
from harbor.settings import HarborSettings
from schemas.messages.commands import Issuer
from schemas.topics import COMMANDS, GROUP_HARBOR, INTENTS
from streams.runtime.clock import SystemClock, SystemPause
from streams.runtime.kafka_clients import (
    client_settings,
    consumer_settings,
    producer_settings,
    reader_settings,
    transactional_settings,
)
from streams.runtime.metrics import Metrics
from streams.runtime.shared_settings import Broker

PROGRAM = "paybond-harbor"
_SIGNATURE_THREADS = 2


class LoopClock(SystemClock):
    """`harbor.engine.ports.Clock` on the machine's clock."""

    def __init__(self) -> None:
        self._pause = SystemPause()

    async def sleep(self, duration: timedelta) -> None:
        await self._pause.pause(duration.total_seconds())


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    loop: HarborLoop
    store: RocksDbStore
    sender: KafkaCommandSender
    metrics: Metrics


def topics_of(settings: HarborSettings) -> KafkaTopics:
    return KafkaTopics(
        client_settings(settings, client_id=PROGRAM),
        partitions=settings.kafka_partitions,
        is_single_node=settings.single_node,
    )


def reader_of(settings: HarborSettings) -> KafkaLogReader:
    return KafkaLogReader(
        reader_settings(settings, client_id=f"{PROGRAM}-reader"),
        client_settings(settings, client_id=f"{PROGRAM}-admin"),
        is_embedded=settings.kafka_broker is Broker.EMBEDDED,
    )


def sender_of(settings: HarborSettings, issuer: Issuer) -> KafkaCommandSender:
    return KafkaCommandSender(
        producer_settings(settings, client_id=f"{PROGRAM}-{issuer.value}"),
        issuer_key=settings.issuer_key(issuer),
        partitions=settings.kafka_partitions,
    )


@asynccontextmanager
async def parts(settings: HarborSettings) -> AsyncIterator[Parts]:
    """Everything open; closed in reverse. Raises OutageError, ConfigurationError."""
    async with AsyncExitStack() as stack:
        clock, metrics = LoopClock(), Metrics()
        reader = reader_of(settings)
        stack.push_async_callback(reader.close)
        store = RocksDbStore(
            settings.data / f"slot-{settings.slot}",
            identity=await _identity(reader),
            now=clock.now(),
        )
        stack.push_async_callback(store.close)
        checkpoints = KafkaCheckpoints(
            producer_settings(settings, client_id=f"{PROGRAM}-checkpoints")
        )
        stack.push_async_callback(checkpoints.close)
        sender = sender_of(settings, Issuer.RECOVERY)
        stack.callback(sender.close)
        loop = HarborLoop(
            LoopParts(
                consumer=KafkaCommandConsumer(
                    consumer_settings(settings, client_id=PROGRAM, group=GROUP_HARBOR)
                ),
                transactions=KafkaTransactions(
                    transactional_settings(
                        settings, client_id=PROGRAM, transactional_id=settings.transactional_id
                    )
                ),
                preparation=Preparation(
                    store=store,
                    reader=reader,
                    pool=ThreadSignaturePool(threads=_SIGNATURE_THREADS),
                    assigner=KafkaAssigner(
                        reader=reader,
                        store=store,
                        clock=clock,
                        partitions=settings.kafka_partitions,
                    ),
                    clock=clock,
                ),
                signer=CheckpointSigner(
                    checkpoints,
                    key=LedgerKey(deployment=settings.deployment, seed=settings.signing_seed),
                    partitions=settings.kafka_partitions,
                ),
                rules=BatchRules(partitions=settings.kafka_partitions, rails=RailPolicy()),
                issuer_keys={issuer: (key,) for issuer, key in settings.issuer_keys.items()},
                observer=MetricsObserver(metrics),
                records_max=settings.batch_records_max,
            )
        )
        yield Parts(loop=loop, store=store, sender=sender, metrics=metrics)


async def _identity(reader: KafkaLogReader) -> str:
    """A store of another cluster, or of topics that were made anew, says nothing about this one."""
    topics = [await reader.topic_id(topic) for topic in (COMMANDS, INTENTS)]
    return "/".join([await reader.cluster_id(), *topics])
