"""The machine's clock and timers behind a type: the one place that reads them."""

import asyncio
from datetime import UTC, datetime, timedelta


class SystemClock:
    def now(self) -> datetime:
        return datetime.now(UTC)  # noqa: TID251 – this is the Clock that all others take

    async def sleep(self, duration: timedelta) -> None:
        await asyncio.sleep(duration.total_seconds())


class SystemPause:
    """Lets real time pass."""

    async def pause(self, seconds: float) -> None:
        await asyncio.sleep(seconds)
