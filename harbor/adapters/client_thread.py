"""A thread of its own for one client, so that its blocking calls never stop the event loop.

Calls run one after the other, in the order they were made: a client is never used by two threads at once.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import ParamSpec, TypeVar

Result = TypeVar("Result")
Parameters = ParamSpec("Parameters")


class ClientThread:
    def __init__(self, name: str) -> None:
        self._executor = ThreadPoolExecutor(max_workers=1, thread_name_prefix=name)

    async def call(
        self,
        function: Callable[Parameters, Result],
        *args: Parameters.args,
        **kwargs: Parameters.kwargs,
    ) -> Result:
        """What `function` returns or raises.

        A call that began can't be taken back: cancelled, this waits for its end first, so that whoever comes next
        finds the client at rest. Calls are therefore kept short: waits are made of many of them.
        """
        loop = asyncio.get_running_loop()
        running = loop.run_in_executor(self._executor, partial(function, *args, **kwargs))
        try:
            return await asyncio.shield(running)
        except asyncio.CancelledError:
            await asyncio.wait([running])
            if not running.cancelled():
                # Its error has nobody left to go to; looking at it keeps asyncio from reporting a loss.
                running.exception()
            raise

    def close(self) -> None:
        """After the last call."""
        self._executor.shutdown(wait=True)
