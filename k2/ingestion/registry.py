"""Schema ids: from a Confluent-compatible Schema Registry, or from the schemas packaged with K2."""

from collections.abc import Iterable
from typing import Any, Protocol

from k2.errors import SchemaError
from k2.records.definition import ASSET_CLASSES, RECORD_TYPES, RecordType
from k2.records.schemas import avro_schema
from k2.resilience.breakers import CircuitBreakers, Dependency
from k2.settings import PACKAGED_REGISTRY, KafkaSettings


class SchemaRegistry(Protocol):
    """Ids of writers' schemas."""

    def schema_id(self, asset_class: str, record_type: RecordType) -> int:
        """Id under which this record type is registered for an asset class."""

    def writer_schema(self, schema_id: int) -> dict[str, Any]:
        """The schema of an id; SchemaError if there is none."""

    def look(self) -> None:
        """Ask something small, to see whether it is there."""


# What lies in logs and tables: an id is never given to another schema. A later revision has an id of its own.
_FIRST_IDS = {
    ("equities", "trades"): 1,
    ("equities", "quotes"): 2,
    ("crypto", "trades"): 3,
    ("crypto", "quotes"): 4,
    ("equities", "reference_data"): 5,
    ("crypto", "reference_data"): 6,
}
_IDS_A_REVISION = 100


class PackagedRegistry:
    """Fixed ids for the packaged schemas of every revision: no server, same answer everywhere."""

    def __init__(self, record_types: Iterable[RecordType] | None = None) -> None:
        self._schemas = {
            _packaged_id(asset_class, record_type.data_type, revision): avro_schema(record_type.at_revision(revision))
            for asset_class in ASSET_CLASSES
            for record_type in (RECORD_TYPES.values() if record_types is None else record_types)
            for revision in range(1, record_type.revision + 1)
        }

    def schema_id(self, asset_class: str, record_type: RecordType) -> int:
        """Id under which this record type is registered for an asset class.

        Raises:
            SchemaError: no such asset class.
        """
        if asset_class not in ASSET_CLASSES:
            raise SchemaError(f"asset class {asset_class!r} is not one of {', '.join(ASSET_CLASSES)}")
        return _packaged_id(asset_class, record_type.data_type, record_type.revision)

    def writer_schema(self, schema_id: int) -> dict[str, Any]:
        """The schema of an id.

        Raises:
            SchemaError: there is none.
        """
        try:
            return self._schemas[schema_id]
        except KeyError:
            raise SchemaError(f"schema id {schema_id} is not packaged with this version") from None

    def look(self) -> None:
        """It is always there."""


def open_registry(settings: KafkaSettings, breakers: CircuitBreakers | None = None) -> SchemaRegistry:
    """The registry the settings name; a server is called through its circuit breaker."""
    if settings.schema_registry_url == PACKAGED_REGISTRY:
        return PackagedRegistry()
    # Only where a server is named: its client alone takes a tenth of a process's start to import.
    from k2.ingestion.remote_registry import RemoteRegistry

    breaker = None if breakers is None else breakers[Dependency.SCHEMA_REGISTRY]
    return RemoteRegistry(settings.schema_registry_url, breaker, settings.topic_prefix)


def _packaged_id(asset_class: str, data_type: str, revision: int) -> int:
    return _FIRST_IDS[asset_class, data_type] + _IDS_A_REVISION * (revision - 1)
