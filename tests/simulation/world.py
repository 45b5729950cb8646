"""One run: a cluster, two slots of Harbor, gateways, a rail, clients, and everything that a seed lets go wrong."""

import random
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from gateway.auth.api_key import KeyKind, StoredKey, bearer_of
from gateway.auth.permissions import ALL
from gateway.auth.recognition import AgentKey
from harbor.adapters.memory.rails import MemoryCommandSender
from schemas.canonical import ed25519
from schemas.ids import CommandId, TenantId, command_id_of
from schemas.messages.commands import (
    EMPTY_MAC,
    Command,
    Issuer,
    ProvisionTenant,
    ReleaseQuarantine,
    input_hash_of,
)
from schemas.messages.shared import Actor as CommandActor
from schemas.messages.shared import ActorKind, Environment, SettlementMode
from schemas.topics import COMMANDS, GROUP_HARBOR, ledger_topic
from tests.simulation import troubles
from tests.simulation.audit.auditor import Auditor
from tests.simulation.audit.rest_audit import check_rest, unrest
from tests.simulation.audit.rules import Finding, Rule, ViolationError
from tests.simulation.broker import SimulatedKafka
from tests.simulation.clients import Client
from tests.simulation.curse import Curse
from tests.simulation.faults import Fault, Faults
from tests.simulation.gateway_node import GatewayNode, Registry
from tests.simulation.harbor_slot import HarborSlot
from tests.simulation.indexer_node import IndexerGroup
from tests.simulation.process import Process, Tool
from tests.simulation.rail_node import RailNode
from tests.simulation.requests import Credentials, Wish
from tests.simulation.scheduler import Scheduler, Step, Stopped
from tests.support.builders import Party
from tests.support.gateway_world import ALL_PURPOSES, PEPPERS
from tests.support.harbor_world import ISSUER_KEYS

PARTITIONS = 2
# Two in one partition, one of them the beginning of the other's name.
TENANTS = (TenantId("acme"), TenantId("acme-2"), TenantId("acme-corp"))
STEPS_MAX = 15_000
# Trouble ends here at the latest, so that the run can come to rest.
_TROUBLE_STEPS_MAX = 5_000
_HISTORY_LINES = 40
_REST_LOOKS_MAX = 600
# The coordinator looks for transactions that are too old about once a second.
_COORDINATOR_STEPS = 16
_MARKER_MILLISECONDS_MAX = 1_500


@dataclass(slots=True)
class _TrueClock:
    scheduler: Scheduler

    def now(self) -> datetime:
        return self.scheduler.now


class World:
    """`run` once. Everything in it follows from `seed`."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.seed_text = str(seed)
        self.rng = random.Random(f"{seed}/world")
        self.partitions = PARTITIONS
        self.tenants = TENANTS
        self.scheduler = Scheduler(random.Random(f"{seed}/schedule"))
        self.faults = Faults(random.Random(f"{seed}/faults"))
        self.true_clock = _TrueClock(self.scheduler)
        self.broker_skew = timedelta()
        self.clock_ahead_max = timedelta()
        self.publishes_slowly_in_percent = self.rng.choice((0, 0, 40))
        late_percent = self.rng.choice((0, 30, 60))
        self.kafka = SimulatedKafka(
            stamp=lambda: self.scheduler.now + self.broker_skew,
            now=self.true_clock.now,
            marks_late=lambda: self.faults.is_drawn(Fault.MARKERS_LATE, in_percent=late_percent),
            later=self._later,
        )
        self.kafka.create_paybond_topics(partitions=PARTITIONS)
        self.shares_ids = self.rng.randrange(3) == 0
        self.records_max = self.rng.choice((1, 2, 4, 8, 100))
        self.history: list[str] = []
        self.committed = 0
        self.badly_signed: set[bytes] = set()
        self.amounts: dict[tuple[TenantId, str], int] = {}
        # Records that are no commands, by place.
        self.junk: dict[tuple[int, int], troubles.Junk] = {}
        self.poisoned: set[tuple[int, int]] = set()
        # Where somebody put the group's offsets, until the next transaction moves them on.
        self.group_moved: dict[int, int] = {}
        self._topic_made_at: dict[str, int] = {}
        self._violation: ViolationError | None = None
        self.registry = Registry(api_keys={}, agent_keys={})
        self.slots = [HarborSlot(self, number) for number in range(2)]
        self.rails = RailNode(self)
        self.indexers = IndexerGroup(self)
        self.gateways = [GatewayNode(self, number) for number in range(2)]
        self.clients = self._make_clients()
        if self.shares_ids and len(self.clients) > 1:
            self.faults.happened(Fault.SAME_IDS)
        self.auditor = Auditor(self)
        self.troubles = troubles.plan(self)
        self.curse = Curse(self, self.rng.choice((0,) * 14 + (1, 3)))
        self._unfinished = 0
        # After the clients' lives, so that deadlines and holds end.
        self._leaps = list(self.rng.choice(((), (), (), (30,), (200, 3))))
        self._randoms = random.Random(f"{seed}/randoms")

    def run(self, mutant: str | None = None) -> Finding | None:
        try:
            with self.curse.applied():
                self._start()
                self._work()
        except ViolationError as violation:
            return Finding(
                seed=self.seed,
                mutant=mutant,
                rule=violation.rule,
                detail=violation.detail,
                committed=self.auditor.decided,
                steps=self.scheduler.steps,
                history=tuple(self.history[-_HISTORY_LINES:]),
            )
        finally:
            self.scheduler.close()
            self.rails.house.close()
        return None

    # What the parts of the world tell it.

    def tell(self, text: str) -> None:
        line = f"{self.scheduler.steps:6d} {self.scheduler.now:%d %H:%M:%S.%f} {text}"
        self.history.append(line)
        self.scheduler.note(line)

    def happened(self, fault: Fault, text: str) -> None:
        self.faults.happened(fault)
        self.tell(text)

    def unexplained(self, who: str, error: BaseException) -> None:
        """A process ended by what is nobody's trouble but our own."""
        if self._violation is None:
            self._violation = (
                error
                if isinstance(error, ViolationError)
                else ViolationError(Rule.NO_DEFECT, f"{who}: {type(error).__name__}: {error}")
            )

    def cursed(self, command: Command) -> None:
        self.happened(Fault.CURSED, f"{command.command_id} of {command.tenant_id} is cursed")

    def _later(self, act: Callable[[], None]) -> None:
        milliseconds = self.faults.rng.randrange(_MARKER_MILLISECONDS_MAX)
        self.scheduler.at(self.scheduler.now + timedelta(milliseconds=milliseconds), act, "marker")

    def wished(self, wish: Wish) -> None:
        if wish.name == "create" and wish.is_signed_well:
            self.amounts.setdefault((wish.tenant_id, wish.intent_id), 0)
        if not wish.is_signed_well:
            self.badly_signed.add(wish.input_hash)

    def random_bytes(self, count: int) -> bytes:
        return self._randoms.randbytes(count)

    @property
    def latest_clock(self) -> datetime:
        """The latest time that any process may have taken for the present one."""
        return self.scheduler.now + self.clock_ahead_max

    def may_lack_topic(self, command: Command) -> bool:
        """Whether whoever decided this may not have seen the tenant's topic yet."""
        made_at = self._topic_made_at.get(command.tenant_id)
        return made_at is None or self.scheduler.steps - made_at < 2_000

    # The run.

    def _start(self) -> None:
        for slot in self.slots:
            slot.start()
        for gateway in self.gateways:
            gateway.start()
        self.rails.start()
        self.indexers.start()
        wanted = {client.tenant_id for client in self.clients}
        for tenant_id in self.tenants:
            # A tenant without clients is one more ledger, and now and then that is enough.
            if tenant_id in wanted or self.rng.randrange(3) == 0:
                self._spawn(Tool(self, f"cli-{tenant_id}"), self._provision)
        operator = Tool(self, "operator")
        operator.launch(lambda: self._operate(operator), _nothing_follows)
        for client in self.clients:
            self._unfinished += 1
            self.scheduler.loop.create_task(self._lived(client))
        self.scheduler.loop.settle()

    def _work(self) -> None:
        scheduler, kafka = self.scheduler, self.kafka
        version, looks = -1, 0
        while scheduler.steps < STEPS_MAX:
            if self.faults.is_active:
                self._trouble()
            step = scheduler.step()
            if step is not Step.RAN or scheduler.steps % _COORDINATOR_STEPS == 0:
                for name in kafka.time_out_transactions():
                    self.happened(Fault.TRANSACTION_TIMED_OUT, f"transaction of {name} timed out")
            if kafka.version != version:
                version = kafka.version
                self.auditor.look()
            self.auditor.checkpoints.look()
            if self._violation is not None:
                raise self._violation
            if step is Step.RAN or self._unfinished or self.faults.is_active:
                continue
            looks += 1
            if unrest(self) is None:
                check_rest(self)
                if not self._leaps:
                    return
                self._leap(self._leaps.pop())
                looks = 0
            if looks > _REST_LOOKS_MAX or step is Step.STUCK:
                break
        raise ViolationError(Rule.COMES_TO_REST, f"{unrest(self)}; {scheduler.waiting()}")

    def _trouble(self) -> None:
        steps = self.scheduler.steps
        while self.troubles and self.troubles[0].step <= steps:
            trouble = self.troubles.pop(0)
            self.happened(trouble.fault, trouble.fault.value)
            trouble.act(self)
        if steps > _TROUBLE_STEPS_MAX or not self._unfinished:
            self.faults.is_active = False
            self.tell("no more trouble")
            self.scheduler.idle_leap = timedelta(seconds=20)

    def _leap(self, hours: int) -> None:
        """Nobody does anything for hours or days: what time alone brings is due."""
        self.tell(f"{hours} hours go by")
        self.scheduler.now += timedelta(hours=hours)

    async def _lived(self, client: Client) -> None:
        try:
            await client.run(self.rng.choice((1, 1, 1, 2)))
        except Stopped:
            pass
        # A defect of the gateway reaches whoever had asked.
        except BaseException as error:  # noqa: BLE001
            self.unexplained(client.name, error)
        client.is_done = True
        self._unfinished -= 1

    def _spawn(self, process: Process, main: Callable[[Process], Awaitable[None]]) -> None:
        async def whole() -> None:
            await main(process)

        self._unfinished += 1

        def ended(error: BaseException | None) -> None:
            self._unfinished -= 1
            if error is not None and not isinstance(error, Stopped):
                self.unexplained(process.name, error)

        process.launch(whole, ended)

    async def _provision(self, process: Process) -> None:
        """`tenants create`: make the topic, send, and again until the tenant is there."""
        tenant_id = TenantId(process.name.removeprefix("cli-"))
        sender = MemoryCommandSender(
            self.kafka,
            process=process.name,
            issuer_key=ISSUER_KEYS[Issuer.CLI][0],
            partitions=self.partitions,
            hook=process.hook,
        )
        is_late = self.faults.is_drawn(Fault.TOPIC_LATE, in_percent=15)
        for attempt in range(1_000):
            if attempt > 0 or not is_late:
                self._make_topic(tenant_id)
            command = provisioning(tenant_id, attempt)
            await sender.send(command)
            while (found := self._provision_answer(tenant_id, command)) is None:
                await process.sleep(timedelta(milliseconds=500))
            if found != "ledger_topic_missing":
                return
            await process.sleep(timedelta(seconds=self.rng.randrange(60)))

    async def _operate(self, process: Process) -> None:
        """Whoever is woken by a quarantine: looks, and lets the tenant go on."""
        sender = MemoryCommandSender(
            self.kafka,
            process=process.name,
            issuer_key=ISSUER_KEYS[Issuer.CLI][0],
            partitions=self.partitions,
            hook=process.hook,
        )
        number = 0
        while True:
            await process.sleep(timedelta(seconds=20))
            for tenant in list(self.auditor.model.tenants.values()):
                if tenant.is_quarantined:
                    number += 1
                    await sender.send(release(TenantId(tenant.name), number))

    def _provision_answer(self, tenant_id: TenantId, command: Command) -> str | None:
        return self.auditor.answers.code_of(tenant_id, command.command_id)

    def _make_topic(self, tenant_id: TenantId) -> None:
        if tenant_id not in self._topic_made_at:
            self._topic_made_at[tenant_id] = self.scheduler.steps
            self.kafka.create_ledger_topic(ledger_topic(tenant_id))

    def _make_clients(self) -> list[Client]:
        clients: list[Client] = []
        for tenant_number, tenant_id in enumerate(self.tenants):
            who = _register(self.registry, tenant_id, tenant_number)
            parties = (
                _party(tenant_id, "principal"),
                _party(tenant_id, "payee"),
                _party(tenant_id, "stranger"),
            )
            for _ in range(self.rng.choice((0, 0, 1)) if tenant_number else 1):
                clients.append(Client(self, len(clients), who, parties))
        return clients

    def rebalance(self) -> None:
        self.kafka.group(GROUP_HARBOR).rebalance()

    def exchange(self) -> None:
        self.kafka.group(GROUP_HARBOR).exchange()

    def move_group(self, offsets: Mapping[int, int | None]) -> None:
        """None = the group's offset is gone."""
        group = self.kafka.group(GROUP_HARBOR)
        for partition, offset in offsets.items():
            group.forget((COMMANDS, partition))
            if offset is not None:
                group.commit({(COMMANDS, partition): offset})
            self.group_moved[partition] = offset or 0


def provisioning(tenant_id: TenantId, attempt: int) -> Command:
    body = ProvisionTenant(
        environment=Environment.SANDBOX,
        settlement_config_version=1,
        settlement_mode=SettlementMode.SIMULATED,
        origin=f"paybond/test/{tenant_id}",
    )
    command_id: CommandId = command_id_of("simulation", tenant_id, "provision", str(attempt))
    return Command(
        command_id=command_id,
        tenant_id=tenant_id,
        intent_id=None,
        issuer=Issuer.CLI,
        issuer_mac=EMPTY_MAC,
        actor=CommandActor(kind=ActorKind.CLI, ref="operator"),
        input_hash=input_hash_of("CLI", "provision", str(attempt).encode()),
        body=body,
    )


def _nothing_follows(_error: BaseException | None) -> None:
    """It ends with the run."""


def release(tenant_id: TenantId, number: int) -> Command:
    return replace(
        provisioning(tenant_id, 0),
        command_id=command_id_of("simulation", tenant_id, "release", str(number)),
        input_hash=input_hash_of("CLI", "release", str(number).encode()),
        body=ReleaseQuarantine(reason="looked-at"),
    )


def _party(tenant_id: TenantId, role: str) -> Party:
    seed = (role + tenant_id).encode().ljust(32, b".")
    return Party(did=f"did:web:{role}.example", seed=seed)


def _register(registry: Registry, tenant_id: TenantId, number: int) -> Credentials:
    key_id = f"{number + 1:032x}"
    bearer = bearer_of(
        kind=KeyKind.STANDARD,
        environment=Environment.SANDBOX,
        key_id=key_id,
        secret=f"{number + 1:064x}",
    )
    registry.api_keys[key_id] = StoredKey(
        key_id=key_id,
        tenant_id=tenant_id,
        environment=Environment.SANDBOX,
        kind=KeyKind.STANDARD,
        permissions=frozenset(map(str, ALL)),
        pepper_id="p1",
        digest=PEPPERS.digest(bearer, pepper_id="p1"),
        is_revoked=False,
    )
    seed = tenant_id.encode().ljust(32, b"#")
    # The same key id for every tenant: nothing but the tenant tells them apart.
    registry.agent_keys[tenant_id, "agent"] = AgentKey(
        key_id="agent",
        public_key=ed25519.public_key(seed),
        purposes=ALL_PURPOSES,
        expires_at=None,
        is_revoked=False,
    )
    return Credentials(tenant_id=tenant_id, bearer=bearer, key_id="agent", seed=seed)
