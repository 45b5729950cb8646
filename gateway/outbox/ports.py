"""What writing, relaying and restoring the gateway's own rows ask of Postgres and Kafka."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from gateway.outbox.rows import OwnedRow, RowKey
from schemas.ids import TenantId
from schemas.messages.operations import GatewayRow


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """A row's new version; not answered for before its outbox id is acknowledged."""

    row: OwnedRow
    outbox_id: int


class RowStore(Protocol):
    async def find(self, key: RowKey) -> OwnedRow | None:
        """The version that reads may see: acknowledged. Raises DatabaseUnavailableError."""

    async def change(
        self, key: RowKey, change: Callable[[OwnedRow | None], OwnedRow | None]
    ) -> Written | None:
        """Row and outbox row in one transaction; changes of one key one after the other.

        `change` sees the present version (None: no such row), gives the next one, or None to leave it as it is; what
        it raises undoes everything. A version that says the same as an acknowledged one stays seen while it waits for
        its own outbox id. Raises DatabaseUnavailableError.
        """

    async def is_acknowledged(self, tenant_id: TenantId, outbox_id: int) -> bool:
        """Raises DatabaseUnavailableError."""


class Outbox(Protocol):
    """The relay's side. Every call after `lock` fails with DatabaseUnavailableError once the lock is lost."""

    async def lock(self) -> bool:
        """Whether this relay is the one of its database from now on. Raises DatabaseUnavailableError."""

    async def tenants(self) -> Sequence[TenantId]:
        """Those with rows to publish. Raises DatabaseUnavailableError."""

    async def pending(self, tenant_id: TenantId, limit: int) -> Sequence[GatewayRow]:
        """The oldest, in outbox order. Raises DatabaseUnavailableError."""

    async def acknowledge(self, tenant_id: TenantId, outbox_ids: Sequence[int]) -> None:
        """Make the rows visible, drop them from the outbox, and wake who waits. Raises DatabaseUnavailableError."""

    async def wait(self, seconds: float) -> None:
        """Until something may have been written, at most `seconds`. Raises DatabaseUnavailableError."""

    async def release(self) -> None:
        """Give the lock up; never raises."""


class RowLog(Protocol):
    async def open(self) -> None:
        """Fence every predecessor. Raises BrokerUnavailableError, OwnershipLostError."""

    async def publish(self, rows: Sequence[GatewayRow]) -> None:
        """All of them in this order, committed and acknowledged, or none.

        Raises BrokerUnavailableError, after which they may or may not be there; OwnershipLostError: fenced.
        """

    async def close(self) -> None: ...


class RowHistory(Protocol):
    async def newest(self) -> Sequence[GatewayRow]:
        """The last committed record of every key on the topic. Raises BrokerUnavailableError, CodecError."""


class RestorableRows(Protocol):
    async def restore(self, message: GatewayRow) -> bool:
        """Put the version back, visible, unless the table has this one or a newer one; whether it changed.

        Raises DatabaseUnavailableError, CodecError.
        """

    async def continue_after(self, outbox_id: int) -> None:
        """No outbox id up to this one is given again. Raises DatabaseUnavailableError."""
