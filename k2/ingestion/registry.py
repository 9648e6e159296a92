"""Schema ids: from a Confluent-compatible Schema Registry, or from the schemas packaged with K2."""

from typing import Any, Protocol

from k2.errors import SchemaError
from k2.records.definition import ASSET_CLASSES, RECORD_TYPES, RecordType
from k2.records.schemas import avro_schema
from k2.settings import PACKAGED_REGISTRY, KafkaSettings


class SchemaRegistry(Protocol):
    """Ids of writers' schemas."""

    def schema_id(self, asset_class: str, record_type: RecordType) -> int:
        """Id under which this record type is registered for an asset class."""

    def writer_schema(self, schema_id: int) -> dict[str, Any]:
        """The schema of an id; SchemaError if there is none."""


class PackagedRegistry:
    """Fixed ids for the packaged schemas: no server, same answer everywhere."""

    def __init__(self) -> None:
        subjects = [(asset, data_type) for asset in ASSET_CLASSES for data_type in RECORD_TYPES]
        self._ids = {subject: number for number, subject in enumerate(subjects, start=1)}
        self._schemas = {number: avro_schema(RECORD_TYPES[data_type]) for (_, data_type), number in self._ids.items()}

    def schema_id(self, asset_class: str, record_type: RecordType) -> int:
        """Id under which this record type is registered for an asset class.

        Raises:
            SchemaError: no such asset class.
        """
        try:
            return self._ids[asset_class, record_type.data_type]
        except KeyError:
            raise SchemaError(f"asset class {asset_class!r} is not one of {', '.join(ASSET_CLASSES)}") from None

    def writer_schema(self, schema_id: int) -> dict[str, Any]:
        """The schema of an id.

        Raises:
            SchemaError: there is none.
        """
        try:
            return self._schemas[schema_id]
        except KeyError:
            raise SchemaError(f"schema id {schema_id} is not packaged with this version") from None


def open_registry(settings: KafkaSettings) -> SchemaRegistry:
    """The registry the settings name."""
    if settings.schema_registry_url == PACKAGED_REGISTRY:
        return PackagedRegistry()
    # Only where a server is named: its client alone takes a tenth of a process's start to import.
    from k2.ingestion.remote_registry import RemoteRegistry

    return RemoteRegistry(settings.schema_registry_url)
