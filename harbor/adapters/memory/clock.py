"""A clock that somebody else moves; sleeping moves it too, so that whoever waits for a time always gets there."""

import asyncio
from datetime import datetime, timedelta


class MemoryClock:
    def __init__(self, instant: datetime) -> None:
        self.instant = instant

    def now(self) -> datetime:
        return self.instant

    def advance(self, duration: timedelta) -> None:
        """Also backwards, as clocks do."""
        self.instant += duration

    async def sleep(self, duration: timedelta) -> None:
        self.advance(duration)
        await asyncio.sleep(0)
