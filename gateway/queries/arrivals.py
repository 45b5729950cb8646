"""Read-your-writes: a read that names a ledger seq waits until the tables show it, woken once per batch.

    1. ask for the next arrival, 2. look into the tables, 3. not there: wait for that arrival or the end of the time.

The order matters: looking first would miss a batch that arrives between look and wait.
"""

import asyncio
from collections.abc import Awaitable, Callable

WAIT_SECONDS = 3.0


class Arrivals:
    """`arrived` wakes everybody who waits: a batch may hold any tenant's rows."""

    def __init__(self) -> None:
        self._next: asyncio.Event = asyncio.Event()

    def next(self) -> asyncio.Event:
        return self._next

    def arrived(self) -> None:
        self._next.set()
        self._next = asyncio.Event()


async def until_shown(
    is_shown: Callable[[], Awaitable[bool]], arrivals: Arrivals, *, seconds: float = WAIT_SECONDS
) -> bool:
    """Steps 1–3; False = not in time. Raises what `is_shown` raises."""
    end = asyncio.get_running_loop().time() + seconds
    while True:
        arrival = arrivals.next()  # 1
        if await is_shown():  # 2
            return True
        left = end - asyncio.get_running_loop().time()
        if left <= 0:
            return False
        try:
            await asyncio.wait_for(arrival.wait(), left)  # 3
        except TimeoutError:
            return await is_shown()
