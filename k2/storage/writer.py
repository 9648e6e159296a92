"""The only way rows enter a table: data files and state first, then one commit that compares before it swaps.

A commit moves partitions from the offset the writer started at to the next one. It holds only if the table still has
exactly those offsets, on exactly the snapshot that was read; otherwise nothing is written. Conflicts about other
partitions are retried after reading the table again, conflicts about this writer's partitions never are.
"""

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import pyarrow as pa
from pyiceberg.exceptions import CommitFailedException, CommitStateUnknownException
from pyiceberg.manifest import DataFile
from pyiceberg.table.update.snapshot import ExpireSnapshots
from sqlalchemy.exc import SQLAlchemyError

from k2.clock import Clock
from k2.errors import RetriesExhaustedError, StaleWriterError
from k2.observability.freshness import NewestRows
from k2.observability.metrics import Metrics
from k2.records.definition import RecordType
from k2.resilience.failures import translated
from k2.storage.audit import TransactionAuditLog
from k2.storage.catalog import IcebergCatalog
from k2.storage.checkpoints import CheckpointCache, checkpoint_path, path_digest, read_checkpoint, to_bytes
from k2.storage.expired_files import ExpiredFiles
from k2.storage.freshness import (
    NEWEST_PROPERTY,
    NewestTimes,
    carried_forward,
    newest_times,
    newest_to_json,
    table_newest,
)
from k2.storage.kept_metadata import AppendTransaction
from k2.storage.parquet import distinct_texts, split_by_partition, write_data_file
from k2.storage.progress import PROGRESS_PROPERTY, PartitionKey, PartitionProgress, Progress, Topics
from k2.storage.retention import PARENT_NUMBER_PROPERTY, expired_snapshots
from k2.storage.snapshots import snapshot_number, table_progress
from k2.storage.transaction_log import Attempt, TransactionLog

COMMIT_ATTEMPTS = 20


@dataclass(frozen=True, slots=True)
class Advance:
    """One partition's part in a commit.

    Attributes:
        expected_offset: what the table must hold now; None where it must not know the partition.
        next_offset: what it holds afterwards.
        state_path: the state checkpoint that belongs to `next_offset`.
    """

    expected_offset: int | None
    next_offset: int
    state_path: str


@dataclass(frozen=True, slots=True)
class WrittenFiles:
    """Data files that are in the warehouse but in no snapshot yet."""

    files: tuple[DataFile, ...]
    rows: int
    exchange: str
    asset_class: str
    newest: Mapping[str, NewestTimes] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Committed:
    """What a commit left behind."""

    snapshot_id: int
    sequence_number: int
    progress: Progress


NO_FILES = WrittenFiles((), 0, "none", "none")


class TableWriter:
    """Writes to one table; `cache` is given every state checkpoint and asked for it before the warehouse is."""

    def __init__(
        self,
        record_type: RecordType,
        catalog: IcebergCatalog,
        audit: TransactionAuditLog,
        metrics: Metrics,
        clock: Clock,
        new_id: Callable[[], str],
        cache: CheckpointCache | None = None,
    ) -> None:
        self.record_type = record_type
        self._cache = cache
        self._catalog = catalog
        self._log = TransactionLog(record_type.table, audit, metrics, clock)
        self._expired_files = ExpiredFiles(catalog.settings.deletion_delay_seconds, clock)
        self._clock = clock
        self._new_id = new_id
        self._table = catalog.load(record_type.table)
        # Written and in no commit yet: only these may ever be deleted.
        self._uncommitted: set[str] = set()

    def progress(self) -> Progress:
        """The table's progress as of now.

        Raises:
            UnavailableError: the catalog cannot be read.
            ProgressError: the progress cannot be understood.
        """
        self._table = self._catalog.load(self.record_type.table)
        self._log.settle(self._table.metadata)
        return table_progress(self._table.metadata)

    def newest_rows(self) -> tuple[NewestRows, ...]:
        """How new the table is as of now; may be called from any thread.

        Raises:
            UnavailableError: the catalog cannot be read.
            ProgressError: what the table says of it cannot be understood.
        """
        return table_newest(self._catalog.load(self.record_type.table).metadata)

    def recover_audit(self) -> int:
        """Append entries for snapshots whose writer died before it could log them; returns how many."""
        return len(self._log.recover(self._table.metadata))

    def write_rows(self, rows: pa.Table) -> WrittenFiles:
        """Write rows into data files, one for each day and exchange.

        Args:
            rows: the table's columns (strings may be dictionary-encoded), any number of rows.

        Raises:
            UnavailableError: the store refused.
        """
        if rows.num_rows == 0:
            return NO_FILES
        location = self._table.location()
        with self._store_errors():
            files = tuple(
                write_data_file(part, f"{location}/data/{self._new_id()}.parquet", self._table.io, self._table.metadata)
                for part in split_by_partition(rows)
            )
        self._uncommitted.update(file.file_path for file in files)
        exchange, asset_class = _only_value(rows, "exchange"), _only_value(rows, "asset_class")
        return WrittenFiles(files, rows.num_rows, exchange, asset_class, newest_times(rows))

    def write_state(self, state: pa.Table, key: PartitionKey, next_offset: int) -> str:
        """Write a partition's sequence state as of an offset and return its path; the file never changes again."""
        body = to_bytes(state)
        path = checkpoint_path(self._table.location(), key, next_offset, self._new_id(), body)
        with self._store_errors(), self._table.io.new_output(path).create(overwrite=True) as stream:
            stream.write(body)
        self._uncommitted.add(path)
        digest = path_digest(path)
        if self._cache is not None and digest is not None:
            self._cache.put(digest, body)
        return path

    def read_state(self, path: str) -> pa.Table:
        """Read a state checkpoint.

        Raises:
            StateLostError: it is gone or was altered.
            UnavailableError: the store does not answer.
        """
        with self._translated_errors():
            return read_checkpoint(self._table.io, path, self._cache, self._catalog.guard_store)

    def commit(
        self,
        written: WrittenFiles,
        advances: Mapping[PartitionKey, Advance],
        topics: Topics,
        batch: str,
    ) -> Committed:
        """Make the files visible and move the partitions, both or neither.

        Args:
            written: what `write_rows` returned.
            advances: the partitions this batch moves.
            topics: what the topics are now, recorded for the check at the next start.
            batch: name of the batch, to be found again in the audit log.

        Raises:
            StaleWriterError: another writer has moved one of these partitions; the files were removed.
            RetriesExhaustedError: other partitions' writers kept winning; the files were removed.
            UnavailableError: no answer; whether the commit holds is unknown until progress is read again, so the
                files stay.
        """
        for _ in range(COMMIT_ATTEMPTS):
            progress = self.progress()
            self._refuse_if_moved(progress, advances, written)
            try:
                return self._commit_once(written, advances, topics, batch, progress)
            except CommitFailedException:
                continue
        self._discard(written, advances)
        raise RetriesExhaustedError(
            f"{COMMIT_ATTEMPTS} commits to {self.record_type.table} lost against other writers: nothing was committed"
        )

    def _commit_once(
        self,
        written: WrittenFiles,
        advances: Mapping[PartitionKey, Advance],
        topics: Topics,
        batch: str,
        progress: Progress,
    ) -> Committed:
        attempt = Attempt(batch, written.rows, written.exchange, written.asset_class)
        before = self._table.metadata.current_snapshot()
        moved = {key: PartitionProgress(a.next_offset, a.state_path) for key, a in advances.items()}
        after = progress.advanced(moved, topics)
        newest = carried_forward(table_newest(self._table.metadata), written.newest, self._clock.wall_ns())
        properties = {
            PROGRESS_PROPERTY: after.to_json(),
            NEWEST_PROPERTY: newest_to_json(newest),
            PARENT_NUMBER_PROPERTY: str(snapshot_number(before) if before else 0),
            **attempt.properties(),
        }
        started_ns = self._clock.monotonic_ns()
        try:
            with self._catalog.guard_catalog(), self._catalog.guard_store():
                self._append(written.files, properties)
        except CommitFailedException as error:
            self._log.failed(attempt, before, error, self._milliseconds_since(started_ns), may_hold=False)
            raise
        except (SQLAlchemyError, OSError, CommitStateUnknownException) as error:
            self._forget(written, advances)
            self._log.failed(attempt, before, error, self._milliseconds_since(started_ns), may_hold=True)
            raise translated(
                error, f"no answer to a commit to {self.record_type.table}, progress must be read again"
            ) from error
        self._forget(written, advances)
        snapshot = self._table.metadata.current_snapshot()
        assert snapshot is not None
        self._log.committed(attempt, before, snapshot, self._milliseconds_since(started_ns))
        self._expired_files.sweep()
        return Committed(snapshot.snapshot_id, snapshot_number(snapshot), after)

    def _append(self, files: Sequence[DataFile], properties: dict[str, str]) -> None:
        """One commit: the files, and the end of the snapshots that are now too many."""
        before = self._table.metadata
        transaction = AppendTransaction(self._table)
        append = transaction.update_snapshot(snapshot_properties=properties).merge_append()
        for file in files:
            append.append_data_file(file)
        append.commit()
        now_ms = self._clock.wall_ns() // 1_000_000
        expired = expired_snapshots(before, self._catalog.settings, now_ms)
        if expired:
            ExpireSnapshots(transaction).by_ids([snapshot.snapshot_id for snapshot in expired]).commit()
        self._table = transaction.commit_transaction()
        if expired:
            self._expired_files.add(expired, before, self._table.metadata, self._table.io)

    def _milliseconds_since(self, started_ns: int) -> float:
        return (self._clock.monotonic_ns() - started_ns) / 1e6

    def _refuse_if_moved(
        self, progress: Progress, advances: Mapping[PartitionKey, Advance], written: WrittenFiles
    ) -> None:
        for key, advance in advances.items():
            now = progress.partitions.get(key)
            if (now.next_offset if now else None) != advance.expected_offset:
                self._discard(written, advances)
                raise StaleWriterError(
                    f"{key} of {self.record_type.table} stands at {now.next_offset if now else 'nothing'}, this writer "
                    f"started at {advance.expected_offset}: another writer was first, nothing was written"
                )

    def _discard(self, written: WrittenFiles, advances: Mapping[PartitionKey, Advance]) -> None:
        for path in [*(file.file_path for file in written.files), *(a.state_path for a in advances.values())]:
            if path in self._uncommitted:
                self._uncommitted.discard(path)
                with contextlib.suppress(OSError):
                    self._table.io.delete(path)

    def _forget(self, written: WrittenFiles, advances: Mapping[PartitionKey, Advance]) -> None:
        # The table may name these files now, so they are no longer ours to delete.
        self._uncommitted.difference_update(file.file_path for file in written.files)
        self._uncommitted.difference_update(advance.state_path for advance in advances.values())

    @contextlib.contextmanager
    def _store_errors(self) -> Iterator[None]:
        with self._translated_errors(), self._catalog.guard_store():
            yield

    @contextlib.contextmanager
    def _translated_errors(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            self._log.count_error(error)
            raise translated(
                error, f"the warehouse of {self.record_type.table} does not take or give a file"
            ) from error


def _only_value(rows: pa.Table, column: str) -> str:
    distinct = distinct_texts(rows.column(column))
    return distinct[0] if len(distinct) == 1 else "several"
