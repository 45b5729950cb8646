"""Checkpoints: signed over committed tips only, after the commit, one per tenant and size.

Tips that arrive while a publication is under way wait for the next one, the newest per tenant: no timer is needed to
coalesce, and none is late by more than one publication.
"""

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass

from harbor.engine.ports import Checkpoints, OutputRecord
from schemas.ids import TenantId
from schemas.ledger.checkpoint import Checkpoint, origin_of, sign_checkpoint
from schemas.messages.avro_codec import encode
from schemas.messages.tips import SignedCheckpoint, Tip
from schemas.partitioner import partition_of
from schemas.topics import CHECKPOINTS, checkpoint_key


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerKey:
    """What signs checkpoints. `deployment` is part of every origin; `seed` is never shown."""

    deployment: str
    seed: bytes

    def __repr__(self) -> str:
        return f"LedgerKey(deployment={self.deployment!r})"


def checkpoint_record(tip: Tip, key: LedgerKey, *, partitions: int) -> OutputRecord:
    """The signed tip; the same tip gives the same bytes, whoever signs it with this key."""
    tenant_id = TenantId(tip.tenant_id)
    checkpoint = Checkpoint(
        origin=origin_of(key.deployment, tenant_id), size=tip.size, root=tip.root
    )
    note = sign_checkpoint(checkpoint, seed=key.seed)
    return OutputRecord(
        topic=CHECKPOINTS,
        partition=partition_of(tenant_id, partitions),
        key=checkpoint_key(tenant_id, tip.size),
        value=encode(SignedCheckpoint(tenant_id=tenant_id, size=tip.size, note=note)),
    )


class CheckpointSigner:
    """`run` beside the loop, as one task; or `publish_pending` by hand, where every step is somebody's choice."""

    def __init__(self, checkpoints: Checkpoints, *, key: LedgerKey, partitions: int) -> None:
        self._checkpoints = checkpoints
        self._key = key
        self._partitions = partitions
        self._pending: dict[str, Tip] = {}
        self._has_pending = asyncio.Event()

    def add(self, committed_tips: Iterable[Tip]) -> None:
        """Tips of transactions that did commit. A tip of size 0 says nothing and is not signed."""
        for tip in committed_tips:
            waiting = self._pending.get(tip.tenant_id)
            if tip.size > 0 and (waiting is None or waiting.size < tip.size):
                self._pending[tip.tenant_id] = tip
        if self._pending:
            self._has_pending.set()

    async def publish_pending(self) -> int:
        """Sign and publish what waits; how many. Raises BrokerUnavailableError, and then nothing is lost."""
        self._has_pending.clear()
        taken = dict(self._pending)
        if not taken:
            return 0
        records = [
            checkpoint_record(tip, self._key, partitions=self._partitions) for tip in taken.values()
        ]
        await self._checkpoints.publish(records)
        for tenant_id, tip in taken.items():
            if self._pending.get(tenant_id) is tip:
                del self._pending[tenant_id]
        return len(records)

    async def run(self) -> None:
        """Until cancelled. Raises BrokerUnavailableError: the process stops, its successor signs again."""
        while True:
            await self._has_pending.wait()
            await self.publish_pending()
