"""The chain: what links an entry to the one before it, and every way it can fail to."""

import hashlib
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.errors import ChainBreakError
from schemas.ids import TenantId
from schemas.ledger.entry_chain import (
    CHAIN_START,
    ZERO_HASH,
    ChainEnd,
    Link,
    check_link,
    leaf_hash,
)
from schemas.topics import ledger_key
from tests.unit.schemas.canonical.vectors import EDGE

TENANT = TenantId("tenant-vec")
FIRST = Link(
    tenant_id=TENANT,
    seq=1,
    prev_hash=ZERO_HASH,
    record_key=b"tenant-vec/0000000000000001",
    value=b"first",
)


def test_leaf_hashes_are_those_of_the_vectors() -> None:
    merkle = EDGE["merkle"]

    hashes = [leaf_hash(bytes.fromhex(record)).hex() for record in merkle["records_hex"]]

    assert hashes == merkle["leaf_hashes_hex"]


def test_a_leaf_hash_covers_a_zero_byte_and_the_record() -> None:
    assert leaf_hash(b"value") == hashlib.sha256(b"\x00value").digest()


def test_the_first_entry_follows_zeros() -> None:
    end = check_link(CHAIN_START, FIRST, tenant_id=TENANT)

    assert end == ChainEnd(seq=1, leaf_hash=leaf_hash(b"first"))


@pytest.mark.parametrize(
    ("broken", "reason"),
    [
        (replace(FIRST, tenant_id=TenantId("tenant-two")), "names the tenant 'tenant-two'"),
        (replace(FIRST, seq=2), "has seq 2"),
        (replace(FIRST, seq=0), "has seq 0"),
        (replace(FIRST, record_key=b"tenant-vec/0000000000000002"), "record's key is b'tenant-vec"),
        (replace(FIRST, record_key=b"tenant-two/0000000000000001"), "record's key is b'tenant-two"),
        (replace(FIRST, record_key=None), "record's key is None"),
        (replace(FIRST, prev_hash=leaf_hash(b"other")), "prev_hash is "),
        (replace(FIRST, prev_hash=b""), "prev_hash is "),
    ],
)
def test_a_link_that_does_not_fit_is_a_break(broken: Link, reason: str) -> None:
    with pytest.raises(ChainBreakError) as caught:
        check_link(CHAIN_START, broken, tenant_id=TENANT)

    assert reason in caught.value.reason
    assert (caught.value.tenant_id, caught.value.seq) == (TENANT, 1)


def test_a_repeated_entry_is_a_break() -> None:
    end = check_link(CHAIN_START, FIRST, tenant_id=TENANT)

    with pytest.raises(ChainBreakError, match="has seq 1"):
        check_link(end, FIRST, tenant_id=TENANT)


@given(values=st.lists(st.binary(max_size=40), min_size=2, max_size=12), data=st.data())
def test_no_entry_of_a_chain_can_be_changed_unnoticed(
    values: list[bytes], data: st.DataObject
) -> None:
    links = []
    end = CHAIN_START
    for seq, value in enumerate(values, start=1):
        key = ledger_key(TENANT, seq)
        links.append(
            Link(tenant_id=TENANT, seq=seq, prev_hash=end.leaf_hash, record_key=key, value=value)
        )
        end = check_link(end, links[-1], tenant_id=TENANT)
    changed = data.draw(st.integers(0, len(values) - 2))
    links[changed] = replace(links[changed], value=values[changed] + b"!")

    end = CHAIN_START
    for link in links[: changed + 1]:
        end = check_link(end, link, tenant_id=TENANT)
    with pytest.raises(ChainBreakError) as caught:
        check_link(end, links[changed + 1], tenant_id=TENANT)

    assert caught.value.seq == changed + 2
