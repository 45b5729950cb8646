"""Harbor's loop: per batch one Kafka transaction, in seven numbered steps (docs/protocols.md).

(1) group metadata, then a batch; (2) intake, look-ups, signatures; (3) decide; (4) produce; (5) flush, then the
batch's own offsets; (6) commit; (7) only then the local store, in one write, and checkpoints. A port call is the only
suspension point. Whatever is not an ordinary abort ends the process: a successor settles it, nothing is repaired.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from contextlib import aclosing, suppress
from dataclasses import dataclass, field

from harbor.engine.batch import BatchRules, decide_batch
from harbor.engine.batch_result import BatchResult
from harbor.engine.checkpoint_signing import CheckpointSigner
from harbor.engine.forgetting import Forgetting
from harbor.engine.intake import Received, Rejected, take_in
from harbor.engine.issuer import IssuerKeys
from harbor.engine.observation import LoopObserver, SilentObserver
from harbor.engine.pace import ABORTS_MAX, Pace
from harbor.engine.ports import (
    AbortableError,
    CommandConsumer,
    Consumed,
    FencedError,
    GroupMetadata,
    InputRecord,
    RetriableError,
    Transactions,
)
from harbor.engine.preparation import Preparation
from harbor.engine.quarantine import Quarantines
from harbor.engine.restores import Restores
from harbor.engine.suspects import Share, Suspects, poison
from schemas.errors import (
    BrokerUnavailableError,
    ConfigurationError,
    OutageError,
    OwnershipLostError,
    StateMismatchError,
)
from schemas.ids import TenantId
from schemas.topics import COMMANDS

# One transaction of 2,000 commands takes about 100 ms; more would only make the waiting longer (measured).
RECORDS_MAX = 2_000
# Each attempt waits inside the adapter; past these the broker is out, and stopping is the safe answer.
COMMIT_ATTEMPTS_MAX = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class LoopParts:
    """Everything the loop stands on. `preparation` holds the ports of step 2, the store among them."""

    consumer: CommandConsumer
    transactions: Transactions
    preparation: Preparation
    signer: CheckpointSigner
    rules: BatchRules
    issuer_keys: IssuerKeys
    observer: LoopObserver = field(default_factory=SilentObserver)
    records_max: int = RECORDS_MAX


class HarborLoop:
    """`run`, or `start`, `turn` as often as one likes, `stop`."""

    def __init__(self, parts: LoopParts) -> None:
        self._parts = parts
        self._restores = Restores(parts.preparation.assigner)
        self._quarantines = Quarantines()
        self._suspects = Suspects(parts.preparation.store)
        self._forgetting = Forgetting(parts.preparation.store)
        self._pace = Pace(parts.records_max)
        # Next input offset per partition that is being decided.
        self._next: dict[int, int] = {}

    @property
    def partitions(self) -> frozenset[int]:
        """Those that are decided now: restored and not revoked."""
        return frozenset(self._next)

    @property
    def quarantined(self) -> Mapping[TenantId, str]:
        """Tenants found in doubt at assignment; those that a command stopped say so in their own row."""
        return self._quarantines.current()

    @property
    def is_restoring(self) -> bool:
        return self._restores.is_busy

    async def run(self, *, is_stopping: Callable[[], bool]) -> None:
        """Until told to stop, or an error ends the process; the group was left in either case.

        Raises OwnershipLostError (fenced), BrokerUnavailableError, ConfigurationError, StateMismatchError, and
        whatever a defect raises.
        """
        signing = asyncio.create_task(self._parts.signer.run(), name="checkpoint signer")
        try:
            await self.start()
            while not is_stopping():
                if signing.done():
                    await signing
                await self.turn()
        except FencedError as error:
            raise OwnershipLostError(
                resource="the transactional id of this slot", reason=str(error)
            ) from error
        finally:
            signing.cancel()
            await asyncio.gather(signing, return_exceptions=True)
            await self.stop()
        await self._parts.signer.publish_pending()

    async def start(self) -> None:
        """Fence the predecessor. Raises FencedError."""
        await self._parts.transactions.initialize()

    async def stop(self) -> None:
        """Leave the group first, so that nobody waits for this session's end."""
        # With the restores given up below, whoever asks would else be told that it is ready.
        self._next.clear()
        await self._parts.consumer.close()
        await self._restores.close()
        await self._parts.transactions.close()

    async def turn(self) -> None:
        """One batch, or one wait for it. Raises as `run`, and FencedError as it is."""
        # (1) The broker checks the generation, not the ownership: the metadata is older than the records.
        consumed = await self._parts.consumer.consume(records_max=self._pace.records_max)
        await self._change_ownership(consumed)
        await self._start_restored()
        await self._check_positions(consumed.records)
        remaining = consumed.records
        for share in self._suspects.shares(consumed.records):
            if not await self._transact(share, consumed.group):
                await self._parts.consumer.seek(_first_offsets(remaining))
                return
            remaining = remaining[len(share.records) :]
        await self._forget(consumed.records)

    async def _change_ownership(self, consumed: Consumed) -> None:
        for partition in consumed.revoked:
            self._next.pop(partition, None)
            self._quarantines.drop(partition)
            self._suspects.drop(partition)
            self._parts.observer.revoked(partition)
        await self._restores.forget(consumed.revoked)
        self._restores.begin(consumed.assigned)

    async def _start_restored(self) -> None:
        for restored in self._restores.completed():
            partition = restored.partition
            await self._suspects.load(partition)
            self._quarantines.take_over(restored)
            self._next[partition] = restored.next_offset
            # Same bytes as its former owner's; of a tenant in doubt nothing is signed.
            self._parts.signer.add(
                tip for tip in restored.tips if tip.tenant_id not in restored.quarantined
            )
            self._parts.observer.started(restored)
            await self._parts.consumer.start({partition: restored.next_offset})

    async def _check_positions(self, records: Sequence[InputRecord]) -> None:
        """Each command once and none left out, whatever the client takes for its position.

        A record below the position was decided before: deciding it again is what must never happen. Nobody writes
        commands in transactions, so their offsets have no holes, and one that is passed over is lost.
        """
        positions = dict(self._next)
        for record in records:
            expected = positions.get(record.partition)
            if expected is None or record.offset < expected:
                raise _mismatch(record, f"{expected} is next")
            if record.offset > expected:
                await self._check_hole(record, expected)
            positions[record.partition] = record.offset + 1

    async def _check_hole(self, record: InputRecord, expected: int) -> None:
        """Raises StateMismatchError unless no command ever lay there, as with markers of a stranger's transactions."""
        reader = self._parts.preparation.reader
        beginning = await reader.beginning_offset(COMMANDS, record.partition)
        if beginning > expected:
            raise _mismatch(record, f"{expected} is next, and the log begins at {beginning}")
        between = reader.read(COMMANDS, record.partition, start=expected, end=record.offset)
        async with aclosing(between):
            async for left_out in between:
                raise _mismatch(record, f"{left_out.offset} is next")

    async def _transact(self, share: Share, group: GroupMetadata) -> bool:
        """One transaction; False if it was aborted, and then nothing has happened."""
        self._parts.observer.began()
        await self._suspects.mark(share.records)
        clock = self._parts.preparation.clock
        try:
            began = clock.now()
            result = await self._decided(share)
            took = clock.now() - began
            await self._written(result, group)
        except AbortableError as error:
            await self._abort(share, reason=str(error))
            return False
        except (FencedError, OutageError, ConfigurationError):
            await self._suspects.acquit(share.records)
            raise
        await self._commit_locally(result)
        self._pace.committed(len(share.records), took=took)
        return True

    async def _decided(self, share: Share) -> BatchResult:
        """(2), (3) and the making of (4)."""
        if share.is_poison:
            return await self._given_up(share.records[0], None)
        if not share.is_alone:
            return await self._decide(self._intake(share.records))
        try:
            return await self._decide(self._intake(share.records))
        except (OutageError, ConfigurationError):
            raise
        # Twice it stopped the process; alone it can't take anybody with it.
        except Exception as error:  # noqa: BLE001
            self._suspects.explain(share.records[0])
            return await self._given_up(share.records[0], error)

    def _intake(self, records: Sequence[InputRecord]) -> tuple[Received | Rejected, ...]:
        parts = self._parts
        return tuple(
            take_in(record, partitions=parts.rules.partitions, issuer_keys=parts.issuer_keys)
            for record in records
        )

    async def _decide(self, intake: tuple[Received | Rejected, ...]) -> BatchResult:
        # (2) Look-ups and signatures; (3) the decision runs to its end without a pause.
        batch = await self._parts.preparation.batch_of(intake, self._quarantines)
        return decide_batch(batch, self._parts.rules)

    async def _given_up(self, record: InputRecord, error: Exception | None) -> BatchResult:
        detail = "the process died deciding it" if error is None else type(error).__name__
        rejected = poison(record, detail, partitions=self._parts.rules.partitions)
        self._parts.observer.poisoned(rejected, error)
        return await self._decide((rejected,))

    async def _written(self, result: BatchResult, group: GroupMetadata) -> None:
        transactions = self._parts.transactions
        # (4) All that the batch says, in one transaction.
        await transactions.begin()
        await transactions.produce(result.output)
        # (5) The batch's own offsets: what the consumer stands at may be further.
        await transactions.flush()
        await transactions.send_offsets(result.next_offsets, group)
        # (6) Again while Kafka only asks for patience; what else it says decides who goes on.
        await self._commit()

    async def _commit(self) -> None:
        for _ in range(COMMIT_ATTEMPTS_MAX):
            try:
                await self._parts.transactions.commit()
            except RetriableError:
                continue
            return
        raise BrokerUnavailableError(f"no answer to a commit in {COMMIT_ATTEMPTS_MAX} attempts")

    async def _commit_locally(self, result: BatchResult) -> None:
        # (7) One write: a store that has half a batch could not be told from a good one.
        marks = self._suspects.settled(result.next_offsets)
        await self._parts.preparation.store.write(
            {partition: {**result.writes[partition], **marks[partition]} for partition in marks}
        )
        self._next.update(result.next_offsets)
        for tenant_id in result.released:
            self._quarantines.release(tenant_id)
        self._parts.signer.add(result.tips)
        self._parts.observer.committed(result)

    async def _forget(self, decided: Sequence[InputRecord]) -> None:
        """Only where both clocks, the log's and this machine's, say that it is time."""
        if decided:
            newest = max(record.timestamp for record in decided)
            now = min(newest, self._parts.preparation.clock.now())
            await self._forgetting.turn(self._next, now=now)

    async def _abort(self, share: Share, *, reason: str) -> None:
        """The overlay is dropped with the result; the store was not touched."""
        try:
            # What is still on its way would else be aborted under the next transaction's name.
            with suppress(AbortableError):
                await self._parts.transactions.flush()
            await self._parts.transactions.abort()
        except (FencedError, OutageError):
            await self._suspects.acquit(share.records)
            raise
        await self._suspects.acquit(share.records)
        self._parts.observer.aborted(records=len(share.records), reason=reason)
        self._pace.aborted(len(share.records))
        if self._pace.is_stuck:
            raise BrokerUnavailableError(
                f"{ABORTS_MAX} transactions in a row were aborted: {reason}"
            )


def _mismatch(record: InputRecord, reason: str) -> StateMismatchError:
    return StateMismatchError(
        subject=f"partition {record.partition} of the commands",
        reason=f"offset {record.offset} came, {reason}",
    )


def _first_offsets(records: Sequence[InputRecord]) -> dict[int, int]:
    """Where each partition has to step back to, else these commands are lost (measured)."""
    first: dict[int, int] = {}
    for record in records:
        first.setdefault(record.partition, record.offset)
    return first
