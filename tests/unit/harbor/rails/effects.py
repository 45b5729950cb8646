"""An effect of a sandbox tenant, and time that only moves when a test moves it."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from schemas.messages.effects import Effect
from schemas.messages.shared import Environment, RailAction, SettlementMode

NOW = datetime(2030, 1, 2, 15, 0, tzinfo=UTC)
EFFECT = Effect(
    effect_id="c-1",
    tenant_id="acme",
    intent_id="7f2a9b1e-2f66-4f4f-9c6e-8f4b8e85c401",
    ledger_seq=3,
    action=RailAction.HOLD,
    amount_minor=20000,
    currency="usd",
    attempt=1,
    issue=0,
    settlement_rail="stripe_connect",
    settlement_mode=SettlementMode.SIMULATED,
    settlement_config_version=1,
    environment=Environment.SANDBOX,
    requested_at=NOW,
)


def effect(action: RailAction, effect_id: str, **changes: Any) -> Effect:
    return replace(EFFECT, action=action, effect_id=effect_id, **changes)


class StandingClock:
    def __init__(self) -> None:
        self.instant = NOW

    def now(self) -> datetime:
        return self.instant

    def move(self, **by: float) -> None:
        self.instant += timedelta(**by)


class CountedPause:
    def __init__(self) -> None:
        self.seconds: list[float] = []

    async def pause(self, seconds: float) -> None:
        self.seconds.append(seconds)
