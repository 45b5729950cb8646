"""Commands onto `paybond.commands`, sealed and acknowledged: for rails, tick and command line."""

from collections.abc import Mapping
from typing import Any

from schemas.messages.command_sealing import command_headers, seal
from schemas.messages.commands import Command
from schemas.partitioner import partition_of
from schemas.topics import COMMANDS
from streams.runtime.acknowledged_producer import AcknowledgedProducer


class KafkaCommandSender:
    """`harbor.rails.ports.CommandSender`."""

    def __init__(self, config: Mapping[str, Any], *, issuer_key: bytes, partitions: int) -> None:
        self._issuer_key = issuer_key
        self._partitions = partitions
        self._producer = AcknowledgedProducer(config, name="command-sender")

    async def send(self, command: Command) -> None:
        """Returns when all replicas have it. Raises BrokerUnavailableError."""
        await self.produce(
            COMMANDS,
            key=command.tenant_id.encode(),
            value=seal(command, self._issuer_key),
            headers=command_headers(command),
            partition=partition_of(command.tenant_id, self._partitions),
        )

    async def produce(
        self, topic: str, *, key: bytes, value: bytes, headers: Mapping[str, bytes], partition: int
    ) -> None:
        """Any record, acknowledged. Raises BrokerUnavailableError."""
        await self._producer.produce(
            topic, key=key, value=value, headers=headers, partition=partition
        )

    def close(self) -> None:
        self._producer.close()
