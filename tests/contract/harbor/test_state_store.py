"""Harbor's local state: one write batch, prefixes in order, partitions that know nothing of each other."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import pytest

from harbor.adapters.memory.ports import MemoryStateStore
from harbor.adapters.rocksdb_store import RocksDbStore
from harbor.engine.ports import StateStore
from schemas.errors import ConfigurationError

OpenStore = Callable[[], AbstractAsyncContextManager[StateStore]]


@pytest.fixture(params=["memory", "rocksdb"])
def open_store(request: pytest.FixtureRequest, tmp_path: Path) -> OpenStore:
    def create() -> StateStore:
        if request.param == "memory":
            return MemoryStateStore()
        return RocksDbStore(tmp_path / "0", identity="cluster")

    @asynccontextmanager
    async def opened() -> AsyncIterator[StateStore]:
        store = create()
        try:
            yield store
        finally:
            await store.close()

    return opened


def play(open_store: OpenStore, scenario: Callable[[StateStore], Awaitable[None]]) -> None:
    async def played() -> None:
        async with open_store() as store:
            await scenario(store)

    asyncio.run(played())


async def scanned(store: StateStore, partition: int, prefix: bytes) -> list[tuple[bytes, bytes]]:
    return [row async for row in store.scan(partition, "a", prefix)]


def test_what_was_written_is_found_and_nothing_else(open_store: OpenStore) -> None:
    async def scenario(store: StateStore) -> None:
        await store.write({1: {("a", b"k"): b"v", ("b", b"k"): b"w", ("a", b""): b""}})

        found = await store.get_many(1, [("a", b"k"), ("b", b"k"), ("a", b""), ("a", b"no")])

        assert found == {("a", b"k"): b"v", ("b", b"k"): b"w", ("a", b""): b""}
        assert await store.get_many(2, [("a", b"k")]) == {}
        assert await store.get_many(1, []) == {}

    play(open_store, scenario)


def test_no_value_deletes(open_store: OpenStore) -> None:
    async def scenario(store: StateStore) -> None:
        await store.write({1: {("a", b"k"): b"v"}})

        await store.write({1: {("a", b"k"): None, ("a", b"never"): None}})

        assert await store.get_many(1, [("a", b"k")]) == {}

    play(open_store, scenario)


def test_a_scan_has_one_prefix_of_one_namespace_in_key_order(open_store: OpenStore) -> None:
    async def scenario(store: StateStore) -> None:
        rows = {("a", key): b"v" for key in (b"t/2", b"t/1", b"t/10", b"u/1", b"s/1", b"t")}
        await store.write({1: rows | {("aa", b"t/3"): b"v"}, 2: {("a", b"t/9"): b"v"}})

        assert await scanned(store, 1, b"t/") == [(b"t/1", b"v"), (b"t/10", b"v"), (b"t/2", b"v")]
        assert len(await scanned(store, 1, b"")) == 6
        assert await scanned(store, 3, b"") == []

    play(open_store, scenario)


def test_a_long_scan_is_of_one_moment(open_store: OpenStore) -> None:
    async def scenario(store: StateStore) -> None:
        await store.write({1: {("a", b"%06d" % n): b"old" for n in range(2500)}})
        rows: list[tuple[bytes, bytes]] = []

        async for row in store.scan(1, "a", b""):
            if not rows:
                await store.write({1: {("a", b"%06d" % n): b"new" for n in range(3000)}})
            rows.append(row)

        assert [key for key, _ in rows] == [b"%06d" % n for n in range(2500)]
        assert {value for _, value in rows} == {b"old"}

    play(open_store, scenario)


def test_a_dropped_partition_takes_no_other_with_it(open_store: OpenStore) -> None:
    async def scenario(store: StateStore) -> None:
        await store.write({n: {("a", b"k"): b"v"} for n in (0, 1, 2, 255, 256)})

        await store.drop(1)
        await store.drop(255)

        left = [n for n in (0, 1, 2, 255, 256) if await scanned(store, n, b"")]
        assert left == [0, 2, 256]

    play(open_store, scenario)


def test_a_store_is_there_after_a_restart(tmp_path: Path) -> None:
    async def scenario() -> None:
        first = RocksDbStore(tmp_path / "0", identity="cluster")
        await first.write({1: {("a", b"k"): b"v"}})
        await first.close()
        second = RocksDbStore(tmp_path / "0", identity="cluster")

        found = await second.get_many(1, [("a", b"k")])
        await second.close()

        assert found == {("a", b"k"): b"v"}

    asyncio.run(scenario())


def test_a_store_of_another_cluster_is_made_anew(tmp_path: Path) -> None:
    async def scenario() -> None:
        first = RocksDbStore(tmp_path / "0", identity="cluster")
        await first.write({1: {("a", b"k"): b"v"}})
        await first.close()
        second = RocksDbStore(tmp_path / "0", identity="another cluster")

        found = await second.get_many(1, [("a", b"k")])
        await second.close()

        assert found == {}

    asyncio.run(scenario())


def test_a_folder_that_another_process_has_is_refused(tmp_path: Path) -> None:
    async def scenario() -> None:
        store = RocksDbStore(tmp_path / "0", identity="cluster")

        with pytest.raises(ConfigurationError, match="PAYBOND_HARBOR_SLOT"):
            RocksDbStore(tmp_path / "0", identity="cluster")

        await store.close()

    asyncio.run(scenario())
