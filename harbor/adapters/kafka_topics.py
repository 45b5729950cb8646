"""Making a cluster match `schemas.topics`: what is missing, what differs, and refusing to run where it matters.

No partition is ever added and no topic is ever deleted here.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient
from confluent_kafka.admin._config import AlterConfigOpType, ConfigEntry, ConfigResource
from confluent_kafka.admin._resource import ResourceType
from confluent_kafka.cimpl import NewTopic

from schemas.errors import BrokerUnavailableError, ConfigurationError
from schemas.ids import TenantId
from schemas.topics import (
    LEDGER,
    LEDGER_PREFIX,
    PARTITIONS_DEFAULT,
    TOPICS,
    PartitionedBy,
    TopicSpec,
    ledger_topic,
    spec_of,
)

_CALL_SECONDS = 15.0
REPLICATION = 3
MIN_IN_SYNC_REPLICAS = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """One thing in which the cluster is not as the table says. `is_fatal` = programs must not run like this."""

    topic: str
    what: str
    is_fatal: bool


class KafkaTopics:
    """Admin calls; blocking, for command lines and the moment before a program starts."""

    def __init__(
        self,
        config: Mapping[str, Any],
        *,
        partitions: int = PARTITIONS_DEFAULT,
        is_single_node: bool = False,
    ) -> None:
        self._admin = AdminClient(dict(config))
        self._partitions = partitions
        self._is_single_node = is_single_node

    def differences(self) -> list[Difference]:
        """Every topic of the table and every ledger topic there is. Raises BrokerUnavailableError."""
        present = self._present()
        found = [
            Difference(topic=spec.name, what="does not exist", is_fatal=True)
            for spec in TOPICS
            if spec.name not in present
        ]
        for name, partitions in present.items():
            spec = spec_of(name)
            if spec is not None:
                found += self._partition_differences(name, spec, partitions)
        found += self._config_differences([name for name in present if spec_of(name)])
        return found

    def check(self) -> None:
        """Raises ConfigurationError naming what a program must not run on."""
        fatal = [f"{one.topic} {one.what}" for one in self.differences() if one.is_fatal]
        if fatal:
            raise ConfigurationError("; ".join(fatal) + " (paybond-harbor topics apply)")

    def create_missing(self) -> list[str]:
        """Names of the topics made now."""
        present = self._present()
        missing = [spec for spec in TOPICS if spec.name not in present]
        self._create([self._new_topic(spec.name, spec) for spec in missing])
        return [spec.name for spec in missing]

    def create_ledger(self, tenant_id: TenantId) -> bool:
        """The tenant's ledger topic; False if it is there already."""
        name = ledger_topic(tenant_id)
        if name in self._present():
            return False
        self._create([self._new_topic(name, LEDGER)])
        return True

    def set_configs(self) -> list[str]:
        """Settings that differ are set as the table says; returns `topic setting`."""
        changed: dict[str, dict[str, str]] = {}
        for one in self._raw_config_differences(
            [name for name in self._present() if spec_of(name)]
        ):
            topic, setting, wanted = one
            changed.setdefault(topic, {})[setting] = wanted
        resources = [
            ConfigResource(
                ResourceType.TOPIC,
                topic,
                incremental_configs=[
                    ConfigEntry(setting, wanted, incremental_operation=AlterConfigOpType.SET)
                    for setting, wanted in settings.items()
                ],
            )
            for topic, settings in changed.items()
        ]
        if resources:
            self._results(self._admin.incremental_alter_configs(resources))
        return [f"{topic} {setting}" for topic, all_ in changed.items() for setting in all_]

    def _present(self) -> dict[str, int]:
        try:
            metadata = self._admin.list_topics(timeout=_CALL_SECONDS)
        except KafkaException as error:
            raise BrokerUnavailableError(str(error)) from error
        return {name: len(topic.partitions) for name, topic in metadata.topics.items()}

    def _partition_differences(
        self, name: str, spec: TopicSpec, partitions: int
    ) -> list[Difference]:
        wanted = 1 if spec.partitioned_by is PartitionedBy.SINGLE else self._partitions
        if partitions == wanted:
            return []
        what = f"has {partitions} partitions, not {wanted}"
        return [Difference(topic=name, what=what, is_fatal=True)]

    def _config_differences(self, names: list[str]) -> list[Difference]:
        return [
            Difference(
                topic=topic,
                what=f"has another {setting} than {wanted}",
                is_fatal=setting in {"cleanup.policy", "message.timestamp.type"}
                or setting == "min.insync.replicas",
            )
            for topic, setting, wanted in self._raw_config_differences(names)
        ]

    def _raw_config_differences(self, names: list[str]) -> list[tuple[str, str, str]]:
        if not names:
            return []
        resources = [ConfigResource(ResourceType.TOPIC, name) for name in names]
        answers = self._results(self._admin.describe_configs(resources))
        found: list[tuple[str, str, str]] = []
        for resource, entries in answers.items():
            spec = spec_of(resource.name)
            assert spec is not None
            for setting, wanted in self._wanted(spec).items():
                entry = entries.get(setting)
                # A broker that does not tell a setting can't be compared on it.
                if entry is not None and not _is_same(entry.value, wanted):
                    found.append((resource.name, setting, wanted))
        return found

    def _wanted(self, spec: TopicSpec) -> dict[str, str]:
        if self._is_single_node:
            return dict(spec.config)
        return {
            **spec.config,
            "min.insync.replicas": str(MIN_IN_SYNC_REPLICAS),
            "unclean.leader.election.enable": "false",
        }

    def _new_topic(self, name: str, spec: TopicSpec) -> NewTopic:
        is_single = spec.partitioned_by is PartitionedBy.SINGLE
        return NewTopic(
            name,
            num_partitions=1 if is_single else self._partitions,
            replication_factor=1 if self._is_single_node else REPLICATION,
            config=self._wanted(spec),
        )

    def _create(self, topics: list[NewTopic]) -> None:
        if not topics:
            return
        for name, made in self._admin.create_topics(
            topics, operation_timeout=_CALL_SECONDS
        ).items():
            try:
                made.result(_CALL_SECONDS)
            except KafkaException as error:
                # Somebody else made it at the same moment: that is what was wanted.
                if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
                    raise BrokerUnavailableError(f"{name}: {error}") from error

    def _results(self, futures: Mapping[Any, Any]) -> dict[Any, Any]:
        try:
            return {key: made.result(_CALL_SECONDS) for key, made in futures.items()}
        except KafkaException as error:
            raise BrokerUnavailableError(str(error)) from error


def _is_same(found: str | None, wanted: str) -> bool:
    """`compact,delete` is `delete,compact`."""
    return found is not None and sorted(found.split(",")) == sorted(wanted.split(","))


def acl_lines() -> list[str]:
    """`kafka-acls` arguments, one line a grant: each program what the table says, ledger topics by prefix."""
    lines: list[str] = []
    for spec in (*TOPICS, LEDGER):
        pattern = "prefixed" if spec.name == LEDGER_PREFIX else "literal"
        for operation, programs in (("Write", spec.writers), ("Read", spec.readers)):
            lines += [
                f"--add --allow-principal User:paybond-{program.value} --operation {operation}"
                f" --operation Describe --topic {spec.name} --resource-pattern-type {pattern}"
                for program in sorted(programs)
            ]
    return lines
