"""What was when: the snapshots a table keeps, and which of them was current at a time."""

from pyiceberg.table.metadata import TableMetadata, TableMetadataV1
from pyiceberg.table.snapshots import Snapshot

from k2.errors import UsageError
from k2.storage.plan import TableSnapshot
from k2.storage.snapshots import snapshot_number


def table_snapshots(metadata: TableMetadata) -> tuple[TableSnapshot, ...]:
    """Every snapshot the table keeps, oldest first."""
    current = metadata.current_snapshot()
    return tuple(
        TableSnapshot(
            snapshot_id=snapshot.snapshot_id,
            parent_id=snapshot.parent_snapshot_id,
            sequence_number=snapshot_number(snapshot),
            committed_time_ms=snapshot.timestamp_ms,
            operation=snapshot.summary.operation.value if snapshot.summary else "append",
            added_records=_count(snapshot, "added-records") or 0,
            total_records=_count(snapshot, "total-records"),
            is_current=current is not None and snapshot.snapshot_id == current.snapshot_id,
        )
        for snapshot in sorted(metadata.snapshots, key=snapshot_number)
    )


def snapshot_as_of(metadata: TableMetadata, time_ms: int, table: str) -> Snapshot | None:
    """The snapshot that was current at a time; None where the table had no snapshot yet.

    A rollback makes an older snapshot current again, so this is a question to the table's log and not to the times of
    its snapshots. Where a snapshot that has expired may have been the one, there is no answer.

    Args:
        metadata: the table's.
        time_ms: milliseconds since the epoch, UTC.
        table: its name, for the error.

    Raises:
        UsageError: the snapshot of that time has expired.
    """
    log = metadata.snapshot_log
    numbers = {snapshot.snapshot_id: snapshot_number(snapshot) for snapshot in metadata.snapshots}
    kept = set(numbers.values())
    reached = sum(entry.timestamp_ms <= time_ms for entry in log)
    if reached == len(log) and log:
        return metadata.current_snapshot()
    last_seen = max((numbers.get(entry.snapshot_id, 0) for entry in log[:reached]), default=0)
    later = [numbers.get(entry.snapshot_id, 0) for entry in log[reached:]]
    next_new = min((number for number in later if number > last_seen), default=_last_number(metadata) + 1)
    if log and any(number not in kept for number in range(last_seen + 1, next_new)):
        raise UsageError(
            f"table {table} keeps no snapshot of that time: it has expired; `k2 query snapshots` lists those it keeps"
        )
    return metadata.snapshot_by_id(log[reached - 1].snapshot_id) if reached else None


def _last_number(metadata: TableMetadata) -> int:
    return 0 if isinstance(metadata, TableMetadataV1) else metadata.last_sequence_number


def _count(snapshot: Snapshot, name: str) -> int | None:
    text = snapshot.summary.additional_properties.get(name) if snapshot.summary else None
    return None if text is None else int(text)
