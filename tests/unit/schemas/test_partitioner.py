"""Keys lie where Java's clients put them, whoever produces."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.partitioner import murmur2, partition_of, positive_murmur2


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        # org.apache.kafka.common.utils.UtilsTest.testMurmur2
        (b"21", -973932308),
        (b"foobar", -790332482),
        (b"a-little-bit-long-string", -985981536),
        (b"a-little-bit-longer-string", -1486304829),
        (b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58897971),
        (b"abc", 479470107),
    ],
)
def test_murmur2_is_that_of_kafkas_java_client(key: bytes, expected: int) -> None:
    assert murmur2(key) == expected


@pytest.mark.parametrize(
    ("key", "partitions", "expected"),
    [
        # -973932308 with its sign bit cleared is 1173551340, 0 modulo 12; its absolute value would give 8.
        (b"21", 12, 0),
        # 1357151166; the absolute value would give 2.
        (b"foobar", 48, 30),
        (b"abc", 12, 3),
    ],
)
def test_the_sign_bit_is_cleared_and_not_the_sign_turned(
    key: bytes, partitions: int, expected: int
) -> None:
    assert partition_of(key, partitions) == expected


def test_text_is_hashed_as_utf_8() -> None:
    assert partition_of("ténant", 48) == partition_of("ténant".encode(), 48)


@given(key=st.binary(max_size=300), partitions=st.integers(1, 1_000))
def test_every_key_has_a_partition_and_always_the_same(key: bytes, partitions: int) -> None:
    positive_murmur2.cache_clear()
    first = partition_of(key, partitions)

    assert 0 <= first < partitions
    assert partition_of(key, partitions) == first
    assert -(2**31) <= murmur2(key) < 2**31


def test_tenants_spread_over_all_partitions() -> None:
    tenants = [f"tenant-{number}" for number in range(2_000)]

    filled = {partition_of(tenant, 48) for tenant in tenants}

    assert filled == set(range(48))


@pytest.mark.parametrize("partitions", [0, -1])
def test_a_topic_without_partitions_is_a_programmers_mistake(partitions: int) -> None:
    with pytest.raises(AssertionError):
        partition_of(b"tenant-vec", partitions)
