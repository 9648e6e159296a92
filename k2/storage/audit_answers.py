"""What the audit log answers: which snapshot a table had at a time, and which one brought a batch or a message.

The log is followed from its first line: a success puts its snapshot on top of the state before it, a rollback goes back
to a snapshot. So what a rollback has undone is told from what still holds, also for snapshots that have expired since.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from k2.storage.audit import FAILED, ROLLED_BACK, AuditEntry

_MOVED = re.compile(r"(?P<place>\S+) to (?P<next_offset>\d+)")


@dataclass(frozen=True, slots=True)
class BatchOfTable:
    """A batch the table took in.

    Attributes:
        entry: of the commit that brought it.
        is_undone: a later rollback has taken it out again.
    """

    entry: AuditEntry
    is_undone: bool


def entry_at(entries: Iterable[AuditEntry], time_ns: int) -> AuditEntry | None:
    """The entry of the snapshot that was current at a time; None before the first.

    Args:
        entries: of one table, in the order of the log.
        time_ns: ns since the epoch, UTC.
    """
    line = _line([entry for entry in entries if entry.wall_ns <= time_ns])
    return line[-1] if line else None


def find_batch(entries: Sequence[AuditEntry], name: str) -> BatchOfTable | None:
    """The commit of the batch of this name: the one that holds, or else the last that was undone."""
    return _newest(entries, [entry for entry in entries if entry.batch == name])


def find_message(entries: Sequence[AuditEntry], topic: str, partition: int, offset: int) -> BatchOfTable | None:
    """The commit that took in a message of Kafka.

    Args:
        entries: of one table, in the order of the log.
        topic: of the message.
        partition: of the message.
        offset: of the message.
    """
    taken: list[AuditEntry] = []
    reached = 0
    for entry in entries:
        if entry.status == ROLLED_BACK:
            reached = 0
        for next_offset in _next_offsets(entry, f"{topic}/{partition}"):
            # The first commit that went past it brought it; after a rollback another one did again.
            if reached <= offset < next_offset:
                taken.append(entry)
            reached = next_offset
    return _newest(entries, taken)


def _newest(entries: Sequence[AuditEntry], found: Sequence[AuditEntry]) -> BatchOfTable | None:
    held = {entry.snapshot_id_after for entry in _line(entries)}
    committed = [entry for entry in found if entry.status != FAILED]
    holding = [entry for entry in committed if entry.snapshot_id_after in held]
    if holding:
        return BatchOfTable(holding[0], is_undone=False)
    return BatchOfTable(committed[-1], is_undone=True) if committed else None


def _line(entries: Iterable[AuditEntry]) -> list[AuditEntry]:
    """The entries whose snapshots led to the current one, in order."""
    line: list[AuditEntry] = []
    for entry in sorted(entries, key=lambda entry: entry.wall_ns):
        if entry.status == FAILED:
            continue
        target = entry.snapshot_id_after if entry.status == ROLLED_BACK else entry.snapshot_id_before
        places = [place for place, each in enumerate(line) if each.snapshot_id_after == target]
        if places:
            del line[places[-1] + 1 :]
        if entry.status != ROLLED_BACK:
            line.append(entry)
    return line


def _next_offsets(entry: AuditEntry, place: str) -> Iterator[int]:
    if entry.status == FAILED or entry.batch is None:
        return
    for moved in _MOVED.finditer(entry.batch):
        if moved["place"].endswith(f"/{place}"):
            yield int(moved["next_offset"])
