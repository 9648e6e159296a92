"""The transaction audit log: one JSON line for every attempt to change a table, synced to disk before it counts.

It answers which snapshot held at a time, and is reconciled with the table's own history: an entry that a crash kept
from being written is recovered from the snapshot itself and marked so.
"""

import fcntl
import json
import os
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

from k2.errors import UnavailableError


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """One transaction, successful or not.

    `transaction_duration_ms` is None in a recovered entry: nobody was there to measure it. On failure the `_after`
    fields are None and `error`, `error_type` say why.
    """

    wall_ns: int
    table: str
    status: str
    exchange: str
    asset_class: str
    record_count: int
    snapshot_id_before: int | None
    snapshot_id_after: int | None
    sequence_number_before: int | None
    sequence_number_after: int | None
    transaction_duration_ms: float | None
    total_records: int | None = None
    total_data_files: int | None = None
    added_data_files: int | None = None
    added_records: int | None = None
    added_files_size_bytes: int | None = None
    batch: str | None = None
    error: str | None = None
    error_type: str | None = None
    recovered: bool = False


class TransactionAuditLog:
    """Append-only JSONL file shared by every writer of a warehouse.

    Raises:
        UnavailableError: the file cannot be written or read.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def append(self, entry: AuditEntry) -> None:
        """Write one entry and wait until it is on disk."""
        line = json.dumps(asdict(entry), separators=(",", ":")).encode() + b"\n"
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            with self._path.open("ab+") as file:
                fcntl.flock(file, fcntl.LOCK_EX)
                if _ends_mid_line(file.fileno()):
                    line = b"\n" + line
                file.write(line)
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise UnavailableError(f"the audit log {self._path} cannot be written: {error.strerror}") from error

    def entries(self, table: str | None = None) -> list[AuditEntry]:
        """All entries in order, one for each committed snapshot; a line cut off by a crash is left out."""
        try:
            lines = self._path.read_bytes().splitlines()
        except FileNotFoundError:
            return []
        except OSError as error:
            raise UnavailableError(f"the audit log {self._path} cannot be read: {error.strerror}") from error
        return list(_parsed(lines, table))


def _parsed(lines: Iterable[bytes], table: str | None) -> Iterable[AuditEntry]:
    seen: set[tuple[str, int]] = set()
    for line in lines:
        try:
            entry = AuditEntry(**json.loads(line))
        except (ValueError, TypeError):
            continue
        if table is not None and entry.table != table:
            continue
        if entry.snapshot_id_after is not None:
            if (entry.table, entry.snapshot_id_after) in seen:
                continue
            seen.add((entry.table, entry.snapshot_id_after))
        yield entry


def _ends_mid_line(descriptor: int) -> bool:
    size = os.fstat(descriptor).st_size
    return size > 0 and os.pread(descriptor, 1, size - 1) != b"\n"
