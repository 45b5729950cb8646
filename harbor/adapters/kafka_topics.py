"""The cluster's topics, as they are and as they shall be, through Kafka's admin protocol."""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from concurrent import futures
from typing import Any, TypeVar

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient
from confluent_kafka.admin._acl import (
    AclBinding,
    AclOperation,
    AclPermissionType,
)
from confluent_kafka.admin._config import AlterConfigOpType, ConfigEntry, ConfigResource
from confluent_kafka.admin._resource import ResourcePatternType, ResourceType
from confluent_kafka.cimpl import NewTopic

from harbor.adapters.client_thread import ClientThread
from harbor.adapters.kafka_errors import error_of, outage_of
from harbor.engine.access import Grant, Resource, Right
from harbor.engine.cluster_layout import Difference, DifferenceKind, TopicLayout
from schemas.errors import ConfigurationError

Result = TypeVar("Result")

_REQUEST_SECONDS = 15.0
_VISIBLE_TRIES_MAX = 100
_VISIBLE_PAUSE_SECONDS = 0.05


class KafkaTopics:
    """`settings` are those of `streams.runtime.kafka_clients.client_settings`."""

    def __init__(self, settings: Mapping[str, Any]) -> None:
        self._admin = AdminClient(dict(settings))
        self._thread = ClientThread("topics")

    async def layouts(self, names: Iterable[str]) -> Mapping[str, TopicLayout]:
        """Those of the named topics that exist. Raises BrokerUnavailableError, ConfigurationError."""
        metadata = (await self._metadata()).topics
        here = [name for name in names if name in metadata and metadata[name].partitions]
        if not here:
            return {}
        resources = [ConfigResource(ResourceType.TOPIC, name) for name in here]
        asked = self._admin.describe_configs(resources, request_timeout=_REQUEST_SECONDS)
        configs = {resource.name: await _answer(future) for resource, future in asked.items()}
        return {
            name: TopicLayout(
                name=name,
                partitions=len(metadata[name].partitions),
                replication=min(len(p.replicas) for p in metadata[name].partitions.values()),
                config={
                    entry.name: entry.value
                    for entry in configs[name].values()
                    if entry.value is not None
                },
            )
            for name in here
        }

    async def all_names(self) -> frozenset[str]:
        return frozenset((await self._metadata()).topics)

    async def brokers(self) -> int:
        return len((await self._metadata()).brokers)

    async def create(self, layout: TopicLayout) -> bool:
        """Whether it was made now; returns once it is seen. Raises BrokerUnavailableError, ConfigurationError."""
        new = NewTopic(
            layout.name,
            num_partitions=layout.partitions,
            replication_factor=layout.replication,
            config=dict(layout.config),
        )
        asked = self._admin.create_topics([new], request_timeout=_REQUEST_SECONDS)
        try:
            await asyncio.wrap_future(asked[layout.name])
        except KafkaException as exception:
            error = error_of(exception)
            if error.code() == KafkaError.TOPIC_ALREADY_EXISTS:
                return False
            if error.code() in {
                KafkaError.INVALID_REPLICATION_FACTOR,
                KafkaError.INVALID_CONFIG,
                KafkaError.POLICY_VIOLATION,
                KafkaError.TOPIC_EXCEPTION,
            }:
                raise ConfigurationError(f"{layout.name} can't be made: {error}") from exception
            raise outage_of(error) from exception
        await self._until_seen(layout)
        return True

    async def set_config(self, differences: Sequence[Difference]) -> None:
        """Topic settings as wanted. Raises BrokerUnavailableError, ConfigurationError."""
        by_topic: dict[str, list[ConfigEntry]] = {}
        for difference in differences:
            assert difference.kind is DifferenceKind.CONFIG
            by_topic.setdefault(difference.topic, []).append(
                _entry(difference.name, difference.wanted)
            )
        await self._alter(
            [
                ConfigResource(ResourceType.TOPIC, topic, incremental_configs=entries)
                for topic, entries in by_topic.items()
            ]
        )

    async def set_group_session(self, groups: Iterable[str], *, milliseconds: int) -> None:
        """KIP-848: the session is the group's own setting, no client's."""
        entry = _entry("consumer.session.timeout.ms", str(milliseconds))
        await self._alter(
            [
                ConfigResource(ResourceType.GROUP, group, incremental_configs=[entry])
                for group in groups
            ]
        )

    async def grant(self, bindings: Sequence[AclBinding]) -> None:
        """Raises BrokerUnavailableError, ConfigurationError."""
        asked = self._admin.create_acls(list(bindings), request_timeout=_REQUEST_SECONDS)
        for future in asked.values():
            await _answer(future)

    async def close(self) -> None:
        self._thread.close()

    async def _alter(self, resources: list[ConfigResource]) -> None:
        if not resources:
            return
        asked = self._admin.incremental_alter_configs(resources, request_timeout=_REQUEST_SECONDS)
        for future in asked.values():
            await _answer(future)

    async def _metadata(self) -> Any:
        try:
            return await self._thread.call(self._admin.list_topics, timeout=_REQUEST_SECONDS)
        except KafkaException as exception:
            raise outage_of(error_of(exception)) from exception

    async def _until_seen(self, layout: TopicLayout) -> None:
        """Kafka answers when the controller has the topic; a broker may learn of it a moment later."""
        for _ in range(_VISIBLE_TRIES_MAX):
            found = (await self._metadata()).topics.get(layout.name)
            if found is not None and len(found.partitions) == layout.partitions:
                return
            await asyncio.sleep(_VISIBLE_PAUSE_SECONDS)


_RESOURCES = {
    Resource.TOPIC: ResourceType.TOPIC,
    Resource.GROUP: ResourceType.GROUP,
    Resource.TRANSACTIONAL_ID: ResourceType.TRANSACTIONAL_ID,
}
_OPERATIONS = {
    Right.READ: AclOperation.READ,
    Right.WRITE: AclOperation.WRITE,
    Right.CREATE: AclOperation.CREATE,
    Right.DESCRIBE: AclOperation.DESCRIBE,
    Right.DESCRIBE_CONFIGS: AclOperation.DESCRIBE_CONFIGS,
}


def binding_of(grant: Grant) -> AclBinding:
    """From any host: addresses are the network's to restrict."""
    return AclBinding(
        _RESOURCES[grant.resource],
        grant.name,
        ResourcePatternType.PREFIXED if grant.is_prefix else ResourcePatternType.LITERAL,
        grant.principal,
        "*",
        _OPERATIONS[grant.right],
        AclPermissionType.ALLOW,
    )


def _entry(name: str, value: str) -> ConfigEntry:
    return ConfigEntry(name, value, incremental_operation=AlterConfigOpType.SET)


async def _answer(future: futures.Future[Result]) -> Result:
    try:
        return await asyncio.wrap_future(future)
    except KafkaException as exception:
        error = error_of(exception)
        if error.code() in {KafkaError.INVALID_CONFIG, KafkaError.INVALID_REQUEST}:
            raise ConfigurationError(f"Kafka refuses: {error}") from exception
        raise outage_of(error) from exception
