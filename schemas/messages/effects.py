"""What a rail is asked. At-least-once on the topic; the rail makes it once, by `effect_id`."""

from dataclasses import dataclass
from datetime import datetime

from schemas.messages.shared import Environment, RailAction, SettlementMode


@dataclass(frozen=True, slots=True, kw_only=True)
class Effect:
    """A request to a rail, executed unless a newer state no longer has it outstanding.

    `ledger_seq` = the entry that asked; a state at or above it is newer.
    `issue` is 0 at first and counts re-issues; the id never changes with it.
    """

    effect_id: str
    tenant_id: str
    intent_id: str
    ledger_seq: int
    action: RailAction
    amount_minor: int
    currency: str
    attempt: int
    issue: int
    settlement_rail: str
    settlement_mode: SettlementMode
    settlement_config_version: int
    environment: Environment
    requested_at: datetime
    rail_object: str | None = None
