"""`paybond-harbor run`: the loop, the tick and the private listener in one process, stopped in order."""

import asyncio
import signal

import structlog

from harbor.bootstrap import Parts, parts, topics_of
from harbor.settings import HarborSettings
from streams.runtime.clock import SystemClock
from streams.runtime.private_listener import private_app, serve_until

_log = structlog.get_logger("harbor")


async def run_harbor(settings: HarborSettings) -> None:
    """Until SIGINT or SIGTERM. Raises what ends the loop: the supervisor restarts with back-off ≥ the session."""
    await asyncio.to_thread(topics_of(settings).check)
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    async with parts(settings) as built:
        await _run(settings, built, stop)
        await built.store.touch(SystemClock().now())
    _log.info("harbor_stopped")


async def _run(settings: HarborSettings, built: Parts, stop: asyncio.Event) -> None:
    private = private_app(metrics=built.metrics, readiness=lambda: _not_ready(built))
    serving = asyncio.create_task(
        serve_until(private, host=settings.private_host, port=settings.private_port, stop=stop)
    )
    _log.info("harbor_started", slot=settings.slot)
    try:
        await built.loop.run(is_stopping=stop.is_set)
    finally:
        stop.set()
        await serving


def _not_ready(built: Parts) -> str | None:
    if built.loop.is_restoring:
        return "restoring partitions"
    return None if built.loop.partitions else "owns no partition yet"
