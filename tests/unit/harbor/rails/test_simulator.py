"""The simulator makes each effect once, whatever it loses, and its faults can be repeated."""

import asyncio
from pathlib import Path

import pytest

from harbor.rails.ports import RailAnswer, RailUnavailableError
from harbor.rails.simulator import HOLD_LIFETIME, Faults, LiveTenantError, Simulator, object_of
from harbor.rails.simulator_book import Book
from schemas.messages.effects import Effect
from schemas.messages.shared import Environment, RailAction, RailAnswerKind, SettlementMode
from tests.unit.harbor.rails.effects import EFFECT, NOW, CountedPause, StandingClock, effect

OBJECT = object_of(tenant_id=EFFECT.tenant_id, intent_id=EFFECT.intent_id)


class Bench:
    def __init__(self, faults: Faults | None = None, *, path: str = ":memory:") -> None:
        self.clock = StandingClock()
        self.pause = CountedPause()
        self.book = Book(path)
        self.simulator = Simulator(
            self.book, faults or Faults(), pause=self.pause, clock=self.clock
        )

    def execute(self, asked: Effect) -> tuple[RailAnswer, ...]:
        return asyncio.run(self.simulator.execute(asked))

    def one(self, asked: Effect) -> RailAnswer:
        (answer,) = self.execute(asked)
        return answer


def test_a_hold_is_placed_on_the_intents_own_object_for_a_cards_week() -> None:
    answer = Bench().one(EFFECT)

    assert answer.kind is RailAnswerKind.SUCCEEDED
    assert (answer.rail_object, answer.amount_minor, answer.currency) == (OBJECT, 20000, "usd")
    assert answer.hold_expires_at == NOW + HOLD_LIFETIME


def test_the_same_effect_is_answered_from_the_book_also_by_the_next_process(
    tmp_path: Path,
) -> None:
    path = str(tmp_path / "book.sqlite")
    first = Bench(path=path)
    answer = first.one(EFFECT)
    first.book.close()
    second = Bench(path=path)
    second.clock.move(days=30)

    assert second.one(EFFECT) == answer


def test_a_part_of_a_hold_is_captured_once() -> None:
    bench = Bench()
    bench.one(EFFECT)

    captured = bench.one(effect(RailAction.CAPTURE, "c-2", amount_minor=15000))
    again = bench.one(effect(RailAction.CAPTURE, "c-3", amount_minor=5000))

    assert (captured.kind, captured.amount_minor) == (RailAnswerKind.SUCCEEDED, 15000)
    assert again.kind is RailAnswerKind.SUCCEEDED or again.kind is RailAnswerKind.GONE
    found = bench.book.object(OBJECT)
    assert found is not None
    assert found.captured_minor == 15000


def test_more_than_was_held_is_never_captured() -> None:
    bench = Bench()
    bench.one(EFFECT)

    answer = bench.one(effect(RailAction.CAPTURE, "c-2", amount_minor=20001))

    assert answer.kind is RailAnswerKind.GONE


def test_a_hold_that_has_ended_is_gone() -> None:
    bench = Bench()
    bench.one(EFFECT)
    bench.clock.move(days=7)

    answer = bench.one(effect(RailAction.CAPTURE, "c-2"))
    seen = asyncio.run(bench.simulator.observe(OBJECT))

    assert answer.kind is RailAnswerKind.GONE
    assert seen is not None
    assert seen.is_gone


def test_a_cancel_lets_the_hold_go_and_a_refund_follows_a_capture() -> None:
    bench = Bench()
    bench.one(EFFECT)
    cancelled = bench.one(effect(RailAction.CANCEL, "c-2"))
    other = Bench()
    other.one(EFFECT)
    other.one(effect(RailAction.CAPTURE, "c-2"))
    refunded = other.one(effect(RailAction.REFUND, "c-3"))

    assert (cancelled.kind, cancelled.rail_status) == (RailAnswerKind.SUCCEEDED, "canceled")
    assert (refunded.kind, refunded.rail_status) == (RailAnswerKind.SUCCEEDED, "refunded")


def test_what_was_never_held_cannot_be_captured() -> None:
    assert Bench().one(effect(RailAction.CAPTURE, "c-2")).kind is RailAnswerKind.GONE


def test_a_declined_effect_changes_nothing_and_names_the_rails_code() -> None:
    bench = Bench(Faults(decline_bps=10_000))

    answer = bench.one(EFFECT)

    assert (answer.kind, answer.code) == (RailAnswerKind.DECLINED, "card_declined")
    assert bench.book.object(OBJECT) is None


def test_letting_a_hold_go_is_never_declined() -> None:
    bench = Bench(Faults(decline_bps=10_000))

    assert bench.one(effect(RailAction.CANCEL, "c-2")).kind is RailAnswerKind.GONE


def test_a_lost_answer_was_carried_out_and_the_next_question_gets_it() -> None:
    bench = Bench(Faults(lose_bps=10_000))

    with pytest.raises(RailUnavailableError):
        bench.execute(EFFECT)
    answer = bench.one(EFFECT)

    assert answer.kind is RailAnswerKind.SUCCEEDED


def test_a_duplicated_answer_is_the_same_twice_after_its_delay() -> None:
    bench = Bench(Faults(duplicate_bps=10_000, delay_milliseconds=250))

    first, second = bench.execute(EFFECT)

    assert first == second
    assert bench.pause.seconds == [0.25]


def test_faults_follow_from_seed_and_effect_alone() -> None:
    def kinds(seed: int) -> list[RailAnswerKind]:
        bench = Bench(Faults(seed=seed, decline_bps=5000))
        return [bench.one(effect(RailAction.HOLD, f"c-{n}")).kind for n in range(40)]

    assert kinds(1) == kinds(1)
    assert kinds(1) != kinds(2)
    assert set(kinds(1)) == {RailAnswerKind.SUCCEEDED, RailAnswerKind.DECLINED}


@pytest.mark.parametrize(
    "changes",
    [{"environment": Environment.LIVE}, {"settlement_mode": SettlementMode.STRIPE_CONNECT}],
)
def test_a_live_tenants_effect_is_refused_in_code(changes: dict[str, object]) -> None:
    with pytest.raises(LiveTenantError):
        Bench().execute(effect(RailAction.HOLD, "c-1", **changes))


def test_an_object_can_be_found_by_its_intent() -> None:
    bench = Bench()
    bench.one(EFFECT)

    found = asyncio.run(
        bench.simulator.find(tenant_id=EFFECT.tenant_id, intent_id=EFFECT.intent_id)
    )

    assert found is not None
    assert (found.rail_object, found.is_gone) == (OBJECT, False)
    assert asyncio.run(bench.simulator.find(tenant_id="other", intent_id="x")) is None
