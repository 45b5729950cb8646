"""Both pools say the same: the first candidate that the signature covers, or none."""

from collections.abc import Iterator

import pytest

from harbor.adapters.memory.signature_pool import MemorySignaturePool
from harbor.adapters.signature_pool import ThreadSignaturePool
from harbor.engine.ports import SignaturePool, SignatureTask
from schemas.canonical import ed25519
from schemas.errors import InstantError
from tests.support.harbor_world import run

SEED = b"\x09" * 32


def a_task(number: int, *candidates: bytes) -> SignatureTask:
    return SignatureTask(
        public_key=ed25519.public_key(SEED),
        signature=ed25519.sign(SEED, b"message %d" % number),
        candidates=candidates,
    )


@pytest.fixture(params=["memory", "threads"])
def pool(request: pytest.FixtureRequest) -> Iterator[SignaturePool]:
    if request.param == "memory":
        yield MemorySignaturePool()
        return
    threads = ThreadSignaturePool(threads=2)
    yield threads
    threads.close()


def test_the_first_candidate_that_verifies_is_named(pool: SignaturePool) -> None:
    async def scenario() -> None:
        tasks = [
            a_task(0, b"message 0"),
            a_task(1, b"other", b"message 1", b"message 1"),
            a_task(2, b"other"),
            a_task(3),
        ]

        assert await pool.verify_each(tasks) == [0, 1, None, None]

    run(scenario)


def test_many_tasks_keep_their_order(pool: SignaturePool) -> None:
    async def scenario() -> None:
        tasks = [
            a_task(number, b"x", b"message %d" % number) if number % 3 else a_task(number, b"x")
            for number in range(200)
        ]

        verdicts = await pool.verify_each(tasks)
        assert verdicts == [1 if number % 3 else None for number in range(200)]

    run(scenario)


def test_a_spelling_that_cannot_be_made_was_signed_by_nobody(pool: SignaturePool) -> None:
    async def scenario() -> None:
        def spellings() -> Iterator[bytes]:
            yield b"other"
            raise InstantError(text="x", reason="y")

        task = SignatureTask(
            public_key=ed25519.public_key(SEED), signature=bytes(64), candidates=spellings()
        )
        assert await pool.verify_each([task]) == [None]

    run(scenario)
