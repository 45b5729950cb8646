"""One key, one body, two requests at once: each gets the answer to itself."""

import asyncio

from gateway.auth.recognition import HEADER
from tests.e2e.http.asks import Client, proof_of, send
from tests.support.gateway_world import GatewayWorld, register
from tests.support.harbor_world import run


def test_a_request_is_not_refused_because_another_with_its_key_was() -> None:
    async def scenario() -> None:
        async with GatewayWorld.open() as world:
            client = Client(world, register(world))
            await client.disputed()
            first = client.evidence(key="k")
            bare = first.without(HEADER)
            fresh = proof_of(world, client.who, bare, "harbor.intent.evidence.submit")
            second = bare.having(HEADER, fresh)

            frozen, withdrawn, accepted = await asyncio.gather(
                send(world, first),
                send(world, client.dispute("withdraw")),
                send(world, second),
            )

            assert (frozen.status_code, frozen.json()["error"]["code"]) == (409, "intent_frozen")
            assert withdrawn.status_code == 200
            assert accepted.status_code == 200
            assert accepted.json()["state"] == "evidence_submitted"

    run(scenario)


def test_an_operators_request_is_not_refused_because_another_with_its_key_was() -> None:
    async def scenario() -> None:
        async with GatewayWorld.open() as world:
            client = Client(world, register(world))
            await client.funded()
            withdraw = client.dispute("withdraw", key="k")

            too_early, opened, withdrawn = await asyncio.gather(
                send(world, withdraw),
                send(world, client.dispute("open")),
                send(world, withdraw),
            )

            refused = too_early.status_code, too_early.json()["error"]["code"]
            assert refused == (409, "not_disputed")
            assert opened.status_code == 200
            assert withdrawn.status_code == 200

    run(scenario)
