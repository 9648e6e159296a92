"""Schema ids from a Confluent-compatible Schema Registry."""

import json
from typing import Any

from confluent_kafka.schema_registry import Schema, SchemaRegistryClient

from k2.errors import RecordError, SchemaError
from k2.records.definition import RecordType, topic
from k2.records.schemas import avro_schema
from k2.resilience.failures import translating

ANSWER_TIMEOUT_SECONDS = 10.0


class RemoteRegistry:
    """A Schema Registry server; both directions are cached, schemas never change under their id."""

    def __init__(self, url: str) -> None:
        # Whoever asks retries; retries inside retries would multiply the waits.
        self._client = SchemaRegistryClient({"url": url, "timeout": ANSWER_TIMEOUT_SECONDS, "max.retries": 0})
        self._url = url

    def schema_id(self, asset_class: str, record_type: RecordType) -> int:
        """Register the schema (BACKWARD compatible with earlier ones) and return its id.

        Raises:
            RefusedError: the registry refuses the schema as incompatible, or refuses us.
            UnavailableError: the registry does not answer.
        """
        subject = f"{topic(asset_class, record_type.data_type)}-value"
        with translating(f"registering the schema of {subject} at {self._url}"):
            return int(self._client.register_schema(subject, Schema(json.dumps(avro_schema(record_type)), "AVRO")))

    def writer_schema(self, schema_id: int) -> dict[str, Any]:
        """The schema of an id.

        Raises:
            SchemaError: there is none.
            RefusedError: the registry refuses to say.
            UnavailableError: the registry does not answer.
        """
        try:
            with translating(f"asking the schema registry at {self._url} for schema id {schema_id}"):
                text = self._client.get_schema(schema_id).schema_str
        except RecordError as error:
            raise SchemaError(f"schema id {schema_id} is unknown to the registry at {self._url}") from error
        schema: dict[str, Any] = json.loads(text or "{}")
        return schema
