"""Schema ids from a Confluent-compatible Schema Registry."""

import json
import weakref
from typing import Any

from confluent_kafka.schema_registry import Schema, SchemaRegistryClient
from confluent_kafka.schema_registry.error import SchemaRegistryError

from k2.errors import RecordError, SchemaError
from k2.records.definition import RecordType, topic
from k2.records.schemas import avro_schema
from k2.resilience.circuit_breaker import CircuitBreaker, guarded
from k2.resilience.failures import translating

ANSWER_TIMEOUT_SECONDS = 10.0
COMPATIBILITY = "BACKWARD"
"""A new schema must read what was written with the one before: consumers are upgraded first."""
_AT_LEAST_BACKWARD = (COMPATIBILITY, "BACKWARD_TRANSITIVE", "FULL", "FULL_TRANSITIVE")
_NOT_FOUND, _CONFLICT = 404, 409


class RemoteRegistry:
    """A Schema Registry server; both directions are cached, schemas never change under their id.

    Args:
        url: its address.
        breaker: every call passes it; None: every call is made.
        topic_prefix: of the topics, and so of their subjects.
    """

    def __init__(self, url: str, breaker: CircuitBreaker | None = None, topic_prefix: str = "") -> None:
        # Whoever asks retries; retries inside retries would multiply the waits.
        self._client = SchemaRegistryClient({"url": url, "timeout": ANSWER_TIMEOUT_SECONDS, "max.retries": 0})
        # Its connections end with whoever holds this; nobody can say who is the last.
        weakref.finalize(self, self._client.close)
        self._url = url
        self._breaker = breaker
        self._topic_prefix = topic_prefix

    def schema_id(self, asset_class: str, record_type: RecordType) -> int:
        """Register the schema and return its id; its subject has BACKWARD compatibility, or a stricter one, before.

        Raises:
            RefusedError: the registry refuses the schema as incompatible, or refuses us.
            UnavailableError: the registry does not answer.
        """
        subject = f"{topic(asset_class, record_type.data_type, self._topic_prefix)}-value"
        with guarded(self._breaker), translating(f"registering the schema of {subject} at {self._url}"):
            if self._compatibility(subject) not in _AT_LEAST_BACKWARD:
                self._demand_compatibility(subject)
            return int(self._client.register_schema(subject, Schema(json.dumps(avro_schema(record_type)), "AVRO")))

    def writer_schema(self, schema_id: int) -> dict[str, Any]:
        """The schema of an id.

        Raises:
            SchemaError: there is none.
            RefusedError: the registry refuses to say.
            UnavailableError: the registry does not answer.
        """
        try:
            doing = f"asking the schema registry at {self._url} for schema id {schema_id}"
            with guarded(self._breaker), translating(doing):
                text = self._client.get_schema(schema_id).schema_str
        except RecordError as error:
            raise SchemaError(f"schema id {schema_id} is unknown to the registry at {self._url}") from error
        schema: dict[str, Any] = json.loads(text or "{}")
        return schema

    def look(self) -> None:
        """Ask something small, to see whether it is there.

        Raises:
            UnavailableError: the registry does not answer.
            RefusedError: it refuses, so it is there.
        """
        with guarded(self._breaker), translating(f"asking the schema registry at {self._url} for its configuration"):
            self._client.get_config()

    def _demand_compatibility(self, subject: str) -> None:
        try:
            self._client.set_compatibility(subject, COMPATIBILITY)
        except SchemaRegistryError as error:
            # Registries that keep it as a rule refuse the second of two producers that start at the same moment.
            if error.http_status_code != _CONFLICT or self._compatibility(subject) not in _AT_LEAST_BACKWARD:
                raise

    def _compatibility(self, subject: str) -> str | None:
        """The subject's own compatibility; None where nobody has set it, for then the server's default would hold."""
        try:
            config = self._client.get_config(subject)
        except SchemaRegistryError as error:
            if error.http_status_code == _NOT_FOUND:
                return None
            raise
        level = config.compatibility_level or config.compatibility
        return None if level is None else str(level.value)
