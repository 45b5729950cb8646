"""HTTP of every listener, bounded before an application is asked: how long a request may take to arrive, and its head.

uvicorn has a limit for neither: a client that stops in the middle of its request keeps its connection for ever, and
headers are kept until their end comes, however many there are.
"""

from asyncio import TimerHandle, Transport
from typing import Any

from uvicorn.protocols.http.httptools_impl import (
    STATUS_LINE,
    HttpToolsProtocol,
    RequestResponseCycle,
)

# 512 KiB, the most that any body may have, arrives in this time over the slowest line that anybody uses.
REQUEST_SECONDS_MAX = 30.0
# Request line, headers, trailers, the frames of chunks. Beyond any limit that an application tells its callers about
# (the gateway's is 16 KiB), so that it is they who answer what only just passes their own.
BESIDE_BODY_BYTES_MAX = 64 * 1024
_TOO_LARGE = b"".join(
    [
        STATUS_LINE[431],
        b"content-type: text/plain; charset=utf-8\r\n",
        b"content-length: 26\r\n",
        b"connection: close\r\n\r\n",
        b"The headers are too large.",
    ]
)


class BoundedHttp(HttpToolsProtocol):
    """A request that does not arrive in time loses its connection; one with too much beside its body is 431."""

    def __init__(self, *given: Any, **named: Any) -> None:
        super().__init__(*given, **named)
        self._arriving: TimerHandle | None = None
        self._beside_body = 0

    def connection_made(self, transport: Transport) -> None:  # type: ignore[override]  # as uvicorn has it
        super().connection_made(transport)
        self._begin_arriving()

    def connection_lost(self, exc: Exception | None) -> None:
        self._has_arrived()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        # The chunk in which a request begins is not counted: what it may be too large by is one read of the socket.
        self._beside_body += len(data)
        super().data_received(data)
        if self._arriving is not None and self._beside_body > BESIDE_BODY_BYTES_MAX:
            self._refuse_too_large()

    def on_message_begin(self) -> None:
        self._beside_body = 0
        if self._arriving is None:
            self._begin_arriving()
        super().on_message_begin()

    def on_body(self, body: bytes) -> None:
        self._beside_body -= len(body)
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._has_arrived()
        super().on_message_complete()

    def _begin_arriving(self) -> None:
        self._arriving = self.loop.call_later(REQUEST_SECONDS_MAX, self._close)

    def _has_arrived(self) -> None:
        if self._arriving is not None:
            self._arriving.cancel()
            self._arriving = None

    def _refuse_too_large(self) -> None:
        cycle: RequestResponseCycle | None = self.cycle
        is_answering = cycle is not None and not cycle.response_complete
        if not is_answering and not self.transport.is_closing():
            self.transport.write(_TOO_LARGE)
        self._close()

    def _close(self) -> None:
        """The application, if it was asked already, sees a client that has gone."""
        if not self.transport.is_closing():
            self.transport.close()
