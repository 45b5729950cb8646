"""Ledgers on a real broker into a real PostgreSQL: restarts, resets, fences, breaks, erasures."""

import asyncio
from typing import Any, LiteralString

import psycopg
import pytest
from structlog.testing import capture_logs

from schemas.errors import BrokerUnavailableError, ConfigurationError, OwnershipLostError
from schemas.ids import TenantId
from schemas.ledger.merkle_tree import root_of
from schemas.ledger.tiles import FetchedTiles, TileId, root_from_tiles
from schemas.messages.avro_codec import encode
from schemas.messages.outcomes import OutcomeStatus
from schemas.topics import (
    CHECKPOINTS,
    EVIDENCE,
    INTENTS,
    LEDGER_SUBSCRIPTION,
    OUTCOMES,
    ledger_topic,
)
from streams.bootstrap import views
from streams.runtime.clock import SystemClock
from streams.runtime.kafka_clients import consumer_settings
from streams.runtime.kafka_source import KafkaSource, Subscription
from streams.runtime.shared_settings import GroupProtocol
from streams.settings import StreamsSettings
from tests.e2e.operations_pages import FOLDER, blocks_of
from tests.integration.streams.indexing import (
    PARTITIONS,
    SECONDS_MAX,
    Cluster,
    Look,
    Running,
    index_until,
    indexing,
    settings_of,
)
from tests.support.databases import FreshDatabase
from tests.support.ledgers import (
    Ledger,
    a_ledger,
    created,
    evidence_body,
    intent_body,
    intent_id_of,
    outcome,
    paused,
    tenant_record,
    tenant_state,
)

pytestmark = pytest.mark.integration


@pytest.fixture
def look(migrated: FreshDatabase) -> Look:
    return Look(database=migrated)


def _write_all(cluster: Cluster, *ledgers: Ledger) -> None:
    cluster.create(*(ledger.tenant_id for ledger in ledgers))
    now = SystemClock().now()
    for ledger in ledgers:
        cluster.write(ledger)
        cluster.produce(
            [
                (EVIDENCE, *intent_body(ledger, 1)),
                (EVIDENCE, *evidence_body(ledger, 1)),
                (OUTCOMES, *outcome(ledger, 1, recorded_at=now, status=OutcomeStatus.ACCEPTED)),
                (OUTCOMES, *outcome(ledger, 1, recorded_at=now)),
                (INTENTS, *tenant_record(tenant_state(ledger.tenant_id))),
                (INTENTS, *tenant_record(paused(ledger.tenant_id))),
                (CHECKPOINTS, *ledger.checkpoint(2)),
                (CHECKPOINTS, *ledger.checkpoint()),
            ]
        )


def _is_whole(look: Look, *ledgers: Ledger) -> bool:
    return (
        all(look.seq(ledger.tenant_id) == len(ledger.records) for ledger in ledgers)
        and look.count("views.evidence") == 2 * len(ledgers)
        and look.count("views.operations") == len(ledgers)
        and look.count("views.checkpoints") == 2 * len(ledgers)
        and _paused(look) == sorted(encode(paused(ledger.tenant_id)) for ledger in ledgers)
    )


def _indexed(
    cluster: Cluster, settings: StreamsSettings, look: Look, *ledgers: Ledger
) -> dict[str, list[tuple[Any, ...]]]:
    """The tables once all of it is in them."""
    _write_all(cluster, *ledgers)
    asyncio.run(index_until(settings, lambda: _is_whole(look, *ledgers)))
    return look.tables()


def _paused(look: Look) -> list[bytes]:
    return sorted(state for (state,) in look.rows("SELECT state FROM views.tenant_states"))


def test_a_reset_on_the_stopped_group_changes_nothing_and_says_restored_0(
    cluster: Cluster, migrated: FreshDatabase, look: Look
) -> None:
    ledgers = [a_ledger("acme"), a_ledger("acme-corp", ["released"] * 50)]
    settings = settings_of(cluster, migrated)
    before = _indexed(cluster, settings, look, *ledgers)
    cluster.reset_to_earliest()

    with capture_logs() as logs:

        def is_reread() -> bool:
            return any(line["event"] == "reread_finished" for line in logs)

        asyncio.run(index_until(settings, is_reread))

    finished = [line["summary"] for line in logs if line["event"] == "reread_finished"]
    assert set(finished) == {"restored=0"}
    assert look.tables() == before
    assert cluster.committed(ledger_topic(TenantId("acme"))) == len(ledgers[0].records)


def test_rows_that_are_gone_come_back_with_a_reset_of_the_stopped_group(
    cluster: Cluster, migrated: FreshDatabase, look: Look
) -> None:
    """What `docs/operations/failure-modes.md` tells an operator to do; a published checkpoint is judged again."""
    ledger = a_ledger("acme", ["released"] * 50)
    settings = settings_of(cluster, migrated)
    before = _indexed(cluster, settings, look, ledger)
    losses: tuple[LiteralString, ...] = (
        "DELETE FROM views.ledger_entries WHERE seq = 3",
        "DELETE FROM views.evidence WHERE kind = 'evidence'",
        "DELETE FROM views.operations",
        "DELETE FROM views.tenant_states",
        "DELETE FROM views.checkpoints WHERE size = 2",
    )
    with psycopg.connect(migrated.superuser_dsn) as connection:
        assert [connection.execute(loss).rowcount for loss in losses] == [1] * len(losses)
    cluster.reset_to_earliest()

    with capture_logs() as logs:

        def is_restored() -> bool:
            is_reread = any(line["event"] == "reread_finished" for line in logs)
            return is_reread and look.tables() == before

        asyncio.run(index_until(settings, is_restored))

    finished = [line["restored"] for line in logs if line["event"] == "reread_finished"]
    assert finished == [len(losses)]


def test_tables_that_were_emptied_are_made_anew_byte_for_byte(
    cluster: Cluster, migrated: FreshDatabase, look: Look
) -> None:
    """With the statement of `docs/operations/failure-modes.md`, as their owner, after rows were changed by hand."""
    ledger = a_ledger("acme", ["released"] * 90)
    settings = settings_of(cluster, migrated)
    before = _indexed(cluster, settings, look, ledger)
    with psycopg.connect(migrated.superuser_dsn) as connection:
        connection.execute("UPDATE views.intents SET placed_minor = placed_minor + 1")
        connection.execute(
            "UPDATE views.ledger_tiles SET hashes = overlay(hashes PLACING '\\x00' FROM 1)"
        )
        connection.execute("DELETE FROM views.intent_totals")
    [emptying] = (
        block.text
        for block in blocks_of((FOLDER / "failure-modes.md").read_text())
        if block.language == "sql"
    )
    with psycopg.connect(migrated.owner_dsn) as connection:
        connection.execute(emptying.encode())
    assert look.count("views.tenants") == 0

    asyncio.run(index_until(settings, lambda: _is_whole(look, ledger)))

    assert look.tables() == before


def test_the_tables_hold_what_was_written_byte_for_byte(
    cluster: Cluster, migrated: FreshDatabase, look: Look
) -> None:
    ledger = a_ledger("acme", ["released"] * 90)
    _write_all(cluster, ledger)

    asyncio.run(index_until(settings_of(cluster, migrated), lambda: _is_whole(look, ledger)))

    values = look.rows("SELECT value FROM views.ledger_entries ORDER BY seq")
    assert [value for (value,) in values] == [record.value for record in ledger.records]
    tiles = {
        TileId(level=level, tile=tile): hashes
        for level, tile, hashes in look.rows("SELECT level, tile, hashes FROM views.ledger_tiles")
    }
    root = root_from_tiles(512, FetchedTiles(subject="acme", tiles=tiles))
    assert root == root_of(ledger.leaf_hashes(512))
    assert look.rows(
        "SELECT status, intents, held_minor, released_minor FROM views.intent_totals "
        "WHERE intents > 0"
    ) == [("released", 90, 0, 90 * 20_000)]
    assert look.rows("SELECT status FROM views.operations") == [("done",)]
    assert _paused(look) == [encode(paused(ledger.tenant_id))]
    assert look.rows("SELECT payload, allowed_tools FROM views.evidence ORDER BY kind") == [
        ('{"amount":10.00}', None),
        (None, ["search", "pay,now"]),
    ]


def test_a_restart_goes_on_where_the_tables_stand(
    cluster: Cluster, migrated: FreshDatabase, look: Look
) -> None:
    ledger = a_ledger("acme", ["released"])
    settings = settings_of(cluster, migrated)
    _write_all(cluster, ledger)
    asyncio.run(index_until(settings, lambda: _is_whole(look, ledger)))
    first = len(ledger.records)
    ledger.tell("refunded", 2)
    cluster.write(ledger, since=first)

    asyncio.run(index_until(settings, lambda: look.seq("acme") == len(ledger.records)))

    rows = look.rows("SELECT seq FROM views.ledger_entries ORDER BY seq")
    assert [seq for (seq,) in rows] == list(range(1, len(ledger.records) + 1))


def test_a_new_tenant_is_read_without_a_restart(
    cluster: Cluster, migrated: FreshDatabase, look: Look
) -> None:
    acme, later = a_ledger("acme", ["open"]), a_ledger("later", ["open"])
    _write_all(cluster, acme)

    async def scenario() -> None:
        async with indexing(settings_of(cluster, migrated)) as running:
            await running.until(lambda: look.seq("acme") == 2)
            cluster.create(later.tenant_id)
            cluster.write(later)
            await running.until(lambda: look.seq("later") == 2)

    asyncio.run(scenario())

    assert look.count("views.tenants") == 2


def test_a_broken_chain_stops_its_tenant_while_the_other_goes_on(
    cluster: Cluster, migrated: FreshDatabase, look: Look
) -> None:
    acme, beta = a_ledger("acme", ["open"]), a_ledger("beta", ["open"])
    _write_all(cluster, acme, beta)
    last = acme.records[-1]
    cluster.produce([(ledger_topic(acme.tenant_id), last.key, last.value)])

    async def scenario() -> None:
        async with indexing(settings_of(cluster, migrated)) as running:
            await running.until(lambda: look.count("streams.quarantine") == 1)
            beta.tell("released", 2)
            cluster.write(beta, since=2)
            await running.until(lambda: look.seq("beta") == len(beta.records))

    asyncio.run(scenario())

    assert look.rows(
        "SELECT tenant_id, reason, record_offset FROM streams.quarantine WHERE released_at IS NULL"
    ) == [("acme", "chain_break", 2)]
    assert look.seq("acme") == 2


def test_a_value_that_postgres_refuses_stops_its_tenant_while_the_other_goes_on(
    cluster: Cluster, migrated: FreshDatabase, look: Look
) -> None:
    acme, beta = Ledger(TenantId("acme")).provision(), a_ledger("beta", ["open"])
    acme.add(created(payee_did="did:\0"), intent_id_of(acme.tenant_id, 1))
    cluster.create(acme.tenant_id, beta.tenant_id)
    cluster.write(acme)
    cluster.write(beta)

    async def scenario() -> None:
        async with indexing(settings_of(cluster, migrated)) as running:
            await running.until(lambda: look.count("streams.quarantine") == 1)
            await running.until(lambda: look.seq("beta") == len(beta.records))

    asyncio.run(scenario())

    reasons = look.rows("SELECT tenant_id, reason FROM streams.quarantine")
    assert reasons == [("acme", "data_refused")]


def test_an_owner_whose_checkpoint_was_claimed_stops_and_writes_nothing(
    cluster: Cluster, migrated: FreshDatabase, look: Look
) -> None:
    ledger = a_ledger("acme", ["open"])
    _write_all(cluster, ledger)

    async def scenario() -> None:
        async with indexing(settings_of(cluster, migrated)) as running:
            await running.until(lambda: look.seq("acme") == 2)
            # What another member's assignment does; the group knows nothing of it. Beside the loop: it may have to
            # wait for a transaction of the indexer's, which could not end while its own loop waits here.
            await asyncio.to_thread(
                look.rows, "UPDATE streams.checkpoints SET epoch = epoch + 1 RETURNING epoch"
            )
            ledger.tell("open", 2)
            cluster.write(ledger, since=2)
            await asyncio.sleep(2)

    with pytest.raises(OwnershipLostError):
        asyncio.run(scenario())

    assert look.seq("acme") == 2


def test_a_tombstone_deletes_the_body_and_a_reset_does_not_bring_it_back(
    cluster: Cluster, migrated: FreshDatabase, look: Look
) -> None:
    ledger = a_ledger("acme", ["released"])
    settings = settings_of(cluster, migrated)
    _write_all(cluster, ledger)
    asyncio.run(index_until(settings, lambda: _is_whole(look, ledger)))
    cluster.produce([(EVIDENCE, evidence_body(ledger, 1)[0], None)])
    asyncio.run(index_until(settings, lambda: look.count("views.evidence") == 1))
    cluster.reset_to_earliest()

    with capture_logs() as logs:
        asyncio.run(
            index_until(settings, lambda: any(line["event"] == "reread_finished" for line in logs))
        )

    assert [line["restored"] for line in logs if line["event"] == "reread_finished"][-1] == 0
    assert look.rows("SELECT kind FROM views.evidence") == [("intent",)]


def test_what_can_t_be_read_is_a_dead_letter_and_what_follows_is_read(
    cluster: Cluster, migrated: FreshDatabase, look: Look
) -> None:
    ledger = a_ledger("acme", ["released"])
    cluster.create(ledger.tenant_id)
    cluster.write(ledger)
    key, value = evidence_body(ledger, 1)
    nul = intent_body(ledger, 1, budget='"\0"')
    cluster.produce([(EVIDENCE, key, b"poison"), (EVIDENCE, *nul), (EVIDENCE, key, value)])

    asyncio.run(
        index_until(settings_of(cluster, migrated), lambda: look.count("views.evidence") == 1)
    )

    assert cluster.dead_letters() == 2
    assert look.rows("SELECT kind FROM views.evidence") == [("evidence",)]


@pytest.mark.parametrize(
    "protocol",
    [
        GroupProtocol.CLASSIC,
        pytest.param(GroupProtocol.CONSUMER, marks=pytest.mark.apache_only),
    ],
)
def test_members_share_the_ledgers_and_take_over_when_one_leaves(
    cluster: Cluster, migrated: FreshDatabase, look: Look, protocol: GroupProtocol
) -> None:
    ledgers = [a_ledger(f"tenant-{number}", ["open"]) for number in range(6)]
    cluster.create(*(ledger.tenant_id for ledger in ledgers))
    settings = settings_of(cluster, migrated, kafka_group_protocol=protocol)

    everything = len(ledgers) + PARTITIONS * len({EVIDENCE, OUTCOMES, INTENTS, CHECKPOINTS})

    def is_shared(*members: Running) -> bool:
        """Each of them has a part, and nothing is without an owner."""
        owned = [len(member.loop.positions) for member in members]
        return min(owned) > 0 and sum(owned) == everything

    def tell_all(number: int) -> None:
        for ledger in ledgers:
            ledger.tell("open", number)
            cluster.write(ledger, since=len(ledger.records) - 1)

    def is_whole() -> bool:
        return all(look.seq(ledger.tenant_id) == len(ledger.records) for ledger in ledgers)

    async def scenario() -> None:
        for ledger in ledgers:
            cluster.write(ledger)
        async with indexing(settings) as first:
            await first.until(is_whole)
            async with indexing(settings) as second:
                await second.until(lambda: is_shared(first, second))
                tell_all(2)
                await second.until(is_whole)
            await first.until(lambda: is_shared(first))
            tell_all(3)
            await first.until(is_whole)

    asyncio.run(scenario())

    assert look.count("streams.quarantine") == 0
    assert look.count("views.ledger_entries") == sum(len(ledger.records) for ledger in ledgers)


def test_a_broker_that_goes_away_ends_the_program_as_an_outage(
    own_cluster: Cluster, migrated: FreshDatabase, look: Look
) -> None:
    if own_cluster.server is None:
        pytest.skip("this broker is not ours to stop")
    ledger = a_ledger("acme", ["open"])
    _write_all(own_cluster, ledger)

    async def scenario() -> None:
        async with indexing(settings_of(own_cluster, migrated)) as running:
            await running.until(lambda: look.seq("acme") == 2)
            assert own_cluster.server is not None
            await asyncio.to_thread(own_cluster.server.stop)
            await asyncio.wait({running.task}, timeout=SECONDS_MAX)

    with pytest.raises(BrokerUnavailableError):
        asyncio.run(scenario())


def test_a_subscription_that_nobody_is_assigned_is_an_error(
    cluster: Cluster, migrated: FreshDatabase
) -> None:
    cluster.create(TenantId("acme"))
    settings = settings_of(cluster, migrated)
    # Without `.+` KIP-848 silently matches nothing; so does a name that is no topic's, everywhere.
    source = KafkaSource(
        consumer_settings(settings, client_id="test", group="test-unassigned"),
        subscription=Subscription(
            topics=("^nothing-of-this-name",), expected=LEDGER_SUBSCRIPTION, is_incremental=False
        ),
        unassigned_seconds_max=0.5,
    )

    async def scenario() -> None:
        async with views(settings) as parts:
            await source.start(parts.loop)
            try:
                while True:
                    await source.read()
            finally:
                await source.stop()

    with pytest.raises(ConfigurationError, match=r"paybond\.ledger\.acme"):
        asyncio.run(asyncio.wait_for(scenario(), SECONDS_MAX))
