"""The only module that names Faust: it hosts the agent, its supervision and the pump; confluent-kafka reads.

The pump reads a batch, hands it to the agent through a channel and waits until the agent has stored it: the broker's
offset moves after Postgres. Whatever fails, in pump or agent, ends the program; nothing is skipped, nothing retried.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from tempfile import TemporaryDirectory
from typing import Any

import faust
import structlog
from faust.app.base import BootStrategy
from mode import CrashingSupervisor, Service

from streams.runtime.batch_loop import BatchLoop
from streams.runtime.records import Record, RecordSource

_log = structlog.get_logger()

# One batch is stored while none waits: the pump itself waits for the commit.
_CHANNEL_BATCHES_MAX = 1
_CRASH_LOOK_SECONDS = 0.05


_WITHOUT_KAFKA: dict[str, Any] = {
    # Never connected to: without its own consumer Faust opens no connection.
    "broker": "kafka://unused",
    "store": "memory://",
    # Else it creates topics of its own.
    "topic_disable_leader": True,
    "topic_allow_declare": False,
    "autodiscover": False,
    # Else every worker binds port 6066.
    "web_enabled": False,
}


class _WithoutFaustsOwnConsumer(BootStrategy):
    # Stock Faust reads 10–11 k records/s into Postgres, and its own acks lose records when an agent raises.
    enable_kafka = False


class _App(faust.App):
    BootStrategy = _WithoutFaustsOwnConsumer

    def _new_consumer(self) -> Any:
        # It is made, though never started, with an event loop for its thread, which nobody else would close.
        consumer: Any = super()._new_consumer()
        consumer._thread.thread_loop.close()  # noqa: SLF001
        return consumer


@dataclass(frozen=True, slots=True)
class _Batch:
    """`stored` is set by the agent after its commit."""

    records: Sequence[Record]
    stored: "asyncio.Future[None]"


async def run_agent(
    name: str, *, source: RecordSource, loop: BatchLoop, stop: asyncio.Event
) -> None:
    """Until `stop` is set: then the batch in flight is stored, hinted, and the group left.

    Raises what the loop or the source raised: PaybondError, or a programmer's mistake.
    """
    # Faust makes its tables' folder at every start. We have no tables, and where we were started may not be ours.
    with TemporaryDirectory(prefix=f"{name}-") as folder:
        await _run(
            _App(name, datadir=folder, **_WITHOUT_KAFKA), source=source, loop=loop, stop=stop
        )
    _log.info("drained", program=name)


async def _run(app: _App, *, source: RecordSource, loop: BatchLoop, stop: asyncio.Event) -> None:
    batches: Any = app.channel(maxsize=_CHANNEL_BATCHES_MAX)
    drained = asyncio.Event()

    # An error ends the process: no record is skipped.
    @app.agent(batches, name=f"{app.conf.id}.store", supervisor_strategy=CrashingSupervisor)
    async def store(stream: Any) -> None:
        async for batch in stream:
            await loop.store(batch.records)
            batch.stored.set_result(None)

    @app.service
    class Pump(Service):
        async def on_start(self) -> None:
            # Without a consumer of its own Faust would stay suspended.
            app.flow_control.resume()

        @Service.task
        async def pump(self) -> None:
            await source.start(loop)
            while not stop.is_set():
                records = await source.read()
                stored = asyncio.get_running_loop().create_future()
                await batches.put(_Batch(records, stored))
                await stored
            drained.set()

    assert store is not None
    assert Pump is not None
    await app.start()
    try:
        await _until(drained, app)
    finally:
        await source.stop()
        await app.stop()
    await loop.stopped()


async def _until(drained: asyncio.Event, app: faust.App) -> None:
    """Raises the reason if the app crashes first."""
    waiting = asyncio.create_task(drained.wait())
    try:
        # Looked at, not awaited: Faust's own waiting leaves tasks behind when it is cancelled.
        while not waiting.done() and not app.should_stop:
            await asyncio.wait({waiting}, timeout=_CRASH_LOOK_SECONDS)
    finally:
        waiting.cancel()
    if app.crash_reason is not None:
        raise app.crash_reason
