"""One private HTTP listener per program, on loopback by default: `/metrics`, `/healthz`, `/readyz`.

`/healthz` = the process runs; `/readyz` = it does its work now, with the reason where it does not.
"""

import asyncio
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager

import uvicorn
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp

from streams.runtime.bounded_http import BoundedHttp
from streams.runtime.metrics import Metrics

# Requests in flight get this long to be answered when the program ends; half of what `paybond-local` waits for one.
SHUTDOWN_SECONDS = 10
# None = ready; else why not.
Readiness = Callable[[], str | None]


def private_app(
    *, metrics: Metrics, readiness: Readiness, routes: Sequence[BaseRoute] = ()
) -> Starlette:
    async def healthz(_request: Request) -> Response:
        return JSONResponse({"status": "running"})

    async def readyz(_request: Request) -> Response:
        reason = readiness()
        if reason is None:
            return JSONResponse({"status": "ready"})
        return JSONResponse({"status": "not ready", "reason": reason}, status_code=503)

    async def metrics_page(_request: Request) -> Response:
        return Response(generate_latest(metrics.registry), media_type=CONTENT_TYPE_LATEST)

    own = [
        Route("/healthz", healthz),
        Route("/readyz", readyz),
        Route("/metrics", metrics_page),
    ]
    return Starlette(routes=[*own, *routes])


class _Server(uvicorn.Server):
    """Signals belong to the program, not to its listener."""

    @contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        yield


async def serve_until(app: ASGIApp, *, host: str, port: int, stop: asyncio.Event) -> None:
    """Serve until `stop` is set. A port that is taken ends the program (SystemExit of uvicorn, status 1)."""
    config = uvicorn.Config(
        app,
        host=host,
        port=port,
        http=BoundedHttp,
        log_level="warning",
        lifespan="off",
        timeout_graceful_shutdown=SHUTDOWN_SECONDS,
    )
    server = _Server(config)
    serving = asyncio.create_task(server.serve())
    waiting = asyncio.create_task(stop.wait())
    await asyncio.wait({serving, waiting}, return_when=asyncio.FIRST_COMPLETED)
    server.should_exit = True
    waiting.cancel()
    await serving
