"""What the command path asks of the world; each port has an adapter on Kafka or Postgres and one in memory."""

from asyncio import Future
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from gateway.auth.api_key import StoredKey
from gateway.auth.recognition import AgentKey
from schemas.ids import IntentId, TenantId
from schemas.messages.outcomes import IntentAnswer, Outcome


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandRecord:
    """One record of `paybond.commands`, key = tenant."""

    tenant_id: TenantId
    value: bytes
    headers: Mapping[str, bytes]


class CommandPublisher(Protocol):
    async def publish(self, record: CommandRecord) -> None:
        """Returns when all replicas have it. Raises BrokerUnavailableError, in time to answer: nobody knows."""


class ApiKeys(Protocol):
    async def find(self, key_id: str) -> StoredKey | None:
        """By the key's own id, before a tenant is known. Raises DatabaseUnavailableError."""


class AgentKeys(Protocol):
    async def find(self, tenant_id: TenantId, key_id: str) -> AgentKey | None:
        """Only the tenant's own keys. Raises DatabaseUnavailableError."""


class PresentIntents(Protocol):
    async def answer(self, tenant_id: TenantId, intent_id: IntentId) -> IntentAnswer | None:
        """The intent as the read tables have it, for a 202 whose outcome is not known yet."""


class Timer(Protocol):
    async def wait(self, future: Future[Outcome], seconds: float) -> Outcome | None:
        """The future's result, or None when the time is over; the future stays usable."""


class Clock(Protocol):
    def now(self) -> datetime: ...
