"""Reads a table as any Iceberg client would, with PyIceberg, and says which snapshot brought each row."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import sqlalchemy
from pyiceberg.catalog.sql import IcebergTables, SqlCatalog
from pyiceberg.expressions import AlwaysTrue
from pyiceberg.io import load_file_io
from pyiceberg.io.pyarrow import ArrowScan, schema_to_pyarrow
from pyiceberg.serializers import FromInputFile
from pyiceberg.table import Table
from pyiceberg.table.metadata import TableMetadata
from pyiceberg.table.snapshots import Snapshot

from conformance.stacks.base import PowerMissingError
from k2.settings import StorageSettings
from k2.storage.addresses import catalog_properties

PROGRESS_PROPERTY = "k2.progress"


@dataclass(frozen=True, slots=True)
class TableView:
    """A table as of now.

    Attributes:
        rows: every row, with `snapshot_id` of the snapshot that added it.
        snapshots: snapshot_id, parent_id, committed_wall_ns, progress (list of topic, partition, next_offset), oldest
            first; and what the summary says was added.
    """

    rows: pa.Table
    snapshots: pa.Table


def view_table(storage: StorageSettings, name: str) -> TableView:
    """Read all of a table."""
    table = open_table(storage, name)
    return TableView(_rows(table), _as_table(map(_snapshot_row, table.metadata.snapshots)))


class SnapshotFollower:
    """Collects the snapshots of a table, which forgets old ones; each look finds those that came since the last."""

    def __init__(self, storage: StorageSettings, name: str) -> None:
        self._storage, self._name = storage, name
        self._location: str | None = None
        self._rows: dict[int, dict[str, Any]] = {}
        self._taken_in = 0

    def look(self) -> int:
        """How many messages the table has taken in by now; cheap where nothing was committed since."""
        location = metadata_location(self._storage, self._name)
        if location != self._location:
            metadata = _metadata_at(self._storage, location)
            for snapshot in metadata.snapshots:
                if snapshot.snapshot_id not in self._rows:
                    self._rows[snapshot.snapshot_id] = _snapshot_row(snapshot)
            self._taken_in = sum(_offsets(metadata).values())
            self._location = location
        return self._taken_in

    def snapshots(self) -> pa.Table:
        """All that were seen, as in TableView, in the order of their commits."""
        return _as_table(sorted(self._rows.values(), key=lambda row: int(row["sequence_number"])))


def open_table(storage: StorageSettings, name: str) -> Table:
    """The table as of now, through a catalog client of the harness's own."""
    return _catalog(storage).load_table(name)


def warehouse_folder(storage: StorageSettings) -> Path:
    """Where the files are, for clauses that do to them what only the owner of a folder can.

    Raises:
        PowerMissingError: they are in an object store.
    """
    if "://" in storage.warehouse:
        raise PowerMissingError("files of an object store cannot be damaged, moved or linked as those of a folder")
    return Path(storage.warehouse)


def metadata_location(storage: StorageSettings, name: str) -> str:
    """Address of a table's metadata, straight from the catalog: it changes with every commit, and with nothing else."""
    namespace, table = name.split(".")
    query = sqlalchemy.select(IcebergTables.metadata_location).where(
        IcebergTables.catalog_name == storage.catalog_name,
        IcebergTables.table_namespace == namespace,
        IcebergTables.table_name == table,
    )
    with _catalog(storage).engine.connect() as connection:
        return str(connection.execute(query).scalar_one())


def next_offsets(storage: StorageSettings, name: str) -> dict[tuple[str, int], int]:
    """How far the table says each (topic, partition) was taken in; cheap enough to be asked again and again."""
    return dict(_offsets_at(storage, metadata_location(storage, name)))


@lru_cache(maxsize=4)
def _catalog(storage: StorageSettings) -> SqlCatalog:
    catalog = SqlCatalog(storage.catalog_name, **catalog_properties(storage))
    catalog.engine.dispose()
    # A connection for each question: nobody here knows when the last one was asked.
    catalog.engine = sqlalchemy.create_engine(catalog.properties["uri"], poolclass=sqlalchemy.NullPool)
    return catalog


@lru_cache(maxsize=64)
def _offsets_at(storage: StorageSettings, location: str) -> Mapping[tuple[str, int], int]:
    """What a metadata file, which never changes, says."""
    return _offsets(_metadata_at(storage, location))


def _metadata_at(storage: StorageSettings, location: str) -> TableMetadata:
    return FromInputFile.table_metadata(load_file_io(catalog_properties(storage), location).new_input(location))


def _offsets(metadata: TableMetadata) -> dict[tuple[str, int], int]:
    snapshot = metadata.current_snapshot()
    if snapshot is None or snapshot.summary is None:
        return {}
    entries = _progress(snapshot.summary.additional_properties)
    return {(entry["topic"], entry["partition"]): entry["next_offset"] for entry in entries}


def _rows(table: Table) -> pa.Table:
    """Every row as an Iceberg client reads it, by field id, file by file."""
    schema = table.schema()
    scan = ArrowScan(table.metadata, table.io, schema, AlwaysTrue())
    added_by = dict(_added_files(table))
    parts = []
    for task in table.scan().plan_files():
        rows = _plain(scan.to_table([task]))
        snapshot_ids = pa.array([added_by[task.file.file_path]] * rows.num_rows, pa.int64())
        parts.append(rows.append_column("snapshot_id", snapshot_ids))
    if parts:
        return pa.concat_tables(parts)
    return _plain(schema_to_pyarrow(schema).empty_table()).append_column("snapshot_id", pa.array([], pa.int64()))


def _added_files(table: Table) -> Iterator[tuple[str, int]]:
    """Each live data file and the snapshot that added it."""
    snapshot = table.metadata.current_snapshot()
    if snapshot is None:
        return
    for manifest in snapshot.manifests(table.io):
        for entry in manifest.fetch_manifest_entry(table.io, discard_deleted=True):
            yield entry.data_file.file_path, int(entry.snapshot_id or 0)


def _plain(rows: pa.Table) -> pa.Table:
    """Field metadata dropped and large types narrowed, so that parts of several files fit together."""
    columns = [column.cast(pa.string()) if pa.types.is_large_string(column.type) else column for column in rows.columns]
    return pa.table(dict(zip(rows.column_names, columns, strict=True)))


def _snapshot_row(snapshot: Snapshot) -> dict[str, Any]:
    return {
        "snapshot_id": snapshot.snapshot_id,
        "parent_id": snapshot.parent_snapshot_id,
        "sequence_number": snapshot.sequence_number,
        "committed_wall_ns": snapshot.timestamp_ms * 1_000_000,
        "progress": _progress(snapshot.summary.additional_properties if snapshot.summary else {}),
        "added_records": _added_records(snapshot),
    }


def _as_table(rows: Iterable[Mapping[str, Any]]) -> pa.Table:
    progress = pa.list_(pa.struct([("topic", pa.string()), ("partition", pa.int32()), ("next_offset", pa.int64())]))
    schema = pa.schema(
        [
            ("snapshot_id", pa.int64()),
            ("parent_id", pa.int64()),
            ("sequence_number", pa.int64()),
            ("committed_wall_ns", pa.int64()),
            ("progress", progress),
            ("added_records", pa.int64()),
        ]
    )
    return pa.Table.from_pylist(list(rows), schema=schema)


def _added_records(snapshot: Snapshot) -> int:
    return int(snapshot.summary.additional_properties.get("added-records", 0)) if snapshot.summary else 0


def _progress(properties: dict[str, Any]) -> list[dict[str, Any]]:
    text = properties.get(PROGRESS_PROPERTY)
    if text is None:
        return []
    return [
        {"topic": topic, "partition": int(partition), "next_offset": entry[0]}
        for topics in orjson.loads(text)["clusters"].values()
        for topic, partitions in topics.items()
        for partition, entry in partitions.items()
    ]
