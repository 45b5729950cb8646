"""One record out, awaited until all replicas have it; librdkafka's callbacks come on a thread of its own.

Results cross to the event loop by `call_soon_threadsafe` only.
"""

import asyncio
import threading
from collections.abc import Mapping
from typing import Any

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from schemas.errors import BrokerUnavailableError

_POLL_SECONDS = 0.1
_FLUSH_SECONDS = 10.0


class AcknowledgedProducer:
    """`config` asks for idempotence, so that librdkafka's own retries never double a record."""

    def __init__(self, config: Mapping[str, Any], *, name: str) -> None:
        self._producer = Producer(dict(config))
        self._is_closing = threading.Event()
        self._thread = threading.Thread(target=self._poll, name=name, daemon=True)
        self._thread.start()

    async def produce(
        self, topic: str, *, key: bytes, value: bytes, headers: Mapping[str, bytes], partition: int
    ) -> None:
        """Returns when acknowledged. Raises BrokerUnavailableError: the record may or may not be there."""
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
