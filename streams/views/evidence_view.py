"""`paybond.evidence` into the bodies that operators read; a tombstone deletes the row, the ledger's entry stays."""

from collections.abc import Collection, Mapping, Sequence

from schemas.errors import CodecError
from schemas.messages.avro_codec import decode
from schemas.messages.bodies import EvidenceBody, IntentBody
from schemas.tables.rows import BodyKey, body_key_of, body_row, record_key_of_body
from schemas.topics import EVIDENCE, GROUP_VIEWS
from streams.runtime.batch_loop import Clock, Slice, Stored
from streams.runtime.checkpoints import Advance
from streams.runtime.dead_letters import DeadLetters
from streams.runtime.metrics import Metrics
from streams.runtime.records import Record, TopicPartition
from streams.views.record_writer import RecordWriter
from streams.views.tables import BodyChange, EvidenceTables


class EvidenceView:
    """A Projection."""

    def __init__(
        self, *, tables: EvidenceTables, dead_letters: DeadLetters, clock: Clock, metrics: Metrics
    ) -> None:
        self._tables = tables
        self._writer = RecordWriter(
            group=GROUP_VIEWS,
            read=body_change,
            write=self._write,
            dead_letters=dead_letters,
            clock=clock,
            metrics=metrics,
        )

    @property
    def name(self) -> str:
        return "evidence"

    def serves(self, topic: str) -> bool:
        return topic == EVIDENCE

    async def store(self, slices: Sequence[Slice]) -> Stored:
        return await self._writer.store(slices)

    def forget(self, partitions: Sequence[TopicPartition]) -> None:
        """Nothing is kept in memory."""

    async def idle(self, owned: Collection[TopicPartition]) -> None:
        """Nothing waits."""

    async def _write(
        self, advances: Sequence[Advance], changes: Sequence[BodyChange]
    ) -> Mapping[TopicPartition, int]:
        newest: dict[BodyKey, BodyChange] = {change.key: change for change in changes}
        ordered = sorted(newest.values(), key=lambda change: change.key)
        return await self._tables.store_bodies(advances, ordered)


def body_change(record: Record, is_known: bool) -> BodyChange:  # noqa: FBT001 – RecordWriter's call
    """What a record does to a body. Raises CodecError, UnknownSchemaError."""
    key = body_key_of(record.key) if record.key is not None else None
    if key is None:
        raise CodecError(f"the key {record.key!r} names no body")
    row = None
    if record.value is not None:
        body = decode(record.value)
        if not isinstance(body, IntentBody | EvidenceBody):
            raise CodecError(f"{type(body).__name__} is no body")
        row = body_row(body)
        if record_key_of_body(row) != record.key:
            raise CodecError(f"the key {record.key!r} is not that of its body")
    return BodyChange(key=key, row=row, offset=record.offset, at=record.at, is_known=is_known)
