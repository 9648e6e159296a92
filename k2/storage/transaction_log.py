"""What is told of every attempt to change a table: an audit entry, a log line, and the metrics.

An entry that could not be written after its commit (a crash, a full disk, an answer that was cut off) is recovered from
the snapshot itself, which carries everything but the duration.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass

import structlog
from pyiceberg.table.metadata import TableMetadata
from pyiceberg.table.snapshots import Snapshot

from k2.clock import Clock
from k2.observability.metrics import Metrics
from k2.resilience.failures import text_of
from k2.storage.audit import FAILED, SUCCESS, AuditEntry, TransactionAuditLog
from k2.storage.retention import PARENT_NUMBER_PROPERTY
from k2.storage.snapshots import snapshot_number

BATCH_PROPERTY = "k2.batch"
EXCHANGE_PROPERTY = "k2.exchange"
ASSET_CLASS_PROPERTY = "k2.asset-class"
UNKNOWN = "unknown"

_log = structlog.get_logger("k2.storage")


@dataclass(frozen=True, slots=True)
class Attempt:
    """One attempt to change a table.

    Attributes:
        batch: its name.
        rows: how many rows it brings.
        exchange: of the rows; "several" or "none" where it is not one.
        asset_class: the same.
    """

    batch: str
    rows: int
    exchange: str
    asset_class: str

    def properties(self) -> dict[str, str]:
        """For the snapshot's summary: what an entry needs and the library does not note."""
        return {
            BATCH_PROPERTY: self.batch,
            EXCHANGE_PROPERTY: self.exchange,
            ASSET_CLASS_PROPERTY: self.asset_class,
        }


class TransactionLog:
    """The log of one table, as one writer keeps it."""

    def __init__(self, table: str, audit: TransactionAuditLog, metrics: Metrics, clock: Clock) -> None:
        self._table = table
        self._audit = audit
        self._metrics = metrics
        self._clock = clock
        self._unlogged = False
        self._undecided: Attempt | None = None

    def committed(self, attempt: Attempt, before: Snapshot | None, after: Snapshot, duration_ms: float) -> None:
        """A commit that holds.

        Raises:
            UnavailableError: the audit log does not take the entry; `settle` writes it later.
        """
        self._count(attempt)
        self._metrics.observe("k2_iceberg_transaction_seconds", duration_ms / 1e3, {"table": self._table})
        entry = entry_of(self._table, before, after, duration_ms=round(duration_ms, 2))
        _log.info("transaction committed", **_said(entry))
        self._unlogged = True
        self._audit.append(entry)
        self._unlogged = False

    def failed(
        self, attempt: Attempt, before: Snapshot | None, error: Exception, duration_ms: float, *, may_hold: bool
    ) -> None:
        """An attempt that ended in an error.

        Args:
            attempt: what was tried.
            before: the state it was tried from.
            error: the library's.
            duration_ms: until the error came.
            may_hold: whether the commit may have been carried out all the same.
        """
        if may_hold:
            self._unlogged, self._undecided = True, attempt
        self._metrics.increment("iceberg_transactions_total", {"status": FAILED, **self._labels(attempt)})
        self.count_error(error)
        entry = AuditEntry(
            wall_ns=self._clock.wall_ns(),
            table=self._table,
            status=FAILED,
            exchange=attempt.exchange,
            asset_class=attempt.asset_class,
            record_count=attempt.rows,
            snapshot_id_before=before.snapshot_id if before else None,
            snapshot_id_after=None,
            sequence_number_before=snapshot_number(before) if before else None,
            sequence_number_after=None,
            transaction_duration_ms=round(duration_ms, 2),
            batch=attempt.batch,
            error=text_of(error),
            error_type=type(error).__name__,
        )
        _log.error("transaction failed", **_said(entry))
        self._audit.append(entry)

    def count_error(self, error: Exception) -> None:
        """Count a write or a commit that failed."""
        labels = {"table": self._table, "error": type(error).__name__}
        self._metrics.increment("k2_iceberg_write_errors_total", labels)

    def settle(self, metadata: TableMetadata) -> None:
        """Write what is missing since the last attempt, of which it was not known whether it holds, or could not be.

        Args:
            metadata: of the table, read after the attempt.
        """
        if not self._unlogged:
            return
        for snapshot in self.recover(metadata):
            if self._undecided is not None and _summary(snapshot).get(BATCH_PROPERTY) == self._undecided.batch:
                self._count(self._undecided)
        self._unlogged, self._undecided = False, None

    def recover(self, metadata: TableMetadata) -> list[Snapshot]:
        """Append entries for snapshots that have none, and return those snapshots."""
        known = {entry.snapshot_id_after for entry in self._audit.entries(self._table)}
        missing = [snapshot for snapshot in metadata.snapshots if snapshot.snapshot_id not in known]
        for snapshot in missing:
            parent_id = snapshot.parent_snapshot_id
            parent = metadata.snapshot_by_id(parent_id) if parent_id is not None else None
            self._audit.append(entry_of(self._table, parent, snapshot, recovered=True))
        return missing

    def _count(self, attempt: Attempt) -> None:
        labels = self._labels(attempt)
        self._metrics.increment("iceberg_transactions_total", {"status": SUCCESS, **labels})
        self._metrics.observe("iceberg_transaction_rows", attempt.rows, labels)

    def _labels(self, attempt: Attempt) -> dict[str, str]:
        return {"exchange": attempt.exchange, "asset_class": attempt.asset_class, "table": self._table}


def entry_of(
    table: str,
    before: Snapshot | None,
    after: Snapshot,
    *,
    duration_ms: float | None = None,
    recovered: bool = False,
) -> AuditEntry:
    """The entry that belongs to a snapshot: all of it but the duration follows from the snapshot and its parent."""
    summary = _summary(after)
    number_before = snapshot_number(before) if before else int(summary.get(PARENT_NUMBER_PROPERTY, 0)) or None
    added_records = int(summary.get("added-records", 0))
    return AuditEntry(
        wall_ns=after.timestamp_ms * 1_000_000,
        table=table,
        status=SUCCESS,
        exchange=summary.get(EXCHANGE_PROPERTY, UNKNOWN),
        asset_class=summary.get(ASSET_CLASS_PROPERTY, UNKNOWN),
        record_count=added_records,
        snapshot_id_before=before.snapshot_id if before else None,
        snapshot_id_after=after.snapshot_id,
        sequence_number_before=number_before,
        sequence_number_after=snapshot_number(after),
        transaction_duration_ms=duration_ms,
        total_records=int(summary.get("total-records", 0)),
        total_data_files=int(summary.get("total-data-files", 0)),
        added_data_files=int(summary.get("added-data-files", 0)),
        added_records=added_records,
        added_files_size_bytes=int(summary.get("added-files-size", 0)),
        batch=summary.get(BATCH_PROPERTY),
        recovered=recovered,
    )


def _summary(snapshot: Snapshot) -> Mapping[str, str]:
    return snapshot.summary.additional_properties if snapshot.summary else {}


def _said(entry: AuditEntry) -> dict[str, object]:
    return {name: value for name, value in asdict(entry).items() if value is not None and name != "recovered"}
