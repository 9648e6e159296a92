"""Read side of the tables: which files hold an answer, pruned by partition and column bounds.

Files, manifests and state checkpoints never change once written, so what was read of them is kept; a query costs one
look at the catalog for the address of the current metadata.
"""

import threading
from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TypeVar
from urllib.parse import urlparse

import pyarrow as pa
from pyiceberg.conversions import from_bytes
from pyiceberg.manifest import DataFile, ManifestFile
from pyiceberg.table import Table
from pyiceberg.table.snapshots import Snapshot
from pyiceberg.types import LongType, StringType

from k2.errors import K2Error, RefusedError, UsageError
from k2.observability.freshness import NewestRows
from k2.records.definition import RECORD_TYPES
from k2.resilience.failures import text_of, translated
from k2.storage.catalog import IcebergCatalog
from k2.storage.checkpoints import read_checkpoint
from k2.storage.file_cache import FileCache, RemoteFile
from k2.storage.freshness import table_newest
from k2.storage.history import snapshot_as_of, table_snapshots
from k2.storage.plan import OpenGap, ReadPlan, TableSnapshot
from k2.storage.snapshots import table_progress

_EXCHANGE_PARTITION_POSITION = 1
_KEPT = 256
_NANOSECONDS_A_MILLISECOND = 1_000_000
_Key = TypeVar("_Key", bound=Hashable)
_Value = TypeVar("_Value")


@dataclass(frozen=True, slots=True)
class _FileBounds:
    path: str
    size_bytes: int
    exchange: str
    lowest_symbol: str | None
    highest_symbol: str | None
    earliest_ns: int
    latest_ns: int

    def may_hold(
        self, exchange: str | None, symbol: str | None, start_time_ns: int | None, end_time_ns: int | None
    ) -> bool:
        if exchange is not None and exchange != self.exchange:
            return False
        if symbol is not None and not self._may_hold_symbol(symbol):
            return False
        if start_time_ns is not None and self.latest_ns < start_time_ns:
            return False
        return end_time_ns is None or self.earliest_ns < end_time_ns

    def _may_hold_symbol(self, symbol: str) -> bool:
        if self.lowest_symbol is None or self.highest_symbol is None:
            return True
        # Bounds may be cut short; the upper one was then raised, so plain comparison stays safe.
        return self.lowest_symbol <= symbol <= self.highest_symbol


class TableReader:
    """Plans reads of K2's tables; safe to share between threads. Implements `TableSource`.

    Args:
        catalog: where the tables are.
        cache: takes data files that are not on this machine; without one they can be planned but not read.
    """

    def __init__(self, catalog: IcebergCatalog, cache: FileCache | None = None) -> None:
        self._catalog = catalog
        self._cache = cache
        self._lock = threading.Lock()
        self._loaded: dict[str, tuple[str, Table]] = {}
        self._snapshots: dict[int, tuple[_FileBounds, ...]] = {}
        self._manifests: dict[str, tuple[_FileBounds, ...]] = {}
        self._gaps: dict[str, tuple[OpenGap, ...]] = {}

    def tables(self) -> tuple[str, ...]:
        """Identifiers of all tables."""
        return tuple(record_type.table for record_type in RECORD_TYPES.values())

    def plan(
        self,
        table: str,
        *,
        exchange: str | None = None,
        symbol: str | None = None,
        start_time_ns: int | None = None,
        end_time_ns: int | None = None,
        snapshot_id: int | None = None,
        as_of_time_ns: int | None = None,
    ) -> ReadPlan:
        """Files that may hold matching rows; start is inclusive, end exclusive, both on event time.

        The snapshot is the named one, or the one that was current at `as_of_time_ns`, or the current one.

        Raises:
            UsageError: no such table or snapshot, or none is kept of that time.
            UnavailableError: catalog or warehouse do not answer.
            RefusedError: they refuse, or a file is damaged.
        """
        loaded = self._current(table)
        snapshot = _chosen_snapshot(loaded, table, snapshot_id, as_of_time_ns)
        if snapshot is None:
            return ReadPlan(table, None, None, ())
        bounds = self._files(loaded, snapshot)
        chosen = [b for b in bounds if b.may_hold(exchange, symbol, start_time_ns, end_time_ns)]
        return ReadPlan(
            table,
            snapshot.snapshot_id,
            snapshot.timestamp_ms,
            tuple(file.path for file in chosen),
            tuple(file.size_bytes for file in chosen),
            len(bounds),
        )

    @contextmanager
    def local_files(
        self, plans: Sequence[ReadPlan], keep_going: Callable[[], None] = lambda: None
    ) -> Iterator[tuple[tuple[str, ...], ...]]:
        """The files of each plan on this machine, there until the block ends.

        Args:
            plans: what will be read.
            keep_going: called between pieces of a download; what it raises ends the download.

        Raises:
            UsageError: they are larger than the cache, or there is no cache.
            UnavailableError: the object store does not answer, or the cache is full of files in use.
            RefusedError: it refuses.
        """
        if not any(_is_remote(path) for plan in plans for path in plan.paths):
            yield tuple(plan.paths for plan in plans)
            return
        if self._cache is None:
            raise UsageError("data files that are not on this machine need a cache: set K2_QUERY__CACHE_DIRECTORY")
        files = [
            RemoteFile(path, size) for plan in plans for path, size in zip(plan.paths, plan.sizes_bytes, strict=True)
        ]
        file_io = self._current(plans[0].table).io
        with ExitStack() as held:
            try:
                kept = held.enter_context(
                    self._cache.hold(
                        files, lambda address: file_io.new_input(address).open(), keep_going, self._catalog.guard_store
                    )
                )
            except OSError as error:
                raise translated(error, "a data file cannot be fetched") from error
            paths = iter(kept)
            yield tuple(tuple(str(next(paths)) for _ in plan.paths) for plan in plans)

    def snapshots(self, table: str) -> tuple[TableSnapshot, ...]:
        """Every state of the table that can be read, oldest first.

        Raises:
            UsageError: no such table.
            UnavailableError: the catalog does not answer.
        """
        return table_snapshots(self._current(table).metadata)

    def open_gaps(self, table: str, *, exchange: str | None = None, symbol: str | None = None) -> tuple[OpenGap, ...]:
        """Open gaps as of the table's current snapshot, read from the state checkpoints it names.

        Raises:
            StateLostError: a checkpoint is gone or was altered.
            UnavailableError: catalog or warehouse do not answer.
        """
        loaded = self._current(table)
        progress = table_progress(loaded.metadata)
        gaps = [
            gap
            for partition in progress.partitions.values()
            if partition.state_path is not None
            for gap in self._open_gaps(loaded, partition.state_path)
            if (exchange is None or gap.exchange == exchange) and (symbol is None or gap.symbol == symbol)
        ]
        return tuple(sorted(gaps, key=lambda gap: (gap.exchange, gap.symbol, gap.tracker, gap.first_missing)))

    def newest_rows(self, table: str) -> tuple[NewestRows, ...]:
        """How new the table is, for each exchange that has ever had a row in it.

        Raises:
            UsageError: no such table.
            UnavailableError: the catalog does not answer.
            ProgressError: what the table says of it cannot be understood.
        """
        return table_newest(self._current(table).metadata)

    def next_offsets(self, table: str) -> dict[tuple[str, int], int]:
        """How far each (topic, partition) has been taken in; of several clusters, the furthest."""
        offsets: dict[tuple[str, int], int] = {}
        for key, progress in table_progress(self._current(table).metadata).partitions.items():
            place = (key.topic, key.partition)
            offsets[place] = max(progress.next_offset, offsets.get(place, 0))
        return offsets

    def _current(self, table: str) -> Table:
        location = self._catalog.metadata_location(table)
        with self._lock:
            kept = self._loaded.get(table)
            if kept is not None and kept[0] == location:
                return kept[1]
        loaded = self._catalog.load(table)
        with self._lock:
            self._loaded[table] = (loaded.metadata_location, loaded)
        return loaded

    def _files(self, table: Table, snapshot: Snapshot) -> tuple[_FileBounds, ...]:
        with self._lock:
            kept = self._snapshots.get(snapshot.snapshot_id)
        if kept is not None:
            return kept
        try:
            files: list[_FileBounds] = []
            with self._catalog.guard_store():
                for manifest in snapshot.manifests(table.io):
                    files += self._manifest(table, manifest)
        except OSError as error:
            raise translated(error, f"the manifests of {table.name()} cannot be read") from error
        except K2Error:
            raise
        except Exception as error:  # a damaged file leads its parser anywhere
            raise RefusedError(f"a manifest of {table.name()} is damaged ({text_of(error)}): restore it") from error
        with self._lock:
            _keep(self._snapshots, snapshot.snapshot_id, tuple(files))
        return tuple(files)

    def _manifest(self, table: Table, manifest: ManifestFile) -> tuple[_FileBounds, ...]:
        with self._lock:
            kept = self._manifests.get(manifest.manifest_path)
        if kept is None:
            entries = manifest.fetch_manifest_entry(table.io, discard_deleted=True)
            kept = tuple(_bounds(entry.data_file, table) for entry in entries)
            with self._lock:
                _keep(self._manifests, manifest.manifest_path, kept)
        return kept

    def _open_gaps(self, table: Table, path: str) -> tuple[OpenGap, ...]:
        with self._lock:
            kept = self._gaps.get(path)
        if kept is None:
            try:
                with self._catalog.guard_store():
                    # The gaps alone are kept: a checkpoint may be megabytes.
                    kept = _gaps_of(read_checkpoint(table.io, path))
            except OSError as error:
                raise translated(error, f"the state checkpoint {path} cannot be read") from error
            with self._lock:
                _keep(self._gaps, path, kept)
        return kept


def _keep(kept: dict[_Key, _Value], key: _Key, value: _Value) -> None:
    if len(kept) >= _KEPT:
        del kept[next(iter(kept))]
    kept[key] = value


def _chosen_snapshot(loaded: Table, table: str, snapshot_id: int | None, as_of_time_ns: int | None) -> Snapshot | None:
    if snapshot_id is not None and as_of_time_ns is not None:
        raise UsageError("a snapshot or a time can be asked for, not both")
    if as_of_time_ns is not None:
        return snapshot_as_of(loaded.metadata, as_of_time_ns // _NANOSECONDS_A_MILLISECOND, table)
    if snapshot_id is None:
        return loaded.metadata.current_snapshot()
    snapshot = loaded.metadata.snapshot_by_id(snapshot_id)
    if snapshot is None:
        raise UsageError(f"table {table} has no snapshot {snapshot_id}: it never existed or has expired")
    return snapshot


def is_local(uri: str) -> bool:
    """Whether an address is a plain path or a file: address."""
    return urlparse(uri).scheme in ("", "file")


def local_path(uri: str) -> str:
    """The local path of a file: address or of a plain path; as in all of Iceberg, % has no special meaning.

    Raises:
        UsageError: it is neither.
    """
    if not is_local(uri):
        raise UsageError(f"{uri} is not on this machine")
    return urlparse(uri).path


def _is_remote(path: str) -> bool:
    return not path.startswith("/")


def _bounds(file: DataFile, table: Table) -> _FileBounds:
    schema = table.schema()
    symbol_id = schema.find_field("symbol").field_id
    time_id = schema.find_field("event_time_ns").field_id
    lower, upper = file.lower_bounds or {}, file.upper_bounds or {}
    return _FileBounds(
        path=local_path(file.file_path) if is_local(file.file_path) else file.file_path,
        size_bytes=file.file_size_in_bytes,
        exchange=str(file.partition[_EXCHANGE_PARTITION_POSITION]),
        lowest_symbol=from_bytes(StringType(), lower[symbol_id]) if symbol_id in lower else None,
        highest_symbol=from_bytes(StringType(), upper[symbol_id]) if symbol_id in upper else None,
        earliest_ns=int(from_bytes(LongType(), lower[time_id])),
        latest_ns=int(from_bytes(LongType(), upper[time_id])),
    )


def _gaps_of(state: pa.Table) -> tuple[OpenGap, ...]:
    with_gaps = state.filter(pa.compute.greater(pa.compute.list_value_length(state.column("open_ranges")), 0))
    return tuple(
        OpenGap(row["key"][-2], row["key"][-1], gap["first"], gap["last"], row["tracker"])
        for row in with_gaps.select(["key", "open_ranges", "tracker"]).to_pylist()
        for gap in row["open_ranges"]
    )
