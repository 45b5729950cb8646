"""An event loop without selector, timers or threads: whatever is ready runs, in the order in which it became ready.

Waiting for time or for others is the scheduler's business, so a run depends on nothing but its seed.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine
from contextvars import Context
from typing import Any, TypeVar, cast

Result = TypeVar("Result")


class StepLoop:
    """The part of an event loop that tasks, futures, events and `gather` need, and nothing else."""

    def __init__(self) -> None:
        self._ready: deque[asyncio.Handle] = deque()
        # Whatever asyncio asks of the other parts ends in an AttributeError.
        self._as_loop = cast("asyncio.AbstractEventLoop", self)

    def call_soon(
        self, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> asyncio.Handle:
        handle = asyncio.Handle(callback, args, self._as_loop, context)
        self._ready.append(handle)
        return handle

    def create_future(self) -> "asyncio.Future[Any]":
        return asyncio.Future(loop=self._as_loop)

    def create_task(
        self,
        coro: Coroutine[Any, Any, Result],
        *,
        name: str | None = None,
        context: Context | None = None,
    ) -> "asyncio.Task[Result]":
        return asyncio.Task(coro, loop=self._as_loop, name=name, context=context)

    def time(self) -> float:
        return 0.0

    def get_debug(self) -> bool:
        return False

    def is_running(self) -> bool:
        return True

    def is_closed(self) -> bool:
        return False

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        """Of tasks that died with their process nobody asks the result."""

    def settle(self) -> None:
        """Run until everybody waits."""
        ready = self._ready
        asyncio._set_running_loop(self._as_loop)
        try:
            while ready:
                handle = ready.popleft()
                if not handle.cancelled():
                    handle._run()
        finally:
            asyncio._set_running_loop(None)
