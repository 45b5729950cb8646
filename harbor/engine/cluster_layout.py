"""What a cluster must look like, and in what it differs. Pure: values in, differences out.

P is fixed when a cluster is born: a topic with another number of partitions is never repaired, because every tenant's
partition would change; growth past P is another cell.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from schemas.ids import TenantId
from schemas.topics import LEDGER, TOPICS, PartitionedBy, TopicSpec, ledger_topic

REPLICATION = 3
REPLICAS_IN_SYNC_MIN = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Durability:
    """Copies of every record, and how many of them must have it before it counts."""

    replication: int
    in_sync_min: int


DURABLE = Durability(replication=REPLICATION, in_sync_min=REPLICAS_IN_SYNC_MIN)
SINGLE_NODE = Durability(replication=1, in_sync_min=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class TopicLayout:
    """A topic as it is or shall be. A wanted `config` holds only what is asked for."""

    name: str
    partitions: int
    replication: int
    config: Mapping[str, str] = field(default_factory=dict)


class DifferenceKind(StrEnum):
    """`missing` and `config` are made good by `topics apply`; the other two never."""

    MISSING = "missing"
    PARTITIONS = "partitions"
    REPLICATION = "replication"
    CONFIG = "config"


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    topic: str
    kind: DifferenceKind
    name: str
    wanted: str
    found: str

    def __str__(self) -> str:
        if self.kind is DifferenceKind.MISSING:
            return f"{self.topic} does not exist"
        return f"{self.topic}: {self.name} is {self.found}, not {self.wanted}"


def layout_of(
    spec: TopicSpec, *, name: str, partitions: int, durability: Durability
) -> TopicLayout:
    """A topic as it shall be."""
    return TopicLayout(
        name=name,
        partitions=1 if spec.partitioned_by is PartitionedBy.SINGLE else partitions,
        replication=durability.replication,
        config={
            **spec.config,
            "min.insync.replicas": str(durability.in_sync_min),
            "unclean.leader.election.enable": "false",
        },
    )


def wanted_layouts(*, partitions: int, durability: Durability) -> tuple[TopicLayout, ...]:
    """Every topic but the ledgers."""
    return tuple(
        layout_of(spec, name=spec.name, partitions=partitions, durability=durability)
        for spec in TOPICS
    )


def ledger_layout(tenant_id: TenantId, *, durability: Durability) -> TopicLayout:
    return layout_of(LEDGER, name=ledger_topic(tenant_id), partitions=1, durability=durability)


def differences(
    wanted: Sequence[TopicLayout], found: Mapping[str, TopicLayout]
) -> tuple[Difference, ...]:
    """In the order of `wanted`; a setting that the broker does not know of is no difference."""
    return tuple(
        difference
        for layout in wanted
        for difference in _differences(layout, found.get(layout.name))
    )


def reasons_not_to_start(found: Sequence[Difference]) -> tuple[str, ...]:
    """Differences under which records would be lost or misplaced: a sentence each."""
    return tuple(str(difference) for difference in found if _is_dangerous(difference))


def _is_dangerous(difference: Difference) -> bool:
    if difference.kind is not DifferenceKind.CONFIG:
        return True
    # Other settings cost time or space; these lose records, or take their time from whoever sends them.
    return difference.name in {
        "cleanup.policy",
        "min.compaction.lag.ms",
        "min.insync.replicas",
        "unclean.leader.election.enable",
        "message.timestamp.type",
    }


def _differences(wanted: TopicLayout, found: TopicLayout | None) -> list[Difference]:
    if found is None:
        return [_difference(wanted, DifferenceKind.MISSING, "topic", "there", "missing")]
    unlike = []
    if found.partitions != wanted.partitions:
        unlike.append(
            _difference(
                wanted,
                DifferenceKind.PARTITIONS,
                "number of partitions",
                str(wanted.partitions),
                str(found.partitions),
            )
        )
    if found.replication < wanted.replication:
        unlike.append(
            _difference(
                wanted,
                DifferenceKind.REPLICATION,
                "replication",
                str(wanted.replication),
                str(found.replication),
            )
        )
    for name, value in wanted.config.items():
        actual = found.config.get(name)
        if actual is not None and not _is_satisfied(name, wanted=value, actual=actual):
            unlike.append(_difference(wanted, DifferenceKind.CONFIG, name, value, actual))
    return unlike


def _is_satisfied(name: str, *, wanted: str, actual: str) -> bool:
    if name == "cleanup.policy":
        return set(wanted.split(",")) == set(actual.split(","))
    if name == "min.insync.replicas":
        return int(actual) >= int(wanted)
    return actual == wanted


def _difference(
    layout: TopicLayout, kind: DifferenceKind, name: str, wanted: str, found: str
) -> Difference:
    return Difference(topic=layout.name, kind=kind, name=name, wanted=wanted, found=found)
