"""The transaction audit log: one JSON line for every attempt to change a table, synced to disk before it counts.

Each line holds the digest of the line before it, so that a line which was altered or taken out later shows, even after
the snapshot it tells of has expired. What a crash kept from being written is recovered from the snapshot itself and
marked so.
"""

import fcntl
import hashlib
import json
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, BinaryIO

from k2.errors import UnavailableError

SUCCESS, FAILED, ROLLED_BACK = "success", "failed", "rolled_back"
_PREVIOUS = "previous_line"
_DIGEST_CHARACTERS = 32
_READ_BACK_BYTES = 65_536


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """One attempt to change a table.

    On success the `_after` fields are the new snapshot's; `transaction_duration_ms` is None in a recovered entry, for
    nobody was there to measure it. On failure the `_after` fields are None and `error`, `error_type` say why. A table
    that was rolled back has the snapshot it went back to as its state after.
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


@dataclass(frozen=True, slots=True)
class AuditLine:
    """One line of the file.

    Attributes:
        number: counted from 1.
        entry: what it tells; None where it is no entry.
        is_torn: it is the beginning of one, as a crash leaves it; writers go on below it.
        follows_previous: whether the digest in it is that of the line before; None where it holds none.
    """

    number: int
    entry: AuditEntry | None
    is_torn: bool
    follows_previous: bool | None


class TransactionAuditLog:
    """Append-only JSONL file shared by every writer of a warehouse.

    Raises:
        UnavailableError: the file cannot be written or read.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def append(self, entry: AuditEntry) -> None:
        """Write one entry and wait until it is on disk."""
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("ab+") as file:
                fcntl.flock(file, fcntl.LOCK_EX)
                last, is_torn = _last_line(file)
                document = {**asdict(entry), **({_PREVIOUS: _digest(last)} if last else {})}
                line = json.dumps(document, separators=(",", ":")).encode() + b"\n"
                file.write(b"\n" + line if is_torn else line)
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise UnavailableError(f"the audit log {self.path} cannot be written: {error.strerror}") from error

    def entries(self, table: str | None = None) -> list[AuditEntry]:
        """All entries in order, one for each committed snapshot; a line cut off by a crash is left out."""
        found: list[AuditEntry] = []
        seen: set[tuple[str, int | None]] = set()
        for line in self.lines():
            entry = line.entry
            if entry is None or (table is not None and entry.table != table):
                continue
            if entry.status == SUCCESS:
                if (entry.table, entry.snapshot_id_after) in seen:
                    continue
                seen.add((entry.table, entry.snapshot_id_after))
            found.append(entry)
        return found

    def lines(self) -> list[AuditLine]:
        """Every line that is not empty, in order, whatever it holds."""
        try:
            body = self.path.read_bytes()
        except FileNotFoundError:
            return []
        except OSError as error:
            raise UnavailableError(f"the audit log {self.path} cannot be read: {error.strerror}") from error
        return list(_lines(body))


def _lines(body: bytes) -> Iterator[AuditLine]:
    previous = b""
    for number, line in enumerate(body.split(b"\n"), start=1):
        if not line.strip():
            continue
        document = _document(line)
        # A writer begins a line of its own below one that has no end, so half a line may stand anywhere.
        is_torn = line.startswith(b"{") and not document
        stated = document.pop(_PREVIOUS, None)
        follows = None if stated is None else bool(previous) and stated == _digest(previous)
        entry = _entry(document)
        yield AuditLine(number, entry, is_torn, follows)
        previous = line


def _document(line: bytes) -> dict[str, Any]:
    try:
        document = json.loads(line)
    except ValueError:
        return {}
    return document if isinstance(document, dict) else {}


def _entry(document: dict[str, Any]) -> AuditEntry | None:
    try:
        return AuditEntry(**document)
    except TypeError:
        return None


def _digest(line: bytes) -> str:
    return hashlib.sha256(line).hexdigest()[:_DIGEST_CHARACTERS]


def _last_line(file: BinaryIO) -> tuple[bytes, bool]:
    """The last line without its end, empty if there is none, and whether it has no end."""
    descriptor = file.fileno()
    size = os.fstat(descriptor).st_size
    # Entries are far shorter than this.
    tail = os.pread(descriptor, _READ_BACK_BYTES, max(0, size - _READ_BACK_BYTES))
    return tail.rstrip(b"\n").rpartition(b"\n")[2], bool(tail) and not tail.endswith(b"\n")
