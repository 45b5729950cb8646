"""What each kind of command says to an intent, in the auditor's model: entries, or the code of a refusal."""

from dataclasses import dataclass, field
from datetime import datetime

from schemas.messages.commands import (
    ConfirmSettlement,
    ExpireIntent,
    FundIntent,
    OpenDispute,
    RaiseHoldExpiring,
    RecordRailAnswer,
    ReissueEffect,
    ResolveDispute,
    SubmitEvidence,
    WithdrawDispute,
)
from tests.simulation.audit.intent_model import LIVE, Intent, Shape, reissue_due
from tests.simulation.audit.rules import Rule, ViolationError
from tests.support.builders import ALWAYS, NEVER


@dataclass(slots=True, kw_only=True)
class Said:
    """`code` = refused. `settles` = (command, status, code) of the outcome that this one rewrites."""

    events: list[Shape] = field(default_factory=list)
    code: str | None = None
    status: str = "done"
    operation: str | None = None
    settles: tuple[str, str, str | None] | None = None
    effects: list[tuple[str, int]] = field(default_factory=list)
    body: str | None = None
    pins: dict[str, bytes] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Telling:
    """`now` judges; `recorded_at` is what the entry says, never before the tenant's last."""

    command_id: str
    now: datetime
    recorded_at: datetime


def say(
    body: FundIntent
    | SubmitEvidence
    | ConfirmSettlement
    | OpenDispute
    | WithdrawDispute
    | ResolveDispute,
    intent: Intent,
    telling: Telling,
) -> Said:
    match body:
        case FundIntent():
            return _fund(intent, telling)
        case SubmitEvidence():
            return _evidence(body, intent, telling)
        case ConfirmSettlement():
            return _confirm(intent, telling)
        case OpenDispute():
            return _open(intent, telling)
        case WithdrawDispute():
            return _withdraw(intent)
        case ResolveDispute():
            return _resolve(body, intent, telling)


def _fund(intent: Intent, telling: Telling) -> Said:
    if intent.is_final:
        return Said(code="intent_final")
    if intent.status == "disputed":
        return Said(code="intent_frozen")
    if intent.status != "open":
        return Said()
    asked = intent.outstanding
    if asked is not None:
        assert asked.effect_id is not None
        return Said(operation=asked.effect_id.rpartition("-")[0])
    if telling.now >= intent.deadline:
        return Said(code="deadline_passed")
    event = intent.ask(telling.command_id, telling.recorded_at, "hold", intent.amount, "funding")
    return Said(events=[event], status="accepted")


def _evidence(body: SubmitEvidence, intent: Intent, telling: Telling) -> Said:
    if intent.is_final:
        return Said(code="intent_final")
    if intent.status == "disputed":
        return Said(code="intent_frozen")
    if intent.status == "open":
        return Said(code="not_funded")
    if intent.has_evidence:
        return Said(code="evidence_exists")
    if telling.now > intent.evidence_until or intent.outstanding is not None:
        return Said(code="deadline_passed")
    intent.has_evidence = True
    intent.status = "evidence_submitted"
    intent.verdict = _verdict(intent.predicate, body.payload)
    return Said(
        events=[("evidence_submitted", {}), ("predicate_evaluated", {"passed": intent.verdict})],
        body="evidence",
    )


def _verdict(predicate: bytes, payload: bytes) -> bool | None:
    if predicate == ALWAYS:
        return True
    if predicate == NEVER:
        return False
    # IS_PAID: unknown where the payload does not say.
    if b'"paid":true' in payload:
        return True
    return False if b'"paid"' in payload else None


def _confirm(intent: Intent, telling: Telling) -> Said:
    if intent.is_final:
        return Said(code="intent_final")
    if intent.status == "disputed":
        return Said(code="intent_frozen")
    if intent.outstanding is not None and intent.status != "open":
        return Said(code="settlement_in_progress")
    if intent.status != "evidence_submitted":
        return Said(code="no_evidence")
    event = intent.execute(telling.command_id, telling.recorded_at)
    return Said(events=[event], status="accepted")


def _open(intent: Intent, telling: Telling) -> Said:
    if intent.status not in LIVE:
        return Said(code="not_disputable")
    if intent.outstanding is not None:
        return Said(code="settlement_in_progress")
    intent.status_before, intent.status = intent.status, "disputed"
    intent.disputed_at = telling.recorded_at
    return Said(events=[("disputed", {})])


def _withdraw(intent: Intent) -> Said:
    if intent.status != "disputed":
        return Said(code="not_disputed")
    if intent.outstanding is not None:
        return Said(code="settlement_in_progress")
    intent.status, intent.disputed_at = intent.status_before, None
    return Said(events=[("dispute_withdrawn", {})])


def _resolve(body: ResolveDispute, intent: Intent, telling: Telling) -> Said:
    if intent.status != "disputed":
        return Said(code="not_disputed")
    if intent.outstanding is not None:
        return Said(code="settlement_in_progress")
    held, payee, principal = intent.held, body.payee_minor, body.principal_minor
    outcome = body.outcome.value
    if outcome == "resolved_split" and not (
        payee is not None
        and principal is not None
        and payee > 0
        and principal > 0
        and payee + principal == held
    ):
        return Said(code="split_invalid")
    action, amount, cause = "capture", held, "dispute_release"
    if outcome == "refund":
        action, cause = "cancel", "dispute_refund"
    elif outcome == "resolved_split":
        amount, cause = payee or 0, "dispute_split"
    elif outcome == "escalated_external":
        assert body.custody is not None
        action, cause = body.custody.value, "dispute_escalation"
    event = intent.ask(telling.command_id, telling.recorded_at, action, amount, cause)
    return Said(events=[event], status="accepted")


def say_of_rail(answer: RecordRailAnswer, intent: Intent, telling: Telling) -> Said:
    """A rail that says exactly what it did; what it says twice adds nothing."""
    asked = intent.outstanding
    if asked is None or asked.effect_id != answer.effect_id:
        if answer.kind.value == "succeeded" and answer.effect_id not in intent.done_effects:
            raise ViolationError(
                Rule.EFFECT, f"{answer.effect_id} was done, and nobody asks for it"
            )
        return Said()
    asking = answer.effect_id.rpartition("-")[0]
    asked.effect_id = None
    if answer.kind.value == "declined":
        failed = "settlement_rail_failed", {"effect_id": answer.effect_id, "is_gone": False}
        return Said(events=[failed], settles=(asking, "refused", "payment_declined"))
    if answer.kind.value == "gone":
        return _gone(answer, intent, asking)
    intent.done_effects.append(answer.effect_id)
    if asked.action == "hold":
        intent.status, intent.placed, intent.held = "funded", intent.amount, intent.amount
        intent.rail_object, intent.expires_at = answer.rail_object, answer.hold_expires_at
        placed: Shape = "settlement_hold_placed", {"amount_minor": intent.amount}
        return Said(events=[placed], settles=(asking, "done", None))
    confirmed: Shape = (
        "settlement_rail_confirmed",
        {"amount_minor": asked.amount, "action": asked.action},
    )
    return Said(events=[confirmed, intent.end()], settles=(asking, "done", None))


def _gone(answer: RecordRailAnswer, intent: Intent, asking: str) -> Said:
    """The hold had lapsed at the rail: whatever was held is back with its principal."""
    if not intent.held:
        failed = "settlement_rail_failed", {"effect_id": answer.effect_id, "is_gone": True}
        return Said(events=[failed], settles=(asking, "refused", "payment_declined"))
    events: list[Shape] = []
    sight = (answer.rail_object, answer.rail_status, answer.amount_minor, answer.currency, False)
    if sight != intent.sight:
        intent.sight = sight
        events.append(("rail_status_observed", {"is_drift": False}))
    events.append(intent.refund(intent.held, "hold_lost"))
    return Said(events=events, settles=(asking, "done", None))


def say_by_time(
    body: ExpireIntent | ReissueEffect | RaiseHoldExpiring, intent: Intent, telling: Telling
) -> Said:
    match body:
        case ReissueEffect():
            return _reissue(body, intent, telling)
        case RaiseHoldExpiring():
            return _warn(body, intent, telling)
        case ExpireIntent():
            return _expire(intent, telling)


def _reissue(body: ReissueEffect, intent: Intent, telling: Telling) -> Said:
    asked = intent.outstanding
    if asked is None or asked.effect_id != body.effect_id:
        return Said(code="effect_not_outstanding")
    if reissue_due(asked.asked_at, 1) > telling.now:
        return Said(code="nothing_due")
    issue = body.issue
    while reissue_due(asked.asked_at, issue) > telling.now:
        issue -= 1
    return Said(effects=[(body.effect_id, issue)])


def _warn(body: RaiseHoldExpiring, intent: Intent, telling: Telling) -> Said:
    warning = None if intent.outstanding is not None else intent.warning()
    if warning is None or warning[0] != body.hours_left or telling.now < warning[1]:
        return Said(code="nothing_due")
    intent.warned.append(body.hours_left)
    return Said(events=[("hold_expiring", {"hours_left": body.hours_left})])


def _expire(intent: Intent, telling: Telling) -> Said:
    if intent.is_final or intent.status == "disputed" or intent.outstanding is not None:
        return Said(code="nothing_due")
    if telling.now < intent.settles_at():
        return Said(code="nothing_due")
    if intent.status == "open":
        return Said(events=[intent.refund(0, "never_funded")])
    if intent.status == "evidence_submitted":
        event = intent.execute(telling.command_id, telling.recorded_at)
    else:
        cause = "deadline_passed" if telling.now > intent.deadline else "hold_expiring"
        event = intent.ask(telling.command_id, telling.recorded_at, "cancel", intent.held, cause)
    return Said(events=[event], status="accepted")
