"""What Harbor wrote for its commands, record by record: the bare loops beside it write as many of the same size."""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass

from confluent_kafka import Consumer, TopicPartition

from schemas.topics import (
    CHECKPOINTS,
    COMMANDS,
    LEDGER_PREFIX,
    POSITIONS,
    TIPS,
)

_OURS = "paybond."
# Not of the transaction: signed after it, by a producer of their own.
_OUTSIDE = frozenset({COMMANDS, CHECKPOINTS})
# One for each tenant or partition that a transaction touches, however many commands it has.
_PER_TRANSACTION = frozenset({TIPS, POSITIONS})
_IDLE_POLLS_MAX = 50
LEDGER = "ledger"


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """Records of one topic (all ledgers are one kind): how many for a command, and their mean sizes in bytes.

    `per_command` None: one for each tenant (tips) or partition (positions) of a transaction.
    """

    name: str
    per_command: float | None
    key_bytes: int
    value_bytes: int

    def document(self) -> dict[str, object]:
        return asdict(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """`positions`: one for each input partition of each transaction."""

    kinds: Sequence[Kind]
    records: int
    positions: int

    @property
    def names(self) -> list[str]:
        return [kind.name for kind in self.kinds]


Ends = Mapping[tuple[str, int], int]


def ends_of(bootstrap: str) -> Ends:
    """Where every partition of what Harbor writes ends now."""
    with _consumer(bootstrap) as consumer:
        topics = consumer.list_topics(timeout=30).topics
        return {
            (name, number): consumer.get_watermark_offsets(
                TopicPartition(name, number), timeout=30
            )[1]
            for name, topic in topics.items()
            if name.startswith(_OURS) and name not in _OUTSIDE
            for number in topic.partitions
        }


def written_between(bootstrap: str, before: Ends, after: Ends, *, commands: int) -> Written:
    """Counts records that were read, so transaction markers are none."""
    sizes: dict[str, list[tuple[int, int]]] = defaultdict(list)
    for topic, key_bytes, value_bytes in _records(bootstrap, before, after):
        sizes[_kind(topic)].append((key_bytes, value_bytes))
    kinds = [
        Kind(
            name=name,
            per_command=None if name in _PER_TRANSACTION else len(found) / commands,
            key_bytes=round(sum(key for key, _ in found) / len(found)),
            value_bytes=round(sum(value for _, value in found) / len(found)),
        )
        for name, found in sorted(sizes.items())
    ]
    return Written(
        kinds=kinds,
        records=sum(map(len, sizes.values())),
        positions=len(sizes[POSITIONS]),
    )


def _records(bootstrap: str, before: Ends, after: Ends) -> Iterator[tuple[str, int, int]]:
    left = {place: end for place, end in after.items() if end > before.get(place, 0)}
    with _consumer(bootstrap) as consumer:
        consumer.assign([TopicPartition(*place, before.get(place, 0)) for place in left])
        idle = 0
        # A partition ends in a marker, which nobody is handed: done is when nothing more comes.
        while idle < _IDLE_POLLS_MAX:
            first = consumer.poll(0.02)
            if first is None:
                idle += 1
                continue
            idle = 0
            for message in (first, *consumer.consume(5_000, 0)):
                assert message.error() is None, message.error()
                place = (message.topic() or "", message.partition() or 0)
                if (message.offset() or 0) < left[place]:
                    yield place[0], len(message.key() or b""), len(message.value() or b"")


def _kind(topic: str) -> str:
    return LEDGER if topic.startswith(LEDGER_PREFIX) else topic


@contextmanager
def _consumer(bootstrap: str) -> Iterator[Consumer]:
    consumer = Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": "bench-written",
            "enable.auto.commit": False,
            "isolation.level": "read_committed",
        }
    )
    try:
        yield consumer
    finally:
        consumer.close()
