"""Schema `gateway` back from `paybond.gateway.rows`: what was acknowledged survives a lost database.

    1. read the newest committed record of every key
    2. let new outbox ids begin above every one on the topic
    3. put each row back, visible, unless the table has that version or a newer one

Running it twice, or on a database that lost nothing, changes nothing.
"""

from dataclasses import dataclass

from gateway.outbox.ports import RestorableRows, RowHistory


@dataclass(frozen=True, slots=True, kw_only=True)
class Restored:
    """`changed` = rows that the tables had not, or only in an older version."""

    records: int
    changed: int


async def restore(history: RowHistory, rows: RestorableRows) -> Restored:
    """Steps 1–3. Raises OutageError, CodecError; whatever was put back stays, and a repeat does the rest."""
    newest = await history.newest()  # 1
    if newest:
        await rows.continue_after(max(message.outbox_id for message in newest))  # 2
    changed = [await rows.restore(message) for message in newest]  # 3
    return Restored(records=len(newest), changed=sum(changed))
