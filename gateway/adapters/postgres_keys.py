"""API keys, agent keys and present intents from Postgres, for the ports of the command path."""

from gateway.adapters.postgres_reads import TenantReads
from gateway.auth.api_key import KeyKind, StoredKey
from gateway.auth.recognition import AgentKey
from gateway.queries.intents import intent_answer
from schemas.ids import IntentId, TenantId
from schemas.messages.outcomes import IntentAnswer
from schemas.messages.shared import Environment
from streams.runtime.postgres import Pool, outages, sql_blocks

_KEYS = sql_blocks("gateway.queries", "keys.sql")


class PostgresApiKeys:
    """By the exact key id, before a tenant is known: through `gateway.find_api_key` alone."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def find(self, key_id: str) -> StoredKey | None:
        """An acknowledged key, revoked ones included. Raises DatabaseUnavailableError."""
        with outages():
            async with self._pool.connection() as connection:
                cursor = await connection.execute(_KEYS["api_key_by_id"], {"key_id": key_id})
                row = await cursor.fetchone()
        if row is None:
            return None
        return StoredKey(
            tenant_id=row[0],
            key_id=row[1],
            environment=Environment(row[2]),
            kind=KeyKind(row[3]),
            permissions=frozenset(row[4]),
            pepper_id=row[5],
            digest=bytes(row[6]),
            is_revoked=row[7] is not None,
        )


class PostgresAgentKeys:
    def __init__(self, reads: TenantReads) -> None:
        self._reads = reads

    async def find(self, tenant_id: TenantId, key_id: str) -> AgentKey | None:
        """Raises DatabaseUnavailableError."""
        row = await self._reads.fetch_one(tenant_id, _KEYS["agent_key"], key_id=key_id)
        if row is None:
            return None
        return AgentKey(
            key_id=row["key_id"],
            public_key=bytes(row["public_key"]),
            purposes=frozenset(row["purposes"]),
            expires_at=row["expires_at"],
            is_revoked=row["revoked_at"] is not None,
        )


class PostgresPresentIntents:
    def __init__(self, reads: TenantReads) -> None:
        self._reads = reads

    async def find(self, tenant_id: TenantId, intent_id: IntentId) -> IntentAnswer | None:
        """As the read tables have it now. Raises DatabaseUnavailableError."""
        return await intent_answer(self._reads, tenant_id, intent_id)
