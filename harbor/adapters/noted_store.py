"""A state store that knows how far it goes while it is written: changelog offsets join the batch's own write.

They come from the delivery reports of transactions that committed, so a restart after weeks reads on from the last
batch and not from the last assignment.
"""

from collections.abc import AsyncGenerator, Callable, Iterable, Mapping

from harbor.engine.local_state import RESTORED_TOPICS, note_writes
from harbor.engine.ports import Clock, StateStore

StoreKey = tuple[str, bytes]
# (topic, partition) → the offset after the last record of transactions committed since the last call.
TakeCommitted = Callable[[], Mapping[tuple[str, int], int]]


class NotedStore:
    """`harbor.engine.ports.StateStore` around another.

    The first write after a commit is the batch's (step 7): only there do new offsets come out of `take_committed`.
    """

    def __init__(self, store: StateStore, *, take_committed: TakeCommitted, clock: Clock) -> None:
        self._store = store
        self._take_committed = take_committed
        self._clock = clock

    async def get_many(self, partition: int, keys: Iterable[StoreKey]) -> dict[StoreKey, bytes]:
        return await self._store.get_many(partition, keys)

    def scan(
        self, partition: int, namespace: str, prefix: bytes, *, after: bytes | None = None
    ) -> AsyncGenerator[tuple[bytes, bytes], None]:
        return self._store.scan(partition, namespace, prefix, after=after)

    async def write(self, writes: Mapping[int, Mapping[StoreKey, bytes | None]]) -> None:
        noted = dict(writes)
        for partition, restored_to in self._by_partition().items():
            # Offsets without the rows they stand for would lose those rows: they go in together or not at all.
            if partition in writes:
                noted[partition] = {
                    **writes[partition],
                    **note_writes(restored_to, self._clock.now()),
                }
        await self._store.write(noted)

    async def drop(self, partition: int) -> None:
        await self._store.drop(partition)

    async def close(self) -> None:
        await self._store.close()

    def _by_partition(self) -> dict[int, dict[str, int]]:
        found: dict[int, dict[str, int]] = {}
        for (topic, partition), offset in self._take_committed().items():
            if topic in RESTORED_TOPICS:
                found.setdefault(partition, {})[topic] = offset
        return found
