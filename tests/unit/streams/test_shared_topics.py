"""Evidence, outcomes and checkpoints on the memory adapter: topics whose partitions many tenants share."""

from datetime import timedelta

from schemas.messages.outcomes import OutcomeStatus
from schemas.topics import CHECKPOINTS, EVIDENCE, OUTCOMES
from streams.runtime.quarantine import QuarantineReason
from tests.support.ledgers import (
    T0,
    Ledger,
    a_ledger,
    evidence_body,
    intent_body,
    outcome,
)
from tests.support.views_world import ViewsWorld, run


def test_a_tombstone_erases_the_body_and_reading_again_does_not_bring_it_back() -> None:
    async def scenario() -> None:
        world, ledger = ViewsWorld(), a_ledger("acme", ["released"])
        key, value = evidence_body(ledger, 1)
        world.append(EVIDENCE, *intent_body(ledger, 1))
        world.append(EVIDENCE, key, value)
        world.append(EVIDENCE, key, None)
        await world.index(records_max=1)
        world.reset_to_earliest()

        member = await world.member(records_max=1)
        seen = []
        while await member.loop.run_once():
            seen.append(sorted(body.kind for body in world.tables.rows.bodies))

        assert seen == [["intent"]] * 3
        await member.stop()

    run(scenario)


def test_a_body_that_can_t_be_read_is_a_dead_letter_and_the_others_go_on() -> None:
    async def scenario() -> None:
        world, ledger = ViewsWorld(), a_ledger("acme", ["released"])
        world.append(EVIDENCE, *intent_body(ledger, 1))
        key, value = evidence_body(ledger, 1)
        world.append(EVIDENCE, b"acme/elsewhere/evidence", value)
        world.append(EVIDENCE, key, b"poison")
        world.append(EVIDENCE, key, value)
        world.append(EVIDENCE, key, evidence_body(ledger, 1, payload='"\0"')[1])

        await world.index()

        assert [letter.offset for letter in world.dead_letters.letters] == [1, 2, 4]
        assert sorted(body.kind for body in world.tables.rows.bodies) == ["evidence", "intent"]

    run(scenario)


def test_an_older_answer_never_replaces_a_newer_one() -> None:
    async def scenario() -> None:
        world, ledger = ViewsWorld(), a_ledger("acme", ["released"])
        accepted = outcome(ledger, 1, status=OutcomeStatus.ACCEPTED)
        done = outcome(ledger, 1, decided_after=timedelta(seconds=1))
        for record in (accepted, done, outcome(ledger, 1, status=OutcomeStatus.RETRY)):
            world.append(OUTCOMES, *record)
        await world.index(records_max=1)
        world.reset_to_earliest()

        member = await world.member(records_max=1)
        statuses = []
        while await member.loop.run_once():
            statuses += [row.status for row in world.tables.rows.operations.values()]

        assert set(statuses) == {"done"}
        await member.stop()

    run(scenario)


def test_answers_are_dropped_after_seven_days_of_record_time() -> None:
    async def scenario() -> None:
        world, ledger = ViewsWorld(), a_ledger("acme", ["released"])
        world.append(OUTCOMES, *outcome(ledger, 1))
        world.append(OUTCOMES, *outcome(ledger, 2, recorded_at=T0 + timedelta(days=6)))
        member = await world.member()
        await member.drain()
        world.clock.advance(timedelta(days=7))

        await member.drain()

        assert len(world.tables.rows.operations) == 1
        await member.stop()

    run(scenario)


def test_a_checkpoint_ahead_of_the_entries_waits_for_them() -> None:
    async def scenario() -> None:
        world, ledger = ViewsWorld(), a_ledger("acme", ["released"])
        world.append(CHECKPOINTS, *ledger.checkpoint())
        world.append(CHECKPOINTS, *ledger.checkpoint(2))
        world.write(Ledger(ledger.tenant_id, ledger.records[:3]))
        await world.index()
        early = sorted(world.tables.rows.checkpoints)
        world.write(ledger, since=3)

        await world.index()

        assert early == [("acme", 2)]
        assert sorted(world.tables.rows.checkpoints) == [("acme", 2), ("acme", len(ledger.records))]
        assert world.tables.rows.waiting == {}

    run(scenario)


def test_a_checkpoint_that_no_configured_key_signed_is_a_dead_letter() -> None:
    async def scenario() -> None:
        world, ledger = ViewsWorld(), a_ledger("acme", ["released"])
        world.write(ledger)
        world.append(CHECKPOINTS, *ledger.checkpoint(seed=b"\x55" * 32))

        await world.index()

        [letter] = world.dead_letters.letters
        assert "unknown_key" in letter.reason
        assert world.tables.rows.checkpoints == {}

    run(scenario)


def test_a_signed_root_that_the_entries_do_not_have_stops_the_tenant() -> None:
    async def scenario() -> None:
        world, ledger, beta = ViewsWorld(), a_ledger("acme", ["released"]), a_ledger("beta")
        world.write(ledger)
        world.write(beta)
        world.append(CHECKPOINTS, *ledger.checkpoint(3, root=b"\x01" * 32))
        member = await world.member()
        await member.drain()
        ledger.tell("open", 2)
        world.write(ledger, since=len(ledger.records) - 1)

        await member.drain()

        [row] = await world.quarantine.open_rows()
        assert row.found.reason is QuarantineReason.CHECKPOINT_MISMATCH
        assert world.tables.rows.tenants["acme"].last_seq == len(ledger.records) - 1
        assert world.tables.rows.checkpoints == {}
        await member.stop()

    run(scenario)
