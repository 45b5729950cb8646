"""A refusal as the response that carries it."""

from starlette.responses import Response

from gateway.edge.refused import RefusedError, error_body


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
