"""Since when a table has not been compacted."""

from pyiceberg.partitioning import UNPARTITIONED_PARTITION_SPEC
from pyiceberg.schema import Schema
from pyiceberg.table.metadata import TableMetadata, new_table_metadata
from pyiceberg.table.snapshots import Operation, Snapshot, SnapshotLogEntry, Summary
from pyiceberg.table.sorting import UNSORTED_SORT_ORDER

from k2.storage.compaction_age import uncompacted_since_ns


def table(*snapshots: tuple[int, Operation], log: tuple[int, ...] = ()) -> TableMetadata:
    empty = new_table_metadata(Schema(), UNPARTITIONED_PARTITION_SPEC, UNSORTED_SORT_ORDER, "file:///x")
    made = [
        Snapshot.model_validate(
            {
                "snapshot-id": number,
                "timestamp-ms": time_ms,
                "manifest-list": "x",
                "summary": Summary(operation=operation),
            }
        )
        for number, (time_ms, operation) in enumerate(snapshots, start=1)
    ]
    entries = [
        SnapshotLogEntry.model_validate({"snapshot-id": number, "timestamp-ms": time_ms})
        for number, time_ms in enumerate(log, 1)
    ]
    return empty.model_copy(update={"snapshots": made, "snapshot_log": entries})


def test_the_last_replacement_counts_and_not_what_was_appended_after_it() -> None:
    history = table((10, Operation.APPEND), (20, Operation.REPLACE), (30, Operation.REPLACE), (40, Operation.APPEND))
    assert uncompacted_since_ns(history) == 30_000_000


def test_a_table_that_was_never_compacted_counts_from_its_first_snapshot() -> None:
    assert uncompacted_since_ns(table((10, Operation.APPEND), (20, Operation.APPEND))) == 10_000_000


def test_the_log_tells_of_snapshots_that_have_expired() -> None:
    assert uncompacted_since_ns(table((20, Operation.APPEND), log=(5, 20))) == 5_000_000


def test_a_table_without_snapshots_has_nothing_to_compact() -> None:
    assert uncompacted_since_ns(table()) is None
