"""The real gateway over HTTP in memory: its app and command path, Harbor's loop on the broker in memory, a rail.

Nothing runs by itself: whoever waits for an outcome turns the loop, so a scenario is the same every time.
"""

import asyncio
from asyncio import Future
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import cache
from typing import Any

import httpx
from fastapi import FastAPI

from gateway.app import bind, create_app
from gateway.auth.api_key import KeyKind, Peppers, StoredKey, bearer_of
from gateway.auth.capability import CapabilityKey
from gateway.auth.guard import Guard
from gateway.auth.permissions import ALL, Permission
from gateway.auth.recognition import AgentKey
from gateway.bootstrap import GatewaySecrets, Parts
from gateway.commands.in_flight import InFlight
from gateway.commands.outcome_waiter import OutcomeWaiters
from gateway.commands.ports import CommandRecord
from gateway.commands.submit import CommandPath
from harbor.rails.answers import answer_command
from harbor.rails.simulator import Faults, Simulator
from harbor.rails.simulator_book import Book
from schemas.canonical import ed25519
from schemas.errors import DatabaseUnavailableError
from schemas.ids import IntentId, TenantId, command_id_of
from schemas.messages.avro_codec import decode_as
from schemas.messages.commands import Command, Issuer, ProvisionTenant
from schemas.messages.outcomes import IntentAnswer, Outcome
from schemas.messages.shared import Environment, SettlementMode
from schemas.partitioner import partition_of
from schemas.topics import COMMANDS, OUTCOMES, ledger_topic
from tests.support.builders import TENANT, a_command
from tests.support.harbor_world import ISSUER_KEYS, PARTITIONS, HarborProcess, HarborWorld

OTHER_TENANT = TenantId("tenant-vec")
AGENT_KEY = "agent-key-1"
AGENT_SEED = b"\xa3" * 32
ALL_PURPOSES = frozenset(
    {
        "harbor.intent.create",
        "harbor.intent.fund",
        "harbor.intent.evidence.submit",
        "harbor.intent.settlement.confirm",
    }
)
PEPPERS = Peppers(active_id="p1", keys={"p1": b"p" * 32})
OPERATION_KEY = b"\x0c" * 32
# Reads need Postgres; their tests are under tests/integration/gateway.
_NO_READS: Any = None
_ROUNDS_MAX = 20


@dataclass(slots=True)
class MemoryKeys:
    """API keys by their id and agent keys by tenant; `is_out` = the database is gone, `defect` = a bug of ours."""

    api_keys: dict[str, StoredKey] = field(default_factory=dict)
    agent_keys: dict[tuple[TenantId, str], AgentKey] = field(default_factory=dict)
    is_out: bool = False
    defect: Exception | None = None


@dataclass(frozen=True, slots=True)
class MemoryApiKeys:
    keys: MemoryKeys

    async def find(self, key_id: str) -> StoredKey | None:
        if self.keys.is_out:
            raise DatabaseUnavailableError("gone")
        if self.keys.defect is not None:
            raise self.keys.defect
        return self.keys.api_keys.get(key_id)


@dataclass(frozen=True, slots=True)
class MemoryAgentKeys:
    keys: MemoryKeys

    async def find(self, tenant_id: TenantId, key_id: str) -> AgentKey | None:
        return self.keys.agent_keys.get((tenant_id, key_id))


class GatewayWorld:
    """One cluster, one Harbor, one rail, one gateway; switches say what is out or slow. Begin with `open`."""

    def __init__(self) -> None:
        self.harbor = HarborWorld()
        self.harbor.kafka.create_ledger_topic(ledger_topic(OTHER_TENANT))
        self.keys = MemoryKeys()
        self.clock = self.harbor.clock
        self.book = Book(":memory:")
        self.rail = Simulator(self.book, Faults(), pause=self, clock=self.clock)
        # What the read tables know: filled from outcomes, unless they lag.
        self.tables: dict[tuple[TenantId, IntentId], IntentAnswer] = {}
        self.is_harbor_silent = False
        self.is_rail_slow = False
        self.do_tables_lag = False
        self.publish_error: Exception | None = None
        # How long commands lie in the log before the next decision.
        self.decision_delay = timedelta()
        self.waiters = OutcomeWaiters()
        self.path: CommandPath | None = None
        self._process: HarborProcess | None = None
        self._turning = asyncio.Lock()
        self._delivered = dict.fromkeys(range(PARTITIONS), 0)
        self._effects_done = 0
        self._randoms = 0
        self.client = httpx.AsyncClient(
            transport=httpx.ASGITransport(app=_app()), base_url="http://127.0.0.1"
        )

    @classmethod
    @asynccontextmanager
    async def open(
        cls,
        *,
        environment: Environment = Environment.SANDBOX,
        settlement_mode: SettlementMode = SettlementMode.SIMULATED,
    ) -> AsyncIterator["GatewayWorld"]:
        """Both tenants provisioned, Harbor and gateway started."""
        world = cls()
        world.harbor.send(
            *(
                _provisioning(tenant, environment, settlement_mode)
                for tenant in (TENANT, OTHER_TENANT)
            )
        )
        await world.restart_harbor()
        world.restart_gateway()
        try:
            yield world
        finally:
            await world.client.aclose()
            await world.process.loop.stop()
            world.book.close()

    @property
    def process(self) -> HarborProcess:
        assert self._process is not None
        return self._process

    async def restart_harbor(self, *, in_doubt: dict[TenantId, str] | None = None) -> None:
        """Another process takes the slot over; `in_doubt` are the tenants that it finds not to agree."""
        before = self._process
        if before is not None:
            await before.loop.stop()
        self._process = self.harbor.process(
            "first" if before is None else f"{before.name}+", after=before
        )
        self._process.assigner.in_doubt.update(in_doubt or {})
        await self._process.loop.start()
        await self.harbor.settle(self._process)

    def restart_gateway(self, *, in_flight: InFlight | None = None) -> None:
        """A new gateway: nothing of the old one's memory, the same log."""
        self.waiters = OutcomeWaiters()
        secrets = GatewaySecrets(
            capability=CapabilityKey(key_id="c1", secret=OPERATION_KEY),
            operation_key=OPERATION_KEY,
        )
        path = CommandPath(
            api_keys=MemoryApiKeys(self.keys),
            agent_keys=MemoryAgentKeys(self.keys),
            peppers=PEPPERS,
            issuer_key=ISSUER_KEYS[Issuer.GATEWAY][0],
            publisher=self,
            waiters=self.waiters,
            in_flight=in_flight or InFlight(),
            intents=self,
            secrets=secrets,
            timer=self,
            clock=self.clock,
            random=self._random,
            decision_seconds=5,
            rail_seconds=1,
        )
        built = Parts(
            command_path=path,
            read_path=_NO_READS,
            guard=Guard(api_keys=MemoryApiKeys(self.keys), peppers=PEPPERS),
            readiness={},
            waiting=lambda: self.waiters.count,
        )
        self.path = path
        bind(_app(), built)

    def set_faults(self, faults: Faults) -> None:
        """The same rail and book, in another mood."""
        self.rail = Simulator(self.book, faults, pause=self, clock=self.clock)

    def ledger(self) -> dict[TenantId, list[bytes]]:
        """The bytes of every entry there is."""
        return {
            tenant: [
                record.value or b"" for record in self.harbor.kafka.read(ledger_topic(tenant), 0)
            ]
            for tenant in (TENANT, OTHER_TENANT)
        }

    def _random(self, count: int) -> bytes:
        self._randoms += 1
        return self._randoms.to_bytes(count, "big")

    # `gateway.commands.ports.CommandPublisher`

    async def publish(self, record: CommandRecord) -> None:
        if self.publish_error is not None:
            raise self.publish_error
        self.clock.advance(timedelta(seconds=1))
        self.harbor.kafka.append(
            COMMANDS,
            partition_of(record.tenant_id, PARTITIONS),
            key=record.tenant_id.encode(),
            value=record.value,
            headers=record.headers,
        )
        await asyncio.sleep(0)

    # `gateway.commands.ports.Timer`

    async def wait(self, future: "Future[Outcome]", seconds: float) -> Outcome | None:
        """Time is up as soon as nothing moves any more without help."""
        assert seconds > 0
        if not self.is_harbor_silent:
            async with self._turning:
                await self.turn()
        return future.result() if future.done() else None

    # `gateway.commands.ports.PresentIntents`

    async def answer(self, tenant_id: TenantId, intent_id: IntentId) -> IntentAnswer | None:
        return None if self.do_tables_lag else self.tables.get((tenant_id, intent_id))

    # `harbor.rails.ports.Pause`

    async def pause(self, seconds: float) -> None:
        assert seconds >= 0
        await asyncio.sleep(0)

    async def turn(self) -> None:
        """Decide what lies in the log, let the rail answer, hand outcomes to who waits; until nothing is left."""
        self.clock.advance(self.decision_delay)
        for _ in range(_ROUNDS_MAX):
            await self.harbor.settle(self.process)
            self._deliver_outcomes()
            if self.is_rail_slow or not await self._carry_out():
                return
        raise AssertionError("the rail is never done")

    async def _carry_out(self) -> bool:
        """Whether there was something for the rail to do."""
        effects = self.harbor.effects()
        new = effects[self._effects_done :]
        self._effects_done = len(effects)
        for effect in new:
            for answer in await self.rail.execute(effect):
                self.harbor.send(answer_command(effect, answer))
        return bool(new)

    def _deliver_outcomes(self) -> None:
        for partition, start in self._delivered.items():
            for record in self.harbor.kafka.read(OUTCOMES, partition, start=start):
                self._delivered[partition] = record.offset + 1
                self.waiters.deliver(key=record.key, value=record.value)
                self._index(decode_as(Outcome, record.value or b""))

    def _index(self, outcome: Outcome) -> None:
        if isinstance(outcome.answer, IntentAnswer):
            key = TenantId(outcome.tenant_id), IntentId(outcome.answer.intent_id)
            self.tables[key] = outcome.answer


@cache
def _app() -> FastAPI:
    """Routes are built once; each world binds its own parts."""
    return create_app()


def _provisioning(
    tenant_id: TenantId, environment: Environment, settlement_mode: SettlementMode
) -> Command:
    body = ProvisionTenant(
        environment=environment,
        settlement_config_version=1,
        settlement_mode=settlement_mode,
        origin=f"paybond/local/{tenant_id}",
    )
    command = a_command(body, number=0)
    return replace(
        command,
        tenant_id=tenant_id,
        command_id=command_id_of("test", tenant_id, "provision"),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Credentials:
    """What a client holds: a bearer, and the agent key that proves its requests."""

    tenant_id: TenantId
    bearer: str
    key_id: str = AGENT_KEY
    seed: bytes = AGENT_SEED


def register(
    world: GatewayWorld,
    tenant_id: TenantId = TENANT,
    *,
    permissions: frozenset[Permission] = ALL,
    number: int = 1,
    expires_at: datetime | None = None,
    purposes: frozenset[str] = ALL_PURPOSES,
    is_revoked: bool = False,
) -> Credentials:
    """An API key and an agent key of this tenant, known to the gateway."""
    key_id = f"{number:016x}" + tenant_id.encode().hex()[-16:]
    bearer = bearer_of(
        kind=KeyKind.STANDARD,
        environment=Environment.SANDBOX,
        key_id=key_id,
        secret=f"{number:064x}",
    )
    world.keys.api_keys[key_id] = StoredKey(
        key_id=key_id,
        tenant_id=tenant_id,
        environment=Environment.SANDBOX,
        kind=KeyKind.STANDARD,
        permissions=frozenset(map(str, permissions)),
        pepper_id="p1",
        digest=PEPPERS.digest(bearer, pepper_id="p1"),
        is_revoked=False,
    )
    agent_key_id = AGENT_KEY if number == 1 else f"agent-key-{number}"
    world.keys.agent_keys[tenant_id, agent_key_id] = AgentKey(
        key_id=agent_key_id,
        public_key=ed25519.public_key(AGENT_SEED),
        purposes=purposes,
        expires_at=expires_at,
        is_revoked=is_revoked,
    )
    return Credentials(tenant_id=tenant_id, bearer=bearer, key_id=agent_key_id)
