"""A Starlette request → `IncomingRequest`: raw path, every header value, raw body, sizes checked before all else.

The body is kept as bytes because digests and signatures are over those bytes, not over what a parser made of them.
"""

import re
from collections.abc import Callable

from starlette.requests import Request

from gateway.commands.submit import IncomingRequest
from gateway.edge.refused import RefusedError

BODY_BYTES_MAX = 512 * 1024
HEADER_BYTES_MAX = 16 * 1024
_REQUEST_ID = re.compile(r"[A-Za-z0-9._:-]{1,128}")
REQUEST_ID_HEADER = "x-request-id"


def request_id_of(request: Request, random: Callable[[int], bytes]) -> str:
    """The caller's own id if it is of a safe form, else a new one."""
    given = request.headers.get(REQUEST_ID_HEADER, "")
    return given if _REQUEST_ID.fullmatch(given) else f"req_{random(12).hex()}"


def check_headers(request: Request) -> None:
    """Raises RefusedError (`headers_too_large`)."""
    size = sum(len(name) + len(value) + 4 for name, value in request.scope["headers"])
    if size > HEADER_BYTES_MAX:
        raise RefusedError("headers_too_large")


def raw_path_of(request: Request) -> str:
    """As sent, percent-encoding and all, without the query: what a proof is about."""
    raw: bytes = request.scope.get("raw_path") or request.scope["path"].encode()
    return raw.split(b"?", 1)[0].decode("latin-1")


async def read_body(request: Request) -> bytes:
    """The raw body. Raises RefusedError (`body_too_large`) without reading more than the limit."""
    declared = request.headers.get("content-length", "")
    if declared.isdecimal() and int(declared) > BODY_BYTES_MAX:
        raise RefusedError("body_too_large")
    chunks: list[bytes] = []
    size = 0
    async for chunk in request.stream():
        size += len(chunk)
        if size > BODY_BYTES_MAX:
            raise RefusedError("body_too_large")
        chunks.append(chunk)
    return b"".join(chunks)


async def incoming(request: Request) -> IncomingRequest:
    """The whole request, sizes checked. Raises RefusedError."""
    headers: dict[str, tuple[str, ...]] = {}
    for name, value in request.scope["headers"]:
        key = name.decode("latin-1").lower()
        headers[key] = (*headers.get(key, ()), value.decode("latin-1"))
    return IncomingRequest(
        method=request.method,
        path=raw_path_of(request),
        headers=headers,
        body=await read_body(request),
        request_id=request.state.request_id,
    )
