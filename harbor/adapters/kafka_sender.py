"""Commands onto `paybond.commands`, sealed and acknowledged: for rails, tick and command line."""

import asyncio
import threading
from collections.abc import Mapping
from typing import Any

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from schemas.errors import BrokerUnavailableError
from schemas.messages.command_sealing import command_headers, seal
from schemas.messages.commands import Command
from schemas.partitioner import partition_of
from schemas.topics import COMMANDS

_POLL_SECONDS = 0.1
_FLUSH_SECONDS = 10.0


class KafkaCommandSender:
    """`harbor.rails.ports.CommandSender`; librdkafka's callbacks come on a thread of its own."""

    def __init__(self, config: Mapping[str, Any], *, issuer_key: bytes, partitions: int) -> None:
        self._issuer_key = issuer_key
        self._partitions = partitions
        self._producer = Producer(dict(config))
        self._is_closing = threading.Event()
        self._thread = threading.Thread(target=self._poll, name="command-sender", daemon=True)
        self._thread.start()

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
        loop = asyncio.get_running_loop()
        acknowledged: asyncio.Future[None] = loop.create_future()

        def on_delivery(error: KafkaError | None, _message: Message) -> None:
            loop.call_soon_threadsafe(_resolve, acknowledged, error)

        try:
            self._producer.produce(
                topic,
                key=key,
                value=value,
                headers=list(headers.items()),
                partition=partition,
                on_delivery=on_delivery,
            )
        except (BufferError, KafkaException) as error:
            raise BrokerUnavailableError(str(error)) from error
        await acknowledged

    def _poll(self) -> None:
        while not self._is_closing.is_set():
            self._producer.poll(_POLL_SECONDS)

    def close(self) -> None:
        self._is_closing.set()
        self._thread.join()
        self._producer.flush(_FLUSH_SECONDS)


def _resolve(acknowledged: "asyncio.Future[None]", error: KafkaError | None) -> None:
    if acknowledged.done():
        return
    if error is None:
        acknowledged.set_result(None)
    else:
        acknowledged.set_exception(BrokerUnavailableError(str(error)))
