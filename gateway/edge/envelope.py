"""Every error in one envelope, every answer with its request id; nothing of an exception ever reaches a caller."""

from collections.abc import Callable

import structlog
from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from gateway.commands.answers import Answer
from gateway.edge.around import Around
from gateway.edge.refused import RefusedError
from gateway.edge.refused_response import refused_response
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


def install(
    app: FastAPI, random: Callable[[int], bytes], on_answered: Callable[[str, int], None]
) -> None:
    """What is around each request, and one handler per kind of error."""
    app.add_middleware(Around, random=random, on_answered=on_answered)

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
