"""`paybond-streams run views`: the hosted agent, its private listener, and a stop that drains."""

import asyncio
import signal

from streams.bootstrap import views
from streams.runtime.agents import run_agent
from streams.runtime.collector import spare_what_stands
from streams.runtime.private_listener import private_app, serve_until
from streams.settings import StreamsSettings

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


async def run_views(settings: StreamsSettings) -> None:
    """Until SIGINT or SIGTERM. Raises PaybondError for what ends the program."""
    stop = asyncio.Event()
    running = asyncio.get_running_loop()
    for number in _SIGNALS:
        running.add_signal_handler(number, stop.set)
    async with views(settings) as parts:
        spare_what_stands()
        listener = private_app(
            metrics=parts.metrics,
            readiness=lambda: (
                None if parts.loop.is_assigned else "no assignment from the group yet"
            ),
        )
        ended = asyncio.Event()
        serving = asyncio.create_task(
            serve_until(
                listener, host=settings.private_host, port=settings.private_port, stop=ended
            )
        )
        try:
            await run_agent("paybond-views", source=parts.source, loop=parts.loop, stop=stop)
        finally:
            ended.set()
            await serving
