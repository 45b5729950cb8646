"""The FastAPI application around the parts, and the two listeners of the program."""

import asyncio
import secrets
import signal
from collections.abc import Sequence
from functools import partial

import structlog
from fastapi import FastAPI

from gateway.bootstrap import Parts, parts
from gateway.edge import envelope
from gateway.routes.health import readiness_of
from gateway.routes.public_app import PublicApp
from gateway.routes.schema_registry import ROUTES as SCHEMA_ROUTES
from gateway.settings import GatewaySettings
from streams.runtime.collector import spare_what_stands
from streams.runtime.metrics import Metrics
from streams.runtime.private_listener import private_app, serve_until

_log = structlog.get_logger("gateway")


def create_app(metrics: Metrics | None = None) -> FastAPI:
    """Routes and edge, without parts: enough for the OpenAPI document."""
    counted = metrics or Metrics()
    app = PublicApp()
    envelope.install(
        app,
        secrets.token_bytes,
        lambda route, status: counted.count(
            "paybond_gateway_requests_total", route=route, status=str(status)
        ),
    )
    return app


def bind(app: FastAPI, built: Parts) -> None:
    app.state.command_path = built.command_path
    app.state.read_path = built.read_path
    app.state.guard = built.guard


async def run_gateway(settings: GatewaySettings) -> None:
    """Until SIGINT or SIGTERM, or until its work has failed: requests in flight are answered first.

    Raises OutageError, ConfigurationError, OwnershipLostError.
    """
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    metrics = Metrics()
    observe_wait = partial(metrics.observe, "paybond_gateway_command_seconds")
    async with parts(settings, on_answered=observe_wait) as built:
        metrics.follow("paybond_gateway_waiting", built.waiting)
        app = create_app(metrics)
        bind(app, built)
        private = private_app(
            metrics=metrics, readiness=readiness_of(built.readiness), routes=SCHEMA_ROUTES
        )
        spare_what_stands()
        _log.info("gateway_started", port=settings.port, private_port=settings.private_port)
        watching = asyncio.create_task(stop_with(built.work, stop), name="watch")
        await asyncio.gather(
            serve_until(app, host=settings.host, port=settings.port, stop=stop),
            serve_until(private, host=settings.private_host, port=settings.private_port, stop=stop),
        )
        await watching
    _log.info("gateway_stopped")


async def stop_with(work: Sequence["asyncio.Task[None]"], stop: asyncio.Event) -> None:
    """Until `stop`, which it sets itself as soon as one of them has ended. Raises what ended it.

    None ends by itself: without one of them a process would answer 503 for ever, where a new one works.
    """
    stopping = asyncio.create_task(stop.wait())
    await asyncio.wait({stopping, *work}, return_when=asyncio.FIRST_COMPLETED)
    stop.set()
    await stopping
    for one in work:
        if one.done():
            _log.error("work_ended", work=one.get_name())
            await one
