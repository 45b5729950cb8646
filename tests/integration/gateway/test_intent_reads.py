"""Operators' reads over HTTP: one intent whole, pages, sums; read-your-writes; nothing of another tenant."""

import asyncio
import json
from collections.abc import Sequence
from typing import Any

import psycopg
import pytest

from gateway.adapters.postgres_reads import Query, Row, TenantReads
from gateway.queries.intents import IntentReads
from schemas.ids import IntentId, TenantId
from schemas.intent_state import Quarantine, RailsPause
from schemas.messages.shared import Actor, ActorKind, IntentStatus
from tests.integration.gateway.gateways import RunningGateway, code_of, run
from tests.integration.gateway.tables import (
    History,
    history_of,
    migrated,
    store,
    store_bodies,
    store_tenant_state,
)
from tests.support.builders import T0, an_intent_id, create_intent, rail_answer
from tests.support.databases import FreshDatabase
from tests.support.domain_world import World, disputed, evidenced, funded, opened, settling
from tests.support.ledgers import tenant_state

pytestmark = [pytest.mark.integration, pytest.mark.embedded_only]

INTENTS = "/harbor/operator/v1/intents"
SUMMARY = "/harbor/operator/v1/summary"
MINIMUM_SEQ = "x-paybond-min-ledger-seq"
MANY = 7


def _released() -> World:
    world = settling()
    world.do(rail_answer(world.effect, now=world.now))
    assert world.state().status is IntentStatus.RELEASED
    return world


def _many() -> World:
    world = opened()
    for number in range(2, MANY + 1):
        intent_id = an_intent_id(number)
        outcome = world.do(create_intent(intent_id=intent_id), intent_id=intent_id)
        assert outcome.refusal is None
    return world


@pytest.fixture(scope="module")
def filled(module_postgres: FreshDatabase) -> FreshDatabase:
    database = migrated(module_postgres)
    worlds = {
        "acme": evidenced(),
        "acme-corp": funded(),
        "many": _many(),
        "settling": settling(),
        "released": _released(),
        "disputed": disputed(),
    }
    for tenant_id, world in worlds.items():
        store(database, history_of(world, tenant_id))
    return database


def _only_intent(world: World) -> str:
    [intent_id] = world.intents
    return intent_id


INTENT = _only_intent(evidenced())


def test_an_intent_is_shown_whole(filled: FreshDatabase) -> None:
    async def scenario(gateway: RunningGateway) -> None:
        answer = await gateway.get(f"{INTENTS}/{INTENT}", await gateway.bearer("acme"))

        document = answer.json()
        world = evidenced()
        state = world.state()
        assert answer.status_code == 200
        assert document["tenant_id"] == "acme"
        assert document["intent_id"] == INTENT
        assert document["state"] == document["status"] == "evidence_submitted"
        assert document["allowed_tools"] == list(world.intent_bodies[INTENT].allowed_tools)
        assert document["allowed_tools"]
        assert document["reason"] is None
        assert document["ledger_seq"] == len(world.entries)
        assert document["held_cents"] == state.amount_minor
        assert document["hold"]["status"] == "held"
        assert document["settles_at"] == document["next_action"]["at"]
        assert document["next_action"]["kind"] == "settle"
        assert document["next_action"]["blocked_by"] is None
        assert document["evidence_due_at"] < document["settles_at"] < document["hold_expires_at"]
        timeline = [item["event_type"] for item in document["timeline"]]
        assert timeline[0] == "intent_created"
        assert timeline[-2:] == ["evidence_submitted", "predicate_evaluated"]
        [evidence] = document["evidence"]
        assert evidence["payload"] == json.loads(world.evidence_bodies[INTENT].payload)
        assert evidence["predicate_evaluation"]["passed"] is True
        assert evidence["payload_digest"] == world.evidence_bodies[INTENT].payload_digest.hex()

    run(filled, scenario)


@pytest.mark.parametrize(
    ("tenant_id", "kind", "blocked_by"),
    [
        ("acme-corp", "refund", None),
        ("many", "close", None),
        ("settling", "reissue", "rail"),
        ("disputed", "warn", "dispute"),
        ("released", None, None),
    ],
)
def test_the_next_action_says_what_comes_and_what_blocks_it(
    filled: FreshDatabase, tenant_id: str, kind: str | None, blocked_by: str | None
) -> None:
    async def scenario(gateway: RunningGateway) -> None:
        answer = await gateway.get(f"{INTENTS}/{INTENT}", await gateway.bearer(tenant_id))

        action = answer.json()["next_action"]
        if kind is None:
            assert action is None
        else:
            assert (action["kind"], action["blocked_by"]) == (kind, blocked_by)

    run(filled, scenario)


_PAUSE = RailsPause(reason="drift", since=T0, paused_by=Actor(kind=ActorKind.CLI, ref="o"))
_QUARANTINE = Quarantine(reason="crashed_decide", since=T0)


@pytest.mark.parametrize(
    ("changes", "held", "asked"),
    [
        ({}, ("refund", None), ("reissue", "rail")),
        ({"rails_pause": _PAUSE}, ("refund", "rails_paused"), ("resume_rails", "rails_paused")),
        (
            {"rails_pause": _PAUSE, "quarantine": _QUARANTINE},
            ("release_quarantine", "quarantine"),
            ("release_quarantine", "quarantine"),
        ),
    ],
)
def test_what_stops_the_tenant_as_a_whole_is_why_its_intents_wait(
    postgres: FreshDatabase,
    changes: dict[str, Any],
    held: tuple[str, str | None],
    asked: tuple[str, str | None],
) -> None:
    database = migrated(postgres)
    for tenant_id, world in (("held", funded()), ("asked", settling()), ("over", _released())):
        store(database, history_of(world, tenant_id))
        store_tenant_state(database, tenant_state(TenantId(tenant_id), **changes))

    async def scenario(gateway: RunningGateway) -> None:
        told = {}
        for tenant_id in ("held", "asked", "over"):
            answer = await gateway.get(f"{INTENTS}/{INTENT}", await gateway.bearer(tenant_id))
            action = answer.json()["next_action"]
            told[tenant_id] = action and (action["kind"], action["blocked_by"])
        pending = await IntentReads(gateway.reads).answer(TenantId("held"), IntentId(INTENT))

        assert told == {"held": held, "asked": asked, "over": None}
        assert pending is not None
        assert pending.next_action is not None
        assert (pending.next_action.kind, pending.next_action.blocked_by) == held

    run(database, scenario)


def test_another_tenants_intent_is_not_found(filled: FreshDatabase) -> None:
    async def scenario(gateway: RunningGateway) -> None:
        headers = await gateway.bearer("acme")
        foreign = an_intent_id(MANY)

        of_another = await gateway.get(f"{INTENTS}/{foreign}", headers)
        of_nobody = await gateway.get(f"{INTENTS}/{an_intent_id(999)}", headers)
        malformed = await gateway.get(f"{INTENTS}/{INTENT.upper()}", headers)
        own = await gateway.get(f"{INTENTS}/{foreign}", await gateway.bearer("many"))

        assert code_of(of_another) == code_of(of_nobody) == (404, "intent_not_found")
        assert code_of(malformed) == (404, "intent_not_found")
        assert of_another.json()["error"] == of_nobody.json()["error"]
        assert own.status_code == 200

    run(filled, scenario)


def test_intents_are_listed_newest_first_in_pages(filled: FreshDatabase) -> None:
    async def scenario(gateway: RunningGateway) -> None:
        headers = await gateway.bearer("many")
        pages, cursor = [], None
        while True:
            parameters = {"limit": 3} | ({"cursor": cursor} if cursor else {})
            answer = await gateway.get(INTENTS, headers, **parameters)
            pages.append(answer.json()["intents"])
            cursor = answer.json()["next_cursor"]
            if cursor is None:
                break

        assert [len(page) for page in pages] == [3, 3, 1]
        ids = [line["intent_id"] for page in pages for line in page]
        assert ids == [an_intent_id(number) for number in range(MANY, 0, -1)]
        assert set(pages[0][0]) >= {"intent_id", "status", "amount_cents", "created_at"}

    run(filled, scenario)


def test_intents_are_filtered_by_status_and_operator(filled: FreshDatabase) -> None:
    async def scenario(gateway: RunningGateway) -> None:
        headers = await gateway.bearer("acme")
        payee = evidenced().state().payee_did

        def count(answer: object) -> int:
            return len(answer.json()["intents"])  # type: ignore[attr-defined]

        assert count(await gateway.get(INTENTS, headers, status="evidence_submitted")) == 1
        assert count(await gateway.get(INTENTS, headers, status="released")) == 0
        assert count(await gateway.get(INTENTS, headers, operator_did=payee)) == 1
        assert count(await gateway.get(INTENTS, headers, operator_did="did:web:nobody")) == 0

    run(filled, scenario)


@pytest.mark.parametrize(
    "query",
    [
        "limit=0",
        "limit=201",
        "limit=ten",
        "limit=5&limit=6",
        "status=paid",
        "operator_did=",
        "operator_did=" + "x" * 513,
        "cursor=!",
        "cursor=" + "A" * 513,
        "cursor=aW50ZW50czp4",
        "color=red",
    ],
)
def test_a_parameter_that_does_not_fit_is_refused(filled: FreshDatabase, query: str) -> None:
    async def scenario(gateway: RunningGateway) -> None:
        headers = await gateway.bearer("acme")

        answer = await gateway.client.get(f"{INTENTS}?{query}", headers=headers)

        assert code_of(answer) == (400, "body_invalid")

    run(filled, scenario)


def test_the_summary_adds_up_the_tenants_money(filled: FreshDatabase) -> None:
    async def scenario(gateway: RunningGateway) -> None:
        answer = await gateway.get(SUMMARY, await gateway.bearer("released"))

        amount = evidenced().state().amount_minor
        [total] = answer.json()["totals"]
        assert answer.json()["tenant_id"] == "released"
        assert answer.json()["ledger_seq"] == len(_released().entries)
        assert total["status"] == "released"
        assert (total["currency"], total["intents"]) == ("usd", 1)
        assert total["placed_cents"] == total["released_cents"] == amount
        assert total["held_cents"] == total["refunded_cents"] == total["custody_cents"] == 0

    run(filled, scenario)


def test_a_tenant_without_a_ledger_has_an_empty_summary(filled: FreshDatabase) -> None:
    async def scenario(gateway: RunningGateway) -> None:
        answer = await gateway.get(SUMMARY, await gateway.bearer("newcomer"))

        assert answer.json() == {
            "tenant_id": "newcomer",
            "ledger_seq": 0,
            "as_of": None,
            "totals": [],
        }

    run(filled, scenario)


def test_what_is_read_side_by_side_is_what_is_read_alone(filled: FreshDatabase) -> None:
    tenants = [TenantId(name) for name in ("acme", "acme-corp", "many", "released", "newcomer")]
    asked = [
        (tenant_id, IntentId(an_intent_id(number)))
        for number in range(1, MANY + 2)
        for tenant_id in tenants
    ]

    async def scenario(gateway: RunningGateway) -> None:
        class CountedReads(TenantReads):
            trips = 0

            async def fetch_all(
                self, tenant_id: TenantId, queries: Sequence[Query]
            ) -> list[list[Row]]:
                self.trips += 1
                return await super().fetch_all(tenant_id, queries)

        reads = CountedReads(gateway.pool)
        intents = IntentReads(reads)
        alone = [await intents.find(*one) for one in asked]
        trips, reads.trips = reads.trips, 0
        together = await asyncio.gather(*(intents.find(*one) for one in asked))

        assert trips == len(asked)
        assert reads.trips == len(tenants)
        assert together == alone
        found = [one for one, intent in zip(asked, together, strict=True) if intent is not None]
        assert len(found) == len(tenants) - 1 + MANY - 1
        assert all(
            intent.timeline and intent.state.tenant_id == tenant_id
            for (tenant_id, _), intent in zip(asked, together, strict=True)
            if intent is not None
        )

    run(filled, scenario)


def test_reads_need_their_permission(filled: FreshDatabase) -> None:
    async def scenario(gateway: RunningGateway) -> None:
        headers = await gateway.bearer("acme", permissions=frozenset({"admin:api-keys"}))

        for path in (INTENTS, f"{INTENTS}/{INTENT}", SUMMARY, "/harbor/ledger/v1/tip"):
            assert code_of(await gateway.get(path, headers)) == (403, "permission_denied")

    run(filled, scenario)


def test_the_present_intent_has_what_a_pending_answer_shows(filled: FreshDatabase) -> None:
    async def scenario(gateway: RunningGateway) -> None:
        intents = IntentReads(gateway.reads)
        world = evidenced()

        found = await intents.answer(TenantId("acme"), IntentId(INTENT))
        elsewhere = await intents.answer(TenantId("newcomer"), IntentId(INTENT))

        expected = next(
            outcome.answer
            for outcome in world.outcomes.values()
            if outcome.command_kind == "SubmitEvidence"
        )
        assert found == expected
        assert elsewhere is None

    run(filled, scenario)


def test_a_read_waits_until_its_own_write_can_be_read(postgres: FreshDatabase) -> None:
    history = history_of(evidenced(), "acme")

    async def scenario(gateway: RunningGateway) -> None:
        headers = {**await gateway.bearer("acme"), MINIMUM_SEQ: str(len(history.entries))}
        reading = asyncio.create_task(gateway.get(f"{INTENTS}/{INTENT}", headers))
        await asyncio.sleep(0.2)
        is_waiting = not reading.done()
        await asyncio.to_thread(store, postgres, history)

        answer = await reading

        assert is_waiting
        assert answer.status_code == 200
        assert answer.json()["ledger_seq"] == len(history.entries)

    run(migrated(postgres), scenario, minimum_seq_seconds=5.0)


def test_a_read_waits_for_the_body_too(postgres: FreshDatabase) -> None:
    history = history_of(evidenced(), "acme")
    without_bodies = History(tenant_id=history.tenant_id, entries=history.entries)

    async def scenario(gateway: RunningGateway) -> None:
        await asyncio.to_thread(store, postgres, without_bodies)
        bearer = await gateway.bearer("acme")
        headers = {**bearer, MINIMUM_SEQ: str(len(history.entries))}

        at_once = await gateway.get(f"{INTENTS}/{INTENT}", bearer)
        reading = asyncio.create_task(gateway.get(f"{INTENTS}/{INTENT}", headers))
        await asyncio.sleep(0.2)
        is_waiting = not reading.done()
        await asyncio.to_thread(_store_bodies, postgres, history)
        answer = await reading

        assert code_of(at_once) == (503, "unavailable")
        assert is_waiting
        assert answer.status_code == 200

    run(migrated(postgres), scenario, minimum_seq_seconds=5.0)


def _store_bodies(database: FreshDatabase, history: History) -> None:
    with psycopg.connect(database.login_dsn("paybond_streams")) as connection:
        store_bodies(connection, history.bodies)
        connection.execute("SELECT pg_notify('paybond_views', 'acme:1')")


def test_a_seq_that_does_not_come_is_answered_503_in_time(filled: FreshDatabase) -> None:
    async def scenario(gateway: RunningGateway) -> None:
        headers = {**await gateway.bearer("acme"), MINIMUM_SEQ: "1000000"}
        loop = asyncio.get_running_loop()
        start = loop.time()

        answer = await gateway.get(SUMMARY, headers)

        assert code_of(answer) == (503, "unavailable")
        assert answer.headers["retry-after"] == "1"
        assert loop.time() - start < 2.0

    run(filled, scenario, minimum_seq_seconds=0.2)


@pytest.mark.parametrize("seq", ["0", "-1", "1.0", "x", "", "10000000000000000"])
def test_a_minimum_seq_of_a_wrong_form_is_refused(filled: FreshDatabase, seq: str) -> None:
    async def scenario(gateway: RunningGateway) -> None:
        headers = {**await gateway.bearer("acme"), MINIMUM_SEQ: seq}

        assert code_of(await gateway.get(SUMMARY, headers)) == (400, "body_invalid")

    run(filled, scenario)


def test_erased_bodies_of_a_final_intent_leave_its_story_readable(
    postgres: FreshDatabase,
) -> None:
    history = history_of(_released(), "acme")
    erased = History(tenant_id=history.tenant_id, entries=history.entries)
    store(migrated(postgres), erased)

    async def scenario(gateway: RunningGateway) -> None:
        headers = {**await gateway.bearer("acme"), MINIMUM_SEQ: str(len(history.entries))}

        answer = await gateway.get(f"{INTENTS}/{INTENT}", headers)

        assert answer.status_code == 200
        assert answer.json()["state"] == "released"
        assert answer.json()["evidence"][0]["payload"] is None
        assert answer.json()["evidence"][0]["commitment"]

    run(postgres, scenario)
