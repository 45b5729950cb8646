"""`paybond.checkpoints` into the published sizes: signature first, then the root against the entries themselves.

1. a note that no configured key signed is a dead letter; 2. a signed one waits in a table until the tenant's entries
reach its size; 3. its root is compared with the entries' root, from the frontier or from tiles; 4. equal: published;
else the tenant's ledger is quarantined and the note goes on waiting for an operator.
"""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timedelta

import structlog

from schemas.errors import CheckpointMismatchError, CodecError, StateMismatchError
from schemas.ids import TenantId
from schemas.ledger.tiles import FetchedTiles, root_from_tiles, tiles_for_root
from schemas.messages.avro_codec import decode_as
from schemas.messages.tips import SignedCheckpoint
from schemas.topics import CHECKPOINTS, checkpoint_key, ledger_topic
from streams.runtime.batch_loop import Clock
from streams.runtime.checkpoints import Advance
from streams.runtime.dead_letters import DeadLetters
from streams.runtime.metrics import Metrics
from streams.runtime.quarantine import Break, QuarantineReason, QuarantineStore
from streams.runtime.records import Record, TopicPartition
from streams.views import ledger_view
from streams.views.chain_check import TrustedKeys, check_root, trusted_checkpoint
from streams.views.tables import CheckpointTables, ReadyRoot, SignedRoot
from streams.views.topic_view import TopicView

_log = structlog.get_logger()

# A checkpoint is published within 50 ms of its commit; looking oftener than this gains nothing.
LOOK_INTERVAL = timedelta(milliseconds=50)
READY_ROWS_MAX = 500


class CheckpointsView(TopicView[CheckpointTables, SignedRoot]):
    """The RecordWriter does steps 1 and 2."""

    name = "checkpoints"
    topic = CHECKPOINTS

    def __init__(
        self,
        *,
        tables: CheckpointTables,
        quarantine: QuarantineStore,
        dead_letters: DeadLetters,
        keys: TrustedKeys,
        clock: Clock,
        metrics: Metrics,
    ) -> None:
        super().__init__(tables=tables, dead_letters=dead_letters, clock=clock, metrics=metrics)
        self._quarantine = quarantine
        self._keys = keys
        self._look_due: datetime | None = None

    async def idle(self, owned: Collection[TopicPartition]) -> None:
        """Steps 3 and 4."""
        now = self._clock.now()
        if not owned or (self._look_due is not None and now < self._look_due):
            return
        self._look_due = now + LOOK_INTERVAL
        good = []
        for ready in await self._tables.ready(owned, rows_max=READY_ROWS_MAX):
            signed = ready.signed
            try:
                check_root(
                    tenant_id=signed.tenant_id,
                    size=signed.size,
                    signed=signed.root,
                    computed=await self._root(ready),
                )
            except (CheckpointMismatchError, StateMismatchError) as error:
                await self._stop_tenant(signed, error, now=now)
            else:
                good.append(signed)
        if good:
            await self._tables.publish(good)

    async def _root(self, ready: ReadyRoot) -> bytes:
        if ready.tree is not None:
            return ready.tree.root()
        tenant_id, size = ready.signed.tenant_id, ready.signed.size
        plan = tiles_for_root(size)
        stored = await self._tables.hashes(tenant_id, plan)
        return root_from_tiles(
            size,
            FetchedTiles(
                subject=tenant_id,
                tiles=stored.tiles,
                leaves=plan.leaves,
                leaf_bytes=stored.leaves,
            ),
        )

    async def _stop_tenant(
        self,
        signed: SignedRoot,
        error: CheckpointMismatchError | StateMismatchError,
        *,
        now: datetime,
    ) -> None:
        _log.error("checkpoint_mismatch", tenant_id=signed.tenant_id, size=signed.size)
        await self._quarantine.put(
            projection=ledger_view.NAME,
            at=TopicPartition(topic=ledger_topic(TenantId(signed.tenant_id)), partition=0),
            found=Break(
                reason=QuarantineReason.CHECKPOINT_MISMATCH,
                detail=str(error),
                tenant_id=signed.tenant_id,
                seq=signed.size,
            ),
            now=now,
        )

    def _read(self, record: Record, is_known: bool) -> SignedRoot | None:  # noqa: FBT001 – RecordWriter's call
        return signed_root(record, is_known=is_known, keys=self._keys)

    async def _write(
        self, advances: Sequence[Advance], changes: Sequence[SignedRoot]
    ) -> Mapping[TopicPartition, int]:
        newest = {(change.tenant_id, change.size): change for change in changes}
        return await self._tables.store_waiting(advances, [newest[key] for key in sorted(newest)])


def signed_root(record: Record, *, is_known: bool, keys: TrustedKeys) -> SignedRoot | None:
    """None for a tombstone: compaction's, nobody takes a statement back.

    Raises CodecError, UnknownSchemaError, CheckpointMismatchError.
    """
    if record.value is None:
        return None
    message = decode_as(SignedCheckpoint, record.value)
    tenant_id = TenantId(message.tenant_id)
    if record.key != checkpoint_key(tenant_id, message.size):
        raise CodecError(f"the key {record.key!r} is not that of its checkpoint")
    opened = trusted_checkpoint(message.note, tenant_id=tenant_id, size=message.size, keys=keys)
    return SignedRoot(
        tenant_id=tenant_id,
        size=opened.size,
        root=opened.root,
        note=message.note,
        at=record.at,
        is_known=is_known,
    )
