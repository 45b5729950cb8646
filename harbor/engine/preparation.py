"""Step 2, all that has to be asked before the serial decision: stored values, signatures, re-checks.

Every look-up happens here; `decide_batch` then runs to its end without asking anybody.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from harbor.engine.batch import Batch
from harbor.engine.batch_lookup import (
    StoreKey,
    View,
    keys_of,
    keys_of_poison,
    keys_of_state,
    keys_of_stored,
)
from harbor.engine.intake import Place, Received, Rejected, place_of
from harbor.engine.ports import Assigner, Clock, LogReader, SignaturePool, StateStore
from harbor.engine.quarantine import Quarantines
from harbor.engine.signatures import consents_of
from schemas.messages.commands import ProvisionTenant, ReleaseQuarantine
from schemas.messages.outcomes import OutcomeStatus


@dataclass(frozen=True, slots=True, kw_only=True)
class Preparation:
    """The ports that a batch is prepared with."""

    store: StateStore
    reader: LogReader
    pool: SignaturePool
    assigner: Assigner
    clock: Clock

    async def batch_of(
        self, intake: tuple[Received | Rejected, ...], quarantines: Quarantines
    ) -> Batch:
        """Raises what the ports raise."""
        commands = [item for item in intake if isinstance(item, Received)]
        view = await self._view(intake)
        return Batch(
            intake=intake,
            view=view,
            now=self.clock.now(),
            consents=await consents_of(
                [received for received in commands if not _is_done(received, view)], self.pool
            ),
            ledger_topics=await self._ledger_topics(commands),
            rechecks=await self._rechecks(commands),
            quarantined=quarantines.current(),
        )

    async def _view(self, intake: Iterable[Received | Rejected]) -> View:
        view = View()
        first: dict[int, dict[StoreKey, None]] = defaultdict(dict)
        for item in intake:
            keys = keys_of(item) if isinstance(item, Received) else keys_of_poison(item)
            first[item.record.partition].update(dict.fromkeys(keys))
        await self._fetch(view, first)
        second: dict[int, dict[StoreKey, None]] = defaultdict(dict)
        for item in intake:
            if not isinstance(item, Received):
                continue
            partition = item.record.partition
            stored = view.outcome(partition, item.tenant_id, item.command_id)
            second[partition].update(dict.fromkeys(keys_of_stored(stored)))
            if item.intent_id is not None:
                state = view.intent(partition, item.tenant_id, item.intent_id)
                if state is not None:
                    second[partition].update(dict.fromkeys(keys_of_state(state)))
        await self._fetch(view, second)
        return view

    async def _fetch(self, view: View, asked: dict[int, dict[StoreKey, None]]) -> None:
        for partition, keys in asked.items():
            if keys:
                view.fetch(partition, keys, await self.store.get_many(partition, keys))

    async def _ledger_topics(self, commands: Sequence[Received]) -> frozenset[str]:
        """The cluster is asked only where a tenant may begin."""
        if any(isinstance(received.command.body, ProvisionTenant) for received in commands):
            return await self.reader.ledger_topics()
        return frozenset()

    async def _rechecks(self, commands: Sequence[Received]) -> dict[Place, str | None]:
        return {
            place_of(received): await self.assigner.recheck(
                received.record.partition, received.tenant_id
            )
            for received in commands
            if isinstance(received.command.body, ReleaseQuarantine)
        }


def _is_done(received: Received, view: View) -> bool:
    """Whether it is a repeat whatever happens in this batch: only then are its signatures not looked at again."""
    stored = view.outcome(received.record.partition, received.tenant_id, received.command_id)
    return stored is not None and stored.status is OutcomeStatus.DONE
