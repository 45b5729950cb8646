"""A listener over real sockets: it ends in time, whatever its clients leave unfinished."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from deploy.local.server_process import LOOPBACK, free_port
from streams.runtime import private_listener
from streams.runtime.private_listener import serve_until

pytestmark = [pytest.mark.integration, pytest.mark.embedded_only]

# Beyond what any of them takes, and far below for ever.
_SECONDS_MAX = 20.0
_HEAD = b"POST /length HTTP/1.1\r\nhost: x\r\n"


@dataclass(slots=True)
class Listener:
    """`POST /length` answers how long a body was."""

    port: int
    stop: asyncio.Event
    serving: "asyncio.Task[None]"
    is_asked: asyncio.Event = field(default_factory=asyncio.Event)

    async def send(self, data: bytes) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        reader, writer = await asyncio.open_connection(LOOPBACK, self.port)
        writer.write(data)
        await writer.drain()
        return reader, writer


@asynccontextmanager
async def listening() -> AsyncIterator[Listener]:
    stop, port = asyncio.Event(), free_port()

    async def length(request: Request) -> Response:
        listener.is_asked.set()
        return PlainTextResponse(str(len(await request.body())))

    app = Starlette(routes=[Route("/length", length, methods=["POST"])])
    serving = asyncio.create_task(serve_until(app, host=LOOPBACK, port=port, stop=stop))
    listener = Listener(port=port, stop=stop, serving=serving)
    try:
        await _until_open(port)
        yield listener
    finally:
        stop.set()
        await asyncio.wait_for(serving, _SECONDS_MAX)


async def _until_open(port: int) -> None:
    for _ in range(200):
        try:
            _, writer = await asyncio.open_connection(LOOPBACK, port)
        except OSError:
            await asyncio.sleep(0.05)
        else:
            writer.close()
            return
    raise AssertionError("the listener does not open")


def test_it_ends_in_time_though_a_client_never_finishes_its_request(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(private_listener, "SHUTDOWN_SECONDS", 1)

    async def scenario() -> None:
        async with listening() as listener:
            _, writer = await listener.send(_HEAD + b"content-length: 100\r\n\r\n{")
            await listener.is_asked.wait()
            listener.stop.set()
            await asyncio.wait_for(asyncio.shield(listener.serving), _SECONDS_MAX)
            writer.close()

    asyncio.run(scenario())


def test_a_request_in_flight_is_answered_though_the_program_ends() -> None:
    async def scenario() -> bytes:
        async with listening() as listener:
            reader, writer = await listener.send(_HEAD + b"content-length: 2\r\n\r\n{")
            await listener.is_asked.wait()
            listener.stop.set()
            writer.write(b"}")
            answer = await asyncio.wait_for(reader.read(), _SECONDS_MAX)
            writer.close()
            return answer

    answer = asyncio.run(scenario())

    assert answer.startswith(b"HTTP/1.1 200 ")
    assert answer.endswith(b"\r\n\r\n2")
