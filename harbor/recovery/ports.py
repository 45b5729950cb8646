"""What the tick asks of the process it lives in, beside the store and the clock of `harbor.engine.ports`."""

from collections.abc import Mapping
from typing import Protocol

from schemas.ids import TenantId
from schemas.messages.commands import Command


class Owned(Protocol):
    """What this process decides now (`HarborLoop`)."""

    @property
    def partitions(self) -> frozenset[int]:
        """Restored and not revoked."""

    @property
    def quarantined(self) -> Mapping[TenantId, str]:
        """Tenants that were found in doubt at assignment; those that a command stopped say so in their own row."""


class CommandSender(Protocol):
    async def send(self, command: Command) -> None:
        """Seal and produce; returns when acknowledged. Raises BrokerUnavailableError."""
