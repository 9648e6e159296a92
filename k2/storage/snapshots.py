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
    text = current_property(metadata, PROGRESS_PROPERTY)
    return Progress() if text is None else Progress.from_json(text)


def current_property(metadata: TableMetadata, name: str) -> str | None:
    """A property of the current snapshot's summary: that of its newest ancestor which carries it; None if none does."""
    snapshot = metadata.current_snapshot()
    while snapshot is not None:
        text: str | None = snapshot.summary.additional_properties.get(name) if snapshot.summary else None
        if text is not None:
            return text
        parent_id = snapshot.parent_snapshot_id
        snapshot = metadata.snapshot_by_id(parent_id) if parent_id is not None else None
    return None
