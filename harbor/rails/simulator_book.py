"""The simulator's book: what it did, in SQLite, one write per effect before its answer is given."""

import json
import sqlite3
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from harbor.rails.ports import RailAnswer
from schemas.instants import format_instant, parse_instant
from schemas.messages.effects import Effect
from schemas.messages.shared import RailAnswerKind

_TABLES = """
CREATE TABLE IF NOT EXISTS effects (effect_id TEXT PRIMARY KEY, answer TEXT NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS objects (name TEXT PRIMARY KEY, object TEXT NOT NULL) STRICT;
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class BookedObject:
    """A PaymentIntent as the simulator has it; `status` in Stripe's words."""

    name: str
    status: str
    amount_minor: int
    captured_minor: int
    currency: str
    expires_at: datetime

    def with_status(self, status: str, *, captured_minor: int) -> "BookedObject":
        return replace(self, status=status, captured_minor=captured_minor)


class Book:
    """`path` may be `:memory:`. Durable (synchronous=FULL) and of one process: the file is locked."""

    def __init__(self, path: str) -> None:
        self._database = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        self._database.execute("PRAGMA journal_mode = WAL")
        self._database.execute("PRAGMA synchronous = FULL")
        self._database.executescript(_TABLES)

    def answer(self, effect_id: str) -> RailAnswer | None:
        row = self._database.execute(
            "SELECT answer FROM effects WHERE effect_id = ?", (effect_id,)
        ).fetchone()
        return None if row is None else _answer_of(json.loads(row[0]))

    def object(self, name: str) -> BookedObject | None:
        row = self._database.execute(
            "SELECT object FROM objects WHERE name = ?", (name,)
        ).fetchone()
        return None if row is None else _object_of(json.loads(row[0]))

    def write(self, effect: Effect, answer: RailAnswer, after: BookedObject | None) -> None:
        """Answer and object, both or none."""
        self._database.execute("BEGIN IMMEDIATE")
        try:
            self._database.execute(
                "INSERT INTO effects VALUES (?, ?)", (effect.effect_id, _answer_text(answer))
            )
            if after is not None:
                self._database.execute(
                    "INSERT INTO objects VALUES (?, ?)"
                    " ON CONFLICT (name) DO UPDATE SET object = excluded.object",
                    (after.name, _object_text(after)),
                )
        except BaseException:
            self._database.execute("ROLLBACK")
            raise
        self._database.execute("COMMIT")

    def close(self) -> None:
        self._database.close()


def _answer_text(answer: RailAnswer) -> str:
    return json.dumps(
        {
            "kind": answer.kind.value,
            "rail_object": answer.rail_object,
            "amount_minor": answer.amount_minor,
            "currency": answer.currency,
            "rail_status": answer.rail_status,
            "hold_expires_at": answer.hold_expires_at and format_instant(answer.hold_expires_at),
            "code": answer.code,
        }
    )


def _answer_of(row: dict[str, Any]) -> RailAnswer:
    expires_at = row.pop("hold_expires_at")
    return RailAnswer(
        kind=RailAnswerKind(row.pop("kind")),
        hold_expires_at=expires_at and parse_instant(expires_at),
        **row,
    )


def _object_text(found: BookedObject) -> str:
    return json.dumps(
        {
            "name": found.name,
            "status": found.status,
            "amount_minor": found.amount_minor,
            "captured_minor": found.captured_minor,
            "currency": found.currency,
            "expires_at": format_instant(found.expires_at),
        }
    )


def _object_of(row: dict[str, Any]) -> BookedObject:
    return BookedObject(expires_at=parse_instant(row.pop("expires_at")), **row)
