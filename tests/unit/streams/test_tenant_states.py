"""The tenants' own rows of `paybond.intents`, among the states of intents that nobody here asks for."""

from datetime import timedelta

import pytest

from schemas.ids import TenantId
from schemas.messages.avro_codec import encode
from schemas.topics import INTENTS, intent_key, party_key, tenant_key
from streams.runtime.records import TopicPartition
from streams.views import tenant_states_view
from streams.views.tenant_states_view import is_tenant_row
from tests.support.ledgers import T0, intent_id_of, paused, tenant_record, tenant_state
from tests.support.views_world import ViewsWorld, run

ACME = TenantId("acme")
BEFORE, PAUSED = tenant_state(ACME), paused(ACME)
INTENT = intent_key(ACME, intent_id_of(ACME, 1))


def _checkpoint(world: ViewsWorld) -> int:
    [position] = [
        position
        for (name, _), position in world.checkpoints.rows.items()
        if name == "tenant_states"
    ]
    return position.next_offset


def test_only_a_tenant_s_own_row_is_one() -> None:
    assert is_tenant_row(tenant_key(ACME))
    assert not is_tenant_row(INTENT)
    assert not is_tenant_row(party_key(ACME, "did:web:tenant"))
    assert not is_tenant_row(b"acme/1/tenant")
    assert not is_tenant_row(None)


def test_the_newest_row_stands_and_reading_again_never_shows_an_older_one() -> None:
    async def scenario() -> None:
        world = ViewsWorld()
        for state in (BEFORE, PAUSED):
            world.append(INTENTS, *tenant_record(state))
        await world.index(records_max=1)
        world.reset_to_earliest()

        member = await world.member(records_max=1)
        shown = []
        while await member.loop.run_once():
            shown += list(world.tables.rows.tenant_states.values())

        assert shown == [encode(PAUSED)] * 2
        await member.stop()

    run(scenario)


def test_a_lost_row_comes_back_with_a_reset_as_its_newest_record_has_it() -> None:
    async def scenario() -> None:
        world = ViewsWorld()
        for state in (BEFORE, PAUSED, tenant_state(ACME, provisioned_at=T0 + timedelta(days=1))):
            world.append(INTENTS, *tenant_record(state))
        await world.index(records_max=1)
        whole = dict(world.tables.rows.tenant_states)
        world.tables.rows.tenant_states.clear()
        world.reset_to_earliest()

        await world.index(records_max=1)

        assert world.tables.rows.tenant_states == whole

    run(scenario)


def test_states_of_intents_are_passed_over_without_a_write(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(tenant_states_view, "PASSED_OVER_MAX", 5)

    async def scenario() -> None:
        world = ViewsWorld()
        world.append(INTENTS, *tenant_record(PAUSED))
        member = await world.member(records_max=1)
        stood = []
        for _ in range(7):
            world.append(INTENTS, INTENT, b"whatever it is, it is not decoded")
            await member.loop.run_once()
            stood.append(_checkpoint(world))
        await member.loop.run_once()
        await member.stop()

        # The tenant's own row, five that are passed over, and what came after.
        assert stood == [1, 1, 1, 1, 1, 6, 6]
        assert world.log.committed[_intents(world)] == 8
        assert world.dead_letters.letters == []

    run(scenario)


def test_what_was_passed_over_is_read_again_by_the_next_owner_and_changes_nothing() -> None:
    async def scenario() -> None:
        world = ViewsWorld()
        world.append(INTENTS, *tenant_record(PAUSED))
        world.append(INTENTS, INTENT, b"a state")
        await world.index()
        world.append(INTENTS, *tenant_record(BEFORE))

        await world.index()

        assert world.tables.rows.tenant_states == {ACME: encode(BEFORE)}
        assert _checkpoint(world) == 3

    run(scenario)


def test_a_row_that_can_t_be_read_is_a_dead_letter_and_the_last_good_one_stands() -> None:
    async def scenario() -> None:
        world = ViewsWorld()
        world.append(INTENTS, *tenant_record(PAUSED))
        world.append(INTENTS, tenant_key(ACME), b"poison")
        world.append(INTENTS, tenant_key(ACME), None)
        world.append(INTENTS, tenant_key(ACME), encode(tenant_state(TenantId("acme-corp"))))

        await world.index()

        assert [letter.offset for letter in world.dead_letters.letters] == [1, 2, 3]
        assert "nobody takes a tenant's row away" in world.dead_letters.letters[1].reason
        assert world.tables.rows.tenant_states == {ACME: encode(PAUSED)}

    run(scenario)


def _intents(world: ViewsWorld) -> TopicPartition:
    [at] = [at for at in world.log.partitions if at.topic == INTENTS]
    return at
