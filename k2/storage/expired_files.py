"""Deletes the files that only expired snapshots named, once no read that began before can still use them.

Those are manifest lists, manifests that were merged into others, and state checkpoints. Data files stay: what an append
has added is in every later snapshot too. The delay is counted from the commit that expired the snapshot, in the process
that made it; what a process leaves behind when it ends is nobody's, and costs room alone.
"""

import contextlib
import threading
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from pyiceberg.io import FileIO
from pyiceberg.table.metadata import TableMetadata
from pyiceberg.table.snapshots import Snapshot

from k2.clock import Clock
from k2.storage.progress import PROGRESS_PROPERTY, Progress
from k2.storage.retention import lineage

_NS_PER_SECOND = 10**9


@dataclass(frozen=True, slots=True)
class _Expired:
    """A snapshot to clear up after.

    Attributes:
        neighbours: the kept snapshots that share a manifest or a checkpoint with it if any kept one does; None if that
            cannot be told.
        state_paths: checkpoints that no kept snapshot names.
    """

    snapshot: Snapshot
    neighbours: tuple[Snapshot, ...] | None
    state_paths: tuple[str, ...]


class ExpiredFiles:
    """What is to be deleted, and when. `sweep` deletes in a thread of its own, so that no commit waits for it.

    Args:
        delay_seconds: how long after its expiry a snapshot's files are kept.
        clock: measures that.
    """

    def __init__(self, delay_seconds: float, clock: Clock) -> None:
        self._delay_ns = int(delay_seconds * _NS_PER_SECOND)
        self._clock = clock
        self._waiting: deque[tuple[int, FileIO, _Expired]] = deque()
        self._sweeping: threading.Thread | None = None

    def add(self, expired: Iterable[Snapshot], before: TableMetadata, after: TableMetadata, file_io: FileIO) -> None:
        """Note the files of snapshots that a commit has expired.

        Args:
            expired: the snapshots.
            before: the table's metadata that still had them.
            after: its metadata without them.
            file_io: the table's file access.
        """
        due_ns = self._clock.monotonic_ns() + self._delay_ns
        line = lineage(before)
        kept_ids = {snapshot.snapshot_id for snapshot in after.snapshots}
        for snapshot in expired:
            neighbours = _kept_neighbours(snapshot, line, kept_ids, after)
            naming = after.snapshots if neighbours is None else neighbours
            kept_progress = [_progress_text(each) for each in naming]
            paths = (place.state_path for place in Progress.from_json(_progress_text(snapshot)).partitions.values())
            unnamed = [path for path in paths if path and not any(path in text for text in kept_progress)]
            self._waiting.append((due_ns, file_io, _Expired(snapshot, neighbours, tuple(unnamed))))

    def sweep(self) -> None:
        """Delete what is due, unless that is being done already."""
        is_due = bool(self._waiting) and self._waiting[0][0] <= self._clock.monotonic_ns()
        if is_due and (self._sweeping is None or not self._sweeping.is_alive()):
            self._sweeping = threading.Thread(target=self._delete_due, name="expired-files", daemon=True)
            self._sweeping.start()

    def wait(self) -> None:
        """Wait until a sweep that has begun is done."""
        if self._sweeping is not None:
            self._sweeping.join()

    def _delete_due(self) -> None:
        now_ns = self._clock.monotonic_ns()
        while self._waiting and self._waiting[0][0] <= now_ns:
            _, file_io, expired = self._waiting.popleft()
            # Nothing depends on it: what cannot be deleted now is left.
            with contextlib.suppress(OSError):
                _delete(expired, file_io)


def _delete(expired: _Expired, file_io: FileIO) -> None:
    paths = [expired.snapshot.manifest_list, *expired.state_paths]
    if expired.neighbours is not None:
        shared = {manifest.manifest_path for one in expired.neighbours for manifest in one.manifests(file_io)}
        own = [manifest.manifest_path for manifest in expired.snapshot.manifests(file_io)]
        paths = [*(path for path in own if path not in shared), *paths]
    _delete_each(file_io.delete, paths)


def _delete_each(delete: Callable[[str], None], paths: Sequence[str]) -> None:
    for path in paths:
        with contextlib.suppress(OSError):
            delete(path)


def _kept_neighbours(
    snapshot: Snapshot, line: Sequence[Snapshot], kept_ids: set[int], after: TableMetadata
) -> tuple[Snapshot, ...] | None:
    """The kept snapshots that name all that this one shares with any kept one.

    A file enters a line of snapshots once and leaves it once, so on the line these are the nearest kept ones on both
    sides. What a rollback has undone and is still kept left the line further on than this one is; what a branch or
    a tag names is asked as well.
    """
    place = next((place for place, each in enumerate(line) if each.snapshot_id == snapshot.snapshot_id), None)
    if place is None:
        return None
    older = [each for each in line[:place] if each.snapshot_id in kept_ids][-1:]
    newer = [each for each in line[place:] if each.snapshot_id in kept_ids][:1]
    named = {reference.snapshot_id for reference in after.refs.values()}
    return (*older, *newer, *(each for each in after.snapshots if each.snapshot_id in named))


def _progress_text(snapshot: Snapshot) -> str:
    summary = snapshot.summary
    text = summary.additional_properties.get(PROGRESS_PROPERTY) if summary is not None else None
    return text or Progress().to_json()
