"""The whole gateway over real tables, Harbor behind it in memory, and two tenants: one has everything, one looks.

The tables hold what Harbor wrote to its topics, so that an answer is about objects which came about by requests.
"""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any, cast

import psycopg
from psycopg import sql

from gateway.adapters.postgres_keys import PostgresAgentKeys, PostgresApiKeys
from gateway.auth.api_key import KeyKind
from gateway.auth.key_admin import AgentKeyRequest
from gateway.auth.permissions import ALL
from schemas.canonical import ed25519
from schemas.ids import IntentId, TenantId
from schemas.messages.avro_codec import decode
from schemas.messages.bodies import EvidenceBody, IntentBody
from schemas.messages.outcomes import IntentAnswer
from schemas.messages.shared import Environment
from schemas.topics import EFFECTS, EVIDENCE
from tests.e2e.http.asks import Ask, Client, send
from tests.integration.gateway.gateways import PEPPERS, RunningGateway, running_gateway
from tests.integration.gateway.tables import History, migrated, store
from tests.support.builders import TENANT, an_intent_id
from tests.support.databases import FreshDatabase
from tests.support.gateway_world import (
    AGENT_SEED,
    ALL_PURPOSES,
    OTHER_TENANT,
    Credentials,
    GatewayWorld,
)

OWNER = TENANT
STRANGER = OTHER_TENANT
OWNERS_AGENT_KEY = "owners-agent-key"
STRANGERS_AGENT_KEY = "strangers-agent-key"
# Of one name and one seed with both tenants: what an integrator who serves both may well do.
SHARED_AGENT_KEY = "shared-agent-key"
# Digits that stand in nothing else.
OWNERS_AMOUNT = 7_654_321
# What is read page by page.
PAGES = ("/harbor/operator/v1/intents", "/v1/admin/api-keys", "/v1/admin/agent-keys")
# How far each of the owner's intents goes.
STAGES = ("open", "funded", "evidenced", "released", "disputed")


@dataclass(slots=True, kw_only=True)
class TwoTenants:
    """`keys` = bearers by what they are; `intents` by stage; `operations` = ids that the owner was given."""

    world: GatewayWorld
    gateway: RunningGateway
    database: FreshDatabase
    keys: dict[str, str] = field(default_factory=dict)
    key_ids: list[str] = field(default_factory=list)
    intents: dict[str, IntentId] = field(default_factory=dict)
    operations: list[str] = field(default_factory=list)
    # `next_cursor` of the owner's pages.
    cursors: dict[str, str] = field(default_factory=dict)

    def client(self, bearer: str, tenant_id: TenantId, key_id: str) -> Client:
        """Proofs are made for this tenant with this agent key; the bearer is whichever is tried."""
        who = Credentials(tenant_id=tenant_id, bearer=bearer, key_id=key_id, seed=AGENT_SEED)
        return Client(self.world, who)

    @property
    def owner(self) -> Client:
        return self.client(self.keys["owner"], OWNER, OWNERS_AGENT_KEY)

    def stranger(self, bearer: str) -> Client:
        return self.client(bearer, STRANGER, STRANGERS_AGENT_KEY)

    def marks(self) -> tuple[str, ...]:
        """What may stand in no answer to anybody but the owner."""
        entries = self.history(OWNER).leaf_hashes
        return (
            OWNER,
            str(OWNERS_AMOUNT),
            OWNERS_AGENT_KEY,
            *self.intents.values(),
            *self.key_ids,
            *self.operations,
            *(leaf.hex() for leaf in entries),
        )

    def history(self, tenant_id: TenantId) -> History:
        kafka = self.world.harbor.kafka
        bodies = [decode(record.value) for record in kafka.read_all(EVIDENCE) if record.value]
        newest = {o.command_id: o for _, o in self.world.harbor.outcome_records()}
        return History(
            tenant_id=tenant_id,
            entries=self.world.harbor.entries(tenant_id),
            bodies=[
                body
                for body in bodies
                if isinstance(body, IntentBody | EvidenceBody) and body.tenant_id == tenant_id
            ],
            outcomes=[outcome for outcome in newest.values() if outcome.tenant_id == tenant_id],
        )

    def belongings(self) -> dict[str, Any]:
        """All that is the owner's, in topics and tables, to compare before and after."""
        harbor = self.world.harbor
        return {
            "ledger": self.world.ledger()[OWNER],
            "checkpoints": harbor.checkpoints(OWNER),
            "effects": [
                record.value
                for record in harbor.kafka.read_all(EFFECTS)
                if (record.key or b"").startswith(f"{OWNER}/".encode())
            ],
            "outcomes": [o for _, o in harbor.outcome_records() if o.tenant_id == OWNER],
            "dead letters": harbor.dead_letters(),
            "own rows": [row for row in self.gateway.topic.records if row.tenant_id == OWNER],
            **self._rows(),
        }

    def _rows(self) -> dict[str, Any]:
        with psycopg.connect(self.database.superuser_dsn) as connection:
            tables = connection.execute(
                "SELECT table_schema, table_name FROM information_schema.columns"
                " WHERE column_name = 'tenant_id' AND table_schema IN ('views', 'gateway')"
            ).fetchall()
            return {
                f"{schema}.{table}": sorted(
                    map(
                        repr,
                        connection.execute(
                            sql.SQL("SELECT * FROM {} WHERE tenant_id = %s").format(
                                sql.Identifier(schema, table)
                            ),
                            (OWNER,),
                        ),
                    )
                )
                for schema, table in tables
            }


@asynccontextmanager
async def two_tenants(database: FreshDatabase) -> AsyncIterator[TwoTenants]:
    """Both provisioned; the owner has an intent in every stage, keys, operations and checkpoints."""
    async with GatewayWorld.open() as world, running_gateway(migrated(database)) as gateway:
        _join(world, gateway)
        own_client, world.client = world.client, gateway.client
        try:
            tenants = TwoTenants(world=world, gateway=gateway, database=database)
            await _issue_keys(tenants)
            await _live_through_stages(tenants)
            for tenant_id in (OWNER, STRANGER):
                history = tenants.history(tenant_id)
                store(database, history, checkpoints=sorted({1, len(history.entries)}))
            for path in PAGES:
                headers = {"authorization": f"Bearer {tenants.keys['owner']}"}
                page = await gateway.get(path, headers, limit=1)
                tenants.cursors[path] = page.json()["next_cursor"]
            yield tenants
        finally:
            world.client = own_client


def _join(world: GatewayWorld, gateway: RunningGateway) -> None:
    """One app: commands go to Harbor in memory, reads and keys to the real tables; one set of secrets, one clock."""
    path = world.path
    assert path is not None
    gateway.app.state.command_path = replace(
        path,
        api_keys=PostgresApiKeys(gateway.pool),
        agent_keys=PostgresAgentKeys(gateway.reads),
        peppers=PEPPERS,
    )
    gateway.app.state.read_path = replace(
        gateway.app.state.read_path,
        secrets=path.secrets,
        operation_key=cast("Any", path.secrets).operation_key,
        clock=world.clock,
    )


async def _issue_keys(tenants: TwoTenants) -> None:
    keys = tenants.gateway.keys

    async def issue(
        name: str,
        tenant_id: TenantId,
        *,
        kind: KeyKind = KeyKind.STANDARD,
        environment: Environment = Environment.SANDBOX,
        permissions: frozenset[str] = frozenset(ALL),
    ) -> str:
        issued = await keys.issue(
            tenant_id, environment=environment, kind=kind, permissions=permissions, label=name
        )
        tenants.keys[name] = issued.bearer
        return issued.row.key_id

    tenants.key_ids.append(await issue("owner", OWNER))
    tenants.key_ids.append(await issue("owner's second", OWNER))
    await issue("stranger", STRANGER)
    await issue("stranger, restricted", STRANGER, kind=KeyKind.RESTRICTED)
    await issue("stranger, live", STRANGER, environment=Environment.LIVE)
    await issue("stranger, without rights", STRANGER, permissions=frozenset())
    revoked = await issue("stranger, revoked", STRANGER)
    await keys.revoke(STRANGER, revoked)
    for tenant_id, key_id in (
        (OWNER, OWNERS_AGENT_KEY),
        (OWNER, SHARED_AGENT_KEY),
        (STRANGER, SHARED_AGENT_KEY),
        (STRANGER, STRANGERS_AGENT_KEY),
    ):
        asked = AgentKeyRequest(
            key_id=key_id,
            public_key=ed25519.public_key(AGENT_SEED),
            purposes=tuple(ALL_PURPOSES),
            expires_at=None,
        )
        await keys.trust(tenant_id, asked)


async def _live_through_stages(tenants: TwoTenants) -> None:
    owner = tenants.owner
    for number, stage in enumerate(STAGES, start=101):
        intent_id = an_intent_id(number)
        tenants.intents[stage] = intent_id
        for ask in _asks(owner, stage, intent_id):
            response = await send(tenants.world, ask)
            assert response.status_code in {200, 201}, response.text
    secrets = cast("Any", tenants.world.path).secrets
    tenants.operations += [
        secrets.operation_id(outcome)
        for _, outcome in tenants.world.harbor.outcome_records()
        if outcome.tenant_id == OWNER and isinstance(outcome.answer, IntentAnswer)
    ]


def _asks(owner: Client, stage: str, intent_id: IntentId) -> Iterator[Ask]:
    """Each request is made, with its fresh proof, when the one before is done."""
    yield owner.create(intent_id=intent_id, amount_minor=OWNERS_AMOUNT)
    if stage != "open":
        yield owner.fund(intent_id)
    if stage in {"evidenced", "released"}:
        yield owner.evidence(intent_id=intent_id)
    if stage == "released":
        yield owner.confirm(intent_id)
    if stage == "disputed":
        yield owner.dispute("open", intent_id)
