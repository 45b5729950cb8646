"""A broker and tables in memory that hold what a ledger implies, and `fsck` of them."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import astuple, dataclass, field, replace
from functools import cache

from harbor.adapters.memory.clock import MemoryClock
from harbor.adapters.memory.log import MemoryKafka
from harbor.adapters.memory.ports import MemoryLogReader
from harbor.fsck.audit import Audit, TenantReport
from harbor.fsck.memory_tables import MemoryRows, MemoryTables
from harbor.fsck.ports import CheckpointRow, TotalsRow
from harbor.fsck.shared_topics import LedgerKeys
from schemas.canonical import ed25519
from schemas.ids import TenantId
from schemas.intent_state import TenantState
from schemas.ledger.checkpoint import Checkpoint, open_checkpoint, origin_of, verifier_key_of
from schemas.ledger.entry_chain import leaf_hash
from schemas.ledger.merkle_tree import EMPTY_FRONTIER
from schemas.ledger.tiles import TILE_WIDTH, tile_updates
from schemas.messages.avro_codec import decode, decode_as, encode
from schemas.messages.events import EvidenceSubmitted
from schemas.messages.tips import SignedCheckpoint
from schemas.partitioner import partition_of
from schemas.tables.fold import TableFold
from schemas.tables.rows import BodyKind, BodyRow, TenantStateRow, body_row
from schemas.topics import CHECKPOINTS, EVIDENCE, INTENTS, OUTCOMES, TIPS, ledger_topic, tenant_key
from tests.support.builders import T0
from tests.support.ledger_builder import DEPLOYMENT, LEDGER_SEED, KeyValue, LedgerBuilder, a_ledger

PARTITIONS = 4
KEYS = LedgerKeys(deployment=DEPLOYMENT, public_keys=(ed25519.public_key(LEDGER_SEED),))


@dataclass(slots=True)
class Stored:
    """What lies on the topics and in the tables of one tenant; each list may be damaged before `fsck` reads it."""

    tenant_id: TenantId
    ledger: list[KeyValue]
    tips: list[KeyValue]
    checkpoints: list[KeyValue]
    intents: dict[bytes, bytes | None]
    bodies: dict[bytes, bytes | None]
    rows: MemoryRows
    outcomes: list[KeyValue] = field(default_factory=list)

    @classmethod
    def of(cls, ledger: LedgerBuilder, *, table_size: int | None = None) -> "Stored":
        return cls(
            tenant_id=ledger.tenant_id,
            ledger=list(ledger.ledger),
            tips=list(ledger.tips),
            checkpoints=list(ledger.checkpoints),
            intents=dict(ledger.intents),
            bodies=dict(ledger.bodies),
            rows=MemoryRows() if table_size == 0 else rows_of(ledger, size=table_size),
        )

    def write_tenant(self, state: TenantState) -> None:
        """The tenant's own row, as Harbor writes it and the views have read it."""
        self.intents[tenant_key(self.tenant_id)] = value = encode(state)
        self.rows.tenant_state_row = TenantStateRow(tenant_id=self.tenant_id, state=value)


@dataclass(slots=True)
class Witness:
    """What the audit said on its way."""

    said: list[str] = field(default_factory=list)

    def began(self, tenant_id: TenantId, *, records: int) -> None:
        self.said.append(f"{tenant_id} began {records}")

    def read(self, tenant_id: TenantId, *, entries: int) -> None:
        assert entries > 0

    def ended(self, report: TenantReport) -> None:
        self.said.append(f"{report.tenant_id} ended {report.size}")


def kafka_of(*stored: Stored) -> MemoryKafka:
    kafka = MemoryKafka(now=lambda: T0)
    kafka.create_paybond_topics(partitions=PARTITIONS)
    for tenant in stored:
        topic, where = ledger_topic(tenant.tenant_id), partition_of(tenant.tenant_id, PARTITIONS)
        kafka.create_ledger_topic(topic)
        intents = [KeyValue(key=key, value=value) for key, value in tenant.intents.items()]
        for name, partition, records in (
            (topic, 0, tenant.ledger),
            (TIPS, where, tenant.tips),
            (INTENTS, where, intents),
            (CHECKPOINTS, where, tenant.checkpoints),
            (OUTCOMES, where, tenant.outcomes),
        ):
            for record in records:
                kafka.append(name, partition, key=record.key, value=record.value, headers={})
        rows = tenant.rows
        rows.reached_offsets[INTENTS] = len(intents) if rows.tenant_state_row else 0
        rows.reached_offsets[OUTCOMES] = len(tenant.outcomes) if rows.operation_rows else 0
        for key, value in tenant.bodies.items():
            offset = kafka.append(EVIDENCE, where, key=key, value=value)
            # The views have read as far as the last body that they have.
            if key in rows.body_rows:
                rows.reached_offsets[EVIDENCE] = offset + 1
    return kafka


def audit_of(kafka: MemoryKafka, stored: Sequence[Stored], *, has_tables: bool = True) -> Audit:
    tables = MemoryTables()
    tables.rows = {tenant.tenant_id: tenant.rows for tenant in stored}
    return Audit(
        reader=MemoryLogReader(kafka, process="fsck"),
        tables=tables if has_tables else None,
        clock=MemoryClock(T0),
        keys=KEYS,
        partitions=PARTITIONS,
    )


def fsck(*stored: Stored) -> list[TenantReport]:
    """All tenants."""
    return asyncio.run(audit_of(kafka_of(*stored), stored).run(None, Witness()))


def fsck_one(stored: Stored, *, has_tables: bool = True) -> TenantReport:
    audit = audit_of(kafka_of(stored), [stored], has_tables=has_tables)
    (report,) = asyncio.run(audit.run(None, Witness()))
    return report


def rows_of(ledger: LedgerBuilder, *, size: int | None = None) -> MemoryRows:
    """What the views write for the first `size` entries."""
    size = len(ledger.entries) if size is None else size
    fold = TableFold(tenant=None, states={})
    leaves: list[bytes] = []
    for entry, record in zip(ledger.entries[:size], ledger.ledger, strict=False):
        assert record.value is not None
        leaves.append(leaf_hash(record.value))
        fold.add(entry, value=record.value, leaf_hash=leaves[-1])
    folded = fold.rows()
    sums: dict[tuple[str, str], tuple[int, ...]] = {}
    for change in folded.changes:
        _, _, status, currency, *moved = astuple(change)
        before = sums.get((status, currency), (0,) * len(moved))
        sums[status, currency] = tuple(a + b for a, b in zip(before, moved, strict=True))
    return MemoryRows(
        tenant_row=folded.tenant,
        entry_rows={row.seq: row for row in folded.entries},
        intent_rows={row.intent_id: row for row in folded.intents},
        totals_rows=[_totals_row(key, moved) for key, moved in sums.items()],
        tile_rows=_tiles_of(leaves),
        checkpoint_rows={row.size: row for row in checkpoint_rows(ledger) if row.size <= size},
        body_rows=_body_rows(ledger, size=size),
        waiting={row.size for row in checkpoint_rows(ledger) if row.size > size},
        reached_offsets={CHECKPOINTS: len(ledger.checkpoints)},
        tenant_state_row=TenantStateRow(
            tenant_id=ledger.tenant_id, state=ledger.intents[tenant_key(ledger.tenant_id)]
        ),
    )


def _body_rows(ledger: LedgerBuilder, *, size: int) -> dict[bytes, BodyRow]:
    known = {entry.intent_id for entry in ledger.entries[:size]}
    with_evidence = {
        entry.intent_id
        for entry in ledger.entries[:size]
        if isinstance(entry.event, EvidenceSubmitted)
    }
    rows = {key: body_row(decode(value)) for key, value in ledger.bodies.items()}
    return {
        key: row
        for key, row in rows.items()
        if row.intent_id in (known if row.kind == BodyKind.INTENT else with_evidence)
    }


def _totals_row(key: tuple[str, str], sums: tuple[int, ...]) -> TotalsRow:
    intents, placed, held, released, refunded, custody = sums
    return TotalsRow(
        status=key[0],
        currency=key[1],
        intents=intents,
        placed_minor=placed,
        held_minor=held,
        released_minor=released,
        refunded_minor=refunded,
        custody_minor=custody,
    )


def _tiles_of(leaves: Sequence[bytes]) -> dict[tuple[int, int], bytes]:
    growth = tile_updates(EMPTY_FRONTIER, leaves)
    tiles = {(run.level, run.tile): run.hashes for run in growth.runs}
    for tile in growth.full_leaf_tiles:
        tiles[0, tile] = b"".join(leaves[tile * TILE_WIDTH : (tile + 1) * TILE_WIDTH])
    return tiles


def checkpoint_rows(ledger: LedgerBuilder) -> list[CheckpointRow]:
    origin = origin_of(DEPLOYMENT, ledger.tenant_id)
    key = verifier_key_of(
        deployment=DEPLOYMENT, tenant_id=ledger.tenant_id, public_key=KEYS.public_keys[0]
    )
    rows = []
    for record in ledger.checkpoints:
        assert record.value is not None
        signed = decode_as(SignedCheckpoint, record.value)
        opened = open_checkpoint(signed.note, origin=origin, trusted_keys=[key])
        assert isinstance(opened, Checkpoint)
        rows.append(CheckpointRow(size=opened.size, root=opened.root, note=signed.note))
    return rows


# Ledgers are made once per seed and never changed: a damage is done to a copy of what lies on the topics.
ledger_of = cache(a_ledger)
Damage = Callable[[Stored, LedgerBuilder], None]


def a_whole_ledger() -> LedgerBuilder:
    return ledger_of(3, intents=6)


def first_intent(ledger: LedgerBuilder) -> str:
    return next(iter(ledger.states))


def found(damage: Damage, ledger: LedgerBuilder | None = None) -> list[tuple[int, str, str]]:
    """(seq, kind, where) of everything that `fsck` finds after the damage."""
    whole = ledger or a_whole_ledger()
    stored = Stored.of(whole)
    damage(stored, whole)
    return [(f.seq, f.kind.value, f.where) for f in fsck_one(stored).findings]


def drop_entry_row(stored: Stored, _: LedgerBuilder) -> None:
    del stored.rows.entry_rows[4]


def change_entry_row(stored: Stored, _: LedgerBuilder) -> None:
    stored.rows.entry_rows[4] = replace(stored.rows.entry_rows[4], actor_ref="somebody")
