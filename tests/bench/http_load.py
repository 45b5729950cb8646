"""A load generator that costs little: requests made beforehand, one connection per lane, HTTP/1.1 read by hand."""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass

_SECONDS_MAX = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Answered:
    """`seconds` of each request, as its client waited; `statuses` likewise; `wall` from the first to the last."""

    seconds: Sequence[float]
    statuses: Sequence[int]
    wall: float

    @property
    def per_second(self) -> float:
        return len(self.seconds) / self.wall


def request(method: str, path: str, headers: Sequence[tuple[str, str]], body: bytes = b"") -> bytes:
    lines = [f"{method} {path} HTTP/1.1", "host: localhost", f"content-length: {len(body)}"]
    lines += [f"{name}: {value}" for name, value in headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


async def load(port: int, requests: Sequence[bytes], *, side_by_side: int) -> Answered:
    """Every request once, lanes taking the next as they come free."""
    seconds: list[float] = []
    statuses: list[int] = []
    waiting = iter(requests)
    began = time.perf_counter()

    async def lane() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for one in waiting:
            sent = time.perf_counter()
            writer.write(one)
            statuses.append(await asyncio.wait_for(_answer(reader), _SECONDS_MAX))
            seconds.append(time.perf_counter() - sent)
        writer.close()
        await writer.wait_closed()

    await asyncio.gather(*(lane() for _ in range(side_by_side)))
    return Answered(seconds=seconds, statuses=statuses, wall=time.perf_counter() - began)


async def _answer(reader: asyncio.StreamReader) -> int:
    head = await reader.readuntil(b"\r\n\r\n")
    status = int(head[9:12])
    lines = head.lower().split(b"\r\n")
    length = next(int(line[15:]) for line in lines if line.startswith(b"content-length:"))
    await reader.readexactly(length)
    return status
