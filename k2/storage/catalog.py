"""The Iceberg catalog: opening it, creating K2's tables, loading them."""

from pathlib import Path

import sqlalchemy
from pyiceberg.catalog.sql import IcebergTables, SqlCatalog
from pyiceberg.exceptions import NoSuchTableError, TableAlreadyExistsError
from pyiceberg.io.pyarrow import pyarrow_to_schema
from pyiceberg.partitioning import PartitionField, PartitionSpec
from pyiceberg.table import Table
from pyiceberg.transforms import DayTransform, IdentityTransform
from sqlalchemy.exc import SQLAlchemyError

from k2.errors import UnavailableError, UsageError
from k2.records.definition import RECORD_TYPES, RecordType
from k2.records.schemas import table_schema
from k2.settings import StorageSettings

CATALOG_NAME = "k2"
SQLITE_BUSY_TIMEOUT_SECONDS = 30

TABLE_PROPERTIES = {
    # K2 compares offsets before every attempt; a blind retry by the library would duplicate rows.
    "commit.retry.num-retries": "0",
    "commit.manifest-merge.enabled": "true",
    "commit.manifest.min-count-to-merge": "20",
    "write.metadata.delete-after-commit.enabled": "true",
    "write.metadata.previous-versions-max": "20",
    # Ids rise and bounds prune by time and symbol; bounds on every other column would only grow the manifests.
    "write.metadata.metrics.default": "counts",
    "write.metadata.metrics.column.symbol": "truncate(64)",
    "write.metadata.metrics.column.exchange": "truncate(64)",
    "write.metadata.metrics.column.event_time": "full",
    "write.metadata.metrics.column.event_time_ns": "full",
    "write.metadata.metrics.column.kafka_offset": "full",
}


class IcebergCatalog:
    """K2's tables in a SQL catalog.

    Raises:
        UsageError: the catalog's address or the warehouse cannot be used.
        UnavailableError: the catalog does not answer.
    """

    def __init__(self, settings: StorageSettings) -> None:
        self.warehouse = _warehouse_uri(settings.warehouse)
        _make_sqlite_folder(settings.catalog_uri)
        try:
            self._catalog = SqlCatalog(
                CATALOG_NAME, uri=_with_busy_timeout(settings.catalog_uri), warehouse=self.warehouse
            )
        except (SQLAlchemyError, ValueError) as error:
            raise UnavailableError(
                f"the catalog at {_without_password(settings.catalog_uri)} does not open: {_line(error)}"
            ) from error

    def create_tables(self) -> None:
        """Create the namespace and every table that is missing; what exists is left as it is."""
        try:
            self._catalog.create_namespace_if_not_exists("market_data")
            for record_type in RECORD_TYPES.values():
                self._create_table(record_type)
        except SQLAlchemyError as error:
            raise UnavailableError(f"the catalog does not answer: {_line(error)}") from error

    def load(self, table: str) -> Table:
        """The table as of now.

        Raises:
            UsageError: there is no such table.
            UnavailableError: the catalog or the metadata file cannot be read.
        """
        try:
            return self._catalog.load_table(table)
        except NoSuchTableError as error:
            raise UsageError(f"there is no table {table} in the catalog: run `k2 init`") from error
        except (SQLAlchemyError, OSError) as error:
            raise UnavailableError(f"table {table} cannot be loaded: {_line(error)}") from error

    def metadata_location(self, table: str) -> str:
        """Address of the table's current metadata file: one small query, for readers that cache the rest.

        Raises:
            UsageError: there is no such table.
            UnavailableError: the catalog does not answer.
        """
        namespace, name = table.rsplit(".", 1)
        query = sqlalchemy.select(IcebergTables.metadata_location).where(
            IcebergTables.catalog_name == CATALOG_NAME,
            IcebergTables.table_namespace == namespace,
            IcebergTables.table_name == name,
        )
        try:
            with self._catalog.engine.connect() as connection:
                location = connection.execute(query).scalar()
        except SQLAlchemyError as error:
            raise UnavailableError(f"the catalog does not answer: {_line(error)}") from error
        if location is None:
            raise UsageError(f"there is no table {table} in the catalog: run `k2 init`")
        return str(location)

    def close(self) -> None:
        """Release the catalog's connections."""
        self._catalog.engine.dispose()

    def _create_table(self, record_type: RecordType) -> None:
        if self._catalog.table_exists(record_type.table):
            return
        schema = pyarrow_to_schema(table_schema(record_type))
        partitioning = PartitionSpec(
            PartitionField(schema.find_field("event_time").field_id, 1000, DayTransform(), "event_day"),
            PartitionField(schema.find_field("exchange").field_id, 1001, IdentityTransform(), "exchange"),
        )
        try:
            self._catalog.create_table(
                record_type.table, schema=schema, partition_spec=partitioning, properties=TABLE_PROPERTIES
            )
        except TableAlreadyExistsError:
            return


def _warehouse_uri(warehouse: str) -> str:
    if "://" in warehouse:
        return warehouse
    path = Path(warehouse).absolute()
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"the warehouse {warehouse} cannot be created: {error.strerror}") from error
    return path.as_uri()


def _make_sqlite_folder(uri: str) -> None:
    if uri.startswith("sqlite:///"):
        folder = Path(uri.removeprefix("sqlite:///")).parent
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UsageError(f"the catalog's folder {folder} cannot be created: {error.strerror}") from error


def _with_busy_timeout(uri: str) -> str:
    if uri.startswith("sqlite:///") and "?" not in uri:
        return f"{uri}?timeout={SQLITE_BUSY_TIMEOUT_SECONDS}"
    return uri


def _without_password(uri: str) -> str:
    return sqlalchemy.make_url(uri).render_as_string(hide_password=True)


def _line(error: Exception) -> str:
    return str(error).splitlines()[0][:200]
