"""Contract of `SignaturePool`: the first candidate that verifies, and none is made that nobody needed."""

from collections.abc import Iterator

import pytest

from harbor.adapters.memory.signature_pool import MemorySignaturePool
from harbor.adapters.signature_pool import ThreadSignaturePool
from harbor.engine.ports import SignaturePool, SignatureTask
from schemas.canonical import ed25519

SEED = b"\x07" * 32
# Small batches are verified in place, large ones on threads: both ways count.
SIZES = (1, 300)


@pytest.fixture(params=["memory", "threads"])
def pool(request: pytest.FixtureRequest) -> Iterator[SignaturePool]:
    if request.param == "memory":
        yield MemorySignaturePool()
        return
    threads = ThreadSignaturePool(threads=2)
    yield threads
    threads.close()


class Spellings:
    """Candidates that note how many were asked for."""

    def __init__(self, *messages: bytes) -> None:
        self.messages = messages
        self.made = 0

    def __iter__(self) -> Iterator[bytes]:
        for message in self.messages:
            self.made += 1
            yield message


def a_task(candidates: Spellings, *, signed: bytes = b"signed") -> SignatureTask:
    return SignatureTask(
        public_key=ed25519.public_key(SEED),
        signature=ed25519.sign(SEED, signed),
        candidates=candidates,
    )


@pytest.mark.parametrize("size", SIZES)
async def test_the_index_is_the_first_verifying_candidates(pool: SignaturePool, size: int) -> None:
    tasks = [a_task(Spellings(b"other", b"signed", b"signed")) for _ in range(size)]

    assert await pool.verify_each(tasks) == [1] * size


@pytest.mark.parametrize("size", SIZES)
async def test_none_where_no_candidate_verifies(pool: SignaturePool, size: int) -> None:
    tasks = [a_task(Spellings(b"other", b"another")) for _ in range(size)]
    tasks[-1] = a_task(Spellings())

    assert await pool.verify_each(tasks) == [None] * size


@pytest.mark.parametrize("size", SIZES)
async def test_candidates_are_made_only_up_to_the_one_that_verifies(
    pool: SignaturePool, size: int
) -> None:
    spellings = [Spellings(b"other", b"signed", b"costly", b"costlier") for _ in range(size)]

    await pool.verify_each([a_task(one) for one in spellings])

    assert [one.made for one in spellings] == [2] * size


async def test_each_task_has_its_own_verdict_in_the_order_asked(pool: SignaturePool) -> None:
    places = [number % 3 for number in range(200)]
    tasks = [a_task(Spellings(*[b"other"] * place, b"signed")) for place in places]

    assert await pool.verify_each(tasks) == places


async def test_nothing_asked_is_nothing_answered(pool: SignaturePool) -> None:
    assert await pool.verify_each([]) == []
