"""Contract of `StateStore`: one write for all partitions, scans in key order and of one moment, drops of one."""

import asyncio
import os
import resource
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from harbor.adapters.memory.ports import MemoryStateStore
from harbor.adapters.rocksdb_store import (
    RocksDbStore,
    StoreDamagedError,
    StoreFullError,
)
from harbor.engine.ports import StateStore
from schemas.errors import ConfigurationError

SPACE = "paybond.intents"
OTHER_SPACE = "paybond.tips"
IDENTITY = "cluster/topic"
# Over one page of a scan.
MANY = 2500
_ROUNDS = 200

Rows = dict[tuple[str, bytes], bytes | None]


@pytest.fixture(params=["memory", "rocksdb"])
def open_store(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[], StateStore]:
    """Opens the store of this test; a case closes it."""
    if request.param == "memory":
        store = MemoryStateStore()
        return lambda: store
    return lambda: RocksDbStore(tmp_path / "slot", identity=IDENTITY)


def numbered(count: int) -> Rows:
    return {(SPACE, b"%06d" % number): b"%d" % number for number in range(count)}


async def scanned(
    store: StateStore, partition: int, prefix: bytes = b"", space: str = SPACE
) -> list[tuple[bytes, bytes]]:
    return [item async for item in store.scan(partition, space, prefix)]


async def test_values_written_are_read_and_deleted_ones_are_gone(
    open_store: Callable[[], StateStore],
) -> None:
    store = open_store()
    await store.write({1: {(SPACE, b"kept"): b"1", (SPACE, b"gone"): b"2", (SPACE, b""): b""}})

    await store.write({1: {(SPACE, b"gone"): None, (SPACE, b"never"): None}})
    asked = [(SPACE, b"kept"), (SPACE, b"gone"), (SPACE, b"never"), (SPACE, b"")]
    found = await store.get_many(1, asked)
    nothing = await store.get_many(1, [])
    await store.close()

    assert found == {(SPACE, b"kept"): b"1", (SPACE, b""): b""}
    assert nothing == {}


async def test_the_same_key_is_another_in_another_partition_or_namespace(
    open_store: Callable[[], StateStore],
) -> None:
    store = open_store()
    await store.write(
        {
            0: {(SPACE, b"k"): b"zero"},
            1: {(SPACE, b"k"): b"one", (OTHER_SPACE, b"k"): b"other"},
            256: {(SPACE, b"k"): b"far"},
        }
    )

    found = [await store.get_many(number, [(SPACE, b"k")]) for number in (0, 1, 2, 256)]
    other = await store.get_many(1, [(OTHER_SPACE, b"k")])
    only_its_own = await scanned(store, 1)
    await store.close()

    values = [one.get((SPACE, b"k")) for one in found]
    assert values == [b"zero", b"one", None, b"far"]
    assert other == {(OTHER_SPACE, b"k"): b"other"}
    assert only_its_own == [(b"k", b"one")]


async def test_a_write_is_atomic_over_all_its_partitions(
    open_store: Callable[[], StateStore],
) -> None:
    # Whoever asks for 0 first and for 1 right behind it can't find 1 behind: both turned at once.
    store = open_store()
    cell = (SPACE, b"round")
    await store.write({0: {cell: b"%06d" % 0}, 1: {cell: b"%06d" % 0}})
    behind: list[tuple[bytes, bytes]] = []
    is_over = False

    async def write() -> None:
        nonlocal is_over
        for number in range(1, _ROUNDS):
            value = b"%06d" % number
            await store.write({0: {cell: value}, 1: {cell: value}})
        is_over = True

    async def watch() -> None:
        while not is_over:
            first, second = await asyncio.gather(
                store.get_many(0, [cell]), store.get_many(1, [cell])
            )
            if second[cell] < first[cell]:
                behind.append((first[cell], second[cell]))

    await asyncio.gather(write(), watch(), watch())
    await store.close()

    assert behind == []


async def test_a_scan_is_in_key_order_and_of_its_prefix_alone(
    open_store: Callable[[], StateStore],
) -> None:
    store = open_store()
    keys = [b"b/2", b"b/10", b"a/1", b"b/\xff", b"b", b"b0", b"c/1", b"b/", b"b/1"]
    await store.write({1: {(SPACE, key): b"v" + key for key in keys}})

    found = await scanned(store, 1, b"b/")
    none = await scanned(store, 1, b"d/")
    await store.close()

    wanted = [b"b/", b"b/1", b"b/10", b"b/2", b"b/\xff"]
    assert found == [(key, b"v" + key) for key in wanted]
    assert none == []


async def test_a_scan_goes_on_after_a_key(open_store: Callable[[], StateStore]) -> None:
    """Also where that key is gone, and where a longer one begins with it."""
    store = open_store()
    await store.write({1: {(SPACE, key): b"v" for key in (b"a", b"a0", b"a0\0", b"a1", b"b")}})

    async def keys_after(after: bytes) -> list[bytes]:
        return [key async for key, _ in store.scan(1, SPACE, b"a", after=after)]

    found = [await keys_after(after) for after in (b"", b"a0", b"a00", b"a1", b"b")]
    await store.close()

    assert found == [[b"a", b"a0", b"a0\0", b"a1"], [b"a0\0", b"a1"], [b"a1"], [], []]


async def test_a_scan_is_of_one_moment(open_store: Callable[[], StateStore]) -> None:
    store = open_store()
    await store.write({1: numbered(MANY)})
    changes: Rows = {(SPACE, b"%06d" % number): None for number in range(0, MANY, 2)}
    changes[SPACE, b"%06d" % (MANY - 1)] = b"changed"
    changes[SPACE, b"%06d" % MANY] = b"added"

    scan = store.scan(1, SPACE, b"")
    found = [await anext(scan)]
    await store.write({1: changes})
    found += [item async for item in scan]
    after = await scanned(store, 1)
    await store.close()

    assert found == [(key, value) for (_, key), value in numbered(MANY).items()]
    assert len(after) == MANY // 2 + 1
    assert after[-2:] == [(b"%06d" % (MANY - 1), b"changed"), (b"%06d" % MANY, b"added")]


async def test_drop_forgets_one_partition_only(open_store: Callable[[], StateStore]) -> None:
    store = open_store()
    rows: Rows = {(SPACE, b"k"): b"v", (OTHER_SPACE, b"\xff\xff"): b"w", ("meta", b""): b"x"}
    await store.write(dict.fromkeys((0, 1, 2, 255, 256), rows))

    await store.drop(1)
    await store.drop(255)
    await store.drop(7)
    found = {number: await store.get_many(number, rows) for number in (0, 1, 2, 255, 256)}
    await store.close()

    assert found == {0: rows, 1: {}, 2: rows, 255: {}, 256: rows}


async def test_a_dropped_partition_can_be_written_again(
    open_store: Callable[[], StateStore],
) -> None:
    store = open_store()
    await store.write({1: {(SPACE, b"old"): b"1"}})

    await store.drop(1)
    await store.write({1: {(SPACE, b"new"): b"2"}})
    found = await scanned(store, 1)
    await store.close()

    assert found == [(b"new", b"2")]


async def test_values_survive_close_and_reopen(open_store: Callable[[], StateStore]) -> None:
    store = open_store()
    await store.write({1: {(SPACE, b"k"): b"v", (SPACE, b"gone"): b"w"}, 2: {(SPACE, b"k"): b"x"}})
    await store.write({1: {(SPACE, b"gone"): None}})
    await store.drop(2)
    await store.close()

    again = open_store()
    found = [await scanned(again, number) for number in (1, 2)]
    await again.close()

    assert found == [[(b"k", b"v")], []]


async def test_a_key_that_is_not_there_is_not_searched_in_every_file(tmp_path: Path) -> None:
    """RocksDB notes the options it runs with; what a missing filter costs is in `harbor-grown`."""
    store = RocksDbStore(tmp_path / "slot", identity=IDENTITY)
    await store.close()

    noted = max((tmp_path / "slot").glob("OPTIONS-*")).read_text()
    assert "filter_policy=bloomfilter" in noted


async def test_a_folder_has_one_opener(tmp_path: Path) -> None:
    holder = RocksDbStore(tmp_path / "slot", identity=IDENTITY)
    await holder.write({1: {(SPACE, b"k"): b"v"}})

    with pytest.raises(ConfigurationError, match="PAYBOND_HARBOR_SLOT"):
        RocksDbStore(tmp_path / "slot", identity=IDENTITY)
    kept = await scanned(holder, 1)
    await holder.close()

    assert kept == [(b"k", b"v")]


async def test_a_folder_of_another_cluster_is_wiped(tmp_path: Path) -> None:
    store = RocksDbStore(tmp_path / "slot", identity=IDENTITY)
    await store.write({1: {(SPACE, b"k"): b"v"}})
    await store.close()

    other = RocksDbStore(tmp_path / "slot", identity="another cluster")
    found = await scanned(other, 1)
    await other.close()

    assert found == []


async def test_a_full_disk_is_an_outage_in_a_write_and_again_in_close(tmp_path: Path) -> None:
    """`close` raised rocksdict's bare Exception: Harbor ended with a traceback in place of "can't be written"."""
    store = RocksDbStore(tmp_path / "slot", identity=IDENTITY)
    await store.write({1: {(SPACE, b"before"): b"1"}})
    with full_disk():
        with pytest.raises(StoreFullError, match="can't be written"):
            await store.write({1: {(SPACE, b"after"): b"2"}})
        with pytest.raises(StoreFullError, match="can't be written"):
            await store.close()
    again = RocksDbStore(tmp_path / "slot", identity=IDENTITY)

    found = await scanned(again, 1)
    await again.close()

    assert found == [(b"before", b"1")]


async def test_a_damaged_folder_is_an_outage_that_says_what_to_do_and_never_a_short_scan(
    tmp_path: Path,
) -> None:
    """A scan that ends early would look like an index that has ended: what is due behind it would never be done."""
    folder = tmp_path / "slot"
    store = RocksDbStore(folder, identity=IDENTITY)
    keys = [f"{number:06d}".encode() for number in range(20_000)]
    await store.write({1: {(SPACE, key): os.urandom(100) for key in keys}})
    store._database.flush()
    await store.close()
    table = max(folder.glob("*.sst"), key=lambda file: file.stat().st_size)
    content = bytearray(table.read_bytes())
    content[len(content) // 2 : len(content) // 2 + 64] = bytes(64)
    table.write_bytes(bytes(content))
    damaged = RocksDbStore(folder, identity=IDENTITY)

    with pytest.raises(StoreDamagedError, match="remove the folder"):
        await scanned(damaged, 1)
    with pytest.raises(StoreDamagedError, match="remove the folder"):
        await damaged.get_many(1, [(SPACE, key) for key in keys])
    await damaged.close()


@contextmanager
def full_disk() -> Iterator[None]:
    """No file of this process grows, as on a disk without a free block."""
    usual = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1, usual[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, usual)
