"""A copy of the tables in a folder, and the tables made from it again: rows, history, progress and state.

    FOLDER/files/market_data/trades_v2/...   every file of the warehouse that a table names, under its path there
    FOLDER/backups/20261122T014500Z.json     one backup: the tables as of then, and what each file is

Files of a table never change once written, so a backup copies those that the folder does not have yet, and any number
of backups share them. It is taken while consumers write: what a snapshot names is deleted 15 minutes after the
snapshot has expired (`storage.deletion_delay_seconds`), not sooner.

Restoring first proves that all of a backup is whole, and changes nothing where it is not.
"""

import hashlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pyiceberg.table import Table
from pyiceberg.table.snapshots import Snapshot

from k2.clock import Clock
from k2.errors import RefusedError, UsageError
from k2.resilience.failures import translated
from k2.storage.catalog import IcebergCatalog
from k2.storage.progress import PROGRESS_PROPERTY, Progress

FORMAT = 1
_FILES, _BACKUPS = "files", "backups"
_CHUNK_BYTES = 1 << 20
_COPIES_AT_ONCE = 8
"""Most files are small: what they cost in an object store is the way there and back."""


@dataclass(frozen=True, slots=True)
class TableBackup:
    """A table as of a backup.

    Attributes:
        name: of the table.
        metadata: path of its metadata file in the warehouse.
        snapshot_id: current then; None where it had no snapshot.
        rows: in that snapshot.
        next_offsets: "cluster/topic/partition" -> the first offset that was not yet in it.
    """

    name: str
    metadata: str
    snapshot_id: int | None
    rows: int
    next_offsets: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class FileBackup:
    """What a file of the warehouse is: its size and the SHA-256 of its bytes."""

    size_bytes: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Backup:
    """One backup.

    Attributes:
        name: its time in UTC.
        taken_wall_ns: when its tables were looked at.
        warehouse: address that the tables' own files name.
        tables: in the order in which they are restored.
        files: by path in the warehouse.
        copied_bytes: of files that the folder did not have before; 0 where it was read from the folder.
    """

    name: str
    taken_wall_ns: int
    warehouse: str
    tables: tuple[TableBackup, ...]
    files: Mapping[str, FileBackup]
    copied_bytes: int = 0

    @property
    def size_bytes(self) -> int:
        """Of all its files."""
        return sum(file.size_bytes for file in self.files.values())


def take_backup(catalog: IcebergCatalog, tables: Sequence[str], folder: Path, clock: Clock) -> Backup:
    """Copy the tables as of now.

    Args:
        catalog: whose.
        tables: names.
        folder: made where it is missing; other backups in it are added to.
        clock: names the backup.

    Raises:
        UsageError: there is no such table, or the folder cannot be used.
        UnavailableError: catalog or warehouse does not answer, or a file that a table names is gone.
    """
    known = {path: file for backup in _read_all(folder) for path, file in backup.files.items()}
    taken_wall_ns = clock.wall_ns()
    files: dict[str, FileBackup] = {}
    described = []
    copied_bytes = 0
    for name in tables:
        table = catalog.load(name)
        described.append(_described(catalog, table))
        paths = dict.fromkeys(_relative(catalog, address) for address in _named_files(catalog, table))
        files |= {path: known[path] for path in paths if path in known and _is_there(folder, path, known[path])}
        new = [path for path in paths if path not in files]
        with ThreadPoolExecutor(_COPIES_AT_ONCE, thread_name_prefix="backup") as pool:
            copied = list(pool.map(lambda path: _save(catalog, path, folder / _FILES / path), new))
        files |= dict(zip(new, copied, strict=True))
        copied_bytes += sum(file.size_bytes for file in copied)
    name = datetime.fromtimestamp(taken_wall_ns / 1e9, UTC).strftime("%Y%m%dT%H%M%S.%fZ")
    backup = Backup(name, taken_wall_ns, catalog.warehouse, tuple(described), files, copied_bytes)
    _write(folder / _BACKUPS / f"{name}.json", backup)
    return backup


def read_backup(folder: Path, name: str | None = None) -> Backup:
    """The newest backup of a folder, or one by its name.

    Raises:
        UsageError: there is none, or it cannot be read.
    """
    found = _read_all(folder)
    if not found:
        raise UsageError(f"{folder} holds no backup: `k2 backup {folder}` makes one")
    if name is None:
        return found[-1]
    for backup in found:
        if backup.name == name:
            return backup
    raise UsageError(f"{folder} has no backup {name}: it has {', '.join(each.name for each in found)}")


def check_restore(catalog: IcebergCatalog, backup: Backup, folder: Path, *, replace: bool) -> None:
    """See that a backup is whole, and that nobody's rows would go; changes nothing.

    Raises:
        UsageError: the backup is of another warehouse address.
        RefusedError: a file of the backup is missing or damaged, or a table has rows and is not to be replaced.
        UnavailableError: the catalog does not answer.
    """
    if backup.warehouse != catalog.warehouse:
        raise UsageError(
            f"backup {backup.name} is of the warehouse {backup.warehouse}, which its files name, and this one is "
            f"{catalog.warehouse}: restore it with storage.warehouse set to that"
        )
    for table in backup.tables:
        if not replace and catalog.has_rows(table.name):
            raise RefusedError(f"{table.name} has rows, which a restore would take away: --replace allows it")
    for path, file in backup.files.items():
        if not _is_there(folder, path, file) or _sha256(folder / _FILES / path) != file.sha256:
            where = folder / _FILES / path
            raise RefusedError(f"{where} is missing or damaged: take an earlier backup, or another copy")


def restore(catalog: IcebergCatalog, backup: Backup, folder: Path) -> None:
    """Write a backup's files to the warehouse, and have the catalog name its tables; `check_restore` comes before.

    Interrupted, it can be begun again. A table is named only once all files are there.

    Raises:
        UnavailableError: catalog or warehouse does not answer.
        RefusedError: one of them refuses.
    """
    with ThreadPoolExecutor(_COPIES_AT_ONCE, thread_name_prefix="restore") as pool:
        # Taken out of it, so that the first error is raised.
        list(pool.map(lambda path: _put_back(catalog, folder / _FILES / path, path), backup.files))
    for table in backup.tables:
        catalog.adopt(table.name, f"{backup.warehouse}/{table.metadata}")


def _described(catalog: IcebergCatalog, table: Table) -> TableBackup:
    snapshot = table.current_snapshot()
    return TableBackup(
        name=".".join(table.name()),
        metadata=_relative(catalog, table.metadata_location),
        snapshot_id=None if snapshot is None else snapshot.snapshot_id,
        rows=int(_property(snapshot, "total-records") or 0),
        next_offsets={str(key): place.next_offset for key, place in _progress(snapshot).partitions.items()},
    )


def _named_files(catalog: IcebergCatalog, table: Table) -> Iterator[str]:
    """Every file that reading, going back and going on may need; the metadata file last."""
    seen: set[str] = set()
    for snapshot in table.metadata.snapshots:
        yield from _of_manifests(catalog, table, snapshot, seen)
        yield snapshot.manifest_list
        yield from (place.state_path for place in _progress(snapshot).partitions.values() if place.state_path)
    yield table.metadata_location


def _of_manifests(catalog: IcebergCatalog, table: Table, snapshot: Snapshot, seen: set[str]) -> list[str]:
    """A snapshot's manifests that were not seen yet, and the data files they name."""
    found = []
    try:
        with catalog.guard_store():
            for manifest in snapshot.manifests(table.io):
                if manifest.manifest_path in seen:
                    continue
                seen.add(manifest.manifest_path)
                entries = manifest.fetch_manifest_entry(table.io, discard_deleted=True)
                found += [*(entry.data_file.file_path for entry in entries), manifest.manifest_path]
    except OSError as error:
        raise translated(error, f"snapshot {snapshot.snapshot_id} of {table.name()[-1]} cannot be read") from error
    return found


def _progress(snapshot: Snapshot | None) -> Progress:
    text = _property(snapshot, PROGRESS_PROPERTY)
    return Progress() if text is None else Progress.from_json(text)


def _property(snapshot: Snapshot | None, name: str) -> str | None:
    if snapshot is None or snapshot.summary is None:
        return None
    return snapshot.summary.additional_properties.get(name)


def _relative(catalog: IcebergCatalog, address: str) -> str:
    path = address.removeprefix(f"{catalog.warehouse}/")
    if path == address or ".." in Path(path).parts:
        raise UsageError(f"{address} is not in the warehouse {catalog.warehouse}: it cannot be restored there")
    return path


def _put_back(catalog: IcebergCatalog, source_path: Path, path: str) -> None:
    address = f"{catalog.warehouse}/{path}"
    try:
        with (
            catalog.guard_store(),
            source_path.open("rb") as source,
            catalog.file_io().new_output(address).create(overwrite=True) as target,
        ):
            _copy(source, target)
    except OSError as error:
        raise translated(error, f"{address} cannot be written") from error


def _save(catalog: IcebergCatalog, relative: str, path: Path) -> FileBackup:
    """Copy a file of the warehouse; it bears its name only once it is whole."""
    address = f"{catalog.warehouse}/{relative}"
    partial = path.with_name(f"{path.name}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with partial.open("wb") as target:
            with catalog.guard_store(), catalog.file_io().new_input(address).open() as source:
                digest = _copy(source, target)
            size_bytes = target.tell()
            target.flush()
            os.fsync(target.fileno())
        partial.replace(path)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise translated(error, f"{address} cannot be copied to {path}") from error
    return FileBackup(size_bytes, digest)


def _copy(source: Any, target: Any) -> str:
    digest = hashlib.sha256()
    while chunk := source.read(_CHUNK_BYTES):
        digest.update(chunk)
        target.write(chunk)
    return digest.hexdigest()


def _is_there(folder: Path, path: str, file: FileBackup) -> bool:
    return _size(folder / _FILES / path) == file.size_bytes


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _size(path: Path) -> int | None:
    try:
        return path.stat().st_size
    except OSError:
        return None


def _write(path: Path, backup: Backup) -> None:
    document = {"format": FORMAT, **asdict(backup)}
    del document["copied_bytes"]
    partial = path.with_suffix(".partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with partial.open("w", encoding="utf-8") as file:
            json.dump(document, file, indent=1)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except OSError as error:
        raise UsageError(f"{path} cannot be written ({error.strerror}): choose another folder") from error


def _read_all(folder: Path) -> list[Backup]:
    """Every backup of a folder, oldest first."""
    return [_read(path) for path in sorted((folder / _BACKUPS).glob("*.json"))]


def _read(path: Path) -> Backup:
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        if document.pop("format") != FORMAT:
            raise ValueError("it has another format")
        tables = tuple(TableBackup(**table) for table in document.pop("tables"))
        files = {name: FileBackup(**file) for name, file in document.pop("files").items()}
        return Backup(**document, tables=tables, files=files)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UsageError(f"{path} is no backup that this version reads ({error}): choose another folder") from error
