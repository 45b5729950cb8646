"""What a decision sees and what it says: `decide(command, facts)` → `Decision | Refused`. Values only.

A decision names events, never entries: seq, hashes and `evolve` are the engine's. What a rail has to be asked follows
from the `SettlementRailRequested` events, one effect each; only a re-issue carries an effect of its own.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TypeAlias

from schemas.canonical.intent_bytes import IntentFrame
from schemas.due import REISSUE_FIRST
from schemas.ids import CommandId
from schemas.intent_fold import IntentState, PartyPin, TenantState
from schemas.messages.bodies import EvidenceBody, IntentBody
from schemas.messages.effects import Effect
from schemas.messages.events import Event
from schemas.messages.outcomes import OutcomeStatus, Refusal
from schemas.messages.shared import Environment, SettlementMode


@dataclass(frozen=True, slots=True, kw_only=True)
class IntentConsent:
    """The frame whose signature by the principal verified: its digests and spellings go into the entry."""

    frame: IntentFrame
    deadline_text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class EvidenceConsent:
    """The digests whose signature by the payee verified."""

    payload_digest: bytes
    artifacts_digest: bytes


# None = no candidate frame verified, or the command carries no signature.
Consent: TypeAlias = IntentConsent | EvidenceConsent | None


@dataclass(frozen=True, slots=True, kw_only=True)
class RailPolicy:
    """Which adapters this deployment has behind `stripe_connect`. Live tenants never get the simulator.

    `reissue_first` = how long an effect may stay without an answer before it is issued again; it doubles from there.
    """

    is_simulator_enabled: bool = True
    is_stripe_enabled: bool = False
    reissue_first: timedelta = REISSUE_FIRST

    def mode_for(self, tenant: TenantState) -> SettlementMode | None:
        """The adapter that would carry out this tenant's holds, or None: `rail_not_enabled`."""
        if tenant.settlement_mode is SettlementMode.SIMULATED:
            is_enabled = self.is_simulator_enabled and tenant.environment is Environment.SANDBOX
            return SettlementMode.SIMULATED if is_enabled else None
        return SettlementMode.STRIPE_CONNECT if self.is_stripe_enabled else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """All that a decision may look at. `now` = the command record's timestamp, never a clock's.

    `is_expired` = decided after the command's `not_after`. `pins` holds the pins of the DIDs that the command names.
    """

    now: datetime
    is_expired: bool
    tenant: TenantState | None
    intent: IntentState | None
    intent_body: IntentBody | None
    evidence_body: EvidenceBody | None
    pins: Mapping[str, PartyPin]
    consent: Consent
    rails: RailPolicy
    is_ledger_topic_there: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class NewPin:
    did: str
    pubkey: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Settled:
    """The command that had asked the rail is answered now: its outcome is rewritten from `accepted`."""

    command_id: CommandId
    status: OutcomeStatus
    refusal: Refusal | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """`events` become entries in this order. `status` is `accepted` while a rail has to answer, else `done`."""

    events: tuple[Event, ...] = ()
    bodies: tuple[IntentBody | EvidenceBody, ...] = ()
    pins: tuple[NewPin, ...] = ()
    reissued: Effect | None = None
    status: OutcomeStatus = OutcomeStatus.DONE
    settled: Settled | None = None
    operation_command_id: CommandId | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """A refusal is a value: `refusal.code` is a key of `schemas.messages.refusals.REFUSALS`."""

    refusal: Refusal
