"""Which snapshots a table keeps: all of the newest, then one an hour, then one a day; so history is long and bounded.

    newest `snapshots_kept`                  all, whatever became of them
    older, within `snapshot_hours_kept`      the last of each hour
    older still, within `snapshot_days_kept` the last of each day, UTC
    always                                   what a branch or tag names, and the line from the current snapshot back to
                                             the newest that carries progress

A snapshot that a rollback has undone is kept among the newest only. Expiry is part of the commit that makes a snapshot
too many: it costs no commit of its own, and whoever loses the race expires nothing. An expired snapshot's children lose
their parent, as the library has it, so a rollback reaches as far back as the newest snapshots do; those kept for an
hour or a day are for reading.
"""

from collections.abc import Iterator
from itertools import pairwise

from pyiceberg.table.metadata import TableMetadata
from pyiceberg.table.snapshots import Snapshot

from k2.settings import StorageSettings
from k2.storage.progress import PROGRESS_PROPERTY
from k2.storage.snapshots import snapshot_number

PARENT_NUMBER_PROPERTY = "k2.parent-sequence-number"
"""In a snapshot's summary: the sequence number of its parent, which expiry would make it forget; 0 for the first."""
_MS_PER_HOUR = 3_600_000
_MS_PER_DAY = 24 * _MS_PER_HOUR


def ancestors(metadata: TableMetadata) -> Iterator[Snapshot]:
    """The current snapshot, its parent, and so on as far as they are kept."""
    snapshot = metadata.current_snapshot()
    by_id = {each.snapshot_id: each for each in metadata.snapshots}
    while snapshot is not None:
        yield snapshot
        parent_id = snapshot.parent_snapshot_id
        snapshot = by_id.get(parent_id) if parent_id is not None else None


def lineage(metadata: TableMetadata) -> list[Snapshot]:
    """The snapshots that led to the current one and are kept, oldest first; without those a rollback has undone.

    Expiry cuts the line of parents, so the gaps in its sequence numbers are what tells: a snapshot whose parent lies
    further back than the number before its own was made after everything between them was undone.
    """
    gaps = list(_gaps(list(ancestors(metadata))))
    if not gaps:
        return list(metadata.snapshots)
    return [
        snapshot
        for snapshot in metadata.snapshots
        if not any(before < snapshot_number(snapshot) < own for before, own in gaps)
    ]


def expired_snapshots(metadata: TableMetadata, settings: StorageSettings, now_ms: int) -> tuple[Snapshot, ...]:
    """The snapshots that go with the next commit, oldest first.

    Args:
        metadata: of the table before that commit; its snapshot counts as one of the newest.
        settings: how much is kept.
        now_ms: since epoch, UTC.
    """
    older = metadata.snapshots[: 1 - settings.snapshots_kept]
    if not older:
        return ()
    kept = {*_back_to_progress(metadata), *(reference.snapshot_id for reference in metadata.refs.values())}
    led_to_current = {snapshot.snapshot_id for snapshot in lineage(metadata)}
    taken: set[tuple[str, int]] = set()
    expired: list[Snapshot] = []
    for snapshot in reversed(older):
        if snapshot.snapshot_id in kept:
            continue
        slot = None
        if snapshot.snapshot_id in led_to_current:
            slot = _slot(snapshot.timestamp_ms, settings, now_ms)
        if slot is None or slot in taken:
            expired.append(snapshot)
        else:
            taken.add(slot)
    return tuple(reversed(expired))


def _gaps(line: list[Snapshot]) -> Iterator[tuple[int, int]]:
    """The numbers on both sides of each gap in the line, newest first."""
    numbers = [snapshot_number(snapshot) for snapshot in line]
    if line:
        # Only here is the parent gone, so that its number must have been noted.
        numbers.append(_parent_number(line[-1]))
    yield from ((before, own) for own, before in pairwise(numbers) if own - before > 1)


def _parent_number(snapshot: Snapshot) -> int:
    text = snapshot.summary.additional_properties.get(PARENT_NUMBER_PROPERTY) if snapshot.summary is not None else None
    return int(text) if text is not None else snapshot_number(snapshot) - 1


def _back_to_progress(metadata: TableMetadata) -> Iterator[int]:
    for snapshot in ancestors(metadata):
        yield snapshot.snapshot_id
        if snapshot.summary is not None and PROGRESS_PROPERTY in snapshot.summary.additional_properties:
            return


def _slot(timestamp_ms: int, settings: StorageSettings, now_ms: int) -> tuple[str, int] | None:
    age_ms = max(0, now_ms - timestamp_ms)
    if age_ms < settings.snapshot_hours_kept * _MS_PER_HOUR:
        return "hour", timestamp_ms // _MS_PER_HOUR
    if age_ms < settings.snapshot_days_kept * _MS_PER_DAY:
        return "day", timestamp_ms // _MS_PER_DAY
    return None
