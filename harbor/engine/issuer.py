"""Who sent a command, and whether that program may send such a one: the MAC and the closed table.

A breach is no refusal: nobody who may ask is waiting for its answer. It is a dead letter and an alarm.
"""

from collections.abc import Mapping, Sequence
from enum import StrEnum

from schemas.messages.command_sealing import is_sealed_by, sealed
from schemas.messages.commands import ISSUED_BY, Command, Issuer

# Per program every key that is accepted now: the active one, and an old one until its window closes.
IssuerKeys = Mapping[Issuer, Sequence[bytes]]


class IssuerBreach(StrEnum):
    """Why a command is not its issuer's. Each raises an alarm."""

    MAC_WRONG = "issuer_mac_wrong"
    TYPE_NOT_ALLOWED = "issuer_type_not_allowed"


def check_issuer(value: bytes, command: Command, keys: IssuerKeys) -> IssuerBreach | None:
    """`command` is what the record value `value` decodes to; a program without keys sends nothing."""
    if not any(is_sealed_by(value, command, key) for key in keys.get(command.issuer, ())):
        return IssuerBreach.MAC_WRONG
    if type(command.body) not in ISSUED_BY[command.issuer]:
        return IssuerBreach.TYPE_NOT_ALLOWED
    return None


def sign_command(command: Command, key: bytes) -> Command:
    """For the tick, which sends from this process: the command with its MAC."""
    return sealed(command, key)
