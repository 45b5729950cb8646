"""Who may do what on which topic: the table of `schemas.topics` as Kafka's rights. Pure.

A tenant may ever be granted its own ledger topic only, and by its whole name: a prefix would let `acme` read
`acme-corp`.
"""

from dataclasses import dataclass
from enum import StrEnum

from schemas.ids import TenantId
from schemas.topics import (
    GROUP_HARBOR,
    GROUP_RAILS,
    LEDGER,
    TOPICS,
    Program,
    TopicSpec,
    ledger_topic,
)


class Resource(StrEnum):
    TOPIC = "topic"
    GROUP = "group"
    TRANSACTIONAL_ID = "transactional-id"


class Right(StrEnum):
    READ = "read"
    WRITE = "write"
    CREATE = "create"
    DESCRIBE = "describe"
    DESCRIBE_CONFIGS = "describe-configs"


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant:
    """`is_prefix` = every resource whose name begins so."""

    principal: str
    right: Right
    resource: Resource
    name: str
    is_prefix: bool = False

    def __str__(self) -> str:
        pattern = "prefixed" if self.is_prefix else "literal"
        return f"{self.principal} may {self.right} {self.resource} {self.name} ({pattern})"


# A reader outside any group has a group id all the same (librdkafka needs one) and asks who coordinates it.
# Refused, the consumer reports an error before its first record, which a program takes for an outage (4.3.1).
_READERS = (
    (Program.HARBOR, "paybond-harbor-"),
    (Program.CLI, "paybond-harbor-"),
    (Program.RAILS, "paybond-rails-"),
    (Program.STREAMS, "paybond-streams-"),
    (Program.GATEWAY, "paybond-gateway-"),
)


def principal_of(program: Program) -> str:
    return f"User:paybond-{program}"


def program_grants() -> tuple[Grant, ...]:
    """What the programs need, and no more."""
    grants: list[Grant] = []
    for spec in (*TOPICS, LEDGER):
        for program in sorted(spec.writers):
            grants += _on_topic(program, spec, Right.WRITE, Right.DESCRIBE)
        for program in sorted(spec.readers):
            grants += _on_topic(program, spec, Right.READ, Right.DESCRIBE)
    for program in (Program.HARBOR, Program.CLI):
        grants += _on_topic(program, LEDGER, Right.CREATE, Right.DESCRIBE_CONFIGS)
        # They hold the cluster to the table, whole: also the topics that they neither read nor write.
        for spec in TOPICS:
            grants += _on_topic(program, spec, Right.DESCRIBE, Right.DESCRIBE_CONFIGS)
    grants += _on_group(Program.HARBOR, GROUP_HARBOR)
    grants += _on_group(Program.RAILS, GROUP_RAILS)
    for name in ("paybond-views", "paybond-signal", "paybond-reconciliation"):
        grants += _on_group(Program.STREAMS, name)
    for program, prefix in _READERS:
        grants += _on_readers(program, prefix)
    grants += _on_transactions(Program.HARBOR, "paybond-harbor-")
    grants += _on_transactions(Program.GATEWAY, "paybond-gateway-")
    return tuple(dict.fromkeys(grants))


def tenant_grants(tenant_id: TenantId, *, principal: str) -> tuple[Grant, ...]:
    """A tenant's own ledger, by its whole name."""
    return tuple(
        Grant(
            principal=principal,
            right=right,
            resource=Resource.TOPIC,
            name=ledger_topic(tenant_id),
        )
        for right in (Right.READ, Right.DESCRIBE)
    )


def _on_topic(program: Program, spec: TopicSpec, *rights: Right) -> list[Grant]:
    return [
        Grant(
            principal=principal_of(program),
            right=right,
            resource=Resource.TOPIC,
            name=spec.name,
            is_prefix=spec.is_prefix,
        )
        for right in rights
    ]


def _on_group(program: Program, group: str) -> list[Grant]:
    return [
        Grant(
            principal=principal_of(program),
            right=right,
            resource=Resource.GROUP,
            name=group,
        )
        for right in (Right.READ, Right.DESCRIBE)
    ]


def _on_readers(program: Program, prefix: str) -> list[Grant]:
    """To find a coordinator, and no more: without READ nobody joins a group or moves its offsets."""
    return [
        Grant(
            principal=principal_of(program),
            right=Right.DESCRIBE,
            resource=Resource.GROUP,
            name=prefix,
            is_prefix=True,
        )
    ]


def _on_transactions(program: Program, prefix: str) -> list[Grant]:
    return [
        Grant(
            principal=principal_of(program),
            right=right,
            resource=Resource.TRANSACTIONAL_ID,
            name=prefix,
            is_prefix=True,
        )
        for right in (Right.WRITE, Right.DESCRIBE)
    ]
