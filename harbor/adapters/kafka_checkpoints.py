"""The second producer: idempotent, not transactional, for what is published after the commit."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from harbor.adapters.client_thread import ClientThread
from harbor.adapters.kafka_errors import error_of, outage_of
from harbor.engine.ports import OutputRecord
from schemas.errors import BrokerUnavailableError

# As long as a leader's election takes, with room; the process stops afterwards and its successor signs again.
_ACKNOWLEDGED_SECONDS_MAX = 30.0


class KafkaCheckpoints:
    """`settings` are those of `streams.runtime.kafka_clients.producer_settings`; `on_published` gets each count."""

    def __init__(
        self, settings: Mapping[str, Any], *, on_published: Callable[[int], None] | None = None
    ) -> None:
        self._on_published = on_published
        self._thread = ClientThread("checkpoints")
        self._producer = Producer(dict(settings))

    async def publish(self, records: Sequence[OutputRecord]) -> None:
        await self._thread.call(self._publish, records)
        if self._on_published is not None:
            self._on_published(len(records))

    async def close(self) -> None:
        self._thread.close()

    def _publish(self, records: Sequence[OutputRecord]) -> None:
        failures: list[KafkaError] = []

        def on_delivery(error: KafkaError | None, _message: Message) -> None:
            if error is not None:
                failures.append(error)

        try:
            for record in records:
                self._producer.produce(
                    record.topic,
                    value=record.value,
                    key=record.key,
                    headers=list(record.headers.items()),
                    partition=record.partition,
                    on_delivery=on_delivery,
                )
            left = self._producer.flush(_ACKNOWLEDGED_SECONDS_MAX)
        except BufferError as error:
            raise BrokerUnavailableError("the producer's queue is full") from error
        except KafkaException as exception:
            raise outage_of(error_of(exception)) from exception
        for failure in failures:
            raise outage_of(failure)
        if left > 0:
            raise BrokerUnavailableError(
                f"{left} records were not acknowledged in {_ACKNOWLEDGED_SECONDS_MAX:g} s"
            )
