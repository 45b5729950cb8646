"""Every topic: its name, key, partitions, settings, who writes and who reads it. The only place that knows.

`paybond-harbor topics apply|diff|acls` makes a cluster match. `P` is fixed when a cluster is born: no partition is
ever added, because a tenant's partition is murmur2(tenant) mod P (`schemas.partitioner`), not librdkafka's default.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from schemas.ids import (
    CommandId,
    IntentId,
    TenantId,
    is_tenant_id,
    party_digest_of,
)

PARTITIONS_DEFAULT = 48
PARTITIONS_ONE_MACHINE = 12

COMMANDS = "paybond.commands"
EVIDENCE = "paybond.evidence"
INTENTS = "paybond.intents"
TIPS = "paybond.tips"
CHECKPOINTS = "paybond.checkpoints"
POSITIONS = "paybond.positions"
OUTCOMES = "paybond.outcomes"
EFFECTS = "paybond.effects"
STRIPE_EVENTS = "paybond.stripe.events"
GATEWAY_ROWS = "paybond.gateway.rows"
DEAD_LETTERS = "paybond.dead-letters"
LEDGER_PREFIX = "paybond.ledger."
# KIP-848 matches the whole name on the broker: without `.+` the expression silently matches nothing.
LEDGER_SUBSCRIPTION = r"^paybond\.ledger\..+"

GROUP_HARBOR = "paybond-harbor"
GROUP_RAILS = "paybond-rails"
GROUP_VIEWS = "paybond-views"

_HOUR = 3_600_000
_DAY = 24 * _HOUR
RECORD_BYTES_MAX = 2 * 1024 * 1024
IDEMPOTENCY_WINDOW_HOURS = 24
# What a new owner reads of the outcomes, by the records' own times: the margin covers clocks that differ.
OUTCOMES_RESTORED_HOURS = IDEMPOTENCY_WINDOW_HOURS + 1


class Program(StrEnum):
    """Who holds a Kafka credential."""

    HARBOR = "harbor"
    RAILS = "rails"
    STREAMS = "streams"
    GATEWAY = "gateway"
    CLI = "cli"


class PartitionedBy(StrEnum):
    TENANT = "tenant"
    KEY = "key"
    NUMBER = "number"
    SINGLE = "single"


@dataclass(frozen=True, slots=True, kw_only=True)
class TopicSpec:
    """`config` is what the cluster must say; `audience` is why anybody reads it."""

    name: str
    partitioned_by: PartitionedBy
    config: Mapping[str, str]
    writers: frozenset[Program]
    readers: frozenset[Program]
    audience: str
    is_prefix: bool = field(default=False)


def _compact(**extra: str) -> dict[str, str]:
    return {"cleanup.policy": "compact", **{k.replace("_", "."): v for k, v in extra.items()}}


_LARGE = {"max.message.bytes": str(RECORD_BYTES_MAX)}
_H, _R, _S, _G, _C = Program.HARBOR, Program.RAILS, Program.STREAMS, Program.GATEWAY, Program.CLI

LEDGER_INDEX_BYTES = 64 * 1024
LEDGER_SEGMENT_BYTES = 16 * 1024 * 1024

LEDGER = TopicSpec(
    name=LEDGER_PREFIX,
    is_prefix=True,
    partitioned_by=PartitionedBy.SINGLE,
    # With 10 MB preallocated indexes one transaction over hundreds of new topics hangs for seconds (measured). A
    # segment must end by its size before its index is full: a node that was killed twice counts its index entries
    # anew, may find one more than there is room for, and never starts again (Kafka 4.3, "Attempt to append to a full
    # time index").
    config=_compact(
        segment_index_bytes=str(LEDGER_INDEX_BYTES), segment_bytes=str(LEDGER_SEGMENT_BYTES)
    ),
    writers=frozenset({_H}),
    readers=frozenset({_H, _S, _C}),
    audience="data teams: one record per entry, in order, for ever",
)

TOPICS: tuple[TopicSpec, ...] = (
    TopicSpec(
        name=COMMANDS,
        partitioned_by=PartitionedBy.TENANT,
        config={
            "cleanup.policy": "delete",
            "retention.ms": str(7 * _DAY),
            "segment.ms": str(_DAY // 4),
            "message.timestamp.type": "LogAppendTime",
            **_LARGE,
        },
        writers=frozenset({_G, _R, _H, _S, _C}),
        readers=frozenset({_H}),
        audience="Harbor's input",
    ),
    TopicSpec(
        name=EVIDENCE,
        partitioned_by=PartitionedBy.TENANT,
        config={**_compact(max_compaction_lag_ms=str(_DAY)), **_LARGE},
        writers=frozenset({_H}),
        readers=frozenset({_H, _S, _C}),
        audience="bodies whose digests the ledger holds",
    ),
    TopicSpec(
        name=INTENTS,
        partitioned_by=PartitionedBy.TENANT,
        config=_compact(),
        writers=frozenset({_H}),
        readers=frozenset({_H, _R, _S, _C}),
        audience="Harbor's changelog of states; the rail worker follows it, the views the tenants' rows",
    ),
    TopicSpec(
        name=TIPS,
        partitioned_by=PartitionedBy.TENANT,
        config=_compact(),
        writers=frozenset({_H}),
        readers=frozenset({_H, _C}),
        audience="Harbor's changelog of ledger ends, unsigned",
    ),
    TopicSpec(
        name=CHECKPOINTS,
        partitioned_by=PartitionedBy.TENANT,
        config=_compact(),
        writers=frozenset({_H}),
        readers=frozenset({_H, _S, _C}),
        audience="auditors: signed tree heads, C2SP notes",
    ),
    TopicSpec(
        name=POSITIONS,
        partitioned_by=PartitionedBy.NUMBER,
        config=_compact(),
        writers=frozenset({_H}),
        readers=frozenset({_H, _C}),
        audience="where Harbor's input stands, by transaction",
    ),
    TopicSpec(
        name=OUTCOMES,
        partitioned_by=PartitionedBy.TENANT,
        config={
            "cleanup.policy": "compact,delete",
            "retention.ms": str(7 * _DAY),
            "segment.ms": str(_DAY // 4),
            # An outcome that a later one under its key takes the place of has spent a nonce of its own.
            "min.compaction.lag.ms": str(OUTCOMES_RESTORED_HOURS * _HOUR),
            **_LARGE,
        },
        writers=frozenset({_H}),
        readers=frozenset({_H, _G, _S, _C}),
        audience="the answer per command; idempotency",
    ),
    TopicSpec(
        name=EFFECTS,
        partitioned_by=PartitionedBy.TENANT,
        config={"cleanup.policy": "delete", "retention.ms": str(30 * _DAY)},
        writers=frozenset({_H}),
        readers=frozenset({_R, _C}),
        audience="what is asked of a rail",
    ),
    TopicSpec(
        name=STRIPE_EVENTS,
        partitioned_by=PartitionedBy.KEY,
        config={"cleanup.policy": "delete", "retention.ms": str(30 * _DAY)},
        writers=frozenset({_G}),
        readers=frozenset({_S}),
        audience="webhooks as they came",
    ),
    TopicSpec(
        name=GATEWAY_ROWS,
        partitioned_by=PartitionedBy.KEY,
        config=_compact(),
        writers=frozenset({_G}),
        readers=frozenset({_G}),
        audience="the gateway's own rows, so that a lost database loses nothing",
    ),
    TopicSpec(
        name=DEAD_LETTERS,
        partitioned_by=PartitionedBy.KEY,
        config={"cleanup.policy": "delete", "retention.ms": str(30 * _DAY), **_LARGE},
        writers=frozenset({_H, _R, _S, _G, _C}),
        readers=frozenset({_C}),
        audience="operators: records that can never work, with the reason",
    ),
)

# What Harbor restores a partition from; the ledger topics of its tenants come on top.
CHANGELOGS = (INTENTS, EVIDENCE, TIPS, POSITIONS, OUTCOMES)
_BY_NAME = {spec.name: spec for spec in TOPICS}


def spec_of(topic: str) -> TopicSpec | None:
    """The spec that governs a topic, ledger topics included; None for a topic that is not ours."""
    if topic.startswith(LEDGER_PREFIX):
        return LEDGER
    return _BY_NAME.get(topic)


def ledger_topic(tenant_id: TenantId) -> str:
    return LEDGER_PREFIX + tenant_id


def tenant_of_ledger_topic(topic: str) -> TenantId | None:
    """None when the name is no ledger topic of a possible tenant."""
    tenant_id = topic.removeprefix(LEDGER_PREFIX)
    if tenant_id == topic or not is_tenant_id(tenant_id):
        return None
    return TenantId(tenant_id)


def ledger_key(tenant_id: TenantId, seq: int) -> bytes:
    return f"{tenant_id}/{seq:016d}".encode()


def intent_key(tenant_id: TenantId, intent_id: IntentId) -> bytes:
    return f"{tenant_id}/{intent_id}".encode()


def party_key(tenant_id: TenantId, did: str) -> bytes:
    return f"{tenant_id}/party/{party_digest_of(did)}".encode()


def tenant_key(tenant_id: TenantId) -> bytes:
    """Of the tenant's own row on `paybond.intents`."""
    return f"{tenant_id}/tenant".encode()


def intent_body_key(tenant_id: TenantId, intent_id: IntentId) -> bytes:
    return f"{tenant_id}/{intent_id}/intent".encode()


def evidence_body_key(tenant_id: TenantId, intent_id: IntentId) -> bytes:
    return f"{tenant_id}/{intent_id}/evidence".encode()


def tip_key(tenant_id: TenantId) -> bytes:
    return tenant_id.encode()


def checkpoint_key(tenant_id: TenantId, size: int) -> bytes:
    return f"{tenant_id}/{size:016d}".encode()


def position_key(partition: int) -> bytes:
    return str(partition).encode()


def outcome_key(tenant_id: TenantId, command_id: CommandId) -> bytes:
    return f"{tenant_id}/{command_id}".encode()


def mismatch_outcome_key(tenant_id: TenantId, command_id: CommandId, input_hash: bytes) -> bytes:
    """A reused key's refusal lies beside the first answer, never over it."""
    return f"{tenant_id}/{command_id}/{input_hash.hex()}".encode()


def effect_key(tenant_id: TenantId, intent_id: IntentId) -> bytes:
    return f"{tenant_id}/{intent_id}".encode()


def gateway_row_key(table: str, tenant_id: TenantId, primary_key: str) -> bytes:
    return f"{table}/{tenant_id}/{primary_key}".encode()


def dead_letter_key(group: str, topic: str, partition: int, offset: int) -> bytes:
    return f"{group}/{topic}/{partition}/{offset}".encode()


def tenant_of_key(key: bytes) -> TenantId:
    """The tenant that a tenant-keyed record says it belongs to: all before the first `/`."""
    return TenantId(key.split(b"/", 1)[0].decode("ascii", "replace"))
