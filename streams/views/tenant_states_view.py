"""The tenants' own rows of `paybond.intents`: what reads say of a pause of the rails or a quarantine.

All else on that topic is Harbor's and the rail worker's. A slice without a tenant's row writes nothing, so that the
topic's traffic costs no transactions; its checkpoint lags meanwhile, by `PASSED_OVER_MAX` offsets at most.
"""

from collections.abc import Mapping, Sequence

from schemas.errors import CodecError
from schemas.intent_fold import TenantState
from schemas.messages.avro_codec import decode_as
from schemas.tables.rows import TenantStateRow
from schemas.topics import INTENTS, tenant_key, tenant_of_key
from streams.runtime.batch_loop import Slice, Stored
from streams.runtime.checkpoints import Advance
from streams.runtime.records import Record, TopicPartition
from streams.views.tables import TenantStateChange, TenantStateTables
from streams.views.topic_view import TopicView

# How much is read again after a restart, at most: some hundred milliseconds' worth.
PASSED_OVER_MAX = 10_000


class TenantStatesView(TopicView[TenantStateTables, TenantStateChange]):
    name = "tenant_states"
    topic = INTENTS

    async def store(self, slices: Sequence[Slice]) -> Stored:
        due = [part for part in slices if _is_due(part)]
        return await super().store(due) if due else Stored()

    def _read(self, record: Record, is_known: bool) -> TenantStateChange | None:  # noqa: FBT001 – RecordWriter's call
        return tenant_state_change(record, is_known=is_known)

    async def _write(
        self, advances: Sequence[Advance], changes: Sequence[TenantStateChange]
    ) -> Mapping[TopicPartition, int]:
        newest = {change.row.tenant_id: change for change in changes}
        return await self._tables.store_tenant_states(
            advances, [newest[tenant_id] for tenant_id in sorted(newest)]
        )


def is_tenant_row(key: bytes | None) -> bool:
    return key is not None and key == tenant_key(tenant_of_key(key))


def tenant_state_change(record: Record, *, is_known: bool) -> TenantStateChange | None:
    """None for what is no tenant's row. Raises CodecError, UnknownSchemaError."""
    key = record.key
    if key is None or not is_tenant_row(key):
        return None
    if record.value is None:
        raise CodecError(f"a tombstone under {key!r}: nobody takes a tenant's row away")
    state = decode_as(TenantState, record.value)
    if tenant_of_key(key) != state.tenant_id:
        raise CodecError(f"the key {key!r} is not that of {state.tenant_id}'s row")
    row = TenantStateRow(tenant_id=state.tenant_id, state=record.value)
    return TenantStateChange(row=row, offset=record.offset, at=record.at, is_known=is_known)


def _is_due(part: Slice) -> bool:
    passed_over = part.end - part.position.next_offset
    return passed_over >= PASSED_OVER_MAX or any(is_tenant_row(one.key) for one in part.records)
