"""The rail worker: each due effect is asked and answered at least once, and offsets never pass an unanswered one."""

import asyncio
from collections.abc import Mapping
from dataclasses import replace

import pytest

from harbor.rails.answers import answer_command
from harbor.rails.ports import (
    EffectBatch,
    EffectRecord,
    RailAnswer,
    RailObject,
    RailUnavailableError,
)
from harbor.rails.worker import CONCURRENT_MAX, RailWorker
from schemas.errors import BrokerUnavailableError
from schemas.messages.commands import ISSUED_BY, Command, Issuer
from schemas.messages.effects import Effect
from schemas.messages.shared import RailAction, RailAnswerKind, SettlementMode
from tests.unit.harbor.rails.effects import EFFECT, effect

PARTITION = 3


class World:
    """The worker's ports in memory; `silent` effects get no answer, `due` are outstanding by the states."""

    def __init__(self, *effects: Effect | None) -> None:
        self.records = [
            EffectRecord(partition=PARTITION, offset=10 + n, key=b"k", value=b"v", effect=asked)
            for n, asked in enumerate(effects)
        ]
        self.due = {(e.tenant_id, e.intent_id): e.effect_id for e in effects if e}
        self.silent: set[str] = set()
        self.paused: set[str] = set()
        # Decided, and seen with the next look at the states.
        self.paused_on_the_topic: set[str] = set()
        self.doubt: str | None = None
        self.answers: asyncio.Event | None = None
        self.shown_to = EFFECT.ledger_seq
        self.asked: list[str] = []
        self.sent: list[Command] = []
        self.commits: list[dict[int, int]] = []
        self.buried: list[int] = []
        self.caught_up: list[int] = []
        self.sender_error: Exception | None = None
        self.counted: list[int] = []
        self.worker = RailWorker(
            log=self,
            outstanding=self,
            rails={SettlementMode.SIMULATED: self},
            commands=self,
            dead_letters=self,
            on_answered=lambda: self.counted.append(1),
        )

    async def consume(self) -> EffectBatch:
        # A fetch always lets others run.
        await asyncio.sleep(0)
        records, self.records = tuple(self.records), []
        first = not self.commits and not self.asked and bool(records)
        return EffectBatch(records=records, assigned=(PARTITION,) if first else ())

    async def commit(self, offsets: Mapping[int, int]) -> None:
        self.commits.append(dict(offsets))

    async def close(self) -> None:
        self.commits.append({})

    async def catch_up(self, partition: int) -> None:
        self.caught_up.append(partition)
        self.paused |= self.paused_on_the_topic

    def effect_of(self, *, tenant_id: str, intent_id: str) -> str | None:
        return self.due.get((tenant_id, intent_id))

    def has_shown(self, *, tenant_id: str, ledger_seq: int) -> bool:
        assert tenant_id == EFFECT.tenant_id
        return self.shown_to >= ledger_seq

    def is_paused(self, tenant_id: str) -> bool:
        return tenant_id in self.paused

    def unreadable(self, tenant_id: str) -> str | None:
        assert tenant_id == EFFECT.tenant_id
        return self.doubt

    def forget(self, partition: int) -> None:
        self.due.clear()

    async def execute(self, asked: Effect) -> tuple[RailAnswer, ...]:
        self.asked.append(asked.effect_id)
        await asyncio.sleep(0)
        if self.answers is not None:
            await self.answers.wait()
        if asked.effect_id in self.silent:
            raise RailUnavailableError(asked.effect_id)
        answer = RailAnswer(
            kind=RailAnswerKind.SUCCEEDED,
            rail_object="pi_1",
            amount_minor=asked.amount_minor,
            currency=asked.currency,
            rail_status="requires_capture",
        )
        return (answer,)

    async def observe(self, rail_object: str) -> RailObject | None:
        return None

    async def find(self, *, tenant_id: str, intent_id: str) -> RailObject | None:
        return None

    async def send(self, command: Command) -> None:
        if self.sender_error is not None:
            raise self.sender_error
        self.sent.append(command)

    async def bury(self, record: EffectRecord, reason: str) -> None:
        self.buried.append(record.offset)

    async def steps(self, count: int) -> None:
        for _ in range(count):
            await self.worker.step()
            for _ in range(5):
                await asyncio.sleep(0)


def _effects(count: int) -> list[Effect]:
    return [
        replace(EFFECT, effect_id=f"c-{n}", intent_id=f"intent-{n}") for n in range(1, count + 1)
    ]


def test_an_effect_becomes_an_answer_and_its_offset_is_committed() -> None:
    world = World(EFFECT)

    asyncio.run(world.steps(2))

    assert [command.body.effect_id for command in world.sent] == ["c-1"]  # type: ignore[union-attr]
    assert world.commits == [{PARTITION: 11}]
    assert world.caught_up[0] == PARTITION
    assert world.counted == [1]


def test_an_effect_whose_state_is_not_shown_yet_waits_for_it() -> None:
    world = World(EFFECT)
    world.shown_to = EFFECT.ledger_seq - 1
    due, world.due = world.due, {}

    asyncio.run(world.steps(3))
    assert world.asked == []
    assert world.commits == []

    # The pause was committed before the effect's state, so that it is known no later than that.
    world.due, world.shown_to, world.paused = due, EFFECT.ledger_seq, {EFFECT.tenant_id}
    asyncio.run(world.steps(2))
    assert world.asked == []

    world.paused = set()
    asyncio.run(world.steps(2))
    assert world.asked == [EFFECT.effect_id]
    assert world.commits == [{PARTITION: 11}]


def test_an_effect_that_was_over_before_its_state_was_shown_is_not_asked() -> None:
    world = World(EFFECT)
    world.shown_to, world.due = EFFECT.ledger_seq - 1, {}

    asyncio.run(world.steps(2))
    world.shown_to = EFFECT.ledger_seq + 1
    asyncio.run(world.steps(2))

    assert world.asked == []
    assert world.commits == [{PARTITION: 11}]


def test_an_effect_that_no_state_has_outstanding_is_skipped() -> None:
    world = World(EFFECT)
    world.due.clear()

    asyncio.run(world.steps(1))

    assert world.asked == []
    assert world.commits == [{PARTITION: 11}]


def test_an_effect_of_an_older_attempt_is_skipped() -> None:
    world = World(EFFECT)
    world.due[EFFECT.tenant_id, EFFECT.intent_id] = "c-9"

    asyncio.run(world.steps(1))

    assert world.asked == []


def test_offsets_stop_before_the_first_unanswered_effect() -> None:
    world = World(*_effects(3))
    world.silent = {"c-2"}

    asyncio.run(world.steps(2))

    assert sorted(world.asked) == ["c-1", "c-2", "c-3"]
    assert world.commits == [{PARTITION: 11}]


def test_an_unanswered_effect_that_is_over_by_the_states_no_longer_holds_offsets_back() -> None:
    world = World(*_effects(3))
    world.silent = {"c-2"}

    async def scenario() -> None:
        await world.steps(2)
        del world.due[EFFECT.tenant_id, "intent-2"]
        await world.steps(1)

    asyncio.run(scenario())

    assert world.commits[-1] == {PARTITION: 13}


def test_an_effect_that_waited_for_others_to_end_is_not_asked_in_a_pause_that_began_meanwhile() -> (
    None
):
    async def scenario() -> None:
        effects = _effects(CONCURRENT_MAX + 6)
        world = World(*effects)
        world.answers = asyncio.Event()
        round_of_all = asyncio.create_task(world.worker.step())
        for _ in range(10):
            await asyncio.sleep(0)
        assert len(world.asked) == CONCURRENT_MAX

        world.paused_on_the_topic.add(EFFECT.tenant_id)
        world.answers.set()
        await round_of_all
        await world.steps(2)
        asked_while_paused = len(world.asked)
        world.paused_on_the_topic.clear()
        world.paused.clear()
        await world.steps(2)

        assert asked_while_paused == CONCURRENT_MAX
        assert sorted(world.asked) == sorted(effect.effect_id for effect in effects)

    asyncio.run(scenario())


def test_while_a_tenant_s_states_can_t_be_read_its_effects_are_neither_asked_nor_over() -> None:
    world = World(EFFECT)
    world.doubt = "tenant-one/…: schema 999999 is not known"
    due, world.due = world.due, {}

    asyncio.run(world.steps(2))
    asked_in_doubt, committed_in_doubt = list(world.asked), list(world.commits)
    world.doubt, world.due = None, due
    asyncio.run(world.steps(2))

    assert (asked_in_doubt, committed_in_doubt) == ([], [])
    assert world.asked == [EFFECT.effect_id]
    assert world.commits == [{PARTITION: 11}]


def test_a_record_that_is_no_effect_is_buried_and_the_next_goes_on() -> None:
    world = World(None, EFFECT)

    asyncio.run(world.steps(2))

    assert world.buried == [10]
    assert world.asked == ["c-1"]
    assert world.commits[-1] == {PARTITION: 12}


def test_an_answer_that_cannot_be_sent_ends_the_worker_and_commits_nothing() -> None:
    world = World(EFFECT)
    world.sender_error = BrokerUnavailableError("gone")

    with pytest.raises(BrokerUnavailableError):
        asyncio.run(world.worker.run())

    assert {PARTITION: 11} not in world.commits


def test_the_same_answer_said_twice_is_one_command() -> None:
    answer = RailAnswer(
        kind=RailAnswerKind.DECLINED,
        rail_object=None,
        amount_minor=1,
        currency="usd",
        rail_status="x",
        code="card_declined",
    )
    other = replace(answer, kind=RailAnswerKind.SUCCEEDED)

    first, second = answer_command(EFFECT, answer), answer_command(EFFECT, answer)

    assert first == second
    assert answer_command(EFFECT, other).command_id != first.command_id
    assert answer_command(effect(RailAction.HOLD, "c-2"), answer).command_id != first.command_id
    assert type(first.body) in ISSUED_BY[Issuer.RAILS]
