"""The views on the memory adapter: replays change nothing, breaks stop one tenant, owners are fenced."""

import copy

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

from schemas.errors import OwnershipLostError
from schemas.ids import TenantId
from schemas.ledger.entry_chain import ZERO_HASH
from schemas.ledger.merkle_tree import root_of
from schemas.ledger.tiles import FetchedTiles, TileId, root_from_tiles
from schemas.tables.rows import intent_row
from schemas.topics import CHECKPOINTS, EVIDENCE, OUTCOMES, ledger_key, ledger_topic
from streams.runtime.checkpoints import Position
from streams.runtime.quarantine import QuarantineReason
from streams.runtime.records import TopicPartition
from streams.views.memory import TableRows
from tests.support.ledgers import (
    STORIES,
    Ledger,
    a_ledger,
    evidence_body,
    intent_body,
    intent_id_of,
    outcome,
)
from tests.support.views_world import ViewsWorld, ledger_partition, run

_STORIES = st.lists(st.sampled_from(sorted(STORIES)), min_size=1, max_size=5)


def _world(*ledgers: Ledger, gap: int = 0) -> ViewsWorld:
    """Their entries, bodies, answers and last checkpoints."""
    world = ViewsWorld()
    for ledger in ledgers:
        world.write(ledger, gap=gap)
        world.append(EVIDENCE, *intent_body(ledger, 1))
        world.append(EVIDENCE, *evidence_body(ledger, 1))
        world.append(OUTCOMES, *outcome(ledger, 1))
        world.append(CHECKPOINTS, *ledger.checkpoint())
    return world


async def _indexed(world: ViewsWorld, *, records_max: int = 100) -> TableRows:
    await world.index(records_max=records_max)
    return copy.deepcopy(world.tables.rows)


@settings(max_examples=25, deadline=None)
@given(_STORIES, st.integers(min_value=1, max_value=40), st.integers(min_value=0, max_value=3))
def test_the_tables_do_not_depend_on_batches_restarts_or_holes(
    told: list[str], records_max: int, gap: int
) -> None:
    async def scenario() -> None:
        expected = await _indexed(_world(a_ledger("acme", told), a_ledger("beta", ["open"])))
        world = _world(a_ledger("acme", told), a_ledger("beta", ["open"]), gap=gap)
        member = await world.member(records_max=records_max)
        await member.loop.run_once()
        await member.stop()

        again = await _indexed(world, records_max=records_max)

        assert again == expected

    run(scenario)


@settings(max_examples=25, deadline=None)
@given(_STORIES)
def test_reading_everything_twice_gives_equal_tables(told: list[str]) -> None:
    async def scenario() -> None:
        world = _world(a_ledger("acme", told))
        expected = await _indexed(world)
        world.reset_to_earliest()

        again = await _indexed(world)

        assert again == expected

    run(scenario)


def test_a_reset_reads_again_and_says_restored_0() -> None:
    async def scenario() -> None:
        world = _world(a_ledger("acme"), a_ledger("beta"))
        await world.index()
        world.reset_to_earliest()

        with capture_logs() as logs:
            await world.index(records_max=7)

        finished = [line for line in logs if line["event"] == "reread_finished"]
        assert [(line["restored"], line["summary"]) for line in finished] == [(0, "restored=0")]

    run(scenario)


def test_a_reset_restores_a_row_that_is_gone_and_counts_it() -> None:
    async def scenario() -> None:
        world = _world(a_ledger("acme"))
        expected = await _indexed(world)
        del world.tables.rows.entries["acme", 3]
        world.reset_to_earliest()

        with capture_logs() as logs:
            again = await _indexed(world)

        assert again == expected
        assert {line["restored"] for line in logs if line["event"] == "reread_finished"} == {1}

    run(scenario)


def test_a_crash_before_the_hint_is_no_reset() -> None:
    async def scenario() -> None:
        world = _world(a_ledger("acme"))
        member = await world.member(records_max=5)
        await member.loop.run_once()
        await member.stop()
        second = await world.member(records_max=5)
        second.source.loses_hints = True
        await second.drain()
        await second.stop()

        with capture_logs() as logs:
            await world.index()

        assert [line for line in logs if line["event"].startswith("reread")] == []

    run(scenario)


def test_a_lowered_checkpoint_moves_no_counter() -> None:
    async def scenario() -> None:
        world = _world(a_ledger("acme"))
        expected = await _indexed(world)
        at = ledger_partition(a_ledger("acme"))
        _lower_checkpoint(world, at)

        again = await _indexed(world)

        assert again == expected

    run(scenario)


def test_a_checkpoint_that_is_lowered_while_a_reset_is_read_again_stops_nobody() -> None:
    """The group's offset is below the last hint then and above the checkpoint: what lies between is not passed over."""

    async def scenario() -> None:
        world = _world(a_ledger("acme"))
        expected = await _indexed(world)
        at = ledger_partition(a_ledger("acme"))
        world.reset_to_earliest()
        # A member has read three of them again before it was stopped.
        world.log.committed[at] = 3
        _lower_checkpoint(world, at, hint_acked=world.checkpoints.rows["ledger", at].hint_acked)

        again = await _indexed(world)

        assert world.quarantine.is_open("ledger", at) is False
        assert again == expected

    run(scenario)


def _lower_checkpoint(
    world: ViewsWorld, at: TopicPartition, *, hint_acked: int | None = None
) -> None:
    """As after a restore of an older copy of that table."""
    before = world.checkpoints.rows["ledger", at]
    world.checkpoints.rows["ledger", at] = Position(
        projection="ledger", at=at, epoch=before.epoch, hint_acked=hint_acked
    )


def test_what_another_member_claimed_can_no_longer_be_written() -> None:
    async def scenario() -> None:
        world = _world(a_ledger("acme"))
        stalled = await world.member(records_max=3)
        await stalled.loop.run_once()
        await world.index()
        expected = copy.deepcopy(world.tables.rows)

        with pytest.raises(OwnershipLostError):
            await stalled.loop.run_once()

        assert world.tables.rows == expected

    run(scenario)


def test_what_another_member_claimed_can_no_longer_be_written_before_it_has_moved() -> None:
    """The epoch alone tells: the checkpoint stands where its last owner left it."""

    async def scenario() -> None:
        world = _world(a_ledger("acme"))
        stalled = await world.member(records_max=3)
        await stalled.loop.run_once()
        expected = copy.deepcopy(world.tables.rows)
        await world.member()

        with pytest.raises(OwnershipLostError):
            await stalled.loop.run_once()

        assert world.tables.rows == expected

    run(scenario)


def _broken(ledger: Ledger, how: str) -> tuple[bytes | None, bytes | None]:
    """A record that does not continue the ledger, as key and value."""
    last = ledger.records[-1]
    stranger = a_ledger("beta", ["open"]).records[-1]
    return {
        "a duplicate": (last.key, last.value),
        "a tombstone": (ledger_key(ledger.tenant_id, len(ledger.records) + 1), None),
        "no entry": (ledger_key(ledger.tenant_id, len(ledger.records) + 1), b"poison"),
        "another tenant's": (stranger.key, stranger.value),
    }[how]


@pytest.mark.parametrize("how", ["a duplicate", "a tombstone", "no entry", "another tenant's"])
def test_a_break_stops_its_tenant_alone_and_keeps_what_lies_before(how: str) -> None:
    async def scenario() -> None:
        acme, beta = a_ledger("acme"), a_ledger("beta")
        world = ViewsWorld()
        world.write(acme)
        world.write(beta)
        bad = world.append(ledger_topic(acme.tenant_id), *_broken(acme, how))

        await world.index()

        [row] = await world.quarantine.open_rows()
        assert (row.found.tenant_id, row.found.offset) == ("acme", bad.offset)
        assert world.tables.rows.tenants["acme"].last_seq == len(acme.records)
        assert world.tables.rows.tenants["beta"].last_seq == len(beta.records)

    run(scenario)


def test_an_entry_with_a_wrong_key_stops_its_tenant() -> None:
    async def scenario() -> None:
        ledger = a_ledger("acme", ["open"])
        world = ViewsWorld()
        world.write(ledger)
        ledger.tell("open", 2)
        world.append(
            ledger_topic(ledger.tenant_id),
            ledger_key(ledger.tenant_id, 99),
            ledger.records[-1].value,
        )

        await world.index()

        [row] = await world.quarantine.open_rows()
        assert row.found.reason is QuarantineReason.CHAIN_BREAK

    run(scenario)


def test_a_released_tenant_is_checked_again_and_stopped_again() -> None:
    async def scenario() -> None:
        world, ledger = ViewsWorld(), a_ledger("acme", ["open"])
        world.write(ledger)
        world.append(ledger_topic(ledger.tenant_id), *_broken(ledger, "a duplicate"))
        member = await world.member()
        await member.drain()
        await world.quarantine.release(
            quarantine_id=1, released_by="op", reason="again", now=world.clock.now()
        )

        await member.drain()

        assert [row.quarantine_id for row in await world.quarantine.open_rows()] == [2]
        await member.stop()

    run(scenario)


def test_a_record_that_is_passed_over_by_order_is_passed_over_by_a_rebuild_too() -> None:
    async def scenario() -> None:
        world, ledger = ViewsWorld(), a_ledger("acme", ["open"])
        world.write(ledger)
        bad = world.append(ledger_topic(ledger.tenant_id), *_broken(ledger, "a duplicate"))
        first = len(ledger.records)
        ledger.tell("released", 2)
        world.write(ledger, since=first)
        member = await world.member()
        await member.drain()
        await world.quarantine.skip(
            at=bad.at, offset=bad.offset, approved_by="op", reason="dup", now=world.clock.now()
        )
        await world.quarantine.release(
            quarantine_id=1, released_by="op", reason="skipped", now=world.clock.now()
        )
        await member.drain()
        expected = copy.deepcopy(world.tables.rows)
        await member.stop()
        world.checkpoints.rows.clear()
        world.tables.rows = TableRows()

        await world.index()

        assert await world.quarantine.open_rows() == []
        assert world.tables.rows == expected
        assert expected.tenants["acme"].last_seq == len(ledger.records)

    run(scenario)


def test_an_unknown_schema_parks_and_the_next_start_tries_again() -> None:
    async def scenario() -> None:
        world, ledger = ViewsWorld(), a_ledger("acme", ["open"])
        world.write(ledger)
        world.append(
            ledger_topic(ledger.tenant_id), ledger_key(ledger.tenant_id, 3), b"\0\x7f\0\0\1x"
        )
        await world.index()
        [first] = await world.quarantine.open_rows()

        await world.index()

        [second] = await world.quarantine.open_rows()
        assert first.found.reason is QuarantineReason.UNKNOWN_SCHEMA
        assert second.quarantine_id > first.quarantine_id

    run(scenario)


def test_an_entry_that_was_changed_below_the_checkpoint_is_found_by_a_reset() -> None:
    async def scenario() -> None:
        world, ledger = ViewsWorld(), a_ledger("acme", ["open"])
        world.write(ledger)
        await world.index()
        row = world.tables.rows.entries["acme", 1]
        world.tables.rows.entries["acme", 1] = type(row)(
            **{name: getattr(row, name) for name in row.__slots__} | {"leaf_hash": ZERO_HASH}
        )
        world.reset_to_earliest()

        await world.index()

        [found] = await world.quarantine.open_rows()
        assert found.found.reason is QuarantineReason.HISTORY_CHANGED

    run(scenario)


def test_a_value_that_the_database_refuses_stops_its_tenant_alone() -> None:
    async def scenario() -> None:
        world = ViewsWorld()
        acme, beta = a_ledger("acme", ["open"]), a_ledger("beta", ["open"])
        world.write(beta)
        world.write(acme)
        bad = Ledger(TenantId("nul")).provision()
        bad.add(next(iter(STORIES["open"](bad.tenant_id, "\0"))), intent_id_of(bad.tenant_id, 1))  # type: ignore[arg-type]
        world.write(bad)

        await world.index()

        [row] = await world.quarantine.open_rows()
        assert (row.found.tenant_id, row.found.reason) == ("nul", QuarantineReason.DATA_REFUSED)
        assert sorted(world.tables.rows.tenants) == ["acme", "beta"]

    run(scenario)


def test_the_tiles_have_the_root_of_the_entries_at_every_published_size() -> None:
    async def scenario() -> None:
        ledger = a_ledger("acme", ["released"] * 90)
        size = len(ledger.records)
        world = ViewsWorld()
        world.write(ledger)
        world.append(CHECKPOINTS, *ledger.checkpoint(300))

        await world.index(records_max=37)

        tiles = {tile: hashes for (_, tile), hashes in world.tables.rows.tiles.items()}
        leaves = ledger.leaf_hashes()
        assert size > 512
        assert tiles[TileId(level=0, tile=1)] == b"".join(leaves[256:512])
        reader = FetchedTiles(subject="acme", tiles=tiles)
        assert root_from_tiles(512, reader) == root_of(leaves[:512])
        assert ("acme", 300) in world.tables.rows.checkpoints

    run(scenario)


def test_the_state_in_memory_is_dropped_when_a_partition_goes() -> None:
    async def scenario() -> None:
        world, ledger = ViewsWorld(), a_ledger("acme", ["open"])
        intent_id = intent_id_of(ledger.tenant_id, 1)
        world.write(ledger)
        first = await world.member()
        await first.drain()
        await first.source.give_back([ledger_partition(ledger)])
        story = list(STORIES["funded"](ledger.tenant_id, 1))[1:]
        for event in story:
            ledger.add(event, intent_id)
        world.write(ledger, since=2)
        second = await world.member(records_max=1, is_assigned=False)
        await second.source.take([ledger_partition(ledger)])
        await second.loop.run_once()
        await second.stop()
        await first.source.take([ledger_partition(ledger)])

        await first.drain()

        row = world.tables.rows.intents["acme", intent_id]
        assert row.status == "funded"
        assert row.last_seq == 4
        await first.stop()

    run(scenario)


def test_an_intent_s_row_is_that_of_its_folded_state() -> None:
    async def scenario() -> None:
        world, ledger = ViewsWorld(), a_ledger("acme", ["released"])
        world.write(ledger)

        await world.index(records_max=1)

        loaded = await world.tables.load({"acme": [intent_id_of(ledger.tenant_id, 1)]})
        [state] = loaded.states["acme"].values()
        assert world.tables.rows.intents["acme", state.intent_id] == intent_row(state)
        assert world.tables.rows.totals["acme", "released", "usd"][0] == 1

    run(scenario)
