"""One key, one body, two requests at once: each gets the answer to itself."""

import asyncio

from gateway.auth.recognition import HEADER
from gateway.commands.operation_id import read_operation_id
from schemas.messages.outcomes import Outcome
from tests.e2e.http.asks import Client, proof_of, send
from tests.support.builders import TENANT
from tests.support.gateway_world import OPERATION_KEY, GatewayWorld, register
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


def test_an_operation_knows_what_was_said_to_its_own_request_from_what_was_said_to_another() -> (
    None
):
    async def scenario() -> None:
        async with GatewayWorld.open() as world:
            client = Client(world, register(world))
            await client.disputed()
            first = client.evidence(key="k")
            await send(world, first)
            bare = first.without(HEADER)
            fresh = proof_of(world, client.who, bare, "harbor.intent.evidence.submit")
            world.is_harbor_silent = True

            pending = await send(world, bare.having(HEADER, fresh))

            operation = read_operation_id(OPERATION_KEY, TENANT, pending.json()["operation_id"])
            assert operation is not None
            assert operation.attempt is not None
            told_first = _outcomes(world, operation.command_id)
            await world.turn()
            told_both = _outcomes(world, operation.command_id)
            answered = [operation.attempt.is_answered_by(outcome) for outcome in told_both]
            assert len(told_first) == 1
            assert answered == [False, True]

    run(scenario)


def _outcomes(world: GatewayWorld, command_id: str) -> list[Outcome]:
    """What was said to this command's attempts, in turn."""
    return [
        outcome for _, outcome in world.harbor.outcome_records() if outcome.command_id == command_id
    ]
