"""A cluster that would lose or misplace records is refused, and named; what only costs is told."""

from dataclasses import replace

from harbor.engine.cluster_layout import (
    DURABLE,
    SINGLE_NODE,
    Difference,
    DifferenceKind,
    TopicLayout,
    differences,
    ledger_layout,
    reasons_not_to_start,
    wanted_layouts,
)
from schemas.topics import COMMANDS, OUTCOMES
from tests.support.builders import TENANT

WANTED = wanted_layouts(partitions=12, durability=DURABLE)
FIT = {layout.name: layout for layout in WANTED}


def found_with(topic: str, **changes: object) -> tuple[Difference, ...]:
    return differences(WANTED, {**FIT, topic: replace(FIT[topic], **changes)})  # type: ignore[arg-type]


def with_config(topic: str, name: str, value: str) -> tuple[Difference, ...]:
    return found_with(topic, config={**FIT[topic].config, name: value})


def test_a_cluster_as_wanted_has_no_difference() -> None:
    assert differences(WANTED, FIT) == ()


def test_settings_that_nobody_asked_for_are_no_difference() -> None:
    assert with_config(COMMANDS, "flush.ms", "1") == ()


def test_a_missing_topic_is_a_reason_not_to_start() -> None:
    found = differences(WANTED, {name: FIT[name] for name in FIT if name != COMMANDS})

    assert [d.kind for d in found] == [DifferenceKind.MISSING]
    assert reasons_not_to_start(found) == ("paybond.commands does not exist",)


def test_another_number_of_partitions_is_a_reason_not_to_start() -> None:
    found = found_with(COMMANDS, partitions=13)

    assert reasons_not_to_start(found) == ("paybond.commands: number of partitions is 13, not 12",)


def test_too_few_replicas_are_a_reason_not_to_start() -> None:
    found = found_with(COMMANDS, replication=2)

    assert reasons_not_to_start(found) == ("paybond.commands: replication is 2, not 3",)


def test_one_replica_suffices_on_a_single_node() -> None:
    wanted = wanted_layouts(partitions=12, durability=SINGLE_NODE)

    assert reasons_not_to_start(differences(wanted, FIT)) == ()


def test_too_few_in_sync_replicas_are_a_reason_not_to_start() -> None:
    assert reasons_not_to_start(with_config(COMMANDS, "min.insync.replicas", "1"))


def test_an_unclean_election_is_a_reason_not_to_start() -> None:
    assert reasons_not_to_start(with_config(COMMANDS, "unclean.leader.election.enable", "true"))


def test_outcomes_that_may_be_compacted_too_early_are_a_reason_not_to_start() -> None:
    assert reasons_not_to_start(with_config(OUTCOMES, "min.compaction.lag.ms", "0"))


def test_a_wrong_cleanup_policy_is_a_reason_not_to_start() -> None:
    assert reasons_not_to_start(with_config(OUTCOMES, "cleanup.policy", "delete"))


def test_the_order_of_cleanup_policies_does_not_matter() -> None:
    assert with_config(OUTCOMES, "cleanup.policy", "delete,compact") == ()


def test_a_setting_that_only_costs_is_told_but_does_not_stop() -> None:
    found = with_config(OUTCOMES, "segment.ms", "1")

    assert [d.name for d in found] == ["segment.ms"]
    assert reasons_not_to_start(found) == ()


def test_a_setting_the_broker_does_not_know_is_no_difference() -> None:
    bare = {name: replace(layout, config={}) for name, layout in FIT.items()}

    assert differences(WANTED, bare) == ()


def test_a_ledger_has_one_partition_and_small_indexes() -> None:
    layout = ledger_layout(TENANT, durability=SINGLE_NODE)

    assert layout == TopicLayout(
        name="paybond.ledger.tenant-one",
        partitions=1,
        replication=1,
        config={
            "cleanup.policy": "compact",
            "segment.index.bytes": "65536",
            "segment.bytes": "16777216",
            "min.insync.replicas": "1",
            "unclean.leader.election.enable": "false",
        },
    )
