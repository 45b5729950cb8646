"""What leaves the local store and when; what may still be asked for stays."""

from dataclasses import replace
from datetime import datetime, timedelta

from harbor.adapters.memory.log import MemoryKafka
from harbor.adapters.memory.ports import MemoryStateStore
from harbor.engine.batch_lookup import NONCE, nonce_writes_of
from harbor.engine.forgetting import (
    FORGET_AFTER,
    RECORDED,
    ROWS_MAX,
    Forgetting,
    recorded_row_of,
)
from harbor.engine.local_state import StoreKey
from schemas.ids import CommandId
from schemas.messages.avro_codec import encode
from schemas.messages.commands import SpentNonce
from schemas.messages.outcomes import Outcome, OutcomeStatus
from schemas.topics import OUTCOMES, ledger_topic, outcome_key
from tests.support.builders import T0, TENANT, a_command, create_intent, provision_tenant
from tests.support.harbor_world import PARTITIONS, HarborProcess, HarborWorld, run

PARTITION = 1
HOUR = timedelta(hours=1)
NONCE_OF_ALL = SpentNonce(key_id="agent-key", nonce="n", expires_at=T0)


def an_outcome(number: int, recorded_at: datetime = T0, spent: SpentNonce | None = None) -> Outcome:
    return Outcome(
        command_id=f"command-{number:06}",
        tenant_id=TENANT,
        intent_id=None,
        command_kind="CreateIntent",
        status=OutcomeStatus.DONE,
        input_hash=bytes(32),
        recorded_at=recorded_at,
        decided_at=recorded_at,
        spent=spent,
    )


def rows_of(outcome: Outcome) -> dict[StoreKey, bytes | None]:
    key = outcome_key(TENANT, CommandId(outcome.command_id))
    rows: dict[StoreKey, bytes | None] = {(OUTCOMES, key): encode(outcome)}
    return {**rows, **dict([recorded_row_of(outcome, key)]), **nonce_writes_of(outcome)}


async def after_turns(store: MemoryStateStore, *instants: datetime) -> dict[StoreKey, bytes]:
    """What is left when the partition was gone through at these times; it began an hour before."""
    forgetting = Forgetting(store)
    await forgetting.turn([PARTITION], now=instants[0] - HOUR)
    for now in instants:
        await forgetting.turn([PARTITION], now=now)
    return store.snapshot().get(PARTITION, {})


def test_an_answer_leaves_with_its_nonce_once_no_clock_can_ask_for_it() -> None:
    async def scenario() -> None:
        store = MemoryStateStore()
        old, kept = an_outcome(1, spent=NONCE_OF_ALL), an_outcome(2, T0 + HOUR)
        await store.write({PARTITION: {**rows_of(old), **rows_of(kept)}})

        before = await after_turns(store, T0 + FORGET_AFTER)
        after = await after_turns(store, T0 + FORGET_AFTER + timedelta(microseconds=1))

        assert before == {**rows_of(old), **rows_of(kept)}
        assert after == rows_of(kept)

    run(scenario)


def test_a_nonce_that_a_younger_refusal_spent_once_more_stays_spent() -> None:
    async def scenario() -> None:
        store = MemoryStateStore()
        refused = replace(
            an_outcome(2, T0 + HOUR, spent=NONCE_OF_ALL), status=OutcomeStatus.REFUSED
        )
        await store.write({PARTITION: rows_of(an_outcome(1, spent=NONCE_OF_ALL))})
        await store.write({PARTITION: rows_of(refused)})

        left = await after_turns(store, T0 + FORGET_AFTER + HOUR)

        assert left == rows_of(refused)
        assert [key for key in left if key[0] == NONCE]

    run(scenario)


def test_the_nonces_of_answers_that_were_decided_anew_leave_with_their_rows() -> None:
    """Each poll of a refusal with a fresh proof takes the place of the last answer, and spends another nonce."""

    async def scenario() -> None:
        store = MemoryStateStore()
        polls = [
            an_outcome(1, T0 + number * HOUR, spent=replace(NONCE_OF_ALL, nonce=f"n-{number}"))
            for number in range(5)
        ]
        for poll in polls:
            await store.write({PARTITION: rows_of(poll)})

        half = await after_turns(store, T0 + FORGET_AFTER + 2.5 * HOUR)
        whole = await after_turns(store, T0 + FORGET_AFTER + 5 * HOUR)

        kept = {key for poll in polls[3:] for key in nonce_writes_of(poll)}
        assert {key for key in half if key[0] == NONCE} == kept
        assert whole == {}

    run(scenario)


def test_a_nonce_that_a_later_answer_to_the_same_key_has_stays_spent() -> None:
    async def scenario() -> None:
        store = MemoryStateStore()
        newer = an_outcome(1, T0 + HOUR, spent=NONCE_OF_ALL)
        await store.write({PARTITION: rows_of(an_outcome(1, spent=NONCE_OF_ALL))})
        await store.write({PARTITION: rows_of(newer)})

        left = await after_turns(store, T0 + FORGET_AFTER + HOUR)

        assert left == rows_of(newer)

    run(scenario)


def test_a_key_that_was_used_anew_after_the_window_keeps_its_newer_answer() -> None:
    async def scenario() -> None:
        store = MemoryStateStore()
        newer = an_outcome(1, T0 + HOUR)
        await store.write({PARTITION: {**rows_of(an_outcome(1)), **rows_of(newer)}})

        left = await after_turns(store, T0 + FORGET_AFTER + HOUR)

        assert left == rows_of(newer)

    run(scenario)


def test_more_than_one_writes_worth_goes_turn_by_turn_and_then_hourly() -> None:
    async def scenario() -> None:
        store, now = MemoryStateStore(), T0 + FORGET_AFTER + HOUR
        for number in range(ROWS_MAX + 1):
            await store.write({PARTITION: rows_of(an_outcome(number))})
        forgetting = Forgetting(store)

        async def left(at: datetime) -> int:
            await forgetting.turn([PARTITION], now=at)
            return len(store.snapshot()[PARTITION])

        assert await left(now - HOUR) == 2 * (ROWS_MAX + 1)
        assert await left(now) == 2
        assert await left(now) == 0
        await store.write({PARTITION: rows_of(an_outcome(1))})
        assert await left(now + timedelta(minutes=59)) == 2
        assert await left(now + HOUR) == 0

    run(scenario)


def remembered(process: HarborProcess) -> set[str]:
    """Namespaces that still have rows of old answers."""
    rows = [key for rows in process.store.snapshot().values() for key in rows]
    return {space for space, _ in rows if space in {OUTCOMES, NONCE, RECORDED}}


def test_a_process_that_lives_for_days_forgets_and_one_that_restores_knows_what_to_forget() -> None:
    async def scenario() -> None:
        world = HarborWorld()
        process = world.process()
        await process.loop.start()
        world.send(
            a_command(provision_tenant(), number=1),
            a_command(create_intent(), number=2, nonce="n-create"),
        )
        await world.settle(process)
        restored = world.process("second", slot=1)
        for partition in range(PARTITIONS):
            await restored.assigner.restore(partition)
        assert remembered(process) == remembered(restored) == {OUTCOMES, NONCE, RECORDED}

        world.clock.advance(FORGET_AFTER + HOUR)
        world.send(a_command(provision_tenant(), number=1))
        await world.settle(process)

        kept = [key for rows in process.store.snapshot().values() for key in rows]
        assert sum(space == OUTCOMES for space, _ in kept) == 1
        assert sum(space == RECORDED for space, _ in kept) == 1
        assert not [key for space, key in kept if space == NONCE]

    run(scenario)


def test_nothing_is_forgotten_on_the_word_of_the_logs_clock_alone() -> None:
    async def scenario() -> None:
        world, ahead = HarborWorld(), [timedelta()]
        world.kafka = MemoryKafka(now=lambda: world.clock.now() + ahead[0])
        world.kafka.create_paybond_topics(partitions=PARTITIONS)
        world.kafka.create_ledger_topic(ledger_topic(TENANT))
        process, first = world.process(), a_command(provision_tenant(), number=1)
        await process.loop.start()
        world.send(first)
        await world.settle(process)
        ahead[0] = FORGET_AFTER + 2 * HOUR
        for number in (2, 3):
            world.send(a_command(create_intent(), number=number, nonce=f"n-{number}"))
            await world.settle(process)

        key = OUTCOMES, outcome_key(TENANT, CommandId(first.command_id))
        assert any(key in rows for rows in process.store.snapshot().values())

    run(scenario)
