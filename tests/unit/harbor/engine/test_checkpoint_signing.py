"""Checkpoints: newest tip per tenant, the same bytes from every owner, nothing lost when the broker is out."""

import asyncio
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harbor.engine.batch_output import Chain
from harbor.engine.checkpoint_signing import CheckpointSigner, LedgerKey, checkpoint_record
from harbor.engine.ports import OutputRecord
from schemas.errors import BrokerUnavailableError, StateMismatchError
from schemas.ids import TenantId
from schemas.ledger.entry_chain import ZERO_HASH, leaf_hash
from schemas.ledger.merkle_tree import root_of
from schemas.messages.avro_codec import decode_as
from schemas.messages.events import Disputed, LedgerEntry
from schemas.messages.tips import SignedCheckpoint, Tip
from schemas.topics import checkpoint_key
from tests.support.builders import T0, TENANT, a_command, provision_tenant
from tests.support.harbor_world import run

KEY = LedgerKey(deployment="test", seed=b"\x01" * 32)
COMMAND = a_command(provision_tenant(), number=1)
EVENT = Disputed(case_id="case", reason_code="x")


def grown(tip: Tip | None, entries: int) -> tuple[Tip, list[bytes]]:
    """The tip after that many more entries, and their bytes."""
    chain = Chain.from_tip(TENANT, 0, tip)
    drafted = chain.draft(COMMAND, (EVENT,) * entries, T0)
    chain.append(drafted)
    return chain.tip(), [draft.value for draft in drafted]


class Publications:
    def __init__(self) -> None:
        self.batches: list[list[OutputRecord]] = []
        self.is_out = False
        self.gate: asyncio.Event | None = None

    async def publish(self, records: Sequence[OutputRecord]) -> None:
        if self.gate is not None:
            await self.gate.wait()
        if self.is_out:
            raise BrokerUnavailableError("test")
        self.batches.append(list(records))

    def sizes(self) -> list[list[int]]:
        return [
            [decode_as(SignedCheckpoint, record.value or b"").size for record in batch]
            for batch in self.batches
        ]


def a_signer(publications: Publications) -> CheckpointSigner:
    return CheckpointSigner(publications, key=KEY, partitions=4)


def test_only_the_newest_tip_of_a_tenant_is_signed() -> None:
    async def scenario() -> None:
        publications = Publications()
        signer = a_signer(publications)
        first, _ = grown(None, 1)
        second, _ = grown(first, 2)
        signer.add([first])
        signer.add([second])
        signer.add([first])
        count = await signer.publish_pending()

        assert count == 1
        assert publications.sizes() == [[3]]
        assert await signer.publish_pending() == 0

    run(scenario)


def test_tips_that_come_during_a_publication_are_in_the_next_one() -> None:
    async def scenario() -> None:
        publications = Publications()
        publications.gate = asyncio.Event()
        signer = a_signer(publications)
        running = asyncio.create_task(signer.run())
        tip, _ = grown(None, 1)
        signer.add([tip])
        await asyncio.sleep(0)
        for _ in range(3):
            tip, _ = grown(tip, 1)
            signer.add([tip])
            await asyncio.sleep(0)
        publications.gate.set()
        for _ in range(5):
            await asyncio.sleep(0)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)

        assert publications.sizes() == [[1], [4]]

    run(scenario)


def test_an_outage_loses_no_tip() -> None:
    async def scenario() -> None:
        publications = Publications()
        publications.is_out = True
        signer = a_signer(publications)
        tip, _ = grown(None, 1)
        signer.add([tip])
        with pytest.raises(BrokerUnavailableError):
            await signer.publish_pending()
        publications.is_out = False
        await signer.publish_pending()

        assert publications.sizes() == [[1]]

    run(scenario)


def test_the_same_tip_gives_the_same_record() -> None:
    tip, _ = grown(None, 5)
    record = checkpoint_record(tip, KEY, partitions=4)

    assert record == checkpoint_record(tip, KEY, partitions=4)
    assert record.key == checkpoint_key(TENANT, 5)


def test_a_ledger_keys_seed_is_never_shown() -> None:
    assert "\\x01" not in repr(KEY)


@given(steps=st.lists(st.integers(1, 5), min_size=1, max_size=8))
def test_chain_and_root_are_those_of_a_naive_tree(steps: list[int]) -> None:
    tip: Tip | None = None
    values: list[bytes] = []
    for step in steps:
        tip, added = grown(tip, step)
        values += added
    entries = [decode_as(LedgerEntry, value) for value in values]
    leaves = [leaf_hash(value) for value in values]

    assert tip is not None
    assert (tip.size, tip.root) == (len(values), root_of(leaves))
    assert tip.last_leaf_hash == leaves[-1]
    assert [entry.seq for entry in entries] == list(range(1, len(values) + 1))
    assert [entry.prev_hash for entry in entries] == [ZERO_HASH, *leaves[:-1]]


def test_a_stored_tip_that_can_be_none_is_refused() -> None:
    tip, _ = grown(None, 3)
    wrong = Tip(
        tenant_id=TENANT,
        size=4,
        root=tip.root,
        last_leaf_hash=tip.last_leaf_hash,
        frontier=tip.frontier,
        recorded_at=T0,
    )

    with pytest.raises(StateMismatchError):
        Chain.from_tip(TenantId(TENANT), 0, wrong)
