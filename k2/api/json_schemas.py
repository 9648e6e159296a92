"""JSON Schemas of what is answered, as the OpenAPI document shows them; those of rows follow from the definitions."""

from typing import Any

import pyarrow as pa

from k2.records.definition import RECORD_TYPES, Field, Kind, RecordType
from k2.records.schemas import PROVENANCE_FIELDS

Schema = dict[str, Any]

_INT64: Schema = {"type": "integer", "format": "int64"}
_DECIMAL: Schema = {
    "type": "string",
    "pattern": r"^-?(0|[1-9][0-9]*)(\.[0-9]*[1-9])?$",
    "description": "An exact decimal without exponent.",
}
_TIME: Schema = {"type": "string", "format": "date-time", "description": "UTC, to the microsecond."}
_REQUEST_ID: Schema = {"type": "string", "description": "Also in the X-Request-Id header and in the log."}
_SNAPSHOT = {
    "snapshot_id": {
        **_INT64,
        "type": ["integer", "null"],
        "description": "The state that was read; null: never written.",
    },
    "snapshot_time_ms": {**_INT64, "type": ["integer", "null"]},
}
_COUNT: Schema = {"type": "integer", "minimum": 0}
_CURSOR: Schema = {"type": ["string", "null"], "description": "Send it back as cursor for what follows; null: nothing."}


def exact_object(properties: dict[str, Schema]) -> Schema:
    """An object that has exactly these."""
    return {
        "type": "object",
        "properties": properties,
        "required": list(properties),
        "additionalProperties": False,
    }


def row_schema(record_type: RecordType) -> Schema:
    """A row of a record type's table."""
    fields = {field.name: _field_schema(field) for field in record_type.fields}
    provenance = {name: _column_schema(kind, nullable) for _, name, kind, nullable in PROVENANCE_FIELDS}
    return exact_object({**fields, **provenance})


def success_schema(item: Schema, meta: dict[str, Schema]) -> Schema:
    """A success envelope around a list of items."""
    return exact_object(
        {
            "success": {"const": True},
            "data": {"type": "array", "items": item},
            "meta": exact_object({**meta, "request_id": _REQUEST_ID}),
        }
    )


def reference_to(name: str) -> Schema:
    """A reference to one of `COMPONENTS`."""
    return {"$ref": f"#/components/schemas/{name}"}


PAGE_META = {**_SNAPSHOT, "count": _COUNT, "next_cursor": _CURSOR}
LISTING_META = {**_SNAPSHOT, "count": _COUNT}
COUNT_META = {"count": _COUNT}
SNAPSHOTS_META = {"count": _COUNT, "total": _COUNT}

SYMBOL = exact_object({name: {"type": "string"} for name in ("exchange", "asset_class", "symbol")})
GAP = exact_object(
    {
        "exchange": {"type": "string"},
        "symbol": {"type": "string"},
        "first_missing": _INT64,
        "last_missing": _INT64,
        "tracker": {"enum": ["source", "session"], "description": "Whose numbers: the exchange's, or the feed's."},
    }
)
SNAPSHOT = exact_object(
    {
        "snapshot_id": _INT64,
        "parent_id": {**_INT64, "type": ["integer", "null"]},
        "sequence_number": {**_INT64, "description": "Rises with every commit."},
        "committed_time_ms": _INT64,
        "operation": {"type": "string"},
        "added_records": _COUNT,
        "total_records": {"type": ["integer", "null"], "minimum": 0},
        "is_current": {"type": "boolean", "description": "Whether queries that name no snapshot read it."},
    }
)
BULK_RESULT = exact_object(
    {
        "rows": {"type": "array", "items": reference_to("Trade")},
        "meta": exact_object({"count": _COUNT, "next_cursor": _CURSOR}),
    }
)
_HEALTH_COMMON: dict[str, Schema] = {
    "live": {"const": True},
    "degradation_level": {"enum": ["NOMINAL", "DEGRADED", "CRITICAL", "SHUTDOWN"]},
    "degradation_reasons": {"type": "array", "items": {"type": "string"}},
    "checks": {"type": "object", "additionalProperties": {"type": "string"}},
}
READY = exact_object(
    {
        **_HEALTH_COMMON,
        "status": {"enum": ["ok", "stale"]},
        "ready": {"const": True},
        "freshness": exact_object({"limit_seconds": {"type": "number"}, "tables": {"type": "object"}}),
    }
)
NOT_READY = exact_object(
    {
        **_HEALTH_COMMON,
        "status": {"enum": ["unavailable", "shutdown", "stopping"]},
        "ready": {"const": False},
        "success": {"const": False},
        "error": reference_to("ErrorDetail"),
    }
)


def _field_schema(field: Field) -> Schema:
    schema: Schema
    match field.kind:
        case Kind.STRING:
            schema = {"type": "string"}
        case Kind.ENUM:
            schema = {"type": "string", "enum": [*field.symbols, *([None] if field.nullable else [])]}
        case Kind.LONG:
            schema = dict(_INT64)
        case Kind.DECIMAL:
            schema = dict(_DECIMAL)
        case Kind.STRING_MAP:
            schema = {"type": "object", "additionalProperties": {"type": "string"}}
    return _maybe_null({**schema, "description": field.doc}, field.nullable)


def _column_schema(kind: pa.DataType, nullable: bool) -> Schema:
    if pa.types.is_timestamp(kind):
        return _maybe_null(dict(_TIME), nullable)
    return _maybe_null(dict(_INT64) if pa.types.is_integer(kind) else {"type": "string"}, nullable)


def _maybe_null(schema: Schema, nullable: bool) -> Schema:
    return {**schema, "type": [schema["type"], "null"]} if nullable else schema


COMPONENTS: dict[str, Schema] = {record_type.name: row_schema(record_type) for record_type in RECORD_TYPES.values()}
