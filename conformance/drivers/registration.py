"""Registers what K2 registers with a Schema Registry, and asks the registry itself what it holds."""

import json
import urllib.error
import urllib.request
from typing import Any

from k2.ingestion.remote_registry import RemoteRegistry
from k2.records.definition import ASSET_CLASSES, RECORD_TYPES, topic
from k2.records.schemas import avro_schema

_TIMEOUT_SECONDS = 30.0
_CONTENT_TYPE = {"Content-Type": "application/vnd.schemaregistry.v1+json"}


def register_all(url: str, topic_prefix: str) -> dict[str, int]:
    """The id that K2 is given for each subject."""
    registry = RemoteRegistry(url, topic_prefix=topic_prefix)
    return {
        f"{topic(asset_class, record_type.data_type, topic_prefix)}-value": registry.schema_id(asset_class, record_type)
        for asset_class in ASSET_CLASSES
        for record_type in RECORD_TYPES.values()
    }


def subjects(url: str, topic_prefix: str) -> list[str]:
    """The registry's subjects of market data, sorted; another user's are not looked at."""
    return sorted(name for name in _ask(url, "GET", "subjects")[1] if name.startswith(f"{topic_prefix}market."))


def compatibility(url: str, subject: str) -> str | None:
    """A subject's own compatibility; None where it has none and the server's default holds."""
    status, answer = _ask(url, "GET", f"config/{subject}")
    return answer.get("compatibilityLevel") if status == 200 else None


def status_of_incompatible(url: str, subject: str) -> int:
    """What the registry answers to a schema of the subject with one more field that has no default."""
    schema = avro_schema(RECORD_TYPES[subject.removesuffix("-value").rsplit(".", 1)[1]])
    changed = {**schema, "fields": [*schema["fields"], {"name": "unheard_of", "type": "string"}]}
    return _ask(url, "POST", f"subjects/{subject}/versions", {"schema": json.dumps(changed)})[0]


def is_schema_of(url: str, schema_id: int, data_type: str) -> bool:
    """Whether the registry gives the definition's own schema under an id."""
    status, answer = _ask(url, "GET", f"schemas/ids/{schema_id}")
    return status == 200 and json.loads(answer["schema"]) == avro_schema(RECORD_TYPES[data_type])


def _ask(url: str, method: str, path: str, body: Any = None) -> tuple[int, Any]:
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(f"{url}/{path}", data, _CONTENT_TYPE, method=method)
    try:
        with urllib.request.urlopen(request, timeout=_TIMEOUT_SECONDS) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.loads(error.read() or b"{}")
