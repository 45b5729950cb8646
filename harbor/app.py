"""`paybond-harbor run`: the loop, its companions and its private listener, until a signal or an error ends them."""

import asyncio
import signal

import structlog

from harbor.bootstrap import Parts, check_cluster, companions, harbor_parts
from harbor.settings import HarborSettings
from schemas.errors import OwnershipLostError
from streams.runtime.collector import spare_what_stands
from streams.runtime.private_listener import private_app, serve_until

PROGRAM = "paybond-harbor"
_log = structlog.get_logger("harbor")


async def run_harbor(settings: HarborSettings) -> None:
    """Until SIGINT or SIGTERM. Raises PaybondError: a supervisor restarts it, with back-off."""
    await check_cluster(settings)
    async with harbor_parts(settings) as parts:
        spare_what_stands()
        _log.info(
            "harbor_started",
            slot=settings.slot,
            partitions=settings.kafka_partitions,
            broker=settings.kafka_broker.value,
            group_protocol=settings.kafka_group_protocol.value,
        )
        try:
            await _run(parts)
        except OwnershipLostError as error:
            # Whoever fenced this one needs its session's time; coming back at once would fence it in turn.
            _log.error(
                "fenced",
                transactional_id=settings.transactional_id,
                error=str(error),
                advice="another process has this slot: give each its own PAYBOND_HARBOR_SLOT; alone after an outage it "
                "was only too late, and nothing is to be done",
            )
            await asyncio.sleep(settings.kafka_session_milliseconds / 1000)
            raise
    _log.info("harbor_stopped", slot=settings.slot)


async def _run(parts: Parts) -> None:
    stop = asyncio.Event()
    running = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        running.add_signal_handler(number, stop.set)
    settings = parts.settings
    private = private_app(metrics=parts.metrics, readiness=lambda: _not_ready(parts))
    serving = asyncio.create_task(
        serve_until(private, host=settings.private_host, port=settings.private_port, stop=stop),
        name="private listener",
    )
    deciding = asyncio.create_task(parts.loop.run(is_stopping=stop.is_set), name="loop")
    beside = [asyncio.ensure_future(companion(parts)) for companion in companions(settings)]
    try:
        # Any of them that ends, ends the process: half a Harbor is none.
        await asyncio.wait({serving, deciding, *beside}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        stop.set()
        for task in beside:
            task.cancel()
        ended = await asyncio.gather(deciding, serving, *beside, return_exceptions=True)
    for outcome in ended:
        if isinstance(outcome, BaseException) and not isinstance(outcome, asyncio.CancelledError):
            raise outcome


def _not_ready(parts: Parts) -> str | None:
    if parts.loop.is_restoring:
        return "partitions are being restored"
    if not parts.loop.partitions:
        return "no partition is assigned"
    return None
