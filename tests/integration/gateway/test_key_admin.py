"""Keys over HTTP: shown once, seen only when Kafka has them, gone for good when revoked."""

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from gateway.adapters.memory.gateway_rows import MemoryRowHistory, MemoryRowTopic
from gateway.adapters.postgres_keys import PostgresAgentKeys, PostgresApiKeys
from gateway.adapters.postgres_rows import PostgresRowStore
from gateway.auth.key_admin import IssuedKey
from gateway.auth.permissions import Permission
from gateway.outbox.restore import restore
from gateway.outbox.rows import row_of
from schemas.canonical import ed25519
from schemas.ids import TenantId
from schemas.messages.shared import Environment
from streams.runtime.migrations import migrate
from tests.integration.gateway.gateways import (
    RunningGateway,
    authorization,
    code_of,
    run,
    running_gateway,
)
from tests.integration.gateway.tables import migrated
from tests.support.databases import FreshDatabase, fresh_database

pytestmark = [pytest.mark.integration, pytest.mark.embedded_only]

# Where the relay stops half-way: rows before that are still answered in it, on a busy machine too.
_UNTIL_AN_OUTAGE_SHOWS_SECONDS = 1.0
KEYS = "/v1/admin/api-keys"
AGENTS = "/v1/admin/agent-keys"
PUBLISHED = ed25519.public_key(b"\xa3" * 32).hex()
OWN = ed25519.public_key(bytes(range(32))).hex()
AGENT = {
    "key_id": "agent/1",
    "public_key_hex": OWN,
    "purposes": ["harbor.intent.fund"],
    "expires_at": "2030-01-01T00:00:00Z",
}


def test_a_principal_is_the_keys_tenant_environment_and_rights(postgres: FreshDatabase) -> None:
    async def scenario(gateway: RunningGateway) -> None:
        headers = await gateway.bearer("acme", role="analyst")

        answer = await gateway.get("/v1/auth/principal", headers)

        assert answer.status_code == 200
        assert answer.json()["tenant_id"] == "acme"
        assert answer.json()["environment"] == "sandbox"
        assert "analyst" in answer.json()["roles"]
        assert "tenant_admin" not in answer.json()["roles"]
        assert answer.json()["key_kind"] == "standard"

    run(migrated(postgres), scenario)


def test_the_refusals_come_in_the_contracts_order(postgres: FreshDatabase) -> None:
    async def scenario(gateway: RunningGateway) -> None:
        reader = await gateway.bearer("acme", role="analyst")

        nobody = await gateway.get(KEYS, {}, limit="x")
        other_tenant = await gateway.get(KEYS, {**reader, "x-tenant-id": "other"}, limit="x")
        not_allowed = await gateway.get(KEYS, {**reader, "x-tenant-id": "acme"}, limit="x")

        assert code_of(nobody) == (401, "credential_invalid")
        assert code_of(other_tenant) == (401, "tenant_mismatch")
        assert code_of(not_allowed) == (403, "permission_denied")

    run(migrated(postgres), scenario)


def test_a_created_key_works_and_its_secret_is_shown_once(postgres: FreshDatabase) -> None:
    async def scenario(gateway: RunningGateway) -> None:
        admin = await gateway.bearer("acme")

        made = await gateway.client.post(
            KEYS, headers=admin, json={"label": "report", "role": "harbor.read"}
        )
        used = await gateway.get("/v1/auth/principal", authorization(made.json()["api_key"]))
        listed = await gateway.get(KEYS, admin)

        assert made.status_code == 201
        assert used.json()["tenant_id"] == "acme"
        assert made.json()["key_id"] in {key["key_id"] for key in listed.json()["api_keys"]}
        secret = made.json()["api_key"].rsplit("_", 1)[1]
        assert secret not in listed.text
        assert all(secret not in (record.row_json or "") for record in gateway.topic.records)

    run(migrated(postgres), scenario)


@pytest.mark.parametrize(
    "body",
    [
        {"label": "no rights"},
        {"label": "both", "role": "analyst", "permissions": ["harbor.intent:read"]},
        {"label": "unknown", "permissions": ["admin:everything"]},
        {"label": "unknown", "role": "emperor"},
        {"label": "kind", "role": "analyst", "kind": "golden"},
        {"label": "typo", "role": "analyst", "permision": []},
        {"role": "analyst"},
        {"label": "x" * 129, "role": "analyst"},
        [],
    ],
)
def test_a_key_of_unclear_rights_is_not_made(postgres: FreshDatabase, body: object) -> None:
    async def scenario(gateway: RunningGateway) -> None:
        admin = await gateway.bearer("acme")

        answer = await gateway.client.post(KEYS, headers=admin, json=body)

        assert code_of(answer) == (400, "body_invalid")

    run(migrated(postgres), scenario)


def test_nobody_grants_more_than_they_hold(postgres: FreshDatabase) -> None:
    async def scenario(gateway: RunningGateway) -> None:
        limited = frozenset({Permission.API_KEYS, Permission.AGENT_KEYS, Permission.INTENT_READ})
        headers = await gateway.bearer("acme", permissions=limited)
        strong = await gateway.issue("acme")

        allowed = await gateway.client.post(
            KEYS, headers=headers, json={"label": "same", "permissions": ["harbor.intent:read"]}
        )
        beyond = await gateway.client.post(
            KEYS, headers=headers, json={"label": "more", "role": "tenant_admin"}
        )
        rotated = await gateway.client.post(f"{KEYS}/{strong.row.key_id}/rotate", headers=headers)
        agent = await gateway.client.post(AGENTS, headers=headers, json=AGENT)

        assert allowed.status_code == 201
        assert code_of(beyond) == (403, "permission_denied")
        assert code_of(rotated) == (403, "permission_denied")
        assert code_of(agent) == (403, "permission_denied")

    run(migrated(postgres), scenario)


def test_a_rotated_key_is_replaced_by_one_like_it(postgres: FreshDatabase) -> None:
    async def scenario(gateway: RunningGateway) -> None:
        admin = await gateway.bearer("acme")
        old = await gateway.issue("acme", role="analyst")

        rotated = await gateway.client.post(f"{KEYS}/{old.row.key_id}/rotate", headers=admin)
        new = await gateway.get("/v1/auth/principal", authorization(rotated.json()["api_key"]))
        ended = await gateway.get("/v1/auth/principal", authorization(old.bearer))
        again = await gateway.client.post(f"{KEYS}/{old.row.key_id}/rotate", headers=admin)

        assert rotated.status_code == 201
        assert rotated.json()["permissions"] == list(old.row.permissions)
        assert new.status_code == 200
        assert code_of(ended) == (401, "credential_invalid")
        assert code_of(again) == (404, "not_found")

    run(migrated(postgres), scenario)


def test_a_revoked_key_opens_nothing_and_revoking_again_answers_the_same(
    postgres: FreshDatabase,
) -> None:
    async def scenario(gateway: RunningGateway) -> None:
        admin = await gateway.bearer("acme")
        key = await gateway.issue("acme")

        first = await gateway.client.delete(f"{KEYS}/{key.row.key_id}", headers=admin)
        used = await gateway.get("/v1/auth/principal", authorization(key.bearer))
        second = await gateway.client.delete(f"{KEYS}/{key.row.key_id}", headers=admin)

        assert first.status_code == 200
        assert first.json()["revoked_at"] == "2026-01-05T13:00:00Z"
        assert code_of(used) == (401, "credential_invalid")
        assert second.json() == first.json()

    run(migrated(postgres), scenario)


def test_another_tenants_key_does_not_exist(postgres: FreshDatabase) -> None:
    async def scenario(gateway: RunningGateway) -> None:
        admin = await gateway.bearer("acme")
        other = await gateway.issue("acme-corp")
        path = f"{KEYS}/{other.row.key_id}"

        revoked = await gateway.client.delete(path, headers=admin)
        rotated = await gateway.client.post(f"{path}/rotate", headers=admin)
        malformed = await gateway.client.delete(f"{KEYS}/nobody", headers=admin)
        listed = await gateway.get(KEYS, admin)
        used = await gateway.get("/v1/auth/principal", authorization(other.bearer))

        assert code_of(revoked) == (404, "not_found")
        assert code_of(rotated) == (404, "not_found")
        assert code_of(malformed) == (404, "not_found")
        assert other.row.key_id not in listed.text
        assert used.status_code == 200

    run(migrated(postgres), scenario)


def test_keys_are_listed_in_pages(postgres: FreshDatabase) -> None:
    async def scenario(gateway: RunningGateway) -> None:
        admin = await gateway.bearer("acme")
        for _ in range(4):
            await gateway.issue("acme", role="analyst")

        first = await gateway.get(KEYS, admin, limit=3)
        cursor = first.json()["next_cursor"]
        second = await gateway.get(KEYS, admin, limit=3, cursor=cursor)
        foreign = await gateway.get(AGENTS, admin, cursor=cursor)
        too_many = await gateway.get(KEYS, admin, limit=201)

        ids = [key["key_id"] for page in (first, second) for key in page.json()["api_keys"]]
        assert len(ids) == len(set(ids)) == 5
        assert second.json()["next_cursor"] is None
        assert code_of(foreign) == (400, "body_invalid")
        assert code_of(too_many) == (400, "body_invalid")

    run(migrated(postgres), scenario)


def test_a_row_that_kafka_has_not_acknowledged_does_not_exist(postgres: FreshDatabase) -> None:
    async def scenario(gateway: RunningGateway) -> None:
        admin = await gateway.bearer("acme")
        await gateway.stop_relay()

        answer = await gateway.client.post(
            KEYS, headers=admin, json={"label": "waiting", "role": "analyst"}
        )
        listed = await gateway.get(KEYS, admin)
        async with gateway.pool.connection() as connection:
            await connection.execute("SELECT set_config('paybond.tenant', 'acme', true)")
            cursor = await connection.execute(
                "SELECT key_id, acknowledged_at FROM gateway.api_keys WHERE label = 'waiting'"
            )
            waiting = await cursor.fetchone()
        assert waiting is not None
        found = await PostgresApiKeys(gateway.pool).find(waiting[0])

        assert code_of(answer) == (503, "unavailable")
        assert answer.headers["retry-after"] == "1"
        assert waiting[1] is None
        assert "waiting" not in listed.text
        assert found is None

    run(migrated(postgres), scenario, acknowledgement_seconds=_UNTIL_AN_OUTAGE_SHOWS_SECONDS)


def test_a_revocation_that_kafka_has_not_acknowledged_closes_the_key_all_the_same(
    postgres: FreshDatabase,
) -> None:
    async def scenario(gateway: RunningGateway) -> None:
        admin = await gateway.bearer("acme")
        key = await gateway.issue("acme")
        await gateway.stop_relay()

        answer = await gateway.client.delete(f"{KEYS}/{key.row.key_id}", headers=admin)
        used = await gateway.get("/v1/auth/principal", authorization(key.bearer))

        assert code_of(answer) == (503, "unavailable")
        assert code_of(used) == (401, "credential_invalid")

    run(migrated(postgres), scenario, acknowledgement_seconds=_UNTIL_AN_OUTAGE_SHOWS_SECONDS)


def test_a_key_that_is_registered_or_revoked_again_is_seen_as_before_while_kafka_is_out(
    postgres: FreshDatabase,
) -> None:
    async def scenario(gateway: RunningGateway) -> None:
        admin = await gateway.bearer("acme")
        tenant, keys = TenantId("acme"), PostgresAgentKeys(gateway.reads)
        revoked = await gateway.issue("acme")
        path = f"{KEYS}/{revoked.row.key_id}"
        await gateway.client.post(AGENTS, headers=admin, json=AGENT)
        await gateway.client.delete(path, headers=admin)
        await gateway.stop_relay()

        again = await gateway.client.post(AGENTS, headers=admin, json=AGENT)
        known = await keys.find(tenant, "agent/1")
        revoked_again = await gateway.client.delete(path, headers=admin)
        listed = await gateway.get(KEYS, admin)

        assert code_of(again) == code_of(revoked_again) == (503, "unavailable")
        assert known is not None
        assert not known.is_revoked
        assert revoked.row.key_id in {key["key_id"] for key in listed.json()["api_keys"]}

    run(migrated(postgres), scenario, acknowledgement_seconds=_UNTIL_AN_OUTAGE_SHOWS_SECONDS)


def test_whoever_rotates_its_own_key_has_one_afterwards_though_kafka_goes_in_between(
    postgres: FreshDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def scenario(gateway: RunningGateway) -> None:
        own = await gateway.issue("acme")
        create = gateway.keys.create

        async def create_before_the_outage(*given: Any, **named: Any) -> IssuedKey:
            issued = await create(*given, **named)
            await gateway.stop_relay()
            return issued

        monkeypatch.setattr(gateway.keys, "create", create_before_the_outage)

        rotated = await gateway.client.post(
            f"{KEYS}/{own.row.key_id}/rotate", headers=authorization(own.bearer)
        )
        new = await gateway.get("/v1/auth/principal", authorization(rotated.json()["api_key"]))
        old = await gateway.get("/v1/auth/principal", authorization(own.bearer))

        assert rotated.status_code == 201
        assert new.status_code == 200
        assert code_of(old) == (401, "credential_invalid")

    run(migrated(postgres), scenario, acknowledgement_seconds=_UNTIL_AN_OUTAGE_SHOWS_SECONDS)


def test_an_agent_key_lives_from_registration_to_revocation(postgres: FreshDatabase) -> None:
    async def scenario(gateway: RunningGateway) -> None:
        admin = await gateway.bearer("acme")
        tenant, keys = TenantId("acme"), PostgresAgentKeys(gateway.reads)

        made = await gateway.client.post(AGENTS, headers=admin, json=AGENT)
        again = await gateway.client.post(AGENTS, headers=admin, json=AGENT)
        other = await gateway.client.post(
            AGENTS, headers=admin, json={**AGENT, "public_key_hex": PUBLISHED}
        )
        known = await keys.find(tenant, "agent/1")
        elsewhere = await keys.find(TenantId("acme-corp"), "agent/1")
        listed = await gateway.get(AGENTS, admin)
        revoked = await gateway.client.delete(f"{AGENTS}/agent/1", headers=admin)
        gone = await keys.find(tenant, "agent/1")
        back = await gateway.client.post(AGENTS, headers=admin, json=AGENT)

        assert made.status_code == again.status_code == 201
        assert again.json() == made.json()
        assert code_of(other) == (409, "agent_key_exists")
        assert known is not None
        assert known.public_key.hex() == OWN
        assert not known.is_revoked
        assert elsewhere is None
        assert [key["key_id"] for key in listed.json()["agent_keys"]] == ["agent/1"]
        assert revoked.json()["revoked_at"] is not None
        assert gone is not None
        assert gone.is_revoked
        assert code_of(back) == (409, "agent_key_exists")

    run(migrated(postgres), scenario)


@pytest.mark.parametrize(
    "change",
    [
        {"key_id": "Agent"},
        {"public_key_hex": OWN.upper()},
        {"public_key_hex": OWN[:-2]},
        {"purposes": []},
        {"purposes": ["harbor.intent.destroy"]},
        {"expires_at": "tomorrow"},
        {"expires_at": "2020-01-01T00:00:00Z"},
        {"expire_at": None},
    ],
)
def test_an_agent_key_of_a_wrong_form_is_refused(
    postgres: FreshDatabase, change: dict[str, object]
) -> None:
    async def scenario(gateway: RunningGateway) -> None:
        admin = await gateway.bearer("acme")

        answer = await gateway.client.post(AGENTS, headers=admin, json={**AGENT, **change})

        assert code_of(answer) == (400, "body_invalid")

    run(migrated(postgres), scenario)


def test_published_test_keys_are_refused_on_live_tenants_only(postgres: FreshDatabase) -> None:
    async def scenario(gateway: RunningGateway) -> None:
        live = await gateway.bearer("acme", environment=Environment.LIVE)
        sandbox = await gateway.bearer("acme-box")
        body = {**AGENT, "public_key_hex": PUBLISHED}

        refused = await gateway.client.post(AGENTS, headers=live, json=body)
        allowed = await gateway.client.post(AGENTS, headers=sandbox, json=body)

        assert code_of(refused) == (400, "body_invalid")
        assert allowed.status_code == 201

    run(migrated(postgres), scenario)


def test_keys_come_back_from_kafka_after_the_database_was_lost(postgres: FreshDatabase) -> None:
    topic = MemoryRowTopic()
    issued: dict[str, str] = {}

    async def before(gateway: RunningGateway) -> None:
        admin = await gateway.issue("acme")
        revoked = await gateway.issue("acme")
        headers = authorization(admin.bearer)
        await gateway.client.delete(f"{KEYS}/{revoked.row.key_id}", headers=headers)
        await gateway.client.post(AGENTS, headers=headers, json=AGENT)
        issued.update(admin=admin.bearer, revoked=revoked.bearer)

    async def after(gateway: RunningGateway) -> None:
        history, rows = MemoryRowHistory(topic), PostgresRowStore(gateway.pool)
        known = [row_of(record) for record in await history.newest()]

        first = await restore(history, rows)
        second = await restore(history, rows)
        works = await gateway.get("/v1/auth/principal", authorization(issued["admin"]))
        ended = await gateway.get("/v1/auth/principal", authorization(issued["revoked"]))
        agents = await gateway.get(AGENTS, authorization(issued["admin"]))
        found = [await rows.find(row.key) for row in known if row is not None]
        newer = await gateway.issue("acme")

        assert (first.records, first.changed) == (3, 3)
        assert (second.records, second.changed) == (3, 0)
        assert works.status_code == 200
        assert code_of(ended) == (401, "credential_invalid")
        assert [key["key_id"] for key in agents.json()["agent_keys"]] == ["agent/1"]
        assert found == known
        assert topic.records[-1].primary_key == newer.row.key_id
        assert topic.records[-1].outbox_id > max(record.outbox_id for record in topic.records[:-1])

    run(migrated(postgres), before, topic=topic)
    with fresh_database(postgres.server) as lost:
        migrate(lost.owner_dsn)
        run(lost, after, topic=topic)


def test_a_restore_never_puts_an_older_version_over_a_newer_one(postgres: FreshDatabase) -> None:
    topic = MemoryRowTopic()

    async def scenario(gateway: RunningGateway) -> None:
        key = await gateway.issue("acme")
        old = topic.records[-1]
        await gateway.keys.revoke(TenantId("acme"), key.row.key_id)
        rows = PostgresRowStore(gateway.pool)

        changed = await rows.restore(old)
        deleted_by_an_old_record = await rows.restore(replace(old, row_json=None))
        found = await PostgresApiKeys(gateway.pool).find(key.row.key_id)
        deleted = await rows.restore(replace(old, row_json=None, outbox_id=10_000))

        assert not changed
        assert not deleted_by_an_old_record
        assert found is not None
        assert found.is_revoked
        assert deleted

    run(migrated(postgres), scenario, topic=topic)


def test_two_gateways_have_one_relay_and_both_answer(postgres: FreshDatabase) -> None:
    database, topic = migrated(postgres), MemoryRowTopic()

    async def scenario(first: RunningGateway) -> None:
        await first.issue("acme")
        async with running_gateway(database, topic=topic) as second:
            await asyncio.gather(
                *(gateway.issue("acme") for gateway in (first, second) for _ in range(5))
            )
            # The first one's relay is gone: the second one's stood by.
            await first.stop_relay()
            await first.issue("acme")

    run(database, scenario, topic=topic)

    assert len(topic.records) == 12
    assert topic.epoch == 2
