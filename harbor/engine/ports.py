"""What Harbor's loop asks of the world. A port call is the loop's only suspension point.

Each port has two adapters with one contract suite: the real one and `harbor.adapters.memory`, which keeps Kafka's
semantics (transactions, last stable offset, fencing by generation and transactional id, compaction, rebalances).
"""

from collections.abc import AsyncGenerator, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import NewType, Protocol

from schemas.ids import TenantId
from schemas.messages.tips import Tip

# Opaque: the member and generation under which a batch was consumed.
GroupMetadata = NewType("GroupMetadata", object)


@dataclass(frozen=True, slots=True, kw_only=True)
class InputRecord:
    """A record of `paybond.commands`; `timestamp` is the log's append time."""

    partition: int
    offset: int
    timestamp: datetime
    key: bytes | None
    value: bytes | None
    headers: Mapping[str, bytes]


@dataclass(frozen=True, slots=True, kw_only=True)
class Consumed:
    """What one call of `consume` brought: ownership changes first, then records of owned, resumed partitions."""

    group: GroupMetadata
    records: tuple[InputRecord, ...] = ()
    assigned: tuple[int, ...] = ()
    revoked: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class OutputRecord:
    """`value` None is a tombstone."""

    topic: str
    partition: int
    key: bytes
    value: bytes | None
    headers: Mapping[str, bytes] = field(default_factory=dict)


class AbortableError(Exception):
    """The transaction can't be committed but the producer lives: an ordinary rebalance (stale generation)."""


class RetriableError(Exception):
    """The same call may succeed when repeated."""


class FencedError(Exception):
    """Another process uses this transactional id, or the producer is beyond use: stop."""


class CommandConsumer(Protocol):
    """Member of group `paybond-harbor` on `paybond.commands`."""

    async def consume(self, *, records_max: int) -> Consumed:
        """Take the group metadata, then a batch. Newly assigned partitions are paused until `start`.

        Returns without records after the fetch wait. Raises BrokerUnavailableError, ConfigurationError.
        """

    async def start(self, offsets: Mapping[int, int]) -> None:
        """Position partitions that were restored, and resume them. One no longer owned is ignored."""

    async def seek(self, offsets: Mapping[int, int]) -> None:
        """Step back to these offsets on those partitions that are still owned, after an abort."""

    async def close(self) -> None:
        """Leave the group."""


class Transactions(Protocol):
    """The one transactional producer of this process slot."""

    async def initialize(self) -> None:
        """Fence the predecessor and settle its transaction (`init_transactions`). Raises FencedError."""

    async def begin(self) -> None: ...

    async def produce(self, records: Sequence[OutputRecord]) -> None:
        """Hand records to the open transaction. Raises AbortableError, FencedError."""

    async def flush(self) -> None:
        """Wait until each record was acknowledged. Raises AbortableError, FencedError."""

    async def send_offsets(self, offsets: Mapping[int, int], group: GroupMetadata) -> None:
        """Put next offsets of `paybond.commands` into the transaction. Raises AbortableError, FencedError."""

    async def commit(self) -> None:
        """Raises RetriableError (call again), AbortableError, FencedError."""

    async def abort(self) -> None:
        """Drop the open transaction. Raises FencedError; BrokerUnavailableError: the successor settles it."""

    async def close(self) -> None: ...


class Checkpoints(Protocol):
    """The second producer: idempotent, not transactional."""

    async def publish(self, records: Sequence[OutputRecord]) -> None:
        """Returns when acknowledged. Publishing the same checkpoint again is harmless: same bytes.

        Raises BrokerUnavailableError.
        """


@dataclass(frozen=True, slots=True, kw_only=True)
class LogRecord:
    """A committed record of a changelog or ledger topic. `value` None is a tombstone."""

    offset: int
    key: bytes | None
    value: bytes | None
    timestamp: datetime


class LogReader(Protocol):
    """Committed reads beside the group, for assignment, restore and `fsck`. Each raises BrokerUnavailableError."""

    async def committed_offset(self, partition: int) -> int | None:
        """The group's input offset as *stable*: waits for a transaction that holds offsets. None = none."""

    async def beginning_offset(self, topic: str, partition: int) -> int: ...

    async def end_offset(self, topic: str, partition: int) -> int:
        """The high watermark, open transactions included."""

    async def stable_offset(self, topic: str, partition: int) -> int:
        """The last stable offset: below it nothing is undecided."""

    def read(
        self, topic: str, partition: int, *, start: int, end: int
    ) -> AsyncGenerator[LogRecord, None]:
        """Committed records with start ≤ offset < end, in order; ends there also when markers fill the rest."""

    async def last_record(self, topic: str, partition: int) -> LogRecord | None:
        """The last committed record, found backwards from the last stable offset."""

    async def last_records(self, topic: str, partition: int, *, most: int) -> tuple[LogRecord, ...]:
        """The last committed records in their order, as many as there are up to `most`; found as the last one is."""

    async def offset_at(self, topic: str, partition: int, instant: datetime) -> int:
        """The first offset whose record is not older; the end of the log where all are."""

    async def undecided_by(self, topic: str, partition: int) -> str:
        """In words for an operator, whose transaction keeps the last stable offset from the end."""

    async def ledger_topics(self) -> frozenset[str]: ...

    async def topic_id(self, topic: str) -> str:
        """What tells a topic from a later one of the same name."""


class StateStore(Protocol):
    """Harbor's local state: bytes by (partition, changelog topic, record key). Only committed state is in it.

    Namespaces beside the changelog topics are the caller's (`nonce`, `attempts`, `meta`).
    """

    async def get_many(
        self, partition: int, keys: Iterable[tuple[str, bytes]]
    ) -> dict[tuple[str, bytes], bytes]:
        """Values of those (namespace, key) that exist."""

    def scan(
        self, partition: int, namespace: str, prefix: bytes, *, after: bytes | None = None
    ) -> AsyncGenerator[tuple[bytes, bytes], None]:
        """All (key, value) under a prefix, in key order, of one moment; `after` = only those past this key."""

    async def write(self, writes: Mapping[int, Mapping[tuple[str, bytes], bytes | None]]) -> None:
        """All writes of a batch, atomically over all partitions; None deletes."""

    async def drop(self, partition: int) -> None:
        """Forget a partition."""

    async def close(self) -> None: ...


class SignaturePool(Protocol):
    """Ed25519 verifications ahead of the serial decision, on as many threads as help."""

    async def verify_each(self, tasks: Sequence["SignatureTask"]) -> list[int | None]:
        """Per task the index of the first candidate message that verifies, or None."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SignatureTask:
    """One signature over one of several candidate messages, tried in this order (signing.md §1)."""

    public_key: bytes
    signature: bytes
    candidates: Iterable[bytes]


@dataclass(frozen=True, slots=True, kw_only=True)
class Restored:
    """A partition whose local store equals its committed changelogs: it may be decided from `next_offset` on.

    `quarantined` = tenants whose tip, ledger end and states do not agree, with the reason. `tips` = every tenant's
    committed tip, to be signed again by the new owner.
    """

    partition: int
    next_offset: int
    quarantined: Mapping[TenantId, str] = field(default_factory=dict)
    tips: tuple[Tip, ...] = ()


class Assigner(Protocol):
    """Assignment (docs/protocols.md) of one partition; `harbor.engine.restores` runs it beside the loop."""

    async def restore(self, partition: int) -> Restored:
        """Bring the local store to the committed state.

        Cancelled when the partition is revoked. Raises BrokerUnavailableError, ConfigurationError (the log no longer
        begins where this input stands), StateMismatchError: each stops the process.
        """

    async def recheck(self, partition: int, tenant_id: TenantId) -> str | None:
        """Why a quarantined tenant's tip, ledger and states still disagree, or None: it may be released.

        Raises BrokerUnavailableError.
        """


class Clock(Protocol):
    """Wall time, for `not_after` alone; and the only way to wait."""

    def now(self) -> datetime:
        """UTC. It may step back: nothing but `not_after` is judged by it."""

    async def sleep(self, duration: timedelta) -> None: ...
