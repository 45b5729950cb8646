"""Names of things: typed ids, their patterns, and how each derived id follows from its origin.

Nothing here is random: an id is either given by a client or derived by hashing, so that replaying the same
input gives the same ids.
"""

import hashlib
import re
from typing import NewType
from uuid import UUID

TenantId = NewType("TenantId", str)
IntentId = NewType("IntentId", str)
CommandId = NewType("CommandId", str)
EffectId = NewType("EffectId", str)
CaseId = NewType("CaseId", str)
EvidenceId = NewType("EvidenceId", str)

# No `.` and no `_`: Kafka's topic names collide on them (`a.b` and `a_b` share metric names and are refused together).
TENANT_PATTERN = re.compile(r"[a-z0-9][a-z0-9-]{1,62}")
UUID_PATTERN = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
DID_LENGTH_MAX = 512


def is_tenant_id(text: str) -> bool:
    return TENANT_PATTERN.fullmatch(text) is not None


def is_canonical_uuid(text: str) -> bool:
    """Lower-case, hyphenated: the only spelling accepted on the wire."""
    return UUID_PATTERN.fullmatch(text) is not None


def uuid8_of(*parts: bytes | str) -> str:
    """UUIDv8 (RFC 9562 §5.8) from SHA-256 over length-prefixed parts, so that no two lists of parts collide."""
    digest = hashlib.sha256()
    for part in parts:
        raw = part.encode() if isinstance(part, str) else part
        digest.update(len(raw).to_bytes(8, "big"))
        digest.update(raw)
    octets = bytearray(digest.digest()[:16])
    octets[6] = (octets[6] & 0x0F) | 0x80
    octets[8] = (octets[8] & 0x3F) | 0x80
    return str(UUID(bytes=bytes(octets)))


def command_id_of(kind: str, tenant_id: TenantId, *parts: bytes | str) -> CommandId:
    """The id under which a command is decided once: `kind` says which recipe `parts` follow."""
    return CommandId(uuid8_of("paybond.command", kind, tenant_id, *parts))


def effect_id_of(command_id: CommandId, ordinal: int) -> EffectId:
    """`<command_id>-<n>`, n from 1: what the rail sees as idempotency key."""
    return EffectId(f"{command_id}-{ordinal}")


def command_of_effect(effect_id: EffectId) -> CommandId:
    """The command that asked for the effect."""
    return CommandId(effect_id.rpartition("-")[0])


def case_id_of(command_id: CommandId) -> CaseId:
    return CaseId(uuid8_of("paybond.case", command_id))


def evidence_id_of(command_id: CommandId) -> EvidenceId:
    return EvidenceId(uuid8_of("paybond.evidence", command_id))


def party_digest_of(did: str) -> str:
    """SHA-256 hex of a DID: keys hold no personal names."""
    return hashlib.sha256(did.encode()).hexdigest()
