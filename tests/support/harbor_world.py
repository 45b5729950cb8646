"""Harbor whole, in memory: a broker, loops that share it like processes, and what a test wants to see of them."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from datetime import timedelta

from harbor.adapters.memory.clock import MemoryClock
from harbor.adapters.memory.log import MemoryKafka
from harbor.adapters.memory.ports import (
    Hook,
    MemoryCheckpoints,
    MemoryCommandConsumer,
    MemoryLogReader,
    MemoryStateStore,
    MemoryTransactions,
    PortCall,
)
from harbor.adapters.memory.signature_pool import MemorySignaturePool
from harbor.domain.decision import RailPolicy
from harbor.engine.assignment import KafkaAssigner
from harbor.engine.batch import BatchRules
from harbor.engine.batch_result import BatchResult
from harbor.engine.checkpoint_signing import CheckpointSigner, LedgerKey
from harbor.engine.intake import Rejected
from harbor.engine.loop import HarborLoop, LoopParts
from harbor.engine.ports import Restored
from harbor.engine.preparation import Preparation
from schemas.canonical import ed25519
from schemas.ids import TenantId
from schemas.ledger.checkpoint import Checkpoint, open_checkpoint, origin_of, verifier_key_of
from schemas.ledger.entry_chain import CHAIN_START, Link, check_link, leaf_hash
from schemas.ledger.merkle_tree import root_of
from schemas.messages.avro_codec import decode, decode_as
from schemas.messages.command_sealing import command_headers, seal
from schemas.messages.commands import Command, Issuer
from schemas.messages.effects import Effect
from schemas.messages.events import LedgerEntry, event_type_of
from schemas.messages.operations import DeadLetter
from schemas.messages.outcomes import Outcome
from schemas.messages.tips import SignedCheckpoint, Tip
from schemas.partitioner import partition_of
from schemas.topics import (
    CHECKPOINTS,
    COMMANDS,
    DEAD_LETTERS,
    EFFECTS,
    OUTCOMES,
    POSITIONS,
    TIPS,
    ledger_topic,
)
from tests.support.builders import T0, TENANT

PARTITIONS = 4
DEPLOYMENT = "test"
LEDGER_SEED = b"\x77" * 32
ISSUER_KEYS = {issuer: (issuer.value.encode().ljust(32, b"."),) for issuer in Issuer}
TURNS_MAX = 200


class Crash(BaseException):
    """The process is gone: nothing of it runs any more, not even an `except Exception`."""


@dataclass(slots=True)
class Faults:
    """A hook for one process: counts its calls, dies or fails where it is told to, and stays dead."""

    process: str
    calls: list[str] = field(default_factory=list)
    is_dead: bool = False
    _planned: list[tuple[str, BaseException]] = field(default_factory=list)
    _meanwhile: list[tuple[str, Callable[[], Awaitable[None]]]] = field(default_factory=list)

    def plan(self, call: str, error: BaseException) -> None:
        """At the next such call: `transactions.commit before`, `store.write after`."""
        self._planned.append((call, error))

    def meanwhile(self, call: str, act: Callable[[], Awaitable[None]]) -> None:
        """What others do just then, once, while this process hangs in the call."""
        self._meanwhile.append((call, act))

    async def __call__(self, call: PortCall) -> None:
        await asyncio.sleep(0)
        name = f"{call.call} {call.when}"
        self.calls.append(name)
        if self.is_dead:
            raise Crash(self.process)
        for meanwhile in [act for act in self._meanwhile if act[0] == name]:
            self._meanwhile.remove(meanwhile)
            await meanwhile[1]()
        fault = next((fault for fault in self._planned if fault[0] == name), None)
        if fault is not None:
            self._planned.remove(fault)
            self.is_dead = isinstance(fault[1], Crash)
            raise fault[1]


class DoubtingAssigner:
    """The real assignment protocol, with doubts about tenants that a test may add."""

    def __init__(self, assigner: KafkaAssigner) -> None:
        self._assigner = assigner
        self.in_doubt: dict[TenantId, str] = {}

    async def restore(self, partition: int) -> Restored:
        restored = await self._assigner.restore(partition)
        here = {t: r for t, r in self.in_doubt.items() if partition_of(t, PARTITIONS) == partition}
        return replace(restored, quarantined={**restored.quarantined, **here})

    async def recheck(self, partition: int, tenant_id: TenantId) -> str | None:
        assert partition_of(tenant_id, PARTITIONS) == partition
        return self.in_doubt.get(tenant_id) or await self._assigner.recheck(partition, tenant_id)


@dataclass(slots=True)
class Witness:
    """What the loop said."""

    results: list[BatchResult] = field(default_factory=list)
    aborts: list[str] = field(default_factory=list)
    poisons: list[tuple[Rejected, BaseException | None]] = field(default_factory=list)

    def began(self) -> None:
        pass

    def committed(self, result: BatchResult) -> None:
        self.results.append(result)

    def aborted(self, *, records: int, reason: str) -> None:
        self.aborts.append(f"{records}: {reason}")

    def started(self, restored: Restored) -> None:
        pass

    def revoked(self, partition: int) -> None:
        pass

    def poisoned(self, rejected: Rejected, error: BaseException | None) -> None:
        self.poisons.append((rejected, error))


class HarborProcess:
    """One process: a loop, its slot's store (which outlives it) and the hook on all its port calls."""

    def __init__(
        self,
        kafka: MemoryKafka,
        clock: MemoryClock,
        *,
        name: str,
        slot: int,
        rows: MemoryStateStore | None,
        records_max: int,
    ) -> None:
        self.name = name
        self.faults = Faults(name)
        hook: Hook = self.faults
        self.store = MemoryStateStore(process=name, hook=hook)
        if rows is not None:
            self.store.go_back_to(rows.snapshot())
        reader = MemoryLogReader(kafka, process=name, hook=hook)
        self.assigner = DoubtingAssigner(
            KafkaAssigner(reader=reader, store=self.store, clock=clock, partitions=PARTITIONS)
        )
        self.witness = Witness()
        self.consumer = MemoryCommandConsumer(kafka, process=name, hook=hook)
        self.signer = CheckpointSigner(
            MemoryCheckpoints(kafka, process=name, hook=hook),
            key=LedgerKey(deployment=DEPLOYMENT, seed=LEDGER_SEED),
            partitions=PARTITIONS,
        )
        transactions = MemoryTransactions(
            kafka, process=name, transactional_id=f"paybond-harbor-{slot}", hook=hook
        )
        self.loop = HarborLoop(
            LoopParts(
                consumer=self.consumer,
                transactions=transactions,
                preparation=Preparation(
                    store=self.store,
                    reader=reader,
                    pool=MemorySignaturePool(process=name, hook=hook),
                    assigner=self.assigner,
                    clock=clock,
                ),
                signer=self.signer,
                rules=BatchRules(partitions=PARTITIONS, rails=RailPolicy()),
                issuer_keys=ISSUER_KEYS,
                observer=self.witness,
                records_max=records_max,
            )
        )


class HarborWorld:
    """One cluster and its clock. Commands are stamped a second apart."""

    def __init__(self) -> None:
        self.clock = MemoryClock(T0)
        self.kafka = MemoryKafka(now=self.clock.now)
        self.kafka.create_paybond_topics(partitions=PARTITIONS)
        self.kafka.create_ledger_topic(ledger_topic(TENANT))

    def process(
        self,
        name: str = "first",
        *,
        slot: int = 0,
        after: HarborProcess | None = None,
        records_max: int = 100,
    ) -> HarborProcess:
        """`after` = the process whose slot, and so whose store, this one takes over."""
        return HarborProcess(
            self.kafka,
            self.clock,
            name=name,
            slot=slot,
            rows=None if after is None else after.store,
            records_max=records_max,
        )

    def send(self, *commands: Command) -> None:
        for command in commands:
            self.send_value(command, seal(command, ISSUER_KEYS[command.issuer][0]))

    def send_value(self, command: Command, value: bytes, *, partition: int | None = None) -> None:
        """Whatever bytes, under the command's headers."""
        self.clock.advance(timedelta(seconds=1))
        where = partition_of(command.tenant_id, PARTITIONS) if partition is None else partition
        self.kafka.append(
            COMMANDS,
            where,
            key=command.tenant_id.encode(),
            value=value,
            headers=command_headers(command),
        )

    async def settle(self, process: HarborProcess) -> None:
        """Turn until every command has been decided and every checkpoint signed."""
        for _ in range(TURNS_MAX):
            await process.loop.turn()
            await process.signer.publish_pending()
            if self.is_settled and not process.loop.is_restoring and process.loop.partitions:
                return
        raise AssertionError("commands are left over")

    async def decide(self, *commands: Command) -> HarborProcess:
        """A process of its own that decides these and all that lies before them, then leaves."""
        self.send(*commands)
        process = self.process()
        await process.loop.start()
        await self.settle(process)
        await process.loop.stop()
        return process

    @property
    def is_settled(self) -> bool:
        return all(
            self.kafka.group("paybond-harbor").committed((COMMANDS, partition))
            == self.kafka.partition(COMMANDS, partition).high_watermark
            for partition in range(PARTITIONS)
            if self.kafka.partition(COMMANDS, partition).high_watermark
        )

    def entries(self, tenant_id: TenantId = TENANT) -> list[LedgerEntry]:
        return [
            decode_as(LedgerEntry, record.value or b"")
            for record in self.kafka.read(ledger_topic(tenant_id), 0)
        ]

    def events(self, tenant_id: TenantId = TENANT) -> list[str]:
        return [event_type_of(entry.event) for entry in self.entries(tenant_id)]

    def outcome_records(self) -> list[tuple[bytes, Outcome]]:
        return [
            (record.key or b"", decode_as(Outcome, record.value or b""))
            for record in self.kafka.read_all(OUTCOMES)
        ]

    def outcomes(self, command: Command) -> list[Outcome]:
        """Everything that was ever answered to this tenant's command id, in order."""
        named = command.tenant_id, command.command_id
        found = [outcome for _, outcome in self.outcome_records()]
        return [outcome for outcome in found if (outcome.tenant_id, outcome.command_id) == named]

    def effects(self) -> list[Effect]:
        return [decode_as(Effect, record.value or b"") for record in self.kafka.read_all(EFFECTS)]

    def dead_letters(self) -> list[DeadLetter]:
        return [
            decode_as(DeadLetter, record.value or b"")
            for record in self.kafka.read_all(DEAD_LETTERS)
        ]

    def checkpoints(self, tenant_id: TenantId = TENANT) -> list[Checkpoint]:
        """Opened with the key that one would configure, in the order of publication."""
        key = verifier_key_of(
            deployment=DEPLOYMENT,
            tenant_id=tenant_id,
            public_key=ed25519.public_key(LEDGER_SEED),
        )
        opened = []
        for record in self.kafka.read_all(CHECKPOINTS):
            signed = decode_as(SignedCheckpoint, record.value or b"")
            if signed.tenant_id == tenant_id:
                origin = origin_of(DEPLOYMENT, tenant_id)
                checkpoint = open_checkpoint(signed.note, origin=origin, trusted_keys=[key])
                assert isinstance(checkpoint, Checkpoint)
                assert checkpoint.size == signed.size
                opened.append(checkpoint)
        return opened

    def assert_whole(self, tenant_id: TenantId = TENANT) -> None:
        """Chain, tree, tip, checkpoints, positions and offsets agree, recomputed from the bytes on the topic."""
        values = [record.value or b"" for record in self.kafka.read(ledger_topic(tenant_id), 0)]
        keys = [record.key for record in self.kafka.read(ledger_topic(tenant_id), 0)]
        leaves = [leaf_hash(value) for value in values]
        end = CHAIN_START
        for key, value in zip(keys, values, strict=True):
            entry = decode_as(LedgerEntry, value)
            link = Link(
                tenant_id=TenantId(entry.tenant_id),
                seq=entry.seq,
                prev_hash=entry.prev_hash,
                record_key=key,
                value=value,
            )
            end = check_link(end, link, tenant_id=tenant_id)
        self._assert_tip(tenant_id, leaves)
        for checkpoint in self.checkpoints(tenant_id):
            assert checkpoint.size <= len(leaves), "a checkpoint ahead of the committed entries"
            assert checkpoint.root == root_of(leaves[: checkpoint.size])
        self._assert_positions()

    def _assert_tip(self, tenant_id: TenantId, leaves: list[bytes]) -> None:
        if not leaves:
            return
        tips = [decode_as(Tip, record.value or b"") for record in self.kafka.read_all(TIPS)]
        tip = [tip for tip in tips if tip.tenant_id == tenant_id][-1]
        assert tip.size == len(leaves)
        assert tip.root == root_of(leaves)
        assert tip.last_leaf_hash == leaves[-1]

    def _assert_positions(self) -> None:
        for partition in range(PARTITIONS):
            positions = [decode(r.value or b"") for r in self.kafka.read(POSITIONS, partition)]
            committed = self.kafka.group("paybond-harbor").committed((COMMANDS, partition))
            assert committed == (positions[-1].next_offset if positions else None)


def of_tenant(command: Command, tenant_id: TenantId) -> Command:
    """The same command of another tenant; good for those that carry no signature."""
    return replace(command, tenant_id=tenant_id)


def run(scenario: Callable[[], Awaitable[None]]) -> None:
    """A test's coroutine to its end."""

    async def finished() -> None:
        await scenario()

    asyncio.run(finished())
