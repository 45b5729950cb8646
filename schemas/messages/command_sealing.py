"""The issuer's MAC of a command, made by every program that sends commands and checked by Harbor.

It covers the record's own bytes with the MAC field zeroed, never a re-encoding: a reader that knows a newer schema
than the writer used still checks what the writer sealed.
"""

import hmac
from collections.abc import Mapping

from schemas.messages.avro_codec import encode
from schemas.messages.commands import (
    EMPTY_MAC,
    HEADER_COMMAND_ID,
    HEADER_INPUT_HASH,
    HEADER_TENANT_ID,
    Command,
    issuer_mac_of,
)
from schemas.replacing import replace


def sealed(command: Command, key: bytes) -> Command:
    """The command with its issuer's MAC; whatever MAC it had is replaced."""
    unsealed = encode(replace(command, issuer_mac=EMPTY_MAC))
    return replace(command, issuer_mac=issuer_mac_of(key, unsealed))


def seal(command: Command, key: bytes) -> bytes:
    """The record value of the command, sealed."""
    return encode(sealed(command, key))


def is_sealed_by(value: bytes, command: Command, key: bytes) -> bool:
    """Whether the holder of `key` sealed these bytes; `command` is what they decode to."""
    # Only the first copy is zeroed: a second one elsewhere would have needed the MAC before it was made.
    unsealed = value.replace(command.issuer_mac, EMPTY_MAC, 1)
    return hmac.compare_digest(issuer_mac_of(key, unsealed), command.issuer_mac)


def command_headers(command: Command) -> Mapping[str, bytes]:
    """Record headers by which even an undecodable command can be answered."""
    return {
        HEADER_TENANT_ID: command.tenant_id.encode(),
        HEADER_COMMAND_ID: command.command_id.encode(),
        HEADER_INPUT_HASH: command.input_hash,
    }
