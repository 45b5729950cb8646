"""The rail worker as a program: adapters built, worker run, readiness told, everything closed in order."""

import asyncio
import signal

import structlog

from harbor.adapters.kafka_rails import KafkaDeadLetters, KafkaEffectLog, KafkaOutstanding
from harbor.adapters.kafka_sender import KafkaCommandSender
from harbor.rails.simulator import Faults, Simulator
from harbor.rails.simulator_book import Book
from harbor.rails.worker import RailWorker
from harbor.settings import HarborSettings
from schemas.messages.commands import Issuer
from schemas.messages.shared import SettlementMode
from schemas.topics import GROUP_RAILS
from streams.runtime.clock import SystemClock, SystemPause
from streams.runtime.collector import spare_what_stands
from streams.runtime.kafka_clients import consumer_settings, producer_settings, reader_settings
from streams.runtime.metrics import Metrics
from streams.runtime.private_listener import private_app, serve_until

_log = structlog.get_logger("rails")


async def run_rails(settings: HarborSettings) -> None:
    """Until SIGINT or SIGTERM. Raises what the worker raises: the supervisor restarts the program."""
    settings.data.mkdir(parents=True, exist_ok=True)
    book = Book(str(settings.data / "simulator.sqlite"))
    faults = Faults(
        seed=settings.simulator_seed,
        delay_milliseconds=settings.simulator_delay_milliseconds,
        decline_bps=settings.simulator_decline_bps,
        lose_bps=settings.simulator_lose_bps,
        duplicate_bps=settings.simulator_duplicate_bps,
    )
    simulator = Simulator(book, faults, pause=SystemPause(), clock=SystemClock())
    metrics = Metrics()
    sender = KafkaCommandSender(
        producer_settings(settings, client_id="paybond-rails"),
        issuer_key=settings.issuer_key(Issuer.RAILS),
        partitions=settings.kafka_partitions,
    )
    outstanding = KafkaOutstanding(reader_settings(settings, client_id="paybond-rails-states"))
    worker = RailWorker(
        log=KafkaEffectLog(
            consumer_settings(settings, client_id="paybond-rails", group=GROUP_RAILS)
        ),
        outstanding=outstanding,
        rails={SettlementMode.SIMULATED: simulator},
        commands=sender,
        dead_letters=KafkaDeadLetters(sender, partitions=settings.kafka_partitions),
        on_answered=lambda: metrics.count("paybond_rails_answers_total"),
    )
    spare_what_stands()
    try:
        await _run(worker, settings, metrics)
    finally:
        await outstanding.close()
        sender.close()
        book.close()


async def _run(worker: RailWorker, settings: HarborSettings, metrics: Metrics) -> None:
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, worker.stop)
    stop = asyncio.Event()
    app = private_app(metrics=metrics, readiness=lambda: worker.not_ready)
    serving = asyncio.create_task(
        serve_until(app, host=settings.private_host, port=settings.rails_private_port, stop=stop)
    )
    _log.info("rails_started", data=str(settings.data))
    try:
        await worker.run()
    finally:
        stop.set()
        await serving
        _log.info("rails_stopped", answered=worker.answered)
