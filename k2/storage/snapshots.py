"""Reading a table's history: its progress, and when which snapshot held."""

from pyiceberg.table.metadata import TableMetadata
from pyiceberg.table.snapshots import Snapshot

from k2.storage.progress import PROGRESS_PROPERTY, Progress


def snapshot_number(snapshot: Snapshot) -> int:
    """The snapshot's sequence number (0 in tables of the first format)."""
    return int(snapshot.sequence_number or 0)


def table_progress(metadata: TableMetadata) -> Progress:
    """Progress as of the current snapshot: that of its newest ancestor which carries one.

    Raises:
        ProgressError: the progress cannot be understood.
    """
    snapshot = metadata.current_snapshot()
    while snapshot is not None:
        text = snapshot.summary.additional_properties.get(PROGRESS_PROPERTY) if snapshot.summary else None
        if text is not None:
            return Progress.from_json(text)
        parent_id = snapshot.parent_snapshot_id
        snapshot = metadata.snapshot_by_id(parent_id) if parent_id is not None else None
    return Progress()
