"""The newest outcome of a command, as the record's bytes say it."""

from gateway.adapters.postgres_reads import TenantReads
from schemas.ids import CommandId, TenantId
from schemas.messages.avro_codec import decode_as
from schemas.messages.outcomes import Outcome
from streams.runtime.postgres import sql_blocks

_SQL = sql_blocks("gateway.queries", "operations.sql")


async def find_outcome(
    reads: TenantReads, tenant_id: TenantId, command_id: CommandId
) -> Outcome | None:
    """None = not decided, or not in the tables yet. Raises DatabaseUnavailableError, CodecError."""
    row = await reads.fetch_one(tenant_id, _SQL["operation"], command_id=command_id)
    return None if row is None else decode_as(Outcome, bytes(row["outcome"]))
