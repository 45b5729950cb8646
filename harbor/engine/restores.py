"""Partitions on their way in: each is restored in a task of its own, beside the loop, while the others go on.

A partition that is revoked meanwhile is forgotten at once; one that comes back is restored from the beginning.
"""

import asyncio
from collections.abc import Iterable

from harbor.engine.ports import Assigner, Restored


class Restores:
    def __init__(self, assigner: Assigner) -> None:
        self._assigner = assigner
        self._tasks: dict[int, asyncio.Task[Restored]] = {}

    def begin(self, partitions: Iterable[int]) -> None:
        for partition in partitions:
            assert partition not in self._tasks, f"partition {partition} was assigned twice"
            self._tasks[partition] = asyncio.create_task(
                self._assigner.restore(partition), name=f"restore partition {partition}"
            )

    async def forget(self, partitions: Iterable[int]) -> None:
        """Returns when none of them touches the store any more: its next owner may share it."""
        tasks = [self._tasks.pop(partition) for partition in partitions if partition in self._tasks]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def completed(self) -> tuple[Restored, ...]:
        """Those that ended since the last call. Raises what a restore raised: the process stops."""
        done = [partition for partition, task in self._tasks.items() if task.done()]
        return tuple(self._tasks.pop(partition).result() for partition in done)

    @property
    def is_busy(self) -> bool:
        return bool(self._tasks)

    async def close(self) -> None:
        await self.forget(list(self._tasks))
