"""Every error in one envelope, every answer with its request id; nothing of an exception ever reaches a caller."""

from collections.abc import Awaitable, Callable

import structlog
from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from gateway.commands.answers import Answer
from gateway.edge.raw_request import REQUEST_ID_HEADER, check_headers, request_id_of
from gateway.edge.refused import RefusedError, error_body
from schemas.errors import OutageError

_log = structlog.get_logger("gateway")
_RETRY_AFTER_SECONDS = 1
_OF_STATUS = {
    404: "not_found",
    405: "method_not_allowed",
    413: "body_too_large",
    422: "body_invalid",
}


def response_of(answer: Answer) -> Response:
    return Response(
        content=answer.body,
        status_code=answer.http_status,
        headers=dict(answer.headers),
        media_type="application/json",
    )


def refused_response(error: RefusedError, request_id: str) -> Response:
    headers: dict[str, str] = {}
    if error.retry_after_seconds is not None:
        headers["retry-after"] = str(error.retry_after_seconds)
    if error.http_status == 401:
        headers["www-authenticate"] = "Bearer"
    body = error_body(
        code=error.code, message=str(error), request_id=request_id, details=error.details
    )
    return Response(body, error.http_status, headers, media_type="application/json")


def install(
    app: FastAPI, random: Callable[[int], bytes], on_answered: Callable[[str, int], None]
) -> None:
    """Request ids, size limits of headers, and one handler per kind of error.

    `on_answered` gets each request's route as it was declared, never its ids, and the status of its answer.
    """

    @app.middleware("http")
    async def around(
        request: Request, call_next: Callable[[Request], Awaitable[Response]]
    ) -> Response:
        request.state.request_id = request_id_of(request, random)
        try:
            check_headers(request)
            response = await call_next(request)
        except RefusedError as error:
            response = refused_response(error, request.state.request_id)
        # The program's top for one request: it ends that request, and the caller learns only that it did.
        except Exception as error:  # noqa: BLE001
            _log.exception("request_failed", path=request.url.path, error=type(error).__name__)
            internal = RefusedError("internal_error")
            response = refused_response(internal, request.state.request_id)
        response.headers[REQUEST_ID_HEADER] = request.state.request_id
        route = request.scope.get("route")
        on_answered(getattr(route, "path", "none"), response.status_code)
        return response

    @app.exception_handler(RefusedError)
    async def on_refused(request: Request, error: RefusedError) -> Response:
        return refused_response(error, request.state.request_id)

    @app.exception_handler(OutageError)
    async def on_outage(request: Request, error: OutageError) -> Response:
        _log.warning("dependency_out", error=str(error))
        unavailable = RefusedError("unavailable", retry_after_seconds=_RETRY_AFTER_SECONDS)
        return refused_response(unavailable, request.state.request_id)

    @app.exception_handler(HTTPException)
    async def on_http(request: Request, error: HTTPException) -> Response:
        code = _OF_STATUS.get(error.status_code, "internal_error")
        response = refused_response(RefusedError(code), request.state.request_id)
        for name, value in (error.headers or {}).items():
            response.headers[name] = value
        return response

    @app.exception_handler(RequestValidationError)
    async def on_invalid(request: Request, error: RequestValidationError) -> Response:
        fields = [".".join(map(str, one["loc"])) for one in error.errors()]
        refused = RefusedError("body_invalid", details={"members": fields})
        return refused_response(refused, request.state.request_id)
