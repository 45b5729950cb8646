"""A listener over real sockets: whatever its clients leave unfinished, it ends in time, and so do their requests."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

import pytest
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from deploy.local.server_process import LOOPBACK, free_port
from streams.runtime import bounded_http, private_listener
from streams.runtime.bounded_http import BESIDE_BODY_BYTES_MAX
from streams.runtime.private_listener import serve_until

pytestmark = [pytest.mark.integration, pytest.mark.embedded_only]

# Beyond what any of them takes, and far below for ever.
_SECONDS_MAX = 20.0
# What lies in the buffers of two sockets is sent, though nobody reads it.
_FAR_TOO_MANY_BYTES = 1000 * BESIDE_BODY_BYTES_MAX
_HEAD = b"POST /length HTTP/1.1\r\nhost: x\r\n"


@dataclass(slots=True)
class Listener:
    """`POST /length` answers how long a body was."""

    port: int
    stop: asyncio.Event
    serving: "asyncio.Task[None]"
    is_asked: asyncio.Event = field(default_factory=asyncio.Event)
    has_left: asyncio.Event = field(default_factory=asyncio.Event)

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
        try:
            return PlainTextResponse(str(len(await request.body())))
        except ClientDisconnect:
            listener.has_left.set()
            raise

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


@pytest.mark.parametrize("begun", [b"", _HEAD, _HEAD + b"content-length: 100\r\n\r\n{"])
def test_a_request_that_does_not_arrive_in_time_loses_its_connection(
    begun: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bounded_http, "REQUEST_SECONDS_MAX", 0.3)

    async def scenario() -> None:
        async with listening() as listener:
            reader, writer = await listener.send(begun)
            assert await asyncio.wait_for(reader.read(), _SECONDS_MAX) == b""
            if listener.is_asked.is_set():
                await asyncio.wait_for(listener.has_left.wait(), _SECONDS_MAX)
            writer.close()

    asyncio.run(scenario())


def test_a_connection_that_is_kept_has_the_time_of_one_request_for_each(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(bounded_http, "REQUEST_SECONDS_MAX", 1.0)

    async def scenario() -> None:
        async with listening() as listener:
            reader, writer = await asyncio.open_connection(LOOPBACK, listener.port)
            for _ in range(4):
                writer.write(_HEAD + b"content-length: 1\r\n\r\n")
                await asyncio.sleep(0.4)
                writer.write(b"1")
                assert (await reader.readuntil(b"\r\n\r\n1")).startswith(b"HTTP/1.1 200 ")
            writer.close()

    asyncio.run(scenario())


@pytest.mark.parametrize(
    "begun",
    [_HEAD, _HEAD + b"a: ", b"GET /", _HEAD + b"transfer-encoding: chunked\r\n\r\n1\r\n1\r\n0\r\n"],
    ids=["headers", "one header", "request line", "trailers"],
)
def test_what_stands_beside_a_body_is_not_kept_without_limit(begun: bytes) -> None:
    more = b"a" * 1000 if begun.endswith((b": ", b"/")) else b"a: " + b"b" * 1000 + b"\r\n"

    async def scenario() -> int:
        async with listening() as listener:
            reader, writer = await listener.send(begun)
            sent = 0
            with suppress(ConnectionError):
                while not reader.at_eof() and sent < _FAR_TOO_MANY_BYTES:
                    writer.write(more)
                    sent += len(more)
                    await asyncio.wait_for(writer.drain(), _SECONDS_MAX)
                    await asyncio.sleep(0)
            writer.close()
            return sent

    assert asyncio.run(scenario()) < _FAR_TOO_MANY_BYTES


def test_headers_that_are_too_large_are_431_before_their_end() -> None:
    async def scenario() -> bytes:
        async with listening() as listener:
            reader, writer = await listener.send(_HEAD)
            await asyncio.sleep(0.1)
            writer.write(b"a" * (BESIDE_BODY_BYTES_MAX + 1))
            answer = await asyncio.wait_for(reader.read(), _SECONDS_MAX)
            writer.close()
            return answer

    answer = asyncio.run(scenario())

    assert answer.startswith(b"HTTP/1.1 431 ")
    assert answer.endswith(b"\r\n\r\nThe headers are too large.")


def test_a_body_in_chunks_may_be_longer_than_what_stands_beside_it() -> None:
    chunk = b"4000\r\n" + b"x" * 0x4000 + b"\r\n"

    async def scenario() -> bytes:
        async with listening() as listener:
            reader, writer = await listener.send(_HEAD + b"transfer-encoding: chunked\r\n\r\n")
            for _ in range(64):
                writer.write(chunk)
                await writer.drain()
            writer.write(b"0\r\n\r\n")
            answer = await asyncio.wait_for(
                reader.readuntil(str(64 * 0x4000).encode()), _SECONDS_MAX
            )
            writer.close()
            return answer

    assert asyncio.run(scenario()).startswith(b"HTTP/1.1 200 ")
