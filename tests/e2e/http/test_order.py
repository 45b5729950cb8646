"""A request with several faults is refused for the first of them, in the order that the decisions state.

Each scenario begins with a request that has every fault, and mends one after the other.
"""

from dataclasses import replace
from datetime import timedelta
from typing import Any

from gateway.auth.recognition import HEADER
from gateway.commands.in_flight import InFlight
from gateway.edge.raw_request import BODY_BYTES_MAX, HEADER_BYTES_MAX
from schemas.canonical.recognition_proof import decode_header
from tests.e2e.http.asks import Ask, Client, encoded, members_of, proof_of, send
from tests.support.builders import DEADLINE, PAYEE, PRINCIPAL, STRANGER, TENANT, Party
from tests.support.gateway_world import OTHER_TENANT, GatewayWorld, register
from tests.support.harbor_world import run

_FUND = "harbor.intent.fund"


async def _code(world: GatewayWorld, ask: Ask) -> str:
    response = await send(world, ask)
    code: str = response.json().get("error", {"code": str(response.status_code)})["code"]
    return code


def test_the_gateway_looks_at_size_credential_tenant_permission_flight_and_json_in_turn() -> None:
    async def scenario() -> None:
        async with GatewayWorld.open() as world:
            nobody = Client(world, register(world, number=2, permissions=frozenset()))
            strong = Client(world, register(world))
            world.restart_gateway(in_flight=InFlight(limit=0))
            fund = strong.fund().without(HEADER)
            bad = replace(fund, body=b"{" + b" " * BODY_BYTES_MAX)
            wrong = {"authorization": "Bearer x", "x-tenant-id": OTHER_TENANT}
            huge = Ask(
                path=bad.path,
                body=bad.body,
                headers=(*wrong.items(), ("x", "x" * HEADER_BYTES_MAX)),
            )
            large = huge.without("x")
            small = replace(large, body=b"{")
            known = small.having("authorization", f"Bearer {nobody.who.bearer}")
            ours = known.having("x-tenant-id", TENANT)
            may = ours.having("authorization", f"Bearer {strong.who.bearer}")
            asks = (huge, large, small, known, ours, may)

            codes = [await _code(world, ask) for ask in asks]
            world.restart_gateway()
            codes.append(await _code(world, may))
            codes.append(await _code(world, replace(may, body=b"[]")))

            assert codes == [
                "headers_too_large",
                "body_too_large",
                "credential_invalid",
                "tenant_mismatch",
                "permission_denied",
                "too_many_in_flight",
                "json_invalid",
                "recognition_proof_required",
            ]

    run(scenario)


def test_then_comes_the_proof_its_form_key_time_and_subject_and_only_then_the_body() -> None:
    async def scenario() -> None:
        async with GatewayWorld.open() as world:
            client = Client(world, register(world))
            ask = client.unproven(client.fund().path, b"[]")
            long_ago = world.clock.now() - timedelta(hours=1)

            def proven(client: Client, **changes: object) -> Ask:
                return ask.having(HEADER, proof_of(world, client.who, ask, _FUND, **changes))

            old_key = register(world, number=3, expires_at=world.clock.now())
            revoked = register(world, number=4, is_revoked=True, expires_at=world.clock.now())
            asks = (
                ask.having(HEADER, "{}"),
                proven(client, key_id="nobodys", now=long_ago, path="/x"),
                proven(Client(world, revoked), now=long_ago, path="/x"),
                proven(client, now=long_ago, path="/x"),
                proven(Client(world, old_key), path="/x"),
                proven(client, path="/x"),
                proven(client),
            )

            codes = [await _code(world, ask) for ask in asks]

            assert codes == [
                "recognition_proof_malformed",
                "unregistered_key",
                "revoked_key",
                "recognition_proof_expired",
                "recognition_proof_expired",
                "recognition_proof_mismatch",
                "body_invalid",
            ]

    run(scenario)


def test_harbor_looks_at_quarantine_idempotency_nonce_and_age_before_the_intent() -> None:
    async def scenario() -> None:
        async with GatewayWorld.open() as world:
            client = Client(world, register(world))
            # Spends the nonce and the key, on an intent that is not there.
            first = client.fund(key="key-1")
            await send(world, first)
            reused = client.proven(first.path, b"{ }", _FUND, "key-1").having(
                HEADER,
                proof_of(
                    world,
                    client.who,
                    replace(first, body=b"{ }"),
                    _FUND,
                    nonce=_nonce_of(first),
                ),
            )
            late = timedelta(minutes=11)

            await world.restart_harbor(in_doubt={TENANT: "the tip is not the entry's"})
            world.decision_delay = late
            codes = [await _code(world, reused)]
            world.clock.advance(-late)
            await world.restart_harbor()
            codes.append(await _code(world, reused))
            world.clock.advance(-late)
            codes.append(await _code(world, reused.having("idempotency-key", "key-2")))
            world.clock.advance(-late)
            codes.append(await _code(world, client.fund(key="key-3")))
            world.decision_delay = timedelta()
            codes.append(await _code(world, client.fund(key="key-4")))

            assert codes == [
                "tenant_quarantined",
                "idempotency_key_reused",
                "recognition_proof_replayed",
                "command_expired",
                "intent_not_found",
            ]

    run(scenario)


def test_a_creation_is_judged_by_existence_rail_pins_signature_deadline_predicate_and_schema() -> (
    None
):
    async def scenario() -> None:
        async with GatewayWorld.open() as world:
            client = Client(world, register(world))
            await send(world, client.create())
            world.clock.advance(DEADLINE - world.clock.now())
            fresh = "00000000-0000-8000-8000-000000000001"
            bad: dict[str, Any] = {"predicate": b'{"root":{"op":"maybe"},"version":1}'}
            bad_schema: dict[str, Any] = {"evidence_schema": b'{"patternProperties":{}}'}
            impostor = Party(did=PRINCIPAL.did, seed=STRANGER.seed)
            unsigned = members_of(
                client.create(principal=impostor, settlement_rail="simulator", **bad, **bad_schema)
            ) | {"amount_cents": 7}

            def changed(**members: object) -> Ask:
                unsigned.update(members)
                return client.create_of(unsigned)

            right = members_of(client.create())
            signed: dict[str, Any] = {"intent_id": fresh, "deadline": DEADLINE}
            in_time: dict[str, Any] = {"intent_id": fresh, "deadline": DEADLINE + timedelta(days=9)}
            asks = (
                changed(),
                changed(intent_id=fresh),
                changed(settlement_rail="stripe_connect"),
                changed(principal_pubkey=right["principal_pubkey"]),
                client.create(**signed, **bad, **bad_schema),
                client.create(**in_time, **bad, **bad_schema),
                client.create(**in_time, **bad_schema),
            )

            codes = [await _code(world, ask) for ask in asks]

            assert codes == [
                "intent_exists",
                "rail_unknown",
                "key_pinned",
                "principal_signature_invalid",
                "deadline_passed",
                "intent.predicate.invalid",
                "evidence_schema_invalid",
            ]

    run(scenario)


def test_evidence_is_judged_by_form_existence_time_payee_signature_and_state() -> None:
    async def scenario() -> None:
        async with GatewayWorld.open() as world:
            client = Client(world, register(world))
            # Open, not funded: the last fault of all.
            evidence = members_of(client.evidence(payee=STRANGER)) | {
                "artifacts": ["x"],
                "submitted_at": "2020-01-01T00:00:00Z",
            }
            own = members_of(client.evidence())

            async def code_with(**members: object) -> str:
                evidence.update(members)
                return await _code(world, client.evidence_of(evidence))

            codes = [await code_with(), await code_with(artifacts=[])]
            await send(world, client.create())
            codes += [
                await code_with(),
                await code_with(submitted_at=own["submitted_at"]),
                await code_with(payee_did=PAYEE.did),
                await code_with(payee_pubkey=own["payee_pubkey"]),
                await code_with(**own),
            ]

            assert codes == [
                "payload_invalid",
                "intent_not_found",
                "submitted_at_skewed",
                "payee_mismatch",
                "key_pinned",
                "payee_signature_invalid",
                "not_funded",
            ]

    run(scenario)


def test_a_disputes_members_are_judged_after_its_state() -> None:
    async def scenario() -> None:
        async with GatewayWorld.open() as world:
            client = Client(world, register(world))
            await client.funded()
            wrong: dict[str, Any] = {
                "outcome": "resolved_split",
                "split": {"payee_cents": 1, "principal_cents": 1},
            }

            ask = client.dispute("resolve", **wrong)
            codes = [await _code(world, replace(ask, body=encoded(wrong)))]
            codes.append(await _code(world, ask))
            await send(world, client.dispute("open"))
            codes.append(await _code(world, client.dispute("resolve", **wrong)))

            assert codes == ["body_invalid", "not_disputed", "split_invalid"]

    run(scenario)


def _nonce_of(ask: Ask) -> str:
    return decode_header(dict(ask.headers)[HEADER]).statement.nonce
