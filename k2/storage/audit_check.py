"""Reconciles the audit log with a table's own history: what is missing, foreign, altered, torn.

A snapshot that has expired can no longer be compared; its entry is held to its place between its neighbours, and to the
digest that the next line has of it.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from pyiceberg.table import Table
from pyiceberg.table.metadata import TableMetadata
from pyiceberg.table.snapshots import Snapshot

from k2.storage.audit import SUCCESS, AuditEntry, AuditLine
from k2.storage.progress import PROGRESS_PROPERTY
from k2.storage.snapshots import snapshot_number
from k2.storage.transaction_log import UNKNOWN, entry_of

_COMPARED = (
    "wall_ns",
    "exchange",
    "asset_class",
    "record_count",
    "snapshot_id_before",
    "snapshot_id_after",
    "sequence_number_before",
    "sequence_number_after",
    "total_records",
    "total_data_files",
    "added_data_files",
    "added_records",
    "added_files_size_bytes",
    "batch",
)
_RECOVER = "write it from the snapshot with `k2 audit verify --recover`; a consumer that starts does the same"
_GOES_ON = "nothing: the next entry begins a line of its own; where a commit belongs to it, that is named as missing"
_RESTORE = "put the line back from a backup of the log; the table is not touched by it"
_ASK = "find out who wrote it: K2's consumers and `k2 rollback` are the only ones that should change this table"


@dataclass(frozen=True, slots=True)
class AuditFinding:
    """One disagreement.

    Attributes:
        kind: missing, foreign_snapshot, foreign_entry, repeated, altered, lost, torn or damaged.
        table: of which table; None where a line does not say.
        line: of the log, counted from 1; None where there is none.
        snapshot_id: which snapshot it is about, if about one.
        detail: what is wrong.
        remedy: what to do.
        is_recoverable: whether `recover` heals it.
    """

    kind: str
    table: str | None
    line: int | None
    snapshot_id: int | None
    detail: str
    remedy: str
    is_recoverable: bool = False


def check_lines(lines: Sequence[AuditLine]) -> Iterator[AuditFinding]:
    """What is wrong with the file itself, whatever it tells of."""
    for line in lines:
        if line.is_torn:
            # Those that a writer has gone on below are told by their snapshots, which are missing or were recovered.
            if line is not lines[-1]:
                continue
            detail = "the line has no end, as a crash leaves it while it is written"
            yield AuditFinding("torn", None, line.number, None, detail, _GOES_ON, is_recoverable=True)
        elif line.entry is None:
            yield AuditFinding("damaged", None, line.number, None, "the line is no entry", _RESTORE)
        if line.follows_previous is False:
            detail = "the line before it is not the one that was there when this line was written"
            table = line.entry.table if line.entry is not None else None
            yield AuditFinding("altered", table, line.number, None, detail, _RESTORE)


def check_table(name: str, table: Table, lines: Sequence[AuditLine]) -> Iterator[AuditFinding]:
    """Where the log and the history of one table disagree."""
    metadata = table.metadata
    told: dict[int, tuple[int, AuditEntry]] = {}
    for line in lines:
        entry = line.entry
        if entry is None or entry.table != name or entry.status != SUCCESS or entry.snapshot_id_after is None:
            continue
        first = told.setdefault(entry.snapshot_id_after, (line.number, entry))
        if first[1] is not entry and not entry.recovered and not first[1].recovered:
            detail = f"line {first[0]} tells of the same snapshot"
            yield AuditFinding("repeated", name, line.number, entry.snapshot_id_after, detail, _RESTORE)
    yield from _missing(name, metadata, told)
    yield from _altered(name, metadata, told)
    yield from _without_snapshot(name, metadata, told)


def _missing(name: str, metadata: TableMetadata, told: Mapping[int, object]) -> Iterator[AuditFinding]:
    for snapshot in metadata.snapshots:
        if snapshot.snapshot_id in told:
            continue
        if snapshot.summary is not None and PROGRESS_PROPERTY in snapshot.summary.additional_properties:
            detail = "no entry tells of this commit: its writer ended between the commit and the entry"
            yield AuditFinding("missing", name, None, snapshot.snapshot_id, detail, _RECOVER, is_recoverable=True)
        else:
            detail = "no entry tells of this snapshot, and K2 did not make it"
            yield AuditFinding("foreign_snapshot", name, None, snapshot.snapshot_id, detail, _ASK, is_recoverable=True)


def _altered(name: str, metadata: TableMetadata, told: Mapping[int, tuple[int, AuditEntry]]) -> Iterator[AuditFinding]:
    known = {snapshot.snapshot_id: snapshot for snapshot in metadata.snapshots}
    for snapshot_id, (number, entry) in told.items():
        snapshot = known.get(snapshot_id)
        if snapshot is None:
            continue
        expected = entry_of(name, _parent(snapshot, known), snapshot)
        wrong = [
            f"{field} is {getattr(entry, field)!r}, not {getattr(expected, field)!r}"
            for field in _COMPARED
            if _differs(field, entry, expected, snapshot)
        ]
        if wrong:
            yield AuditFinding("altered", name, number, snapshot_id, ", ".join(wrong), _RESTORE)


def _differs(field: str, entry: AuditEntry, expected: AuditEntry, snapshot: Snapshot) -> bool:
    stated, wanted = getattr(entry, field), getattr(expected, field)
    if field in ("exchange", "asset_class") and UNKNOWN in (stated, wanted):
        # Snapshots of the first versions do not name them.
        return False
    if field == "snapshot_id_before" and snapshot.parent_snapshot_id is None:
        # A parent that has expired is forgotten, so what the entry says of it is all there is.
        return (stated is None) != (expected.sequence_number_before is None)
    return bool(stated != wanted)


def _without_snapshot(
    name: str, metadata: TableMetadata, told: Mapping[int, tuple[int, AuditEntry]]
) -> Iterator[AuditFinding]:
    """Entries of snapshots the table does not have: they have expired, or never were."""
    kept = {snapshot.snapshot_id for snapshot in metadata.snapshots}
    taken = {snapshot_number(snapshot): snapshot.snapshot_id for snapshot in metadata.snapshots}
    newest = max(taken, default=0)
    for snapshot_id, (number, entry) in told.items():
        before, own = entry.snapshot_id_before, entry.sequence_number_after or 0
        if before is not None and before not in told and before not in kept:
            detail = f"no entry tells of snapshot {before}, the state before, and it has expired"
            yield AuditFinding("lost", name, number, before, detail, _RESTORE)
        if snapshot_id in kept:
            continue
        if own in taken or own > newest or own == 0:
            detail = f"the table never had this snapshot: number {own} is {taken.get(own, 'still to come')}"
            yield AuditFinding("foreign_entry", name, number, snapshot_id, detail, _ASK)


def _parent(snapshot: Snapshot, known: Mapping[int, Snapshot]) -> Snapshot | None:
    return known.get(snapshot.parent_snapshot_id) if snapshot.parent_snapshot_id is not None else None
