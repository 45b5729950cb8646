"""Look-ups that share a round trip: what is asked while one is under way goes out together in the next.

Nothing is kept. Every answer comes from a look-up that began after it was asked for, so that a key revoked before a
request is revoked for it. (Data loaders, such as aiodataloader, gather what one turn of the event loop asks and start
at once; under load requests come one by one, and it is the database that they wait for.)
"""

import asyncio
from collections.abc import Awaitable, Callable, Hashable, Mapping, Sequence
from itertools import islice
from typing import Generic, TypeVar

Group = TypeVar("Group", bound=Hashable)
Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")


class Coalesced(Generic[Group, Key, Value]):
    """`look_up(group, keys)` answers those that it finds, `most` keys at a time; groups do not wait for each other."""

    def __init__(
        self,
        look_up: Callable[[Group, Sequence[Key]], Awaitable[Mapping[Key, Value]]],
        *,
        most: int,
    ) -> None:
        self._look_up = look_up
        self._most = most
        self._asked: dict[Group, dict[Key, asyncio.Future[Value | None]]] = {}
        # The loop itself holds tasks only weakly.
        self._serving: set[asyncio.Task[None]] = set()

    async def find(self, group: Group, key: Key) -> Value | None:
        """Raises what `look_up` raises, as everybody does whose key went out with this one."""
        asked = self._asked.get(group)
        if asked is None:
            asked = self._asked[group] = {}
            serving = asyncio.create_task(self._serve(group, asked))
            self._serving.add(serving)
            serving.add_done_callback(self._serving.discard)
        answer = asked.get(key)
        if answer is None:
            answer = asked[key] = asyncio.get_running_loop().create_future()
        # Whoever gives up must not end the wait of the others.
        return await asyncio.shield(answer)

    async def _serve(self, group: Group, asked: dict[Key, "asyncio.Future[Value | None]"]) -> None:
        taken: dict[Key, asyncio.Future[Value | None]] = {}
        try:
            while asked:
                taken = {key: asked.pop(key) for key in tuple(islice(asked, self._most))}
                try:
                    found = await self._look_up(group, tuple(taken))
                # It belongs to those who asked.
                except Exception as error:  # noqa: BLE001
                    for answer in taken.values():
                        answer.set_exception(error)
                else:
                    for key, answer in taken.items():
                        answer.set_result(found.get(key))
        finally:
            del self._asked[group]
            # Where this task was cancelled, nobody waits for ever.
            for answer in (*taken.values(), *asked.values()):
                answer.cancel()
