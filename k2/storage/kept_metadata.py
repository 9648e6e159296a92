"""PyIceberg's SQL catalog and transaction without their cost for every snapshot a table has.

The library reads a table's metadata anew for each look, and copies all of it about nineteen times in a commit, so a
commit takes the longer the more snapshots there are. But a metadata file never changes once written, and neither does
what was read of one: it is kept until the catalog names another file, and nothing of it is copied.
"""

import threading
from collections.abc import Mapping
from typing import Any

from pyiceberg.catalog.sql import IcebergTables, SqlCatalog
from pyiceberg.io import FileIO
from pyiceberg.serializers import Compressor, FromInputFile
from pyiceberg.table import CommitTableResponse, StagedTable, Table, Transaction
from pyiceberg.table.locations import load_location_provider
from pyiceberg.table.metadata import TableMetadata
from pyiceberg.table.snapshots import Snapshot
from pyiceberg.table.update import (
    TableRequirement,
    TableUpdate,
    _apply_table_update,
    _TableMetadataUpdateContext,
    _update_table_metadata_log,
)
from pyiceberg.typedef import Identifier

_NO_SNAPSHOTS = '"snapshots":[]'
_SCHEME_END = "://"


class KeptMetadataCatalog(SqlCatalog):
    """A SQL catalog that keeps what it last read of each table. Safe to share between threads."""

    def __init__(self, name: str, **properties: str) -> None:
        self._metadata: dict[Identifier, tuple[str, TableMetadata]] = {}
        self._file_ios: dict[str, FileIO] = {}
        self._snapshot_json: dict[str, dict[int, tuple[Snapshot, str]]] = {}
        self._lock = threading.Lock()
        super().__init__(name, **properties)

    def commit_table(
        self, table: Table, requirements: tuple[TableRequirement, ...], updates: tuple[TableUpdate, ...]
    ) -> CommitTableResponse:
        """Swap the table's metadata file for one with the updates applied; what was written is kept."""
        response = super().commit_table(table, requirements, updates)
        self._metadata[table.name()] = (response.metadata_location, response.metadata)
        return response

    def file_io(self, location: str) -> FileIO:
        """Access to the files of a place, opened once."""
        return self._load_file_io(location=location)

    def kept(self, identifier: str | Identifier, location: str) -> Table | None:
        """The table as it was read from this metadata file, or written to it; None where neither was done."""
        name = self.identifier_to_tuple(identifier)
        kept = self._metadata.get(name)
        if kept is None or kept[0] != location:
            return None
        return Table(name, kept[1], location, self.file_io(location), self)

    def read(self, identifier: str | Identifier, location: str) -> Table:
        """The table as this metadata file says; it is kept.

        Raises:
            OSError: the file cannot be read.
            ValueError: it is no metadata.
        """
        name, file_io = self.identifier_to_tuple(identifier), self.file_io(location)
        metadata = FromInputFile.table_metadata(file_io.new_input(location))
        self._metadata[name] = (location, metadata)
        return Table(name, metadata, location, file_io, self)

    def _convert_orm_to_iceberg(self, orm_table: IcebergTables) -> Table:
        location = orm_table.metadata_location
        if not location:
            return super()._convert_orm_to_iceberg(orm_table)
        identifier = (*self.identifier_to_tuple(orm_table.table_namespace), orm_table.table_name)
        return self.kept(identifier, location) or self.read(identifier, location)

    def _load_file_io(self, properties: Mapping[str, Any] | None = None, location: str | None = None) -> FileIO:
        # A connection to an object store is opened once for each bucket, not once for each look at a table.
        scheme, _, rest = (location or "").partition(_SCHEME_END)
        place = f"{scheme}{_SCHEME_END}{rest.partition('/')[0]}"
        with self._lock:
            if place not in self._file_ios:
                self._file_ios[place] = super()._load_file_io(dict(properties or {}), location)
            return self._file_ios[place]

    def _write_metadata(self, metadata: TableMetadata, io: FileIO, metadata_path: str) -> None:  # type: ignore[override]
        # Snapshots are by far the most of it, and each was turned into JSON by an earlier commit.
        known = self._snapshot_json.get(metadata.location, {})
        now: dict[int, tuple[Snapshot, str]] = {}
        for snapshot in metadata.snapshots:
            kept = known.get(snapshot.snapshot_id)
            # One whose parent expires is made anew.
            if kept is None or kept[0] is not snapshot:
                kept = (snapshot, snapshot.model_dump_json())
            now[snapshot.snapshot_id] = kept
        self._snapshot_json[metadata.location] = now
        body = metadata.model_copy(update={"snapshots": []}).model_dump_json()
        head, found, tail = body.partition(_NO_SNAPSHOTS)
        if not found or _NO_SNAPSHOTS in tail:
            raise AssertionError(f"no one place for the snapshots of {metadata_path}")
        whole = f'{head}"snapshots":[{",".join(text for _, text in now.values())}]{tail}'
        with io.new_output(metadata_path).create(overwrite=True) as stream:
            stream.write(Compressor.get_compressor(metadata_path).bytes_compressor()(whole.encode()))

    def _update_and_stage_table(
        self,
        current_table: Table | None,
        table_identifier: Identifier,
        requirements: tuple[TableRequirement, ...],
        updates: tuple[TableUpdate, ...],
    ) -> StagedTable:
        if current_table is None:
            return super()._update_and_stage_table(current_table, table_identifier, requirements, updates)
        for requirement in requirements:
            requirement.validate(current_table.metadata)
        metadata = _updated(current_table.metadata, updates, current_table.metadata_location)
        version = self._parse_metadata_version(current_table.metadata_location) + 1
        provider = load_location_provider(metadata.location, metadata.properties)
        location = provider.new_table_metadata_file_location(version)
        return StagedTable(table_identifier, metadata, location, self.file_io(location), self)


class AppendTransaction(Transaction):
    """A transaction whose changes do not build upon one another, so that each sees the table as it was loaded."""

    @property
    def table_metadata(self) -> TableMetadata:
        """The metadata of the table as loaded."""
        return self._table.metadata


def _updated(metadata: TableMetadata, updates: tuple[TableUpdate, ...], location: str) -> TableMetadata:
    """What the library's update_table_metadata does, without the deep copy at its end."""
    context = _TableMetadataUpdateContext()
    updated = metadata
    for update in updates:
        updated = _apply_table_update(update, updated, context)
    if context.has_changes():
        updated = _update_table_metadata_log(updated, location, metadata.last_updated_ms)
    updated.spec().check_compatible(updated.schema())
    return updated
