"""What waits, over many intents: rails that have not answered, and holds that end soon. Pure."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from harbor.inspection.issued_effects import IssuedEffect
from harbor.inspection.states import States
from schemas.due import settles_at
from schemas.ids import TenantId
from schemas.intent_fold import IntentState
from schemas.messages.outcomes import NextAction
from schemas.messages.shared import HoldStatus
from schemas.next_action import next_action_under

# A hold in these states still binds somebody's money at the rail.
_LIVE_HOLDS = frozenset(
    {HoldStatus.HELD, HoldStatus.CAPTURE_REQUESTED, HoldStatus.CANCEL_REQUESTED}
)


@dataclass(frozen=True, slots=True, kw_only=True)
class AskedOfRail:
    """An effect. `issues` = how often it was put on the topic; 0 where that is longer ago than the topic keeps.

    `is_outstanding` is null where the intent's state can't be read. `is_answered` = an entry tells its success; what is
    neither was declined, or its hold is lost.
    """

    tenant_id: str
    intent_id: str
    effect_id: str
    action: str
    amount_minor: int
    currency: str
    attempt: int
    issues: int
    requested_at: datetime
    last_issued_at: datetime | None
    age: timedelta
    is_outstanding: bool | None
    is_answered: bool
    rail_object: str | None
    next_action: NextAction | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ExpiringHold:
    """`left` is negative for a hold whose end has passed. `settles_at` = when time alone will settle it."""

    tenant_id: str
    intent_id: str
    status: str
    hold_status: str
    amount_minor: int
    currency: str
    rail_object: str | None
    expires_at: datetime
    left: timedelta
    settles_at: datetime | None
    next_action: NextAction | None


def outstanding_effects(
    states: States, issued: Mapping[str, IssuedEffect], *, now: datetime, older_than: timedelta
) -> list[AskedOfRail]:
    """Oldest first. The states say what is outstanding; the topic only how often it was asked."""
    found = [
        _outstanding(intent, issued.get(intent.hold.effect_id or ""), states, now)
        for intent in states.sorted_intents()
        if intent.hold.is_outstanding
    ]
    return sorted(
        (one for one in found if one.age >= older_than),
        key=lambda one: (one.requested_at, one.tenant_id, one.effect_id),
    )


def all_effects(
    states: States, issued: Mapping[str, IssuedEffect], *, now: datetime, older_than: timedelta
) -> list[AskedOfRail]:
    """Those that nothing waits for too, as far back as the topic goes; oldest first."""
    waiting = outstanding_effects(states, issued, now=now, older_than=older_than)
    named = {one.effect_id for one in waiting}
    others = [
        one
        for one in _not_waiting(states, issued, now)
        if one.effect_id not in named and one.age >= older_than
    ]
    return sorted([*waiting, *others], key=lambda one: (one.requested_at, one.effect_id))


def expiring_holds(states: States, *, now: datetime, within: timedelta) -> list[ExpiringHold]:
    """First to end first, those included that have ended and that nobody has told us of yet."""
    found = []
    for intent in states.sorted_intents():
        hold = intent.hold
        if hold.status not in _LIVE_HOLDS or hold.expires_at is None or intent.is_final:
            continue
        if hold.expires_at - now <= within:
            found.append(
                ExpiringHold(
                    tenant_id=intent.tenant_id,
                    intent_id=intent.intent_id,
                    status=intent.status.value,
                    hold_status=hold.status.value,
                    amount_minor=hold.amount_minor,
                    currency=hold.currency,
                    rail_object=hold.rail_object,
                    expires_at=hold.expires_at,
                    left=hold.expires_at - now,
                    settles_at=settles_at(intent),
                    next_action=_next_action(intent, states, now),
                )
            )
    return sorted(found, key=lambda one: (one.expires_at, one.tenant_id, one.intent_id))


def _outstanding(
    intent: IntentState, issued: IssuedEffect | None, states: States, now: datetime
) -> AskedOfRail:
    hold = intent.hold
    assert hold.effect_id is not None
    assert hold.action is not None
    assert hold.requested_at is not None
    return AskedOfRail(
        tenant_id=intent.tenant_id,
        intent_id=intent.intent_id,
        effect_id=hold.effect_id,
        action=hold.action.value,
        amount_minor=hold.requested_minor,
        currency=intent.currency,
        attempt=hold.attempt,
        issues=0 if issued is None else issued.issues,
        requested_at=hold.requested_at,
        last_issued_at=None if issued is None else issued.issued_at,
        age=now - hold.requested_at,
        is_outstanding=True,
        is_answered=False,
        rail_object=hold.rail_object,
        next_action=_next_action(intent, states, now),
    )


def _not_waiting(
    states: States, issued: Mapping[str, IssuedEffect], now: datetime
) -> Iterator[AskedOfRail]:
    for one in issued.values():
        effect = one.effect
        intent = states.intents.get((TenantId(effect.tenant_id), effect.intent_id))
        yield AskedOfRail(
            tenant_id=effect.tenant_id,
            intent_id=effect.intent_id,
            effect_id=effect.effect_id,
            action=effect.action.value,
            amount_minor=effect.amount_minor,
            currency=effect.currency,
            attempt=effect.attempt,
            issues=one.issues,
            requested_at=effect.requested_at,
            last_issued_at=one.issued_at,
            age=now - effect.requested_at,
            is_outstanding=None if intent is None else False,
            is_answered=intent is not None and effect.effect_id in intent.hold.carried_out,
            rail_object=effect.rail_object,
            next_action=None,
        )


def _next_action(intent: IntentState, states: States, now: datetime) -> NextAction | None:
    return next_action_under(states.tenants.get(TenantId(intent.tenant_id)), intent, now=now)
