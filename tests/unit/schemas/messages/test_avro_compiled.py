"""The compiled codecs write fastavro's bytes, read what it reads, and refuse what is no record."""

import io
import json
from dataclasses import dataclass
from typing import Any

import fastavro
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from schemas.errors import CodecError
from schemas.messages.avro_codec import HEADER_BYTES, MESSAGES, decode, derived_schema_text, encode
from schemas.messages.avro_compiled import (
    compiled_reader,
    compiled_writer,
    read_long,
    write_long,
)
from schemas.messages.avro_derivation import from_record_of, to_record_of
from schemas.messages.shared import Hash32
from schemas.messages.tips import Position
from tests.support.builders import T0, a_command, create_intent
from tests.support.message_strategies import messages

PARSED = {
    name: fastavro.parse_schema(json.loads(derived_schema_text(message)))
    for name, message in MESSAGES.items()
}
LONGS = st.integers(min_value=-(2**63), max_value=2**63 - 1)


def by_fastavro(name: str, message: Any) -> bytes:
    out = io.BytesIO()
    fastavro.schemaless_writer(out, PARSED[name], to_record_of(MESSAGES[name])(message))
    return out.getvalue()


def read_by_fastavro(name: str, body: bytes) -> Any:
    record = fastavro.schemaless_reader(
        io.BytesIO(body),
        PARSED[name],
        None,
        return_record_name=True,
        return_record_name_override=True,
    )
    return from_record_of(MESSAGES[name])(record)


@pytest.mark.parametrize("name", sorted(MESSAGES))
@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_the_bytes_are_fastavros(name: str, data: st.DataObject) -> None:
    message = data.draw(messages(MESSAGES[name]))

    body = compiled_writer(MESSAGES[name])(message)

    assert body == by_fastavro(name, message)
    assert read_by_fastavro(name, body) == message
    assert compiled_reader(MESSAGES[name])(body, 0, len(body)) == (message, len(body))


@given(number=LONGS)
def test_a_long_survives_its_bytes_and_has_fastavros(number: int) -> None:
    out = io.BytesIO()
    fastavro.schemaless_writer(out, "long", number)

    written = write_long(number)

    assert written == out.getvalue()
    assert read_long(written, 0) == (number, len(written))


@pytest.mark.parametrize("number", [2**63, -(2**63) - 1])
def test_a_number_past_64_bits_is_refused(number: int) -> None:
    with pytest.raises(CodecError, match="64-bit"):
        encode(Position(partition=1, next_offset=number))


@pytest.mark.parametrize("body", [b"\x80" * 10 + b"\x01", b"\xff" * 9 + b"\x7f"])
def test_a_long_that_never_ends_or_is_too_large_is_refused(body: bytes) -> None:
    with pytest.raises(ValueError, match="64 bits"):
        read_long(body, 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Switch:
    is_on: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Word:
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Digest:
    hash: Hash32


@pytest.mark.parametrize(
    ("message", "body", "words"),
    [
        (Switch, b"\x02", "boolean"),
        # A length of -1 would step back, into what was read before.
        (Word, b"\x01", "cut"),
        (Word, b"\x04a", "cut"),
        (Digest, bytes(31), "cut"),
    ],
)
def test_a_field_that_is_none_of_its_type_is_refused_by_its_reader(
    message: type, body: bytes, words: str
) -> None:
    with pytest.raises(ValueError, match=words):
        compiled_reader(message)(body, 0, len(body))


@pytest.mark.parametrize("name", sorted(MESSAGES))
@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_a_record_cut_anywhere_is_refused(name: str, data: st.DataObject) -> None:
    value = encode(data.draw(messages(MESSAGES[name])))
    cut = data.draw(
        st.integers(min_value=HEADER_BYTES, max_value=max(HEADER_BYTES, len(value) - 1))
    )

    if len(value) > HEADER_BYTES:
        with pytest.raises(CodecError):
            decode(value[:cut])


@pytest.mark.parametrize("name", sorted(MESSAGES))
@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_whatever_is_read_from_changed_bytes_fastavro_reads_too(
    name: str, data: st.DataObject
) -> None:
    """Stricter, never laxer: what we take for a record is one for everybody."""
    value = bytearray(encode(data.draw(messages(MESSAGES[name]))))
    at = data.draw(st.integers(min_value=HEADER_BYTES, max_value=len(value) - 1))
    value[at] ^= data.draw(st.integers(min_value=1, max_value=255))
    try:
        message = decode(bytes(value))
    except CodecError:
        return

    assert read_by_fastavro(name, bytes(value[HEADER_BYTES:])) == message


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"tenant_id": 7}, "Command"),
        ({"issuer_mac": b"short"}, "not 32 bytes"),
        ({"body": "no command"}, "no branch for str"),
        ({"issuer": "nobody"}, "nobody"),
    ],
)
def test_a_value_that_does_not_fit_its_type_is_refused(change: dict[str, Any], words: str) -> None:
    command = a_command(create_intent(), number=1)
    for name, value in change.items():
        object.__setattr__(command, name, value)

    with pytest.raises(CodecError, match=words):
        encode(command)


def test_a_naive_instant_is_refused() -> None:
    command = a_command(create_intent(), number=1, nonce="n")
    assert command.spent is not None
    object.__setattr__(command.spent, "expires_at", T0.replace(tzinfo=None))

    with pytest.raises(CodecError):
        encode(command)


def test_an_enumeration_is_read_as_its_members() -> None:
    command = a_command(create_intent(), number=1)

    again = decode(encode(command))

    assert again.issuer is command.issuer
    assert again.actor.kind is command.actor.kind
