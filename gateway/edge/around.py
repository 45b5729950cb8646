"""What happens around every request: its id, the size of its headers, the count of its answer, the last catch.

Plain ASGI: Starlette's `BaseHTTPMiddleware` costs a task group and a queue per request, more than a read does.
"""

from collections.abc import Callable

import structlog
from starlette.datastructures import MutableHeaders
from starlette.requests import ClientDisconnect, Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from gateway.edge.raw_request import REQUEST_ID_HEADER, check_headers, request_id_of
from gateway.edge.refused import RefusedError
from gateway.edge.refused_response import refused_response

_log = structlog.get_logger("gateway")


class Around:
    """`on_answered` gets each request's route as it was declared, never its ids, and the status of its answer."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        random: Callable[[int], bytes],
        on_answered: Callable[[str, int], None],
    ) -> None:
        self._app = app
        self._random = random
        self._on_answered = on_answered

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request = Request(scope)
        request_id = request_id_of(request, self._random)
        request.state.request_id = request_id
        begun: list[int] = []

        async def send_named(message: Message) -> None:
            if message["type"] == "http.response.start":
                begun.append(message["status"])
                MutableHeaders(scope=message)[REQUEST_ID_HEADER] = request_id
            await send(message)

        try:
            check_headers(request)
            await self._app(scope, receive, send_named)
        except RefusedError as error:
            await refused_response(error, request_id)(scope, receive, send_named)
        # Nobody is there to be answered, and an answer that nobody got is not counted.
        except ClientDisconnect:
            _log.info("client_left", path=scope["path"])
        # The program's top for one request: it ends that request, and the caller learns only that it did.
        except Exception as error:  # noqa: BLE001
            _log.exception("request_failed", path=scope["path"], error=type(error).__name__)
            # An answer that has begun can't become another one: the server ends its connection.
            if not begun:
                internal = RefusedError("internal_error")
                await refused_response(internal, request_id)(scope, receive, send_named)
        if begun:
            self._on_answered(getattr(scope.get("route"), "path", "none"), begun[0])
