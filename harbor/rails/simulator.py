"""A rail with a book, for sandbox tenants: asynchronous, forgetful and stubborn like a real one, without a network.

What goes wrong with an effect is a function of the seed and the effect's id, so that a run can be repeated. The book
is written before anything is answered: an effect that was carried out is never carried out again, whatever was lost.
"""

import hashlib
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol, assert_never

from harbor.rails.ports import Pause, RailAnswer, RailObject, RailUnavailableError
from harbor.rails.simulator_book import Book, BookedObject
from schemas.messages.effects import Effect
from schemas.messages.shared import Environment, RailAction, RailAnswerKind, SettlementMode

# A card authorization lives about this long (Stripe: extended authorizations aside, 7 days).
HOLD_LIFETIME = timedelta(days=7)
_BASIS_POINTS = 10_000
# Only these ask for money; letting a hold go is never declined.
_DECLINABLE = frozenset({RailAction.HOLD, RailAction.CAPTURE})


class Clock(Protocol):
    def now(self) -> datetime: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Faults:
    """How often, in basis points of effects, and how long each answer takes."""

    seed: int = 0
    delay_milliseconds: int = 0
    decline_bps: int = 0
    lose_bps: int = 0
    duplicate_bps: int = 0


class LiveTenantError(Exception):
    """The simulator was asked to carry out a live tenant's effect: a defect, never a refusal."""


def _draw(seed: int, effect_id: str, what: str) -> int:
    """0…9,999, the same for the same effect whenever it is asked."""
    digest = hashlib.sha256(f"{seed}/{effect_id}/{what}".encode()).digest()
    return int.from_bytes(digest[:8], "big") % _BASIS_POINTS


class Simulator:
    """`harbor.rails.ports.Rail`, deterministic by seed."""

    def __init__(self, book: Book, faults: Faults, *, pause: Pause, clock: Clock) -> None:
        self._book = book
        self._faults = faults
        self._pause = pause
        self._clock = clock

    async def execute(self, effect: Effect) -> tuple[RailAnswer, ...]:
        if (
            effect.environment is not Environment.SANDBOX
            or effect.settlement_mode is not SettlementMode.SIMULATED
        ):
            raise LiveTenantError(f"effect {effect.effect_id} is not a sandbox tenant's")
        booked = self._book.answer(effect.effect_id)
        is_first = booked is None
        answer = booked or self._carry_out(effect)
        await self._pause.pause(self._faults.delay_milliseconds / 1000)
        if is_first and self._is("lose", effect, self._faults.lose_bps):
            raise RailUnavailableError(f"the answer to {effect.effect_id} was lost")
        if self._is("duplicate", effect, self._faults.duplicate_bps):
            return answer, answer
        return (answer,)

    async def observe(self, rail_object: str) -> RailObject | None:
        found = self._book.object(rail_object)
        return None if found is None else self._seen(found)

    async def find(self, *, tenant_id: str, intent_id: str) -> RailObject | None:
        return await self.observe(object_of(tenant_id=tenant_id, intent_id=intent_id))

    def _is(self, what: str, effect: Effect, bps: int) -> bool:
        return _draw(self._faults.seed, effect.effect_id, what) < bps

    def _carry_out(self, effect: Effect) -> RailAnswer:
        """Decide, then book answer and object in one write, then return the answer."""
        name = object_of(tenant_id=effect.tenant_id, intent_id=effect.intent_id)
        before = self._book.object(name)
        is_declined = effect.action in _DECLINABLE and self._is(
            "decline", effect, self._faults.decline_bps
        )
        after = _after(before, effect, name=name, now=self._clock.now(), is_declined=is_declined)
        answer = _answer(after, effect, name=name, is_declined=is_declined)
        self._book.write(effect, answer, after)
        return answer

    def _seen(self, found: BookedObject) -> RailObject:
        is_over = found.status == "requires_capture" and self._clock.now() >= found.expires_at
        return RailObject(
            rail_object=found.name,
            rail_status="canceled" if is_over else found.status,
            amount_minor=found.amount_minor,
            currency=found.currency,
            is_gone=is_over or found.status == "canceled",
            hold_expires_at=found.expires_at,
        )


def object_of(*, tenant_id: str, intent_id: str) -> str:
    """One object per intent, for life."""
    digest = hashlib.sha256(f"{tenant_id}/{intent_id}".encode()).hexdigest()
    return f"pi_sim_{digest[:24]}"


def _after(
    before: BookedObject | None, effect: Effect, *, name: str, now: datetime, is_declined: bool
) -> BookedObject | None:
    """The object after the effect; unchanged where the effect was declined or came too late."""
    if is_declined:
        return before
    match effect.action:
        case RailAction.HOLD:
            if before is not None and before.status == "requires_capture":
                return before
            return BookedObject(
                name=name,
                status="requires_capture",
                amount_minor=effect.amount_minor,
                captured_minor=0,
                currency=effect.currency,
                expires_at=now + HOLD_LIFETIME,
            )
        case RailAction.CAPTURE:
            if before is None or before.status != "requires_capture":
                return before
            if now >= before.expires_at or effect.amount_minor > before.amount_minor:
                return before.with_status("canceled", captured_minor=0)
            return before.with_status("succeeded", captured_minor=effect.amount_minor)
        case RailAction.CANCEL:
            if before is None or before.status != "requires_capture":
                return before
            return before.with_status("canceled", captured_minor=0)
        case RailAction.REFUND:
            if before is None or before.status != "succeeded":
                return before
            return before.with_status("refunded", captured_minor=0)
        case _:
            assert_never(effect.action)


_DONE = {
    RailAction.HOLD: "requires_capture",
    RailAction.CAPTURE: "succeeded",
    RailAction.CANCEL: "canceled",
    RailAction.REFUND: "refunded",
}


def _answer(
    after: BookedObject | None, effect: Effect, *, name: str, is_declined: bool
) -> RailAnswer:
    if is_declined:
        return RailAnswer(
            kind=RailAnswerKind.DECLINED,
            rail_object=name,
            amount_minor=effect.amount_minor,
            currency=effect.currency,
            rail_status=after.status if after else "requires_payment_method",
            code="card_declined",
        )
    if after is None or after.status != _DONE[effect.action]:
        return RailAnswer(
            kind=RailAnswerKind.GONE,
            rail_object=name,
            amount_minor=effect.amount_minor,
            currency=effect.currency,
            rail_status=after.status if after else "canceled",
            code="payment_intent_unexpected_state",
        )
    return RailAnswer(
        kind=RailAnswerKind.SUCCEEDED,
        rail_object=name,
        amount_minor=effect.amount_minor,
        currency=effect.currency,
        rail_status=after.status,
        hold_expires_at=after.expires_at if effect.action is RailAction.HOLD else None,
    )
