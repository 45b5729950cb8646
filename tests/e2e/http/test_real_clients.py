"""What real clients do: send thrice at once, retry after a restart, poll, come too early, go through proxies."""

import asyncio
import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import timedelta

import pytest

from gateway.auth.recognition import HEADER
from gateway.commands.operation_id import read_operation_id
from harbor.rails.simulator import Faults
from tests.e2e.http.asks import INTENT, INTENTS, VECTORS, Ask, Client, members_of, send
from tests.support.builders import TENANT
from tests.support.gateway_world import OPERATION_KEY, OTHER_TENANT, GatewayWorld, register
from tests.support.harbor_world import run


def _asks(client: Client) -> Mapping[str, Callable[..., Ask]]:
    return {
        "create": client.create,
        "fund": client.fund,
        "evidence": client.evidence,
        "confirm": client.confirm,
    }


@pytest.mark.parametrize("route", ["create", "fund", "evidence", "confirm"])
def test_the_same_request_three_times_at_once_gets_three_equal_answers_and_happens_once(
    route: str,
) -> None:
    expected = {
        "create": ["intent_created"],
        "fund": ["settlement_rail_requested", "settlement_hold_placed"],
        "evidence": ["evidence_submitted", "predicate_evaluated"],
        "confirm": ["settlement_rail_requested", "settlement_rail_confirmed", "released"],
    }

    async def scenario() -> None:
        async with GatewayWorld.open() as world:
            client = Client(world, register(world))
            asks = _asks(client)
            for earlier in list(asks)[: list(asks).index(route)]:
                await send(world, asks[earlier]())
            ask = asks[route](key="key-1")
            before = len(world.harbor.events())

            answers = await asyncio.gather(*(send(world, ask) for _ in range(3)))

            assert {response.status_code for response in answers} <= {200, 201}
            assert len({response.content for response in answers}) == 1
            assert world.harbor.events()[before:] == expected[route]
            assert world.waiters.count == 0
            world.harbor.assert_whole()

    run(scenario)


def test_three_at_once_without_a_key_are_one_request_by_their_proof() -> None:
    async def scenario() -> None:
        async with GatewayWorld.open() as world:
            client = Client(world, register(world))
            await send(world, client.create())
            fund = client.fund()
            before = len(world.harbor.events())

            answers = await asyncio.gather(*(send(world, fund) for _ in range(3)))

            assert [response.status_code for response in answers] == [200, 200, 200]
            assert len({response.content for response in answers}) == 1
            assert len(world.harbor.events()) == before + 2

    run(scenario)


def test_after_a_restart_of_gateway_and_harbor_a_retry_gets_the_first_answer_byte_for_byte() -> (
    None
):
    async def scenario() -> None:
        async with GatewayWorld.open() as world:
            client = Client(world, register(world))
            asks, first = [], []
            for make in (client.create, client.fund, client.evidence, client.confirm):
                asks.append(make(key="key-1"))
                first.append(await send(world, asks[-1]))
            ledger = world.ledger()

            world.restart_gateway()
            after_gateway = [await send(world, ask) for ask in asks]
            await world.restart_harbor()
            after_harbor = [await send(world, ask) for ask in asks]

            assert [response.status_code for response in first] == [201, 200, 200, 200]
            for again in (after_gateway, after_harbor):
                assert [r.content for r in again] == [r.content for r in first]
                assert [r.status_code for r in again] == [r.status_code for r in first]
            assert world.ledger() == ledger

    run(scenario)


def test_a_retry_of_what_nobody_answered_finds_it_done() -> None:
    """503 says "not known": the command lies in the log, and the same request gets its answer."""

    async def scenario() -> None:
        async with GatewayWorld.open() as world:
            create = Client(world, register(world)).create(key="key-1")
            world.is_harbor_silent = True

            unknown = await send(world, create)
            world.is_harbor_silent = False
            world.restart_gateway()
            known = await send(world, create)

            assert (unknown.status_code, unknown.json()["error"]["code"]) == (503, "unavailable")
            assert known.status_code == 201
            assert world.harbor.events().count("intent_created") == 1

    run(scenario)


def test_what_is_not_known_in_time_is_202_where_the_tables_have_the_intent() -> None:
    async def scenario() -> None:
        async with GatewayWorld.open() as world:
            client = Client(world, register(world))
            await send(world, client.create())
            fund = client.fund(key="key-1")
            world.is_harbor_silent = True

            unknown = await send(world, fund)
            world.is_harbor_silent = False
            known = await send(world, fund)

            assert unknown.status_code == 202
            assert unknown.json().keys() >= {
                "tenant",
                "intent_id",
                "state",
                "settlement_rail",
                "currency",
                "amount_cents",
                "funded",
                "operation_id",
            }
            assert known.status_code == 200
            assert known.json()["funded"] is True

    run(scenario)


def test_funding_is_polled_with_fresh_proofs_until_it_is_there() -> None:
    async def scenario() -> None:
        async with GatewayWorld.open() as world:
            client = Client(world, register(world))
            await send(world, client.create())
            world.is_rail_slow = True
            before = len(world.harbor.events())

            polls = [await send(world, client.fund()) for _ in range(3)]
            world.is_rail_slow = False
            await world.turn()
            polls += [await send(world, client.fund()) for _ in range(2)]

            assert [response.status_code for response in polls] == [202, 202, 202, 200, 200]
            named = {_command_of(response.json()["operation_id"]) for response in polls[:3]}
            assert len(named) == 1, "every poll names the operation that the first request began"
            assert [response.json()["funded"] for response in polls] == [False] * 3 + [True] * 2
            tokens = [response.json().get("capability_token") for response in polls]
            assert tokens[:3] == [None] * 3
            assert tokens[3] == tokens[4] is not None
            assert world.harbor.events()[before:] == [
                "settlement_rail_requested",
                "settlement_hold_placed",
            ]

    run(scenario)


def _command_of(operation_id: str) -> str:
    operation = read_operation_id(OPERATION_KEY, TENANT, operation_id)
    assert operation is not None
    return operation.command_id


def test_a_202s_repeat_under_its_key_answers_the_present_state() -> None:
    async def scenario() -> None:
        async with GatewayWorld.open() as world:
            client = Client(world, register(world))
            await send(world, client.create())
            world.is_rail_slow = True
            fund = client.fund(key="key-1")

            pending = await send(world, fund)
            world.is_rail_slow = False
            await world.turn()
            funded = await send(world, fund)

            assert (pending.status_code, funded.status_code) == (202, 200)
            assert funded.json()["funded"] is True

    run(scenario)


def test_a_polls_repeat_under_its_key_answers_the_present_state_too() -> None:
    """The poll asked for nothing itself; its 202 is of the funding that another request asked for."""

    async def scenario() -> None:
        async with GatewayWorld.open() as world:
            client = Client(world, register(world))
            await send(world, client.create())
            world.is_rail_slow = True
            await send(world, client.fund(key="key-1"))
            poll = client.fund(key="key-2")

            pending = await send(world, poll)
            world.is_rail_slow = False
            await world.turn()
            repeated = await send(world, poll)
            fresh = await send(world, client.fund(key="key-2"))

            assert pending.status_code == 202
            assert (repeated.status_code, repeated.json()["funded"]) == (200, True)
            assert (fresh.status_code, fresh.json()["funded"]) == (200, True)

    run(scenario)


def test_a_polls_repeat_tells_that_the_payment_was_declined_and_asks_for_nothing() -> None:
    async def scenario() -> None:
        async with GatewayWorld.open() as world:
            client = Client(world, register(world))
            await send(world, client.create())
            world.is_rail_slow = True
            await send(world, client.fund())
            poll = client.fund(key="key-2")
            pending = await send(world, poll)
            world.set_faults(Faults(decline_bps=10_000))
            world.is_rail_slow = False
            await world.turn()
            effects = len(world.harbor.effects())

            repeated = await send(world, poll)
            await world.restart_harbor()
            again = await send(world, poll)

            assert pending.status_code == 202
            assert (repeated.status_code, repeated.json()["error"]["code"]) == (
                402,
                "payment_declined",
            )
            assert again.content == repeated.content
            assert len(world.harbor.effects()) == effects

    run(scenario)


def test_evidence_that_came_before_the_money_is_taken_again_under_its_key() -> None:
    """A refusal that depends on state binds its own proof only."""

    async def scenario() -> None:
        async with GatewayWorld.open() as world:
            client = Client(world, register(world))
            await send(world, client.create())
            early = client.evidence(key="key-1")

            refused = await send(world, early)
            await send(world, client.fund())
            repeated = await send(world, early)
            fresh = client.evidence_of(members_of(early), key="key-1")
            taken = await send(world, fresh)
            again = await send(world, fresh)

            assert fresh.body == early.body
            assert (refused.status_code, refused.json()["error"]["code"]) == (409, "not_funded")
            assert repeated.content == refused.content
            assert taken.status_code == 200
            assert again.content == taken.content
            assert world.harbor.events().count("evidence_submitted") == 1

    run(scenario)


def test_an_operators_key_is_decided_anew_after_a_refusal_and_kept_after_a_success() -> None:
    """Without a proof nothing tells a repeat of a refused wish from a new one."""

    async def scenario() -> None:
        async with GatewayWorld.open() as world:
            client = Client(world, register(world))
            await client.funded()
            withdraw = client.dispute("withdraw", key="key-1")

            refused = await send(world, withdraw)
            await send(world, client.dispute("open"))
            withdrawn = await send(world, withdraw)
            await send(world, client.dispute("open"))
            again = await send(world, withdraw)

            assert refused.json()["error"]["code"] == "not_disputed"
            assert withdrawn.status_code == 200
            assert again.content == withdrawn.content
            assert world.harbor.events().count("dispute_withdrawn") == 1

    run(scenario)


def test_a_malformed_request_gets_its_first_refusal_also_with_a_fresh_proof() -> None:
    async def scenario() -> None:
        async with GatewayWorld.open() as world:
            client = Client(world, register(world))
            wrong = client.create(amount_minor=0, key="key-1")

            first = await send(world, wrong)
            fresh = client.create_of(members_of(wrong), key="key-1")
            again = await send(world, fresh)

            assert dict(fresh.headers)[HEADER] != dict(wrong.headers)[HEADER]
            assert first.status_code == 400
            assert again.content == first.content

    run(scenario)


def test_a_body_that_a_proxy_wrote_anew_is_not_the_proven_one() -> None:
    async def scenario() -> None:
        async with GatewayWorld.open() as world:
            create = Client(world, register(world)).create()
            ledger = world.ledger()
            rewritten = json.dumps(members_of(create), indent=1, sort_keys=True).encode()

            refused = await send(world, replace(create, body=rewritten))
            left = world.ledger()
            taken = await send(world, create)

            assert json.loads(rewritten) == members_of(create)
            assert refused.json()["error"]["code"] == "recognition_proof_mismatch"
            assert left == ledger
            assert taken.status_code == 201, "the nonce was not spent by the refusal"

    run(scenario)


def test_a_key_with_another_body_is_409_and_leaves_the_first_answer_standing() -> None:
    async def scenario() -> None:
        async with GatewayWorld.open() as world:
            client = Client(world, register(world))
            create = client.create(key="key-1")

            first = await send(world, create)
            other = await send(world, client.create(amount_minor=1, key="key-1"))
            again = await send(world, create)

            assert (other.status_code, other.json()["error"]["code"]) == (
                409,
                "idempotency_key_reused",
            )
            assert again.content == first.content
            assert world.harbor.events().count("intent_created") == 1

    run(scenario)


def test_a_key_means_another_request_on_another_path_and_in_another_tenant() -> None:
    vector = VECTORS["intent_v6"]

    async def scenario() -> None:
        async with GatewayWorld.open() as world:
            ours = Client(world, register(world))
            theirs = Client(world, register(world, OTHER_TENANT))

            answers = [
                await send(world, ours.create(key="key-1")),
                await send(world, ours.fund(key="key-1")),
                await send(world, theirs.create_of(vector["body"], key="key-1")),
            ]

            assert [response.status_code for response in answers] == [201, 200, 201]

    run(scenario)


def test_another_tenants_intent_is_404_on_every_mutating_route() -> None:
    async def scenario() -> None:
        async with GatewayWorld.open() as world:
            await Client(world, register(world)).disputed()
            stranger = Client(world, register(world, OTHER_TENANT))
            split = {"payee_cents": 1, "principal_cents": 19_999}
            asks: list[Ask] = [
                stranger.fund(),
                stranger.evidence(),
                stranger.confirm(),
                stranger.dispute("open"),
                stranger.dispute("withdraw"),
                stranger.dispute("resolve", outcome="refund"),
                stranger.dispute("resolve", outcome="resolved_split", split=split),
            ]
            ledger = world.ledger()

            answers = [await send(world, ask) for ask in asks]
            nowhere = await send(world, stranger.fund("00000000-0000-8000-8000-00000000000f"))

            assert {(r.status_code, r.json()["error"]["code"]) for r in answers} == {
                (404, "intent_not_found")
            }
            told = answers[0].json()["error"], nowhere.json()["error"]
            # Not even the message tells an intent of somebody else from none.
            assert told[0]["message"] == told[1]["message"]
            assert told[0].keys() == told[1].keys()
            assert world.ledger() == ledger

    run(scenario)


def test_a_decision_that_came_too_late_is_said_and_a_fresh_request_is_decided() -> None:
    async def scenario() -> None:
        async with GatewayWorld.open() as world:
            client = Client(world, register(world))
            await send(world, client.create())
            world.decision_delay = timedelta(minutes=11)

            late = await send(world, client.fund(key="key-1"))
            world.decision_delay = timedelta()
            fresh = await send(world, client.fund(key="key-1"))

            assert late.json()["error"]["code"] == "command_expired"
            assert fresh.status_code == 200

    run(scenario)


def test_the_callers_request_id_comes_back_and_another_form_is_replaced() -> None:
    async def scenario() -> None:
        async with GatewayWorld.open() as world:
            client = Client(world, register(world))

            created = await send(world, client.create().having("x-request-id", "req-1"))
            odd = await send(world, client.fund().having("x-request-id", "two words"))
            none = await send(world, client.fund())

            assert created.headers["x-request-id"] == "req-1"
            assert odd.headers["x-request-id"].startswith("req_")
            assert none.headers["x-request-id"].startswith("req_")
            assert odd.headers["x-request-id"] != none.headers["x-request-id"]

    run(scenario)


def test_a_replayed_refusal_names_its_first_request_and_the_header_the_present_one() -> None:
    async def scenario() -> None:
        async with GatewayWorld.open() as world:
            client = Client(world, register(world))
            wrong = client.create(amount_minor=0, key="key-1")

            first = await send(world, wrong.having("x-request-id", "req-1"))
            again = await send(world, wrong.having("x-request-id", "req-2"))

            assert first.json()["request_id"] == again.json()["request_id"] == "req-1"
            assert first.headers["x-request-id"] == "req-1"
            assert again.headers["x-request-id"] == "req-2"

    run(scenario)


def test_a_path_is_the_raw_one_for_proof_and_key_alike() -> None:
    """`%66und` reaches the same route, but is another text than the one that was proven."""

    async def scenario() -> None:
        async with GatewayWorld.open() as world:
            client = Client(world, register(world))
            await send(world, client.create())
            path = f"{INTENTS}/{INTENT}/%66und"

            proven_as_sent = await send(world, client.proven(path, b"{}", "harbor.intent.fund"))
            with_query = await send(world, replace(client.fund(), path=f"{client.fund().path}?a=1"))

            assert proven_as_sent.status_code == 200
            assert with_query.status_code == 200

    run(scenario)
