"""Waiting until nothing below an offset is undecided: a transaction's markers reach its partitions one by one."""

from datetime import timedelta

from harbor.engine.ports import Clock, LogReader

_STEP = timedelta(milliseconds=50)


async def stable_offset_until(
    reader: LogReader, clock: Clock, topic: str, partition: int, *, end: int, most: timedelta
) -> int:
    """The last stable offset once it has reached `end`, or where it still stands after `most`: something hangs there.

    Raises BrokerUnavailableError.
    """
    waited = timedelta()
    while (stable := await reader.stable_offset(topic, partition)) < end and waited < most:
        await clock.sleep(_STEP)
        waited += _STEP
    return stable
