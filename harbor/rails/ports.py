"""What the rail worker asks of the world. The rail itself is one port, the same for simulator and Stripe."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from schemas.messages.commands import Command
from schemas.messages.effects import Effect
from schemas.messages.shared import RailAnswerKind


class RailUnavailableError(Exception):
    """The rail can't be reached, or its answer was lost: nobody knows what it did. Ask again with the same id."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RailAnswer:
    """What the rail says it did. Amounts in minor units, as the rail names them, not as they were asked."""

    kind: RailAnswerKind
    rail_object: str | None
    amount_minor: int
    currency: str
    rail_status: str
    hold_expires_at: datetime | None = None
    code: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RailObject:
    """The rail's own view of an intent's money, as a look shows it."""

    rail_object: str
    rail_status: str
    amount_minor: int
    currency: str
    is_gone: bool
    hold_expires_at: datetime | None


class Rail(Protocol):
    """Effects are at-least-once; a rail makes each once, by its effect id."""

    async def execute(self, effect: Effect) -> tuple[RailAnswer, ...]:
        """The answer, or several where the rail repeats itself. Raises RailUnavailableError."""

    async def observe(self, rail_object: str) -> RailObject | None:
        """A look without any effect. Raises RailUnavailableError."""

    async def find(self, *, tenant_id: str, intent_id: str) -> RailObject | None:
        """The intent's object, where its id never reached us. Raises RailUnavailableError."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EffectRecord:
    """A record of `paybond.effects`; `effect` None = it can't be decoded."""

    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    effect: Effect | None


@dataclass(frozen=True, slots=True, kw_only=True)
class EffectBatch:
    records: tuple[EffectRecord, ...] = ()
    assigned: tuple[int, ...] = ()
    revoked: tuple[int, ...] = ()


class EffectLog(Protocol):
    """Member of group `paybond-rails` on `paybond.effects`. Each raises BrokerUnavailableError."""

    async def consume(self) -> EffectBatch: ...

    async def commit(self, offsets: Mapping[int, int]) -> None:
        """Next offsets; losing this call costs re-reading, never a second effect."""

    async def close(self) -> None: ...


class Outstanding(Protocol):
    """Which effects the newest states have outstanding, read from `paybond.intents`."""

    async def catch_up(self, partition: int) -> None:
        """Read up to the last stable offset of this moment. Raises BrokerUnavailableError."""

    def effect_of(self, *, tenant_id: str, intent_id: str) -> str | None:
        """The outstanding effect's id; None = none is outstanding."""

    def has_shown(self, *, tenant_id: str, ledger_seq: int) -> bool:
        """Whether the states read hold all that the tenant's entries up to this one imply."""

    def is_paused(self, tenant_id: str) -> bool:
        """Whether an operator holds back all that moves this tenant's money."""

    def unreadable(self, tenant_id: str) -> str | None:
        """Why the tenant's states can't be relied on, or None."""

    def forget(self, partition: int) -> None: ...


class CommandSender(Protocol):
    async def send(self, command: Command) -> None:
        """Seal and produce; returns when acknowledged. Raises BrokerUnavailableError."""


class DeadLetters(Protocol):
    async def bury(self, record: EffectRecord, reason: str) -> None:
        """Raises BrokerUnavailableError."""


class Pause(Protocol):
    async def pause(self, seconds: float) -> None:
        """The worker's only way to let time pass."""
