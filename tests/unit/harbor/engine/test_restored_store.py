"""What an assignment leaves in the local store: all that the topics say, whatever was there; nothing is wiped."""

from dataclasses import replace
from datetime import timedelta

import pytest

from harbor.adapters.memory.ports import MemoryLogReader, MemoryStateStore, PortCall
from harbor.adapters.noted_store import NotedStore
from harbor.engine.assignment import KafkaAssigner
from harbor.engine.batch_lookup import nonce_key, nonce_writes_of
from harbor.engine.local_state import AGE_MAX, MARKS, RESTORED_TOPICS, restored_key
from schemas.messages.avro_codec import decode_as
from schemas.messages.commands import Command, FundIntent
from schemas.messages.outcomes import Outcome
from schemas.topics import INTENTS, OUTCOMES, POSITIONS, TIPS, ledger_topic
from tests.support.builders import TENANT, a_command, provision_tenant
from tests.support.harbor_world import PARTITIONS, HarborWorld, run
from tests.support.restoring import (
    PARTITION,
    Restoring,
    a_creation,
    a_history,
    a_neighbour,
    positions,
)


def test_a_cold_store_has_after_it_what_the_loop_had() -> None:
    async def scenario() -> None:
        world = HarborWorld()
        process = await world.decide(a_command(provision_tenant(), number=1), a_creation(2))
        restoring = Restoring(world)

        restored = await restoring.assigner.restore(PARTITION)

        assert restored.next_offset == positions(restoring)
        assert restored.tips == (restoring.tip(),)
        assert restored.quarantined == {}
        loops = process.store.snapshot()[PARTITION]
        fresh = restoring.store.snapshot()[PARTITION]
        for namespace in (*RESTORED_TOPICS, "nonce", "due", POSITIONS):
            assert {k: v for k, v in fresh.items() if k[0] == namespace} == {
                k: v for k, v in loops.items() if k[0] == namespace
            }, namespace

    run(scenario)


def test_a_store_that_stands_where_the_topics_stand_reads_no_changelog() -> None:
    async def scenario() -> None:
        first = await a_history()
        await first.assigner.restore(PARTITION)
        again = Restoring(first.world, first.store)

        restored = await again.assigner.restore(PARTITION)

        assert restored.next_offset == positions(again)
        assert INTENTS not in again.reader.records
        assert OUTCOMES not in again.reader.records

    run(scenario)


def test_a_store_that_is_behind_is_read_on_from_its_note() -> None:
    async def scenario() -> None:
        first = await a_history()
        await first.assigner.restore(PARTITION)
        await first.world.decide(a_creation(4))
        again = Restoring(first.world, first.store)
        cold = Restoring(first.world)

        await again.assigner.restore(PARTITION)
        await cold.assigner.restore(PARTITION)

        assert again.reader.records[OUTCOMES] == 1
        assert cold.reader.records[OUTCOMES] == 4
        assert again.store.snapshot() == cold.store.snapshot()

    run(scenario)


@pytest.mark.parametrize("lost", [TIPS, INTENTS], ids=["a tip", "tip and states"])
def test_a_store_that_lacks_a_tip_proves_nothing_about_the_rest_and_is_read_from_the_beginning(
    lost: str,
) -> None:
    async def scenario() -> None:
        first = await a_history()
        await first.assigner.restore(PARTITION)
        whole = first.store.snapshot()
        gone = [key for key in whole[PARTITION] if key[0] in {TIPS, lost}]
        await first.store.write({PARTITION: dict.fromkeys(gone)})
        assert gone

        restored = await Restoring(first.world, first.store).assigner.restore(PARTITION)

        assert restored.quarantined == {}
        assert first.store.snapshot() == whole

    run(scenario)


def test_a_store_that_may_have_missed_tombstones_is_made_anew_and_keeps_its_marks() -> None:
    async def scenario() -> None:
        first = await a_history()
        await first.assigner.restore(PARTITION)
        erased, mark = (INTENTS, b"tenant-one/erased"), (MARKS, b"deciding")
        await first.store.write({PARTITION: {erased: b"x", mark: b"0 1 2"}})
        first.world.clock.advance(AGE_MAX + timedelta(seconds=1))
        await first.world.decide(a_creation(4))
        again = Restoring(first.world, first.store)

        await again.assigner.restore(PARTITION)

        found = await again.store.get_many(PARTITION, [erased, mark])
        assert found == {mark: b"0 1 2"}

    run(scenario)


def test_outcomes_outside_the_window_are_not_restored() -> None:
    async def scenario() -> None:
        restoring = await a_history()
        restoring.world.clock.advance(timedelta(hours=26))
        command = a_creation(4)
        await restoring.world.decide(command)

        await restoring.assigner.restore(PARTITION)

        rows = [key async for key, _ in restoring.store.scan(PARTITION, OUTCOMES, b"")]
        assert rows == [f"{TENANT}/{command.command_id}".encode()]

    run(scenario)


def test_the_index_of_spent_nonces_is_restored_with_the_outcomes() -> None:
    async def scenario() -> None:
        restoring = await a_history()

        await restoring.assigner.restore(PARTITION)

        outcomes = [
            decode_as(Outcome, value)
            async for _, value in restoring.store.scan(PARTITION, OUTCOMES, b"")
        ]
        wanted = [key for outcome in outcomes for key in nonce_writes_of(outcome)]
        assert wanted
        assert set(await restoring.store.get_many(PARTITION, wanted)) == set(wanted)

    run(scenario)


def test_a_nonce_whose_outcome_was_decided_anew_is_restored_after_a_compaction_pass() -> None:
    """A refusal that depends on state makes room for the next one under its key; what it has spent stays spent."""

    async def scenario() -> None:
        world = HarborWorld()
        first = a_command(FundIntent(), number=2, nonce="first")
        second = a_command(FundIntent(), number=2, nonce="second")
        await world.decide(a_command(provision_tenant(), number=1), first, second)
        world.kafka.compact(OUTCOMES)
        restoring = Restoring(world)

        await restoring.assigner.restore(PARTITION)

        spent = [nonce_key(TENANT, one.spent) for one in (first, second) if one.spent is not None]
        assert len(world.outcomes(first)) == len(spent) == 2
        assert set(await restoring.store.get_many(PARTITION, spent)) == set(spent)

    run(scenario)


def test_a_store_ahead_of_the_topics_stops_its_tenant_and_loses_nothing() -> None:
    async def scenario() -> None:
        ahead = await a_history()
        await ahead.assigner.restore(PARTITION)
        world = HarborWorld()
        await world.decide(a_command(provision_tenant(), number=1))
        before = ahead.store.snapshot()[PARTITION]
        restoring = Restoring(world, ahead.store)

        first = await restoring.reason()
        second = await Restoring(world, ahead.store).reason()

        assert "the local store stands at seq" in first
        assert second == first
        after = ahead.store.snapshot()[PARTITION]
        kept = {k: v for k, v in before.items() if k[0] in {*RESTORED_TOPICS, "nonce"}}
        assert kept.items() <= after.items()

    run(scenario)


def test_a_store_that_is_ahead_for_one_tenant_is_read_from_the_beginning_for_the_others() -> None:
    """Its noted offsets are of a log that was longer: here other tenants' records lie below them."""

    async def scenario() -> None:
        ahead = await a_history()
        await ahead.assigner.restore(PARTITION)
        neighbour = a_neighbour()
        world = HarborWorld()
        world.kafka.create_ledger_topic(ledger_topic(neighbour))
        theirs = [
            a_command(replace(provision_tenant(), origin=f"paybond/local/{neighbour}"), number=2),
            # Signed for another tenant, so refused; a refusal is an answer like any other.
            *(a_creation(number) for number in range(3, 9)),
        ]
        await world.decide(
            a_command(provision_tenant(), number=1),
            *(replace(command, tenant_id=neighbour) for command in theirs),
        )

        restored = await Restoring(world, ahead.store).assigner.restore(PARTITION)

        assert set(restored.quarantined) == {TENANT}
        cold = Restoring(world)
        await cold.assigner.restore(PARTITION)
        of_neighbour = [
            {key: value for key, value in rows.items() if key[1].startswith(neighbour.encode())}
            for rows in (ahead.store.snapshot()[PARTITION], cold.store.snapshot()[PARTITION])
        ]
        assert of_neighbour[0] == of_neighbour[1]
        assert sum(space == OUTCOMES for space, _ in of_neighbour[0]) == len(theirs)

    run(scenario)


def test_a_state_that_cannot_be_read_is_not_stored_and_stops_its_tenant() -> None:
    async def scenario() -> None:
        restoring = await a_history()
        key = b"tenant-one/00000000-0000-8000-8000-000000000000"
        restoring.world.kafka.append(INTENTS, PARTITION, key=key, value=b"\x00junk")

        reason = await restoring.reason()

        assert "not in Confluent's wire format" in reason or "registry" in reason
        assert await restoring.store.get_many(PARTITION, [(INTENTS, key)]) == {}

    run(scenario)


def test_a_noted_store_keeps_offsets_with_the_rows_they_stand_for() -> None:
    async def scenario() -> None:
        world, inner = HarborWorld(), MemoryStateStore()
        committed = {(INTENTS, 1): 7, (INTENTS, 2): 5, (ledger_topic(TENANT), 0): 3}

        def take() -> dict[tuple[str, int], int]:
            taken, committed_now = dict(committed), committed
            committed_now.clear()
            return taken

        store = NotedStore(inner, take_committed=take, clock=world.clock)

        await store.write({1: {(INTENTS, b"k"): b"v"}})
        await store.write({2: {(INTENTS, b"k"): b"v"}})

        noted = await inner.get_many(1, [restored_key(INTENTS), (INTENTS, b"k")])
        assert noted == {restored_key(INTENTS): b"7", (INTENTS, b"k"): b"v"}
        assert await inner.get_many(2, [restored_key(INTENTS)]) == {}

    run(scenario)


def test_every_port_call_of_a_restore_may_be_its_last_and_the_next_one_ends_the_same() -> None:
    """A restore that is cut off anywhere leaves a store from which the next one gets to the same state."""

    async def scenario() -> None:
        restoring = await a_history()
        await restoring.assigner.restore(PARTITION)
        wanted = restoring.store.snapshot()
        for cut in range(200):
            calls = 0

            async def dies(call: PortCall, *, at: int = cut) -> None:
                nonlocal calls
                calls += 1
                if calls > at:
                    raise ConnectionError(call.call)

            store = MemoryStateStore(hook=dies)
            broken = KafkaAssigner(
                reader=MemoryLogReader(restoring.world.kafka, process="cut", hook=dies),
                store=store,
                clock=restoring.world.clock,
                partitions=PARTITIONS,
            )
            try:
                await broken.restore(PARTITION)
            except ConnectionError:
                survivor = MemoryStateStore()
                survivor.go_back_to(store.snapshot())
                await Restoring(restoring.world, survivor).assigner.restore(PARTITION)
                assert survivor.snapshot() == wanted, cut
            else:
                assert cut > 10
                return
        raise AssertionError("the restore never ended")

    run(scenario)


def test_a_restore_that_hung_while_another_owner_decided_does_not_vouch_for_what_it_never_read() -> (
    None
):
    async def scenario() -> None:
        world = HarborWorld()
        slow = world.process("slow")

        async def meanwhile() -> None:
            # A refusal changes no tip: nothing but the position tells that something was decided.
            await world.decide(a_creation(1))

        slow.faults.meanwhile("store.write before", meanwhile)
        await slow.assigner.restore(PARTITION)
        await slow.assigner.restore(PARTITION)

        rows = slow.store.snapshot()[PARTITION]
        assert [key for space, key in rows if space == OUTCOMES] == [
            key for key, _ in world.outcome_records()
        ]

    run(scenario)


@pytest.mark.parametrize(
    "decided",
    [a_creation(4), a_command(FundIntent(), number=5)],
    ids=["an entry", "a refusal, which changes no tip"],
)
def test_whenever_a_restore_hangs_while_another_owner_decides_a_later_one_has_all_of_it(
    decided: Command,
) -> None:
    """At each port call of a warm restore once; the store then goes on from what it vouches for."""

    async def scenario() -> None:
        for moment in range(200):
            first = await a_history()
            await first.assigner.restore(PARTITION)
            calls = 0

            async def hangs(
                call: PortCall, *, world: HarborWorld = first.world, at: int = moment
            ) -> None:
                nonlocal calls
                calls += 1
                if calls == at + 1:
                    assert call.process
                    await world.decide(decided)

            store = MemoryStateStore(hook=hangs)
            store.go_back_to(first.store.snapshot())
            slow = KafkaAssigner(
                reader=MemoryLogReader(first.world.kafka, process="slow", hook=hangs),
                store=store,
                clock=first.world.clock,
                partitions=PARTITIONS,
            )
            await slow.restore(PARTITION)
            if calls <= moment:
                assert moment > 10
                return
            await slow.restore(PARTITION)

            cold = Restoring(first.world)
            await cold.assigner.restore(PARTITION)
            assert store.snapshot() == cold.store.snapshot(), moment
        raise AssertionError("the restore never ended")

    run(scenario)
