"""Pages of a tenant's own keys; unacknowledged rows are not there."""

from gateway.adapters.postgres_reads import Row, TenantReads
from schemas.ids import TenantId
from streams.runtime.postgres import sql_blocks

_SQL = sql_blocks("gateway.queries", "keys.sql")


async def page_of_api_keys(
    reads: TenantReads, tenant_id: TenantId, *, after: str, limit: int
) -> list[Row]:
    """By key id. Raises DatabaseUnavailableError."""
    return await reads.fetch(tenant_id, _SQL["api_keys"], after=after, limit=limit)


async def page_of_agent_keys(
    reads: TenantReads, tenant_id: TenantId, *, after: str, limit: int
) -> list[Row]:
    """By key id. Raises DatabaseUnavailableError."""
    return await reads.fetch(tenant_id, _SQL["agent_keys"], after=after, limit=limit)
