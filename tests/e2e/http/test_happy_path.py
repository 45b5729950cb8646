"""One intent's life over HTTP, through the real gateway and the real loop: the members that every client relies on."""

from datetime import UTC, datetime

from tests.e2e.http.asks import INTENT, VECTORS, Client, send
from tests.support.builders import NEVER, TENANT
from tests.support.gateway_world import OTHER_TENANT, GatewayWorld, register
from tests.support.harbor_world import run

# The published evidence was signed for the second of the deadline.
_PUBLISHED_AT = datetime(2030, 1, 2, 15, 0, tzinfo=UTC)


def test_an_intent_is_created_funded_proven_and_released() -> None:
    async def scenario() -> None:
        async with GatewayWorld.open() as world:
            client = Client(world, register(world))

            created = await send(world, client.create())
            funded = await send(world, client.fund())
            evidenced = await send(world, client.evidence())
            confirmed = await send(world, client.confirm())

            answers = [r.status_code for r in (created, funded, evidenced, confirmed)]
            assert answers == [201, 200, 200, 200]
            assert (
                created.json().items()
                >= {
                    "intent_id": INTENT,
                    "state": "open",
                    "tenant": TENANT,
                    "ledger_seq": 2,
                }.items()
            )
            assert "capability_token" not in created.json()
            assert (
                funded.json().items()
                >= {
                    "tenant": TENANT,
                    "intent_id": INTENT,
                    "state": "funded",
                    "settlement_rail": "stripe_connect",
                    "settlement_mode": "simulated",
                    "currency": "usd",
                    "amount_cents": 20_000,
                    "funded": True,
                }.items()
            )
            assert funded.json()["funding"]["settlement_rail"] == "stripe_connect"
            assert funded.json()["funding"]["status"] == "held"
            assert funded.json()["capability_token"]
            assert (
                evidenced.json().items()
                >= {
                    "tenant": TENANT,
                    "intent_id": INTENT,
                    "state": "evidence_submitted",
                    "predicate_passed": True,
                }.items()
            )
            assert evidenced.json()["predicate_evaluation"]["passed"] is True
            assert evidenced.json()["predicate_evaluation"]["trace"]
            assert len(evidenced.json()["payload_digest"]) == 64
            assert len(evidenced.json()["artifacts_digest"]) == 64
            assert evidenced.json()["evidence_id"]
            assert (
                confirmed.json().items()
                >= {
                    "tenant": TENANT,
                    "intent_id": INTENT,
                    "state": "released",
                    "released_cents": 20_000,
                }.items()
            )
            world.harbor.assert_whole()

    run(scenario)


def test_the_published_bodies_go_through_unmodified() -> None:
    vector = VECTORS["intent_v6"]
    intent_id = vector["body"]["intent_id"]

    async def scenario() -> None:
        async with GatewayWorld.open() as world:
            world.clock.advance(_PUBLISHED_AT - world.clock.now())
            client = Client(world, register(world, OTHER_TENANT))

            created = await send(world, client.create_of(vector["body"]))
            funded = await send(world, client.fund(intent_id))
            published = VECTORS["evidence_v2"]
            evidence = client.evidence_of(published["body"], intent_id=intent_id)
            evidenced = await send(world, evidence)
            confirmed = await send(world, client.confirm(intent_id))

            assert created.status_code == 201, created.text
            assert funded.json()["funded"] is True
            assert evidenced.json()["payload_digest"] == published["payload_digest_hex"]
            assert evidenced.json()["artifacts_digest"] == published["artifacts_digest_hex"]
            assert confirmed.json()["state"] == "released"
            world.harbor.assert_whole(OTHER_TENANT)

    run(scenario)


def test_while_the_rail_works_202_carries_what_200_must_and_names_the_operation() -> None:
    async def scenario() -> None:
        async with GatewayWorld.open() as world:
            client = Client(world, register(world))
            world.is_rail_slow = True
            await send(world, client.create())

            asked = await send(world, client.fund())
            world.is_rail_slow = False
            funded = await send(world, client.fund())
            await send(world, client.evidence())
            world.is_rail_slow = True
            confirming = await send(world, client.confirm())

            assert [asked.status_code, confirming.status_code] == [202, 202]
            assert asked.json().keys() >= set(funded.json()) - {"capability_token"} - _GROWS
            assert (asked.json()["funded"], asked.json()["state"]) == (False, "open")
            assert confirming.json()["state"] == "evidence_submitted"
            for response in (asked, confirming):
                operation = response.json()["operation_id"]
                assert response.headers["location"] == f"/v1/operations/{operation}"
                assert (response.json()["tenant"], response.json()["intent_id"]) == (TENANT, INTENT)

    run(scenario)


# What only entries bring; a poll adds none.
_GROWS = {"ledger_seq"}


def test_a_predicate_that_fails_gives_the_money_back() -> None:
    async def scenario() -> None:
        async with GatewayWorld.open() as world:
            client = Client(world, register(world))
            await client.funded(predicate=NEVER)

            evidenced = await send(world, client.evidence())
            confirmed = await send(world, client.confirm(body=b'{"anything":"is ignored"}'))

            assert evidenced.status_code == 200
            assert evidenced.json()["predicate_passed"] is False
            assert (
                confirmed.json().items() >= {"state": "refunded", "refunded_cents": 20_000}.items()
            )

    run(scenario)


def test_a_dispute_freezes_an_intent_and_its_resolution_splits_the_money() -> None:
    async def scenario() -> None:
        async with GatewayWorld.open() as world:
            client = Client(world, register(world))
            await client.funded()

            opened = await send(world, client.dispute("open"))
            withdrawn = await send(world, client.dispute("withdraw"))
            again = await send(world, client.dispute("open"))
            split = {"payee_cents": 15_000, "principal_cents": 5_000}
            resolve = client.dispute("resolve", outcome="resolved_split", split=split)
            resolved = await send(world, resolve)

            assert [opened.status_code, withdrawn.status_code, again.status_code] == [200, 200, 200]
            assert (opened.json()["state"], withdrawn.json()["state"]) == ("disputed", "funded")
            assert opened.json()["case_id"] != again.json()["case_id"]
            assert resolved.status_code == 200, resolved.text
            assert (
                resolved.json().items()
                >= {
                    "state": "resolved_split",
                    "released_cents": 15_000,
                    "refunded_cents": 5_000,
                }.items()
            )

    run(scenario)


def test_intent_ids_are_the_tenants_own() -> None:
    """The same id in two tenants: neither learns of the other."""
    vector = VECTORS["intent_v6"]

    async def scenario() -> None:
        async with GatewayWorld.open() as world:
            ours, theirs = (
                Client(world, register(world)),
                Client(world, register(world, OTHER_TENANT)),
            )
            first = await send(world, ours.create(intent_id=vector["body"]["intent_id"]))

            second = await send(world, theirs.create_of(vector["body"]))

            assert (first.status_code, second.status_code) == (201, 201)
            assert (first.json()["tenant"], second.json()["tenant"]) == (TENANT, OTHER_TENANT)

    run(scenario)
