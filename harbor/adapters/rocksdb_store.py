"""Harbor's local state in RocksDB: one database per process slot, the partition as key prefix.

It is a cache of the changelogs. Here it is wiped only if it belongs to another cluster or topics; how old a partition
may be is the assignment's to judge (`harbor.engine.local_state`). Never because it disagrees.
"""

import re
from collections.abc import AsyncGenerator, Iterable, Mapping
from pathlib import Path
from typing import cast

from rocksdict import BlockBasedOptions, Options, Rdict, RdictIter, Snapshot, WriteBatch

from harbor.adapters.client_thread import ClientThread
from schemas.errors import ConfigurationError, OutageError

_IDENTITY_KEY = b"\xff\xff\xff\xffidentity"
_SCAN_RECORDS = 1000
# All state of a batch is written at once; RocksDB's own default of 64 MB is more than one slot needs.
_WRITE_BUFFER_BYTES = 32 * 1024 * 1024
# Half of what a batch looks up is not there (an answer given before, a nonce spent, evidence). Without a filter each of
# these costs a search in every file: 13 µs with 1.8 M records, and 0.6 with it (measured).
_FILTER_BITS_PER_KEY = 10


class StoreFullError(OutageError):
    """RocksDB could not write (a full disk, a failing one): the process stops, its successor restores."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(f"The local state at {path} can't be written: {reason}.")


class StoreDamagedError(OutageError):
    """RocksDB could not read what it once wrote: the folder's matter, and no command's or tenant's."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(
            f"The local state at {path} can't be read: {reason}. "
            "It is a cache: stop this process, remove the folder, and the next start restores it from Kafka."
        )


class RocksDbStore:
    """`harbor.engine.ports.StateStore`."""

    def __init__(self, path: Path, *, identity: str) -> None:
        """`identity` names cluster and topics. Raises ConfigurationError if another process has the folder."""
        self._path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        self._database = _opened(path)
        if self._database.get(_IDENTITY_KEY) != identity.encode():
            self._database.close()
            Rdict.destroy(str(path), options=_options())
            self._database = _opened(path)
            self._database[_IDENTITY_KEY] = identity.encode()
        self._thread = ClientThread("rocksdb")

    async def get_many(
        self, partition: int, keys: Iterable[tuple[str, bytes]]
    ) -> dict[tuple[str, bytes], bytes]:
        wanted = list(keys)
        if not wanted:
            return {}
        raw = [_raw(partition, namespace, key) for namespace, key in wanted]
        values = await self._thread.call(lambda: self._values(raw))
        return {key: value for key, value in zip(wanted, values, strict=True) if value is not None}

    def _values(self, raw: list[bytes]) -> list[bytes | None]:
        try:
            found: list[bytes | None] = self._database.get(list(raw)) or []
        # rocksdict raises a bare Exception for every failure of RocksDB.
        except Exception as error:
            raise StoreDamagedError(self._path, str(error)) from error
        return found

    async def scan(
        self, partition: int, namespace: str, prefix: bytes, *, after: bytes | None = None
    ) -> AsyncGenerator[tuple[bytes, bytes], None]:
        start = _raw(partition, namespace, prefix)
        # The key that follows directly: the same with a byte more.
        begin = start if after is None else max(start, _raw(partition, namespace, after) + b"\0")
        offset = len(_raw(partition, namespace, b""))
        snapshot = await self._thread.call(self._database.snapshot)
        rows = await self._thread.call(lambda: _rows_from(snapshot, begin))
        while True:
            page = await self._thread.call(lambda: self._page(rows, start))
            for key, value in page:
                yield key[offset:], value
            if len(page) < _SCAN_RECORDS:
                return

    def _page(self, rows: RdictIter, prefix: bytes) -> list[tuple[bytes, bytes]]:
        page: list[tuple[bytes, bytes]] = []
        while rows.valid() and len(page) < _SCAN_RECORDS:
            key = cast("bytes", rows.key())
            if not key.startswith(prefix):
                return page
            page.append((key, cast("bytes", rows.value())))
            rows.next()
        try:
            # A damaged block ends the rows like their end does, and only this tells.
            rows.status()
        except Exception as error:
            raise StoreDamagedError(self._path, str(error)) from error
        return page

    async def write(self, writes: Mapping[int, Mapping[tuple[str, bytes], bytes | None]]) -> None:
        batch = WriteBatch(raw_mode=True)
        for partition, values in writes.items():
            for (namespace, key), value in values.items():
                raw = _raw(partition, namespace, key)
                if value is None:
                    batch.delete(raw)
                else:
                    batch.put(raw, value)
        await self._thread.call(lambda: self._write(batch))

    def _write(self, batch: WriteBatch) -> None:
        try:
            self._database.write(batch)
        except Exception as error:
            raise StoreFullError(self._path, str(error)) from error

    async def drop(self, partition: int) -> None:
        start = partition.to_bytes(4, "big")
        end = (partition + 1).to_bytes(4, "big")
        await self._thread.call(lambda: self._database.delete_range(start, end))

    async def close(self) -> None:
        """Raises StoreFullError: closing writes what was held back, which a full disk refuses once more."""
        try:
            await self._thread.call(self._close)
        finally:
            self._thread.close()

    def _close(self) -> None:
        try:
            self._database.close()
        except Exception as error:
            raise StoreFullError(self._path, str(error)) from error


def _options() -> Options:
    options = Options(raw_mode=True)
    options.set_write_buffer_size(_WRITE_BUFFER_BYTES)
    tables = BlockBasedOptions()
    tables.set_bloom_filter(_FILTER_BITS_PER_KEY, block_based=False)
    options.set_block_based_table_factory(tables)
    return options


def _opened(path: Path) -> Rdict:
    try:
        return Rdict(str(path), options=_options())
    except Exception as error:
        # "No locks available", "lock hold by current process": and not a b-lock checksum.
        if re.search(r"\block", str(error).lower()):
            raise ConfigurationError(
                f"{path} is another process's: give this one its own PAYBOND_HARBOR_SLOT"
            ) from error
        raise ConfigurationError(f"{path} can't be opened: {error}") from error


def _rows_from(snapshot: Snapshot, begin: bytes) -> RdictIter:
    rows = snapshot.iter()
    rows.seek(begin)
    return rows


def _raw(partition: int, namespace: str, key: bytes) -> bytes:
    name = namespace.encode()
    return partition.to_bytes(4, "big") + bytes([len(name)]) + name + key
