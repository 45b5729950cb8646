"""Values ↔ record bytes in Confluent's wire format: `00`, 4-byte schema id, Avro body.

Ids are pinned in `schemas/avro/registry.json` and never reused. An unknown id is `UnknownSchemaError`: the tenant is
parked until the registry has it; every other misfit is `CodecError`.
"""

import io
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any, TypeVar

import fastavro

from schemas.errors import CodecError, UnknownSchemaError
from schemas.intent_fold import IntentState, PartyPin, TenantState
from schemas.messages.avro_compiled import Read, Write, compiled_reader, compiled_writer
from schemas.messages.avro_derivation import from_record_of, schema_of
from schemas.messages.bodies import EvidenceBody, IntentBody
from schemas.messages.commands import Command
from schemas.messages.effects import Effect
from schemas.messages.events import LedgerEntry
from schemas.messages.operations import DeadLetter, DeadLetterDisposition, GatewayRow
from schemas.messages.outcomes import Outcome
from schemas.messages.tips import Position, SignedCheckpoint, Tip

Message = TypeVar("Message")

MAGIC = b"\x00"
HEADER_BYTES = 5
MESSAGES: Mapping[str, type] = {
    message.__name__: message
    for message in (
        Command,
        LedgerEntry,
        IntentState,
        PartyPin,
        TenantState,
        Tip,
        SignedCheckpoint,
        Position,
        Outcome,
        Effect,
        IntentBody,
        EvidenceBody,
        DeadLetter,
        DeadLetterDisposition,
        GatewayRow,
    )
}


@dataclass(frozen=True, slots=True, kw_only=True)
class RegisteredSchema:
    """One line of the registry: `text` is the file's, as served at `/schemas/ids/{id}`."""

    id: int
    subject: str
    version: int
    record: str
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class _Codec:
    """`write` and `read` are the newest schema's alone; what an older one wrote is read by fastavro."""

    message: type
    header: bytes
    parsed: Any
    from_record: Any
    write: Write | None
    read: Read | None


@cache
def registry() -> tuple[RegisteredSchema, ...]:
    """Every registered schema, oldest first per subject."""
    folder = files("schemas.avro")
    rows = json.loads(folder.joinpath("registry.json").read_text())
    return tuple(
        RegisteredSchema(
            id=row["id"],
            subject=row["subject"],
            version=row["version"],
            record=row["record"],
            text=folder.joinpath(row["file"]).read_text(),
        )
        for row in rows
    )


@cache
def _codecs() -> tuple[dict[type, _Codec], dict[int, _Codec]]:
    newest: dict[type, _Codec] = {}
    by_id: dict[int, _Codec] = {}
    newest_id = {row.record: row.id for row in registry()}
    for row in registry():
        message = MESSAGES[row.record]
        is_newest = row.id == newest_id[row.record]
        codec = _Codec(
            message=message,
            header=MAGIC + row.id.to_bytes(4, "big"),
            parsed=fastavro.parse_schema(json.loads(row.text)),
            from_record=from_record_of(message),
            write=compiled_writer(message) if is_newest else None,
            read=compiled_reader(message) if is_newest else None,
        )
        newest[message] = codec
        by_id[row.id] = codec
    return newest, by_id


def encode(message: object) -> bytes:
    """Record value bytes under the newest schema of the message's class."""
    codec = _codecs()[0][type(message)]
    assert codec.write is not None, "the newest schema of a class has a writer"
    try:
        return codec.header + codec.write(message)
    except (ValueError, TypeError, KeyError, OverflowError, AttributeError) as error:
        raise CodecError(f"{type(message).__name__}: {error}") from error


def decode(value: bytes) -> Any:
    """The message in `value`, of whatever class its schema id names. Raises CodecError, UnknownSchemaError."""
    if len(value) < HEADER_BYTES or value[:1] != MAGIC:
        raise CodecError("not in Confluent's wire format")
    codec = _codecs()[1].get(int.from_bytes(value[1:HEADER_BYTES], "big"))
    if codec is None:
        raise UnknownSchemaError(int.from_bytes(value[1:HEADER_BYTES], "big"))
    try:
        if codec.read is None:
            message, at = _read_older(codec, value)
        else:
            message, at = codec.read(value, HEADER_BYTES, len(value))
    # Whatever a decoder stumbles on; nothing of it is ours to tell apart.
    except (
        ValueError,
        TypeError,
        KeyError,
        IndexError,
        EOFError,
        OverflowError,
        UnicodeError,
    ) as error:
        raise CodecError(f"{codec.message.__name__}: {type(error).__name__}: {error}") from error
    if at != len(value):
        raise CodecError(f"{codec.message.__name__}: bytes after the record")
    return message


def _read_older(codec: _Codec, value: bytes) -> tuple[Any, int]:
    body = io.BytesIO(value)
    body.seek(HEADER_BYTES)
    record = fastavro.schemaless_reader(
        body, codec.parsed, None, return_record_name=True, return_record_name_override=True
    )
    return codec.from_record(record), body.tell()


def decode_as(message: type[Message], value: bytes) -> Message:
    """As `decode`, and a message of another class is a CodecError."""
    found = decode(value)
    if not isinstance(found, message):
        raise CodecError(f"expected {message.__name__}, found {type(found).__name__}")
    return found


def derived_schema_text(message: type) -> str:
    """What the newest `.avsc` file of a message must say."""
    return json.dumps(schema_of(message), indent=1, ensure_ascii=False) + "\n"
