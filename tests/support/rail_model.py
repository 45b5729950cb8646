"""A rail for histories: one object per intent, each effect carried out once, answers that arrive twice, late or never.

Harsher than the simulator: it may take back a refusal and do what it had refused, and lose a hold by itself.
"""

from dataclasses import dataclass, field
from datetime import datetime

from schemas.messages.commands import RecordRailAnswer, RecordRailObservation
from schemas.messages.effects import Effect
from schemas.messages.shared import RailAction, RailAnswerKind
from tests.support.builders import HOLD_LIFETIME, RAIL_OBJECT, rail_answer


@dataclass(slots=True, kw_only=True)
class RailModel:
    """`status` in Stripe's words; `captured_minor` is what the payee (or custody) has."""

    status: str = "requires_payment_method"
    amount_minor: int = 0
    captured_minor: int = 0
    expires_at: datetime | None = None
    answered: dict[str, RecordRailAnswer] = field(default_factory=dict)
    refused: list[Effect] = field(default_factory=list)
    on_their_way: list[RecordRailAnswer] = field(default_factory=list)
    delivered: list[RecordRailAnswer] = field(default_factory=list)

    def execute(self, effect: Effect, now: datetime, *, is_declined: bool = False) -> None:
        """Carry out or repeat the answer; the answer is on its way."""
        known = self.answered.get(effect.effect_id)
        if known is None:
            known = self._decline(effect) if is_declined else self._carry_out(effect, now)
            self.answered[effect.effect_id] = known
        self.on_their_way.append(known)

    def relent(self, now: datetime) -> None:
        """Do after all what was refused last, and say so."""
        if self.refused:
            effect = self.refused.pop()
            answer = self._carry_out(effect, now)
            if answer.kind is RailAnswerKind.SUCCEEDED:
                self.answered[effect.effect_id] = answer
                self.on_their_way.append(answer)

    def lose_hold(self) -> None:
        if self.status == "requires_capture":
            self.status = "canceled"

    def look(self, now: datetime) -> RecordRailObservation | None:
        if not self.amount_minor:
            return None
        self._expire(now)
        return RecordRailObservation(
            rail_object=RAIL_OBJECT,
            rail_status=self.status,
            amount_minor=self.amount_minor,
            currency="usd",
            is_gone=self.status == "canceled",
            checked_at=now,
        )

    def _expire(self, now: datetime) -> None:
        if self.expires_at is not None and now >= self.expires_at:
            self.lose_hold()

    def _decline(self, effect: Effect) -> RecordRailAnswer:
        self.refused.append(effect)
        return rail_answer(effect, RailAnswerKind.DECLINED)

    def _carry_out(self, effect: Effect, now: datetime) -> RecordRailAnswer:
        self._expire(now)
        match effect.action, self.status:
            case RailAction.HOLD, "requires_payment_method" | "requires_capture":
                self.status = "requires_capture"
                self.amount_minor = effect.amount_minor
                self.expires_at = self.expires_at or now + HOLD_LIFETIME
                return rail_answer(effect, hold_expires_at=self.expires_at)
            case RailAction.CAPTURE, "requires_capture":
                self.status = "succeeded"
                self.captured_minor = effect.amount_minor
            case RailAction.CAPTURE, "succeeded" if self.captured_minor == effect.amount_minor:
                pass
            case RailAction.CANCEL, "requires_capture" | "canceled" | "requires_payment_method":
                self.status = "canceled"
            case RailAction.REFUND, "succeeded":
                self.status = "refunded"
                self.captured_minor = 0
            case RailAction.REFUND, "refunded":
                pass
            case _:
                return rail_answer(effect, RailAnswerKind.GONE, rail_status=self.status)
        return rail_answer(effect)
