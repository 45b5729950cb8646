"""Every message survives its bytes; Apache's own implementation reads and writes the same ones."""

import io
import json
from datetime import UTC, datetime
from typing import Any

import avro.io
import avro.schema
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from schemas.errors import CodecError, UnknownSchemaError
from schemas.messages.avro_codec import (
    HEADER_BYTES,
    MESSAGES,
    decode,
    decode_as,
    derived_schema_text,
    encode,
    registry,
)
from schemas.messages.avro_derivation import to_record_of
from schemas.messages.tips import Position, Tip
from tests.support.message_strategies import messages

SCHEMA_IDS = {row.record: row.id for row in registry()}
ORACLES = {name: avro.schema.parse(derived_schema_text(cls)) for name, cls in MESSAGES.items()}


@pytest.mark.parametrize("name", sorted(MESSAGES))
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_a_message_survives_its_bytes(name: str, data: st.DataObject) -> None:
    message = data.draw(messages(MESSAGES[name]))

    value = encode(message)

    assert decode(value) == message
    assert value[:1] == b"\x00"
    assert int.from_bytes(value[1:HEADER_BYTES], "big") == SCHEMA_IDS[name]


@pytest.mark.parametrize("name", sorted(MESSAGES))
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_apaches_avro_reads_what_we_write(name: str, data: st.DataObject) -> None:
    message = data.draw(messages(MESSAGES[name]))

    reader = avro.io.DatumReader(ORACLES[name])
    body = io.BytesIO(encode(message)[HEADER_BYTES:])
    record: Any = reader.read(avro.io.BinaryDecoder(body))

    assert record == _without_names(to_record_of(MESSAGES[name])(message))
    assert body.read() == b""


def _without_names(value: Any) -> Any:
    if isinstance(value, tuple):
        return _without_names(value[1])
    if isinstance(value, dict):
        return {name: _without_names(member) for name, member in value.items()}
    if isinstance(value, list):
        return [_without_names(item) for item in value]
    return value


@pytest.mark.parametrize("name", sorted(MESSAGES))
def test_the_registered_file_is_the_class(name: str) -> None:
    newest = [row for row in registry() if row.record == name][-1]

    assert json.loads(newest.text) == json.loads(derived_schema_text(MESSAGES[name]))


def test_another_class_is_refused() -> None:
    value = encode(Position(partition=1, next_offset=2))

    with pytest.raises(CodecError, match="expected Tip"):
        decode_as(Tip, value)


@pytest.mark.parametrize("value", [b"", b"\x00\x00", b"\x01\x00\x01\x86\xa0", b"{}"])
def test_bytes_without_the_wire_header_are_refused(value: bytes) -> None:
    with pytest.raises(CodecError):
        decode(value)


def test_an_unknown_schema_id_is_told_from_a_broken_record() -> None:
    with pytest.raises(UnknownSchemaError):
        decode(b"\x00" + (7).to_bytes(4, "big") + b"x")


@given(cut=st.integers(min_value=0, max_value=40))
def test_a_cut_record_is_refused(cut: int) -> None:
    value = encode(
        Tip(
            tenant_id="acme",
            size=3,
            root=bytes(32),
            last_leaf_hash=bytes(32),
            frontier=(bytes(32),),
            recorded_at=datetime(2030, 1, 2, tzinfo=UTC),
        )
    )

    with pytest.raises(CodecError):
        decode(value[: HEADER_BYTES + cut])


def test_bytes_after_the_record_are_refused() -> None:
    with pytest.raises(CodecError, match="bytes after"):
        decode(encode(Position(partition=1, next_offset=2)) + b"\x00")


@given(noise=st.binary(max_size=80), name=st.sampled_from(sorted(MESSAGES)))
def test_noise_never_raises_anything_but_a_codec_error(noise: bytes, name: str) -> None:
    try:
        decode(b"\x00" + SCHEMA_IDS[name].to_bytes(4, "big") + noise)
    except CodecError as error:
        refused = str(error)

        assert refused
