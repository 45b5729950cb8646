"""`x-paybond-min-ledger-seq`: a read that must show its own write waits for entry and body, bounded."""

from collections.abc import Sequence

from gateway.adapters.postgres_reads import TenantReads
from gateway.edge.refused import RefusedError
from gateway.queries.arrivals import WAIT_SECONDS, Arrivals, until_shown
from gateway.queries.parameters import SEQ_MAX, integer_of, refused
from schemas.ids import TenantId
from streams.runtime.postgres import sql_blocks

HEADER = "x-paybond-min-ledger-seq"
_RETRY_AFTER_SECONDS = 1
_IS_SHOWN = sql_blocks("gateway.queries", "ledger.sql")["is_shown"]


def minimum_seq_of(headers: Sequence[str]) -> int | None:
    """`headers` = every value of the header. Raises RefusedError (`body_invalid`)."""
    if not headers:
        return None
    if len(headers) > 1:
        raise refused(HEADER, "stands twice")
    return integer_of(HEADER, headers[0], minimum=1, maximum=SEQ_MAX)


async def wait_for(
    reads: TenantReads,
    arrivals: Arrivals,
    tenant_id: TenantId,
    seq: int | None,
    *,
    seconds: float = WAIT_SECONDS,
) -> None:
    """Returns when the tenant's entry `seq` and its bodies are there.

    Raises RefusedError (`unavailable`, with Retry-After) when they are not in time, DatabaseUnavailableError.
    """
    if seq is None:
        return

    async def is_shown() -> bool:
        row = await reads.fetch_one(tenant_id, _IS_SHOWN, seq=seq)
        return row is not None and bool(row["is_shown"])

    if not await until_shown(is_shown, arrivals, seconds=seconds):
        raise RefusedError("unavailable", retry_after_seconds=_RETRY_AFTER_SECONDS)
