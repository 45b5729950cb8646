"""Around every request: an id, a limit, a count; and whatever breaks inside, its text stays inside."""

import asyncio
from collections.abc import Mapping
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from structlog.testing import capture_logs

from gateway.edge import envelope
from gateway.edge.around import Around
from gateway.edge.raw_request import read_body

SECRET = "what nobody may read"


def an_app(counted: list[tuple[str, int]]) -> FastAPI:
    app = FastAPI()
    envelope.install(app, bytes, lambda route, status: counted.append((route, status)))

    @app.get("/things/{thing_id}")
    async def thing(thing_id: str, request: Request) -> Response:
        return PlainTextResponse(f"{thing_id} {request.state.request_id}")

    @app.post("/bodies")
    async def bodies(request: Request) -> Response:
        return Response(await read_body(request))

    @app.get("/broken")
    async def broken() -> Response:
        raise LookupError(SECRET)

    @app.get("/half")
    async def half() -> Response:
        async def chunks() -> Any:
            yield b"begun"
            raise LookupError(SECRET)

        return StreamingResponse(chunks())

    return app


def ask(app: FastAPI, path: str, headers: Mapping[str, str] | None = None) -> httpx.Response:
    async def asked() -> httpx.Response:
        transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport, base_url="http://gateway") as http:
            return await http.get(path, headers=headers)

    return asyncio.run(asked())


@pytest.fixture
def counted() -> list[tuple[str, int]]:
    return []


def test_the_callers_request_id_reaches_the_route_and_comes_back(
    counted: list[tuple[str, int]],
) -> None:
    answer = ask(an_app(counted), "/things/7", {"x-request-id": "mine-1"})

    assert answer.text == "7 mine-1"
    assert answer.headers.get_list("x-request-id") == ["mine-1"]


def test_an_answer_is_counted_under_its_route_as_declared(counted: list[tuple[str, int]]) -> None:
    app = an_app(counted)

    ask(app, "/things/7")
    ask(app, "/nowhere")

    assert counted == [("/things/{thing_id}", 200), ("none", 404)]


def test_a_defect_is_answered_without_its_text_and_counted(
    counted: list[tuple[str, int]],
) -> None:
    answer = ask(an_app(counted), "/broken")

    assert answer.status_code == 500
    assert answer.json()["error"]["code"] == "internal_error"
    assert answer.json()["request_id"] == answer.headers["x-request-id"]
    assert SECRET not in answer.text
    assert counted == [("/broken", 500)]


def test_headers_past_the_limit_are_refused_before_any_route(
    counted: list[tuple[str, int]],
) -> None:
    answer = ask(an_app(counted), "/things/7", {"x-much": "a" * 17_000})

    assert answer.status_code == 431
    assert answer.json()["error"]["code"] == "headers_too_large"
    assert answer.headers["x-request-id"]


def test_an_answer_that_breaks_when_it_has_begun_gets_no_second_one(
    counted: list[tuple[str, int]],
) -> None:
    sent: list[Any] = []

    async def receive() -> Any:
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        # As uvicorn says it: the stream then ends by its own error, not by listening for the client's going.
        "asgi": {"version": "3.0", "spec_version": "2.4"},
        "method": "GET",
        "path": "/half",
        "headers": [],
        "query_string": b"",
    }
    asyncio.run(an_app(counted)(scope, receive, send))

    assert [message["type"] for message in sent].count("http.response.start") == 1
    assert sent[-1] == {"type": "http.response.body", "body": b"begun", "more_body": True}
    assert counted == [("/half", 200)]


def test_a_client_that_leaves_in_the_middle_of_its_body_is_no_failure_and_no_answer(
    counted: list[tuple[str, int]],
) -> None:
    sent: list[Any] = []
    received = iter(
        [
            {"type": "http.request", "body": b"{", "more_body": True},
            {"type": "http.disconnect"},
        ]
    )

    async def receive() -> Any:
        return next(received)

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "method": "POST",
        "path": "/bodies",
        "headers": [],
        "query_string": b"",
    }
    with capture_logs() as logged:
        asyncio.run(an_app(counted)(scope, receive, send))

    assert sent == []
    assert counted == []
    assert [line["event"] for line in logged] == ["client_left"]


def test_another_protocol_passes_untouched() -> None:
    seen: list[str] = []

    async def inner(scope: Any, _receive: Any, _send: Any) -> None:
        seen.append(scope["type"])

    around: Any = Around(inner, random=bytes, on_answered=lambda *_: None)
    asyncio.run(around({"type": "lifespan"}, None, None))

    assert seen == ["lifespan"]
