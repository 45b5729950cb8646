"""A sealed command is its issuer's, and any changed byte shows."""

from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from schemas.errors import CodecError, UnknownSchemaError
from schemas.messages.avro_codec import decode_as
from schemas.messages.command_sealing import command_headers, is_sealed_by, seal, sealed
from schemas.messages.commands import (
    EMPTY_MAC,
    HEADER_COMMAND_ID,
    HEADER_INPUT_HASH,
    HEADER_TENANT_ID,
    Command,
    FundIntent,
    Issuer,
    SpentNonce,
)
from schemas.messages.shared import Actor, ActorKind

KEY = bytes(range(32))
COMMAND = Command(
    command_id="01234567-89ab-8def-8123-456789abcdef",
    tenant_id="acme",
    intent_id="11111111-2222-3333-4444-555555555555",
    issuer=Issuer.GATEWAY,
    issuer_mac=EMPTY_MAC,
    actor=Actor(kind=ActorKind.AGENT_KEY, ref="key-1"),
    input_hash=bytes(range(100, 132)),
    body=FundIntent(),
    spent=SpentNonce(key_id="key-1", nonce="n", expires_at=datetime(2030, 1, 1, tzinfo=UTC)),
)


def test_a_sealed_command_is_its_issuers() -> None:
    value = seal(COMMAND, KEY)

    assert is_sealed_by(value, decode_as(Command, value), KEY)


def test_sealing_replaces_an_older_mac_and_gives_the_same_bytes() -> None:
    assert seal(sealed(COMMAND, b"another key"), KEY) == seal(COMMAND, KEY)


def test_another_programs_key_does_not_seal() -> None:
    value = seal(COMMAND, b"another key")

    assert not is_sealed_by(value, decode_as(Command, value), KEY)


def test_a_command_without_a_mac_is_nobodys() -> None:
    value = seal(COMMAND, KEY).replace(sealed(COMMAND, KEY).issuer_mac, EMPTY_MAC)

    assert not is_sealed_by(value, decode_as(Command, value), KEY)


@given(at=st.integers(min_value=0), flip=st.integers(1, 255))
def test_any_changed_byte_breaks_the_seal(at: int, flip: int) -> None:
    value = bytearray(seal(COMMAND, KEY))
    value[at % len(value)] ^= flip
    try:
        command = decode_as(Command, bytes(value))
    except (CodecError, UnknownSchemaError):
        return

    assert not is_sealed_by(bytes(value), command, KEY)


def test_headers_name_tenant_command_and_input() -> None:
    assert command_headers(COMMAND) == {
        HEADER_TENANT_ID: b"acme",
        HEADER_COMMAND_ID: b"01234567-89ab-8def-8123-456789abcdef",
        HEADER_INPUT_HASH: bytes(range(100, 132)),
    }
