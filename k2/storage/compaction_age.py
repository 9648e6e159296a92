"""Since when a table's files have not been compacted, from its own history."""

from pyiceberg.table.metadata import TableMetadata
from pyiceberg.table.snapshots import Operation

_NS_PER_MS = 1_000_000


def uncompacted_since_ns(metadata: TableMetadata) -> int | None:
    """When files were last replaced by fewer, ns since the Unix epoch, UTC.

    Of a table that never was compacted: the first moment its history still tells of. None for one without snapshots.
    """
    compacted = [
        snapshot.timestamp_ms
        for snapshot in metadata.snapshots
        if snapshot.summary is not None and snapshot.summary.operation is Operation.REPLACE
    ]
    told = [entry.timestamp_ms for entry in metadata.snapshot_log] or [one.timestamp_ms for one in metadata.snapshots]
    times = [max(compacted)] if compacted else told
    return min(times) * _NS_PER_MS if times else None
