"""Step 2, first half: which input records are commands at all. Pure.

What can't be decoded, lies in another partition than its tenant's or is not its issuer's becomes a dead letter. Only
an undecodable one is answered, by its headers; whoever forged a MAC gets no answer.
"""

import hashlib
from dataclasses import dataclass
from enum import StrEnum

from harbor.engine.issuer import IssuerBreach, IssuerKeys, check_issuer
from harbor.engine.ports import InputRecord
from schemas.errors import CodecError, UnknownSchemaError
from schemas.ids import CommandId, IntentId, TenantId, is_canonical_uuid, is_tenant_id
from schemas.messages.avro_codec import decode_as
from schemas.messages.commands import (
    HEADER_COMMAND_ID,
    HEADER_INPUT_HASH,
    HEADER_TENANT_ID,
    Command,
)
from schemas.partitioner import partition_of

# Where a record lies in the input: partition and offset.
Place = tuple[int, int]

_INPUT_HASH_BYTES = 32


class RejectReason(StrEnum):
    """Why a record is no command. All but the first two are alarms: somebody can write who should not."""

    UNDECODABLE = "undecodable"
    CRASHED_DECIDE = "crashed_decide"
    WRONG_PARTITION = "wrong_partition"
    IDS_MALFORMED = "ids_malformed"
    ISSUER_MAC_WRONG = "issuer_mac_wrong"
    ISSUER_TYPE_NOT_ALLOWED = "issuer_type_not_allowed"

    @property
    def is_alarm(self) -> bool:
        return self not in {RejectReason.UNDECODABLE, RejectReason.CRASHED_DECIDE}


@dataclass(frozen=True, slots=True, kw_only=True)
class Addressee:
    """Who waits for an answer, as the record's headers say, where the partition fits the tenant."""

    tenant_id: TenantId
    command_id: CommandId
    input_hash: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Received:
    """A command to be decided."""

    record: InputRecord
    command: Command

    @property
    def tenant_id(self) -> TenantId:
        return TenantId(self.command.tenant_id)

    @property
    def command_id(self) -> CommandId:
        return CommandId(self.command.command_id)

    @property
    def intent_id(self) -> IntentId | None:
        return None if self.command.intent_id is None else IntentId(self.command.intent_id)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rejected:
    """A record for dead letters. `detail` says what was found, without the record's content."""

    record: InputRecord
    reason: RejectReason
    detail: str
    attempts: int = 1
    tenant_id: TenantId | None = None
    command_id: CommandId | None = None


def take_in(
    record: InputRecord, *, partitions: int, issuer_keys: IssuerKeys
) -> Received | Rejected:
    """Checked in this order: decodable, ids, partition, MAC, type."""
    try:
        command = decode_as(Command, record.value or b"")
    except (CodecError, UnknownSchemaError) as error:
        named = addressee_of(record, partitions=partitions)
        return Rejected(
            record=record,
            reason=RejectReason.UNDECODABLE,
            detail=str(error),
            tenant_id=named.tenant_id if named else None,
            command_id=named.command_id if named else None,
        )
    misfit = _misfit(record, command, partitions=partitions, issuer_keys=issuer_keys)
    if misfit is not None:
        return Rejected(record=record, reason=misfit, detail=f"issuer {command.issuer}")
    return Received(record=record, command=command)


def addressee_of(record: InputRecord, *, partitions: int) -> Addressee | None:
    """None where a header is missing or malformed, or names a tenant of another partition."""
    tenant_id = record.headers.get(HEADER_TENANT_ID, b"").decode("ascii", "replace")
    command_id = record.headers.get(HEADER_COMMAND_ID, b"").decode("ascii", "replace")
    input_hash = record.headers.get(HEADER_INPUT_HASH, b"")
    if not is_tenant_id(tenant_id) or not is_canonical_uuid(command_id):
        return None
    if len(input_hash) != _INPUT_HASH_BYTES:
        return None
    if partition_of(tenant_id, partitions) != record.partition:
        return None
    return Addressee(
        tenant_id=TenantId(tenant_id), command_id=CommandId(command_id), input_hash=input_hash
    )


def place_of(item: Received | Rejected) -> Place:
    return item.record.partition, item.record.offset


def value_digest(record: InputRecord) -> bytes:
    """SHA-256 of the record's value: what names it in a dead letter, whatever its size."""
    return hashlib.sha256(record.value or b"").digest()


def _misfit(
    record: InputRecord, command: Command, *, partitions: int, issuer_keys: IssuerKeys
) -> RejectReason | None:
    is_intent_id_good = command.intent_id is None or is_canonical_uuid(command.intent_id)
    is_command_id_good = is_canonical_uuid(command.command_id)
    if not is_tenant_id(command.tenant_id) or not is_command_id_good or not is_intent_id_good:
        return RejectReason.IDS_MALFORMED
    if partition_of(command.tenant_id, partitions) != record.partition:
        return RejectReason.WRONG_PARTITION
    breach = check_issuer(record.value or b"", command, issuer_keys)
    match breach:
        case None:
            return None
        case IssuerBreach.MAC_WRONG:
            return RejectReason.ISSUER_MAC_WRONG
        case IssuerBreach.TYPE_NOT_ALLOWED:
            return RejectReason.ISSUER_TYPE_NOT_ALLOWED
