"""`paybond.evidence` into the bodies that operators read; a tombstone deletes the row, the ledger's entry stays."""

from collections.abc import Mapping, Sequence

from schemas.errors import CodecError
from schemas.messages.avro_codec import decode
from schemas.messages.bodies import EvidenceBody, IntentBody
from schemas.tables.rows import BodyKey, body_key_of, body_row, record_key_of_body
from schemas.topics import EVIDENCE
from streams.runtime.checkpoints import Advance
from streams.runtime.records import Record, TopicPartition
from streams.views.tables import BodyChange, EvidenceTables
from streams.views.topic_view import TopicView


class EvidenceView(TopicView[EvidenceTables, BodyChange]):
    """A Projection: bodies by their key."""

    name = "evidence"
    topic = EVIDENCE

    def _read(self, record: Record, is_known: bool) -> BodyChange:  # noqa: FBT001 – RecordWriter's call
        return body_change(record, is_known=is_known)

    async def _write(
        self, advances: Sequence[Advance], changes: Sequence[BodyChange]
    ) -> Mapping[TopicPartition, int]:
        newest: dict[BodyKey, BodyChange] = {change.key: change for change in changes}
        ordered = sorted(newest.values(), key=lambda change: change.key)
        return await self._tables.store_bodies(advances, ordered)


def body_change(record: Record, *, is_known: bool) -> BodyChange:
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
