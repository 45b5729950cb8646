"""API keys and agent keys from Postgres, for the ports of the command path.

Every request begins with a key, so that those of requests that come side by side are looked up together.
"""

from collections.abc import Mapping, Sequence

from gateway.adapters.coalesced import Coalesced
from gateway.adapters.postgres_reads import TenantReads
from gateway.auth.api_key import KeyKind, StoredKey
from gateway.auth.recognition import AgentKey
from schemas.ids import TenantId
from schemas.messages.shared import Environment
from streams.runtime.postgres import Pool, outages, sql_blocks

_KEYS = sql_blocks("gateway.queries", "keys.sql")
_LOOKED_UP_TOGETHER_MAX = 256


class PostgresApiKeys:
    """By the exact key id, before a tenant is known: through `gateway.find_api_key` alone."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._keys = Coalesced(self._keys_of, most=_LOOKED_UP_TOGETHER_MAX)

    async def find(self, key_id: str) -> StoredKey | None:
        """An acknowledged key, revoked ones included. Raises DatabaseUnavailableError."""
        return await self._keys.find(None, key_id)

    async def _keys_of(self, group: None, key_ids: Sequence[str]) -> Mapping[str, StoredKey]:
        assert group is None
        with outages():
            async with self._pool.connection() as connection:
                cursor = await connection.execute(
                    _KEYS["api_keys_by_id"], {"key_ids": list(key_ids)}
                )
                rows = await cursor.fetchall()
        return {
            row[1]: StoredKey(
                tenant_id=row[0],
                key_id=row[1],
                environment=Environment(row[2]),
                kind=KeyKind(row[3]),
                permissions=frozenset(row[4]),
                pepper_id=row[5],
                digest=bytes(row[6]),
                is_revoked=row[7] is not None,
            )
            for row in rows
        }


class PostgresAgentKeys:
    def __init__(self, reads: TenantReads) -> None:
        self._reads = reads
        self._keys = Coalesced(self._keys_of, most=_LOOKED_UP_TOGETHER_MAX)

    async def find(self, tenant_id: TenantId, key_id: str) -> AgentKey | None:
        """Raises DatabaseUnavailableError."""
        return await self._keys.find(tenant_id, key_id)

    async def _keys_of(self, tenant_id: TenantId, key_ids: Sequence[str]) -> Mapping[str, AgentKey]:
        rows = await self._reads.fetch(tenant_id, _KEYS["agent_keys_by_id"], key_ids=list(key_ids))
        return {
            row["key_id"]: AgentKey(
                key_id=row["key_id"],
                public_key=bytes(row["public_key"]),
                purposes=frozenset(row["purposes"]),
                expires_at=row["expires_at"],
                is_revoked=row["revoked_at"] is not None,
            )
            for row in rows
        }
