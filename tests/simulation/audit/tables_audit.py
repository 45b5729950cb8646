"""The read tables against the ledger: each row, each counter, each published root; by the auditor's own sums."""

from collections import Counter
from typing import TYPE_CHECKING

from schemas.ids import TenantId
from schemas.messages.avro_codec import decode_as
from schemas.messages.outcomes import Outcome
from schemas.topics import INTENTS, OUTCOMES, ledger_topic
from streams.views.memory import TableRows
from streams.views.operations_view import KEPT
from tests.simulation.audit.intent_model import Intent
from tests.simulation.audit.rules import Rule, ViolationError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from streams.runtime.checkpoints import Position
    from streams.runtime.records import TopicPartition
    from tests.simulation.world import World


class CheckpointsAudit:
    """`look` after each step; `lowered` when an operator did that."""

    def __init__(self, world: "World") -> None:
        self._world = world
        self._rows: Mapping[tuple[str, TopicPartition], Position] = {}
        self._next_offsets: dict[tuple[str, TopicPartition], int] = {}

    def lowered(self) -> None:
        self._next_offsets.clear()

    def look(self) -> None:
        """Raises ViolationError."""
        rows = self._world.indexers.checkpoints.rows
        if rows is self._rows:
            return
        self._rows = rows
        for key, row in rows.items():
            before = self._next_offsets.get(key, 0)
            if row.next_offset < before:
                raise ViolationError(
                    Rule.CHECKPOINT_GROWS, f"{key} stood at {before}, and now at {row.next_offset}"
                )
            self._next_offsets[key] = row.next_offset


def check_tables(world: "World") -> None:
    """At rest. Raises ViolationError."""
    rows, auditor = world.indexers.tables.rows, world.auditor
    stopped = [held.row for held in world.indexers.quarantine._rows if held.release is None]
    if stopped:
        raise ViolationError(Rule.TABLES, f"stopped, and its ledger is good: {stopped[0]}")
    if world.indexers.dead_letters.letters:
        raise ViolationError(Rule.TABLES, "the indexer buried a good record")
    for tenant_id in world.tenants:
        _check_entries(world, rows, tenant_id)
    intents = [one for tenant in auditor.model.tenants.values() for one in tenant.intents.values()]
    _check_intents(rows, intents)
    _check_totals(rows, intents)
    _check_operations(world, rows)
    _check_tenant_states(world, rows)
    published = {(tenant, size) for tenant, size in rows.checkpoints}
    signed = {(name, size) for name, chain in auditor.chains.items() for size in chain.checkpoints}
    if published != signed:
        raise ViolationError(Rule.TABLES, f"checkpoints {sorted(published ^ signed)}")
    for (name, size), (root, _) in rows.checkpoints.items():
        if root != auditor.chains[name].roots[size]:
            raise ViolationError(Rule.TABLES, f"the root of {name} at {size}")
    bodies = {(key.tenant_id, key.intent_id, key.kind) for key in rows.bodies}
    if bodies != auditor.bodies:
        raise ViolationError(Rule.TABLES, f"bodies {sorted(bodies ^ auditor.bodies)}")


def _check_entries(world: "World", rows: TableRows, tenant_id: TenantId) -> None:
    topic = ledger_topic(tenant_id)
    records = list(world.kafka.read(topic, 0)) if topic in world.kafka.topics() else []
    told = {key: row.value for key, row in rows.entries.items() if key[0] == tenant_id}
    wanted = {(tenant_id, seq): record.value or b"" for seq, record in enumerate(records, start=1)}
    if told != wanted:
        raise ViolationError(
            Rule.TABLES, f"{tenant_id}: {len(told)} rows of {len(wanted)} entries, or other bytes"
        )
    tenant = rows.tenants.get(tenant_id)
    if (0 if tenant is None else tenant.last_seq) != len(records):
        raise ViolationError(Rule.TABLES, f"{tenant_id}: the tenant's row is not its last entry's")


def _check_intents(rows: TableRows, intents: list[Intent]) -> None:
    told = {
        key: (
            row.status,
            row.held_minor,
            row.released_minor,
            row.refunded_minor,
            row.custody_minor,
            row.placed_minor,
            row.last_seq,
        )
        for key, row in rows.intents.items()
    }
    wanted = {
        (one.tenant_id, one.intent_id): (*one.shown, one.placed, one.last_seq) for one in intents
    }
    if told != wanted:
        differing = sorted(
            key for key in told.keys() | wanted.keys() if told.get(key) != wanted.get(key)
        )
        raise ViolationError(Rule.TABLES, f"rows of intents {differing}")


def _check_totals(rows: TableRows, intents: list[Intent]) -> None:
    """Columns as in `views.intent_totals`: intents, placed, held, released, refunded, custody."""
    wanted: Counter[tuple[tuple[str, str, str], int]] = Counter()
    for one in intents:
        parts = (1, one.placed, one.held, one.released, one.refunded, one.custody)
        for column, amount in enumerate(parts):
            wanted[(one.tenant_id, one.status, one.currency), column] += amount
    told = {
        (key, column): amount
        for key, amounts in rows.totals.items()
        for column, amount in enumerate(amounts)
        if amount
    }
    if told != {place: amount for place, amount in wanted.items() if amount}:
        raise ViolationError(Rule.TABLES, f"totals are {told}")


def _check_tenant_states(world: "World", rows: TableRows) -> None:
    """What is newest under `<tenant>/tenant`."""
    wanted: dict[str, bytes] = {}
    for record in world.kafka.read_all(INTENTS):
        tenant_id, _, rest = (record.key or b"").decode().partition("/")
        if rest == "tenant":
            wanted[tenant_id] = record.value or b""
    if rows.tenant_states != wanted:
        raise ViolationError(Rule.TABLES, f"the states of {sorted(wanted)} are not the newest")


def _check_operations(world: "World", rows: TableRows) -> None:
    wanted: dict[tuple[str, str], bytes] = {}
    for record in world.kafka.read_all(OUTCOMES):
        parts = (record.key or b"").decode().split("/")
        if len(parts) == 2:
            wanted[parts[0], parts[1]] = record.value or b""
    told = {key: row.outcome for key, row in rows.operations.items() if key in wanted}
    oldest = world.scheduler.now - KEPT
    wanted = {
        key: value
        for key, value in wanted.items()
        if key in told or decode_as(Outcome, value).recorded_at > oldest
    }
    if told != wanted:
        differing = sorted(key for key in wanted if told.get(key) != wanted[key])[:4]
        raise ViolationError(Rule.TABLES, f"operations {differing}")
