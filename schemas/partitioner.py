"""Which partition a key lies in: Kafka's own murmur2, as Java clients compute it.

librdkafka's default is CRC32, which would put a tenant's commands and its changelogs into different partitions,
so this is passed explicitly on every produce.
"""

from functools import lru_cache

_MASK = 0xFFFFFFFF
_SEED = 0x9747B28C
_MULTIPLIER = 0x5BD1E995
_SHIFT = 24

# Keys are tenant ids: more than one cell of the system serves, at about 150 bytes each.
_CACHED_KEYS_MAX = 65_536


def partition_of(key: bytes | str, partitions: int) -> int:
    """`toPositive(murmur2(key)) % partitions` of Kafka's Java client; text is hashed as UTF-8."""
    assert partitions > 0
    return positive_murmur2(key.encode() if isinstance(key, str) else key) % partitions


@lru_cache(maxsize=_CACHED_KEYS_MAX)
def positive_murmur2(key: bytes) -> int:
    # Java's toPositive clears the sign bit; it is not the absolute value.
    return murmur2(key) & 0x7FFFFFFF


def murmur2(key: bytes) -> int:
    """As a signed 32-bit integer: `org.apache.kafka.common.utils.Utils.murmur2`."""
    length = len(key)
    state = _SEED ^ length
    whole = length & ~3
    for at in range(0, whole, 4):
        word = int.from_bytes(key[at : at + 4], "little") * _MULTIPLIER & _MASK
        word = (word ^ (word >> _SHIFT)) * _MULTIPLIER & _MASK
        state = (state * _MULTIPLIER & _MASK) ^ word
    if whole != length:
        state = (state ^ int.from_bytes(key[whole:], "little")) * _MULTIPLIER & _MASK
    state = (state ^ (state >> 13)) * _MULTIPLIER & _MASK
    state ^= state >> 15
    return state - (1 << 32) if state >> 31 else state
