"""A gateway: the product's command path and outcome waiters, on a publisher and a follower that may die under them."""

import asyncio
from asyncio import Future
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from gateway.auth.api_key import StoredKey
from gateway.auth.capability import CapabilityKey
from gateway.auth.recognition import AgentKey
from gateway.bootstrap import GatewaySecrets
from gateway.commands.in_flight import InFlight
from gateway.commands.outcome_waiter import OutcomeWaiters
from gateway.commands.ports import CommandRecord
from gateway.commands.submit import CommandPath, IncomingRequest, Mutation
from gateway.edge.refused import RefusedError
from harbor.adapters.memory.ports import PortCall, When
from schemas.ids import IntentId, TenantId
from schemas.messages.commands import Issuer
from schemas.messages.outcomes import IntentAnswer, Outcome
from schemas.partitioner import partition_of
from schemas.topics import COMMANDS, OUTCOMES
from tests.simulation.process import Process
from tests.support.gateway_world import OPERATION_KEY, PEPPERS
from tests.support.harbor_world import ISSUER_KEYS

if TYPE_CHECKING:
    from tests.simulation.world import World

DECISION_SECONDS = 5
RAIL_SECONDS = 1
_RESTART_SECONDS_MAX = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class Response:
    """What a client gets; `code` is that of a refusal which the gateway itself made."""

    http_status: int
    body: bytes = b""
    code: str | None = None


@dataclass(frozen=True, slots=True)
class Registry:
    """Credentials, as the database has them; the gateway's own tests are about them."""

    api_keys: dict[str, StoredKey]
    agent_keys: dict[tuple[str, str], AgentKey]


class _ApiKeys:
    def __init__(self, registry: Registry) -> None:
        self._registry = registry

    async def find(self, key_id: str) -> StoredKey | None:
        return self._registry.api_keys.get(key_id)


class _AgentKeys:
    def __init__(self, registry: Registry) -> None:
        self._registry = registry

    async def find(self, tenant_id: TenantId, key_id: str) -> AgentKey | None:
        return self._registry.agent_keys.get((tenant_id, key_id))


class GatewayProcess(Process):
    """One incarnation; `serve` is one request in it."""

    def __init__(self, world: "World", name: str) -> None:
        super().__init__(world, name)
        self._waiters = OutcomeWaiters()
        # Positioned at the end before its listener opens, as the real one is.
        self._next = {
            partition: world.kafka.partition(OUTCOMES, partition).high_watermark
            for partition in range(world.partitions)
        }
        self._path = CommandPath(
            api_keys=_ApiKeys(world.registry),
            agent_keys=_AgentKeys(world.registry),
            peppers=PEPPERS,
            issuer_key=ISSUER_KEYS[Issuer.GATEWAY][0],
            publisher=self,
            waiters=self._waiters,
            in_flight=InFlight(),
            intents=self,
            secrets=GatewaySecrets(
                capability=CapabilityKey(key_id="c1", secret=OPERATION_KEY),
                operation_key=OPERATION_KEY,
            ),
            timer=self,
            clock=world.true_clock,
            random=world.random_bytes,
            decision_seconds=DECISION_SECONDS,
            rail_seconds=RAIL_SECONDS,
        )

    async def main(self) -> None:
        """Follow the outcomes, all partitions, without a group."""
        kafka = self.world.kafka
        while not self.is_stopping:
            await self._ask("outcomes.read", When.BEFORE)
            for partition, start in self._next.items():
                log = kafka.partition(OUTCOMES, partition)
                end = log.last_stable_offset
                for record in log.committed(start=start, end=end):
                    self._waiters.deliver(key=record.key, value=record.value)
                self._next[partition] = end

    def sight(self) -> object:
        kafka = self.world.kafka
        return [kafka.partition(OUTCOMES, partition).last_stable_offset for partition in self._next]

    async def serve(
        self, request: IncomingRequest, mutation: Mutation, intent_id: str | None
    ) -> Response:
        try:
            answer = await self._path.submit(request, mutation, intent_id=intent_id)
        except RefusedError as refused:
            return Response(http_status=refused.http_status, code=refused.code)
        return Response(http_status=answer.http_status, body=answer.body)

    # `gateway.commands.ports.CommandPublisher`

    async def publish(self, record: CommandRecord) -> None:
        await self._ask("publisher.publish", When.BEFORE)
        self.world.kafka.append(
            COMMANDS,
            partition_of(record.tenant_id, self.world.partitions),
            key=record.tenant_id.encode(),
            value=record.value,
            headers=record.headers,
        )
        await self._ask("publisher.publish", When.AFTER)

    # `gateway.commands.ports.Timer`

    async def wait(self, future: "Future[Outcome]", seconds: float) -> Outcome | None:
        scheduler = self.world.scheduler
        await scheduler.park(
            self,
            "timer.wait",
            wake_at=scheduler.now + timedelta(seconds=seconds),
            until=future,
        )
        return future.result() if future.done() else None

    # `gateway.commands.ports.PresentIntents`

    async def answer(self, tenant_id: TenantId, intent_id: IntentId) -> IntentAnswer | None:
        """The read tables lag for ever here: 503 and the same key again."""
        assert tenant_id
        assert intent_id
        return None

    async def _ask(self, call: str, when: When) -> None:
        await self.hook(PortCall(process=self.name, call=call, when=when))


class GatewayNode:
    """The gateway's supervisor, and the address that clients know."""

    def __init__(self, world: "World", number: int) -> None:
        self.world = world
        self.number = number
        self.process: GatewayProcess | None = None
        self._started = 0

    def start(self) -> None:
        process = GatewayProcess(self.world, f"gateway-{self.number}.{self._started}")
        self._started += 1
        self.process = process
        process.launch(process.main, lambda error: self._ended(process, error))

    def request(
        self, request: IncomingRequest, mutation: Mutation, intent_id: str | None
    ) -> "asyncio.Task[Response] | None":
        """None where nobody listens."""
        if self.process is None or self.process.is_dead:
            return None
        return asyncio.create_task(self.process.serve(request, mutation, intent_id))

    def _ended(self, process: GatewayProcess, error: BaseException | None) -> None:
        world, scheduler = self.world, self.world.scheduler
        world.tell(f"{process.name} ended: {type(error).__name__}")
        self.process = None
        seconds = 1 + world.faults.rng.randrange(_RESTART_SECONDS_MAX)
        scheduler.at(
            scheduler.now + timedelta(seconds=seconds), self.start, f"gateway {self.number} restart"
        )
