"""Read tables filled as the views would fill them, from a history of entries, without Kafka."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import Any

import psycopg
from psycopg import sql

from schemas.ids import TenantId
from schemas.intent_state import TenantState
from schemas.ledger.checkpoint import Checkpoint, origin_of, sign_checkpoint
from schemas.ledger.entry_chain import ZERO_HASH, leaf_hash
from schemas.ledger.merkle_tree import EMPTY_FRONTIER, root_of
from schemas.ledger.tiles import TILE_WIDTH, tile_updates
from schemas.messages.avro_codec import encode
from schemas.messages.bodies import EvidenceBody, IntentBody
from schemas.messages.events import LedgerEntry, RailStatusObserved
from schemas.messages.outcomes import Outcome
from schemas.tables.fold import TableFold
from schemas.tables.rows import TenantStateRow, body_row, operation_row
from schemas.topics import outcome_key
from streams.runtime.migrations import migrate
from tests.support.databases import FreshDatabase
from tests.support.domain_world import World

DEPLOYMENT = "test"
LEDGER_SEED = b"\x77" * 32


@dataclass(frozen=True, kw_only=True)
class History:
    """One tenant's chained entries with what the other topics hold."""

    tenant_id: TenantId
    entries: Sequence[LedgerEntry]
    bodies: Sequence[IntentBody | EvidenceBody] = ()
    outcomes: Sequence[Outcome] = ()

    @cached_property
    def values(self) -> list[bytes]:
        return [encode(entry) for entry in self.entries]

    @cached_property
    def leaf_hashes(self) -> list[bytes]:
        return [leaf_hash(value) for value in self.values]

    def note(self, size: int) -> str:
        origin = origin_of(DEPLOYMENT, self.tenant_id)
        checkpoint = Checkpoint(origin=origin, size=size, root=root_of(self.leaf_hashes[:size]))
        return sign_checkpoint(checkpoint, seed=LEDGER_SEED)


def history_of(world: World, tenant_id: str) -> History:
    """The world's ledger as this tenant's, chained."""
    tenant = TenantId(tenant_id)
    bodies: list[IntentBody | EvidenceBody] = [
        *world.intent_bodies.values(),
        *world.evidence_bodies.values(),
    ]
    return History(
        tenant_id=tenant,
        entries=chained(tenant, world.entries),
        bodies=[replace(body, tenant_id=tenant) for body in bodies],
        outcomes=[replace(outcome, tenant_id=tenant) for outcome in world.outcomes.values()],
    )


def long_history(world: World, tenant_id: str, size: int) -> History:
    """A ledger of `size` entries: the rail's status changes again and again."""
    short = history_of(world, tenant_id)
    last = short.entries[-1]
    more = [
        replace(
            last,
            event=RailStatusObserved(
                rail_object="pi_test_1",
                status=f"status_{number}",
                amount_minor=20_000,
                currency="usd",
                is_drift=False,
            ),
        )
        for number in range(size - len(short.entries))
    ]
    return replace(short, entries=chained(short.tenant_id, [*short.entries, *more]))


def chained(tenant_id: TenantId, entries: Iterable[LedgerEntry]) -> list[LedgerEntry]:
    result: list[LedgerEntry] = []
    prev_hash = ZERO_HASH
    for number, entry in enumerate(entries, start=1):
        link = replace(entry, tenant_id=tenant_id, seq=number, prev_hash=prev_hash)
        result.append(link)
        prev_hash = leaf_hash(encode(link))
    return result


def migrated(database: FreshDatabase) -> FreshDatabase:
    migrate(database.owner_dsn)
    return database


def store(
    database: FreshDatabase,
    history: History,
    *,
    checkpoints: Iterable[int] = (),
    announce: bool = True,
) -> None:
    """As `paybond_streams`, in one transaction, with the notification of a batch."""
    fold = TableFold(tenant=None, states={})
    for entry, value in zip(history.entries, history.values, strict=True):
        fold.add(entry, value=value, leaf_hash=leaf_hash(value))
    rows = fold.rows()
    assert rows.tenant is not None
    with psycopg.connect(database.login_dsn("paybond_streams")) as connection:
        _insert(connection, "views.tenants", [_columns(rows.tenant)])
        _insert(connection, "views.ledger_entries", [_columns(row) for row in rows.entries])
        _insert(connection, "views.intents", [_columns(row) for row in rows.intents])
        _insert(connection, "views.intent_totals", _totals(history, rows.changes))
        store_bodies(connection, history.bodies)
        store_outcomes(connection, history.outcomes)
        _insert(connection, "views.ledger_tiles", _tiles(history))
        _insert(
            connection,
            "views.checkpoints",
            [
                {
                    "tenant_id": history.tenant_id,
                    "size": size,
                    "root": root_of(history.leaf_hashes[:size]),
                    "note": history.note(size),
                }
                for size in checkpoints
            ],
        )
        if announce:
            connection.execute("SELECT pg_notify('paybond_views', '*')")


def store_bodies(
    connection: psycopg.Connection, bodies: Iterable[IntentBody | EvidenceBody]
) -> None:
    _insert(connection, "views.evidence", [_columns(body_row(body)) for body in bodies])


def store_outcomes(connection: psycopg.Connection, outcomes: Iterable[Outcome]) -> None:
    rows = []
    for outcome in outcomes:
        key = outcome_key(outcome.tenant_id, outcome.command_id)  # type: ignore[arg-type]
        row = operation_row(outcome, key=key, value=encode(outcome))
        if row is not None:
            rows.append(_columns(row))
    _insert(connection, "views.operations", rows)


def store_tenant_state(database: FreshDatabase, state: TenantState) -> None:
    """As Harbor wrote it: with a pause of the rails, a quarantine, or neither."""
    row = TenantStateRow(tenant_id=state.tenant_id, state=encode(state))
    with psycopg.connect(database.login_dsn("paybond_streams")) as connection:
        _insert(connection, "views.tenant_states", [_columns(row)])


def _totals(history: History, changes: Iterable[object]) -> list[dict[str, Any]]:
    sums: dict[tuple[str, str], dict[str, Any]] = {}
    for change in changes:
        row = _columns(change)
        row.pop("seq")
        known = sums.setdefault(
            (row["status"], row["currency"]), {**row, **dict.fromkeys(_SUMS, 0)}
        )
        for name in _SUMS:
            known[name] += row[name]
    return list(sums.values())


_SUMS = (
    "intents",
    "placed_minor",
    "held_minor",
    "released_minor",
    "refunded_minor",
    "custody_minor",
)


def _tiles(history: History) -> list[dict[str, Any]]:
    leaves = history.leaf_hashes
    growth = tile_updates(EMPTY_FRONTIER, leaves)
    full = [
        {
            "level": 0,
            "tile": tile,
            "hashes": b"".join(leaves[tile * TILE_WIDTH : (tile + 1) * TILE_WIDTH]),
        }
        for tile in growth.full_leaf_tiles
    ]
    above = [
        {"level": run.level, "tile": run.tile, "hashes": run.hashes}
        for run in growth.runs
        if run.offset == 0
    ]
    return [{"tenant_id": history.tenant_id, **row} for row in [*full, *above]]


def _columns(row: Any) -> dict[str, Any]:
    return {field.name: getattr(row, field.name) for field in fields(row)}


def _insert(connection: psycopg.Connection, table: str, rows: Sequence[Mapping[str, Any]]) -> None:
    if not rows:
        return
    names = list(rows[0])
    statement = sql.SQL("INSERT INTO {} ({}) VALUES ({})").format(
        sql.Identifier(*table.split(".")),
        sql.SQL(", ").join(map(sql.Identifier, names)),
        sql.SQL(", ").join(map(sql.Placeholder, names)),
    )
    with connection.cursor() as cursor:
        cursor.executemany(statement, rows)
