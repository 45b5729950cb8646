"""Ed25519 verification for the loop, on a few threads: PyNaCl lets go of the GIL, so they do run side by side."""

import asyncio
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from harbor.engine.ports import SignatureTask
from harbor.engine.signatures import verify_one

# Below this many the hand-over to a thread costs more than it saves (a verification takes about 55 µs).
_INLINE_MAX = 4
# Small enough that the last chunk does not leave the other threads waiting.
_CHUNK = 64


class ThreadSignaturePool:
    """`threads` at about 18 k verifications/s each (measured, PyNaCl). Close it, or its threads stay."""

    def __init__(self, *, threads: int) -> None:
        assert threads > 0
        self._executor = ThreadPoolExecutor(threads, thread_name_prefix="harbor-signatures")

    async def verify_each(self, tasks: Sequence[SignatureTask]) -> list[int | None]:
        if len(tasks) <= _INLINE_MAX:
            return _verify(tasks)
        loop = asyncio.get_running_loop()
        chunks = await asyncio.gather(
            *(
                loop.run_in_executor(self._executor, _verify, tasks[at : at + _CHUNK])
                for at in range(0, len(tasks), _CHUNK)
            )
        )
        return [verdict for chunk in chunks for verdict in chunk]

    def close(self) -> None:
        self._executor.shutdown(wait=True)


def _verify(tasks: Sequence[SignatureTask]) -> list[int | None]:
    return [verify_one(task) for task in tasks]
