"""Whatever clients, time and a faulty rail do: our books end as the rail's do, and no way leads out of a final state.

`World` holds the rest at every entry: conservation, at most one request outstanding, no effect id twice.
"""

from datetime import timedelta

from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.due import Due, DueKind, next_due
from schemas.ids import command_id_of
from schemas.instants import format_instant
from schemas.intent_fold import IntentState, evolve
from schemas.messages.commands import (
    ConfirmSettlement,
    ExpireIntent,
    FundIntent,
    OpenDispute,
    RaiseHoldExpiring,
    RecordRailAnswer,
    ReissueEffect,
    ResolveDispute,
    WithdrawDispute,
)
from schemas.messages.outcomes import Outcome, OutcomeStatus
from schemas.messages.shared import Custody, DisputeOutcome, IntentStatus
from tests.support.builders import (
    ALWAYS,
    AMOUNT,
    IS_PAID,
    NEVER,
    TENANT,
    a_command_id,
    an_intent_id,
    submit_evidence,
)
from tests.support.domain_world import World, opened
from tests.support.rail_model import RailModel

STEPS = (
    "fund",
    "fund_again_with_key",
    "evidence",
    "confirm",
    "confirm_again_with_key",
    "open_dispute",
    "withdraw",
    "release",
    "refund",
    "split",
    "custody",
    "let_go",
    "execute",
    "execute",
    "execute",
    "decline",
    "relent",
    "deliver",
    "deliver",
    "deliver",
    "deliver_again",
    "lose_answer",
    "lose_hold",
    "look",
    "wait_a_minute",
    "wait_a_day",
    "tick",
    "tick",
)


class History:
    """One intent, its rail, and what happens to them."""

    def __init__(self, predicate: bytes) -> None:
        self.world = opened(predicate=predicate)
        self.rail = RailModel()
        self.keyed = 0

    def step(self, name: str) -> None:
        getattr(self, name)()

    def fund(self) -> Outcome:
        return self.world.do(FundIntent())

    def _with_key(self, body: FundIntent | ConfirmSettlement, number: int) -> Outcome:
        """The same idempotency key with a fresh proof."""
        self.keyed += 1
        return self.world.do(body, command_id=a_command_id(number), nonce=f"nonce-{self.keyed}")

    def fund_again_with_key(self) -> Outcome:
        return self._with_key(FundIntent(), 900_001)

    def confirm_again_with_key(self) -> Outcome:
        return self._with_key(ConfirmSettlement(), 900_002)

    def evidence(self) -> Outcome:
        return self.world.do(submit_evidence(now=self.world.now))

    def confirm(self) -> Outcome:
        return self.world.do(ConfirmSettlement())

    def open_dispute(self) -> Outcome:
        return self.world.do(OpenDispute(reason_code="late"))

    def withdraw(self) -> Outcome:
        return self.world.do(WithdrawDispute(reason_code="mistake"))

    def _resolve(
        self,
        outcome: DisputeOutcome,
        *,
        payee: int | None = None,
        custody: Custody | None = None,
    ) -> Outcome:
        return self.world.do(
            ResolveDispute(
                outcome=outcome,
                reason_code="judged",
                payee_minor=payee,
                principal_minor=None if payee is None else AMOUNT - payee,
                custody=custody,
                external_ref="case-7" if custody else None,
            )
        )

    def release(self) -> Outcome:
        return self._resolve(DisputeOutcome.RELEASE)

    def refund(self) -> Outcome:
        return self._resolve(DisputeOutcome.REFUND)

    def split(self) -> Outcome:
        return self._resolve(DisputeOutcome.RESOLVED_SPLIT, payee=AMOUNT // 3)

    def custody(self) -> Outcome:
        return self._resolve(DisputeOutcome.ESCALATED_EXTERNAL, custody=Custody.CAPTURE)

    def let_go(self) -> Outcome:
        return self._resolve(DisputeOutcome.ESCALATED_EXTERNAL, custody=Custody.CANCEL)

    def execute(self, *, is_declined: bool = False) -> None:
        """As the worker: only what the newest state has outstanding."""
        outstanding = self.world.state().hold.effect_id
        if outstanding is not None:
            effect = next(e for e in self.world.effects if e.effect_id == outstanding)
            self.rail.execute(effect, self.world.now, is_declined=is_declined)

    def decline(self) -> None:
        self.execute(is_declined=True)

    def relent(self) -> None:
        self.rail.relent(self.world.now)

    def deliver(self) -> None:
        if self.rail.on_their_way:
            answer = self.rail.on_their_way.pop(0)
            self.rail.delivered.append(answer)
            self._say(answer.effect_id, repr(answer), answer)

    def deliver_again(self) -> None:
        """A repeat after the idempotency window: another command with the same answer."""
        if self.rail.delivered:
            self.world.do(self.rail.delivered[-1])

    def _say(self, effect_id: str, said: str, answer: RecordRailAnswer) -> None:
        command_id = command_id_of("rail-answer", TENANT, effect_id, said)
        self.world.do(answer, command_id=command_id)

    def lose_answer(self) -> None:
        if self.rail.on_their_way:
            self.rail.on_their_way.pop(0)

    def lose_hold(self) -> None:
        self.rail.lose_hold()

    def look(self) -> None:
        seen = self.rail.look(self.world.now)
        if seen is not None:
            self.world.do(seen)

    def wait_a_minute(self) -> None:
        self.world.now += timedelta(minutes=1)

    def wait_a_day(self) -> None:
        self.world.now += timedelta(days=1)

    def tick(self) -> Due | None:
        """Send what is due, as the tick does."""
        state = self.world.state()
        due = next_due(state, now=self.world.now)
        if due is None or due.at > self.world.now:
            return due
        match due.kind:
            case DueKind.WARN:
                assert due.hours_left is not None
                self.world.do(RaiseHoldExpiring(hours_left=due.hours_left))
            case DueKind.REISSUE:
                assert due.issue is not None
                assert state.hold.effect_id is not None
                self.world.do(ReissueEffect(effect_id=state.hold.effect_id, issue=due.issue))
            case _:
                command_id = command_id_of("expire", TENANT, an_intent_id(), format_instant(due.at))
                self.world.do(ExpireIntent(due_at=due.at), command_id=command_id)
        return due

    def drain(self) -> None:
        """From here on the rail answers everything: time passes until nothing is due or outstanding."""
        for _ in range(200):
            while self.rail.on_their_way:
                self.deliver()
            if self.world.state().hold.is_outstanding:
                self.execute()
                continue
            self.look()
            due = next_due(self.world.state(), now=self.world.now)
            if due is None:
                return
            self.world.now = max(self.world.now, due.at)
            self.tick()
        raise AssertionError("it never comes to rest")


_BEGINNINGS = (
    (),
    ("fund", "execute", "deliver"),
    ("fund", "decline", "deliver", "relent"),
    ("fund", "execute", "deliver", "evidence", "confirm"),
    ("fund", "execute", "deliver", "evidence", "confirm", "decline", "deliver", "relent"),
    ("fund", "execute", "deliver", "evidence", "open_dispute"),
)


@settings(max_examples=1_000, deadline=None, derandomize=True)
@given(
    predicate=st.sampled_from([ALWAYS, NEVER, IS_PAID]),
    beginning=st.sampled_from(_BEGINNINGS),
    steps=st.lists(st.sampled_from(STEPS), min_size=5, max_size=40),
)
def test_the_books_end_as_the_rails_books(
    predicate: bytes, beginning: tuple[str, ...], steps: list[str]
) -> None:
    history = History(predicate)
    for name in (*beginning, *steps):
        history.step(name)

    history.drain()
    if history.world.state().status is IntentStatus.DISPUTED:
        history.refund()
        history.drain()

    assert_settled(history.world, history.rail)


def assert_settled(world: World, rail: RailModel) -> None:
    state = world.state()
    assert state.is_final
    assert not state.hold.is_outstanding
    assert rail.status != "requires_capture", "money is still held that the ledger let go"
    assert rail.captured_minor == state.released_minor + state.custody_minor
    assert world.settlements == world.accepted, "each accepted command is settled exactly once"
    assert not [o for o in world.outcomes.values() if o.status is OutcomeStatus.ACCEPTED]
    assert refolded(world) == state


def refolded(world: World) -> IntentState | None:
    """Live path and replay run the same fold."""
    state = None
    for entry in world.entries:
        if entry.intent_id is not None:
            state = evolve(state, entry)
    return state
