"""The real clock's waits: a future's result or, when the time is over, nothing; the future lives on."""

import asyncio

from schemas.messages.outcomes import Outcome


class EventLoopTimer:
    async def wait(self, future: "asyncio.Future[Outcome]", seconds: float) -> Outcome | None:
        done, _ = await asyncio.wait([future], timeout=seconds)
        return future.result() if done else None
