"""The Iceberg catalog: opening it, creating K2's tables and letting them grow, loading them."""

import uuid
import weakref
from collections.abc import Collection
from contextlib import AbstractContextManager

import sqlalchemy
from pyiceberg.catalog.sql import IcebergTables, SqlCatalogBaseTable
from pyiceberg.exceptions import CommitFailedException, NoSuchTableError, TableAlreadyExistsError, ValidationError
from pyiceberg.io import FileIO, load_file_io
from pyiceberg.io.pyarrow import pyarrow_to_schema
from pyiceberg.partitioning import PartitionField, PartitionSpec
from pyiceberg.serializers import ToOutputFile
from pyiceberg.table import Table
from pyiceberg.table.metadata import TableMetadata, new_table_metadata
from pyiceberg.table.sorting import UNSORTED_SORT_ORDER
from pyiceberg.transforms import DayTransform, IdentityTransform
from sqlalchemy.exc import IntegrityError, NoSuchModuleError, ProgrammingError, SQLAlchemyError
from sqlalchemy.schema import CreateTable

from k2.clock import SystemClock
from k2.errors import UnavailableError, UsageError
from k2.observability.metrics import Metrics
from k2.records.definition import RECORD_TYPES, RecordType
from k2.records.schemas import table_schema
from k2.resilience.breakers import CircuitBreakers, Dependency
from k2.resilience.failures import text_of, translated
from k2.settings import BreakerSettings, StorageSettings
from k2.storage.addresses import catalog_address, catalog_properties, make_sqlite_folder
from k2.storage.evolution import add_missing_columns
from k2.storage.kept_metadata import KeptMetadataCatalog

EVOLUTION_ATTEMPTS = 20

TABLE_PROPERTIES = {
    # K2 compares offsets before every attempt; a blind retry by the library would duplicate rows.
    "commit.retry.num-retries": "0",
    "commit.manifest-merge.enabled": "true",
    "commit.manifest.min-count-to-merge": "20",
    # A merge reads and writes every entry again: beyond some 300 files a manifest is left as it is.
    "commit.manifest.target-size-bytes": "262144",
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

    Every method raises UnavailableError also where a circuit breaker is open.

    Args:
        settings: where catalog and warehouse are.
        breakers: those of the process; None makes some that nobody watches.

    Raises:
        UsageError: the catalog's address or the warehouse cannot be used.
        UnavailableError: the catalog does not answer.
        RefusedError: it refuses, or is no catalog.
    """

    def __init__(self, settings: StorageSettings, breakers: CircuitBreakers | None = None) -> None:
        self._breakers = breakers or CircuitBreakers(BreakerSettings(), Metrics(), SystemClock())
        self.settings = settings
        address = catalog_address(settings.catalog_uri)
        properties = catalog_properties(settings)
        self.warehouse = properties["warehouse"]
        make_sqlite_folder(settings.catalog_uri)
        try:
            self._catalog = KeptMetadataCatalog(settings.catalog_name, **properties)
            # Its connections end with whoever holds this, also where nobody says that he is the last.
            weakref.finalize(self, self._catalog.engine.dispose)
            with self.guard_catalog():
                self._create_catalog_tables()
        except (ImportError, NoSuchModuleError) as error:
            raise UsageError(
                f"the catalog at {address} needs a driver that is not installed: {text_of(error)}"
            ) from error
        except (SQLAlchemyError, ValueError) as error:
            raise translated(error, f"the catalog at {address} does not open") from error

    def create_tables(self, record_types: Collection[RecordType] | None = None) -> None:
        """Create the namespace and every table that is missing; those that exist get the columns they lack.

        Args:
            record_types: whose tables; None for all.

        Raises:
            UsageError: the warehouse's address cannot be used.
            UnavailableError: the catalog does not answer, or the warehouse takes no file.
            RefusedError: one of them refuses, or a table that exists contradicts its definition.
        """
        record_types = RECORD_TYPES.values() if record_types is None else record_types
        try:
            with self.guard_catalog(), self.guard_store():
                self._create_namespace("market_data")
                for record_type in record_types:
                    self._create_table(record_type)
        except SQLAlchemyError as error:
            raise translated(error, "the catalog does not answer") from error
        except OSError as error:
            raise translated(error, f"the warehouse {self.warehouse} takes no file") from error
        except ValueError as error:
            raise UsageError(f"the warehouse {self.warehouse} cannot be used: {text_of(error)}") from error
        for record_type in record_types:
            self.evolve_table(record_type)

    def evolve_table(self, record_type: RecordType) -> tuple[str, ...]:
        """Add the columns that the definition has and the table has not; returns their names.

        Raises:
            UsageError: there is no such table.
            RefusedError: the table contradicts the definition; nothing was changed.
            UnavailableError: the catalog or the warehouse does not answer.
        """
        wanted = pyarrow_to_schema(table_schema(record_type))
        for _ in range(EVOLUTION_ATTEMPTS):
            table = self.load(record_type.table)
            try:
                with self.guard_catalog(), self.guard_store():
                    return add_missing_columns(table, wanted)
            except CommitFailedException:
                continue  # a consumer has committed meanwhile, or another process has added them
            except (SQLAlchemyError, OSError) as error:
                raise translated(error, f"the columns of {record_type.table} cannot be added") from error
        raise UnavailableError(f"the columns of {record_type.table} cannot be added: others kept changing the table")

    def load(self, table: str) -> Table:
        """The table as of now.

        Raises:
            UsageError: there is no such table.
            UnavailableError: the catalog or the metadata file cannot be read.
            RefusedError: one of them may not be read, or is damaged.
        """
        location = self.metadata_location(table)
        # What is kept says nothing of the store: its breaker would take it for an answer, and never open for a consumer
        # whose every file is refused.
        kept = self._catalog.kept(table, location)
        if kept is not None:
            return kept
        try:
            with self.guard_store():
                return self._catalog.read(table, location)
        except (OSError, ValueError, ValidationError) as error:
            raise translated(error, f"table {table} cannot be loaded") from error

    def metadata_location(self, table: str) -> str:
        """Address of the table's current metadata file: one small query, for readers that cache the rest.

        Raises:
            UsageError: there is no such table.
            UnavailableError: the catalog does not answer.
            RefusedError: it refuses.
        """
        namespace, name = table.rsplit(".", 1)
        query = sqlalchemy.select(IcebergTables.metadata_location).where(
            IcebergTables.catalog_name == self._catalog.name,
            IcebergTables.table_namespace == namespace,
            IcebergTables.table_name == name,
        )
        try:
            with self.guard_catalog(), self._catalog.engine.connect() as connection:
                location = connection.execute(query).scalar()
        except SQLAlchemyError as error:
            raise translated(error, "the catalog does not answer") from error
        if location is None:
            raise UsageError(f"there is no table {table} in the catalog: run `k2 init`")
        return str(location)

    def has_rows(self, table: str) -> bool:
        """Whether there is such a table, and anything was ever committed to it.

        Raises:
            UnavailableError: the catalog does not answer.
            RefusedError: it refuses, or the table's metadata is damaged.
        """
        try:
            with self.guard_catalog():
                there = self._catalog.table_exists(table)
        except SQLAlchemyError as error:
            raise translated(error, "the catalog does not answer") from error
        return there and self.load(table).current_snapshot() is not None

    def adopt(self, table: str, metadata_location: str) -> None:
        """Have the catalog name a table by this metadata file, whatever it named before; files are left alone.

        Raises:
            UnavailableError: the catalog or the file does not answer.
            RefusedError: one of them refuses.
        """
        try:
            with self.guard_catalog(), self.guard_store():
                self._create_namespace(table.rpartition(".")[0])
                if self._catalog.table_exists(table):
                    self._catalog.drop_table(table)
                self._catalog.register_table(table, metadata_location)
        except (SQLAlchemyError, OSError) as error:
            raise translated(error, f"{table} cannot be named in the catalog") from error

    def forget(self, table: str) -> bool:
        """Have the catalog name a table no more; files are left alone. Whether it did.

        Raises:
            UnavailableError: the catalog does not answer.
            RefusedError: it refuses.
        """
        try:
            with self.guard_catalog():
                self._catalog.drop_table(table)
        except NoSuchTableError:
            return False
        except SQLAlchemyError as error:
            raise translated(error, f"{table} cannot be removed from the catalog") from error
        return True

    def file_io(self) -> FileIO:
        """Access to the files of the warehouse."""
        return self._catalog.file_io(self.warehouse)

    def guard_catalog(self) -> AbstractContextManager[None]:
        """Around each call to the database: its circuit breaker, which learns how it ended."""
        return self._breakers[Dependency.CATALOG].guard(SQLAlchemyError)

    def guard_store(self) -> AbstractContextManager[None]:
        """Around each access to files of the warehouse: its circuit breaker, which learns how it ended."""
        return self._breakers[Dependency.OBJECT_STORE].guard(OSError)

    def place_of(self, table: str) -> str:
        """Where the files of a table that K2 makes are, whether there is one or not."""
        return f"{self.warehouse}/{table.replace('.', '/')}"

    def look_at_store(self) -> None:
        """Read a file of the warehouse: the metadata of a table, as it is now.

        Raises:
            UsageError: there is no table yet.
            UnavailableError: the warehouse does not answer.
            RefusedError: it refuses.
        """
        table = next(iter(RECORD_TYPES.values())).table
        location = self.metadata_location(table)
        try:
            with self.guard_store(), self._catalog.file_io(location).new_input(location).open() as stream:
                stream.read(1)
        except OSError as error:
            raise translated(error, f"the warehouse {self.warehouse} gives no file") from error

    def close(self) -> None:
        """Release the catalog's connections."""
        self._catalog.engine.dispose()

    def _create_catalog_tables(self) -> None:
        # The library looks first and creates then, and fails where another process does the same. Where they are
        # there, no right to create tables is needed.
        for table in SqlCatalogBaseTable.metadata.sorted_tables:
            if sqlalchemy.inspect(self._catalog.engine).has_table(table.name):
                continue
            try:
                with self._catalog.engine.begin() as connection:
                    connection.execute(CreateTable(table, if_not_exists=True))
            except (IntegrityError, ProgrammingError):
                # Of two that create it at once, PostgreSQL tells one that its name is taken.
                if not sqlalchemy.inspect(self._catalog.engine).has_table(table.name):
                    raise

    def _create_namespace(self, namespace: str) -> None:
        try:
            self._catalog.create_namespace_if_not_exists(namespace)
        except IntegrityError:
            return  # another process was first

    def _create_table(self, record_type: RecordType) -> None:
        if self._catalog.table_exists(record_type.table):
            return
        location = self.place_of(record_type.table)
        metadata_location = f"{location}/metadata/00000-{uuid.uuid4()}.metadata.json"
        file_io = load_file_io(self._catalog.properties, metadata_location)
        # Registered, not created: creating would number the columns anew, and readers find them in files by number.
        ToOutputFile.table_metadata(_first_metadata(record_type, location), file_io.new_output(metadata_location))
        try:
            self._catalog.register_table(record_type.table, metadata_location)
        except TableAlreadyExistsError:
            file_io.delete(metadata_location)


def _first_metadata(record_type: RecordType, location: str) -> TableMetadata:
    schema = pyarrow_to_schema(table_schema(record_type))
    partitioning = PartitionSpec(
        PartitionField(schema.find_field("event_time").field_id, 1000, DayTransform(), "event_day"),
        PartitionField(schema.find_field("exchange").field_id, 1001, IdentityTransform(), "exchange"),
    )
    renumbered = new_table_metadata(schema, partitioning, UNSORTED_SORT_ORDER, location, dict(TABLE_PROPERTIES))
    return renumbered.model_copy(
        update={
            "schemas": [schema],
            "last_column_id": schema.highest_field_id,
            "partition_specs": [partitioning],
        }
    )
