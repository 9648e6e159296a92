"""The schemas in a stack's registry, and messages that bear its ids.

Messages are made under the ids that come with K2; a registry server gives ids of its own.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache
from typing import Any

import fastavro

from conformance.stacks.base import PowerMissingError, Stack
from conformance.stacks.schema_registry import SchemaRegistryServer
from k2.ingestion.registry import PackagedRegistry, open_registry
from k2.records.definition import ASSET_CLASSES, RECORD_TYPES
from k2.settings import PACKAGED_REGISTRY, KafkaSettings

_FRAME_BYTES = 5
_ID_BYTES = 4


def registered_schemas(stack: Stack) -> dict[int, Any]:
    """The schema of each id that records are written under, as fastavro has them."""
    registry = open_registry(stack.settings.kafka)
    return {
        number: fastavro.parse_schema(dict(registry.writer_schema(number)))
        for number in set(_registered_ids(stack.settings.kafka).values())
    }


def under_registered_id(stack: Stack, value: bytes | None) -> bytes | None:
    """A message made under a packaged id, as this stack's registry knows it; any other as it is."""
    if value is None or len(value) < _FRAME_BYTES or value[0] != 0:
        return value
    made_under = int.from_bytes(value[1:_FRAME_BYTES], "big")
    number = _registered_ids(stack.settings.kafka).get(made_under, made_under)
    return value[:1] + number.to_bytes(_ID_BYTES, "big") + value[_FRAME_BYTES:]


@contextmanager
def registry_server(stack: Stack) -> Iterator[str]:
    """Address of the stack's registry; of one that is there for the body alone where it has none."""
    if stack.settings.kafka.schema_registry_url != PACKAGED_REGISTRY:
        # Of several that share what they hold, the first.
        yield stack.settings.kafka.schema_registry_url.partition(",")[0]
    else:
        with SchemaRegistryServer() as server:
            yield server.url


def require_packaged_registry(stack: Stack) -> None:
    """For clauses that put a stand-in in the place of the registry.

    Raises:
        PowerMissingError: the stack has a registry server, whose ids the stand-in does not have.
    """
    if stack.settings.kafka.schema_registry_url != PACKAGED_REGISTRY:
        raise PowerMissingError("a registry server cannot be told which id to give to a schema")


@lru_cache(maxsize=16)
def _registered_ids(kafka: KafkaSettings) -> Mapping[int, int]:
    packaged, registry = PackagedRegistry(), open_registry(kafka)
    return {
        packaged.schema_id(asset_class, record_type): registry.schema_id(asset_class, record_type)
        for asset_class in ASSET_CLASSES
        for record_type in RECORD_TYPES.values()
    }
