"""Avro, Arrow and table schemas of a record type, all derived from its definition."""

from typing import Any

import pyarrow as pa

from k2.records.definition import (
    DECIMAL_PRECISION,
    DECIMAL_SCALE,
    VENDOR_DATA_KEY_ID,
    VENDOR_DATA_VALUE_ID,
    Field,
    Kind,
    RecordType,
)

DECIMAL_TYPE = pa.decimal128(DECIMAL_PRECISION, DECIMAL_SCALE)
TIMESTAMP_TYPE = pa.timestamp("us", tz="UTC")

_FIELD_ID = b"PARQUET:field_id"

# Added by the consumer to every row: where it came from, and what was found out about it.
PROVENANCE_FIELDS: tuple[tuple[int, str, pa.DataType, bool], ...] = (
    (101, "topic", pa.string(), False),
    (102, "kafka_partition", pa.int32(), False),
    (103, "kafka_offset", pa.int64(), False),
    (104, "schema_id", pa.int32(), False),
    (105, "event_time", TIMESTAMP_TYPE, False),
    (106, "receive_time", TIMESTAMP_TYPE, False),
    (107, "sequence_event", pa.string(), True),
    (108, "quality_flags", pa.int32(), False),
)


def avro_schema(record_type: RecordType) -> dict[str, Any]:
    """The Avro record schema, as a JSON-ready dict in namespace k2.v2."""
    return {
        "type": "record",
        "name": record_type.name,
        "namespace": "k2.v2",
        "fields": [_avro_field(field) for field in record_type.fields],
    }


def arrow_schema(record_type: RecordType) -> pa.Schema:
    """The decoded columns of a record type, in wire order.

    A STRING that repeats and every ENUM are dictionary<int32, string>: decoding, checks and Parquet are faster so.
    """
    return pa.schema([pa.field(f.name, _arrow_type(f), nullable=f.nullable) for f in record_type.fields])


def table_schema(record_type: RecordType) -> pa.Schema:
    """The Iceberg table's columns as an Arrow schema whose fields carry their Iceberg ids."""
    fields = [_with_id(pa.field(f.name, _plain_type(f), nullable=f.nullable), f.field_id) for f in record_type.fields]
    provenance = [
        _with_id(pa.field(name, data_type, nullable=nullable), field_id)
        for field_id, name, data_type, nullable in PROVENANCE_FIELDS
    ]
    return pa.schema(fields + provenance)


def _avro_field(field: Field) -> dict[str, Any]:
    avro_type: Any
    match field.kind:
        case Kind.STRING:
            avro_type = "string"
        case Kind.LONG:
            avro_type = "long"
        case Kind.ENUM:
            avro_type = {"type": "enum", "name": _camel(field.name), "symbols": list(field.symbols)}
        case Kind.DECIMAL:
            avro_type = {
                "type": "bytes",
                "logicalType": "decimal",
                "precision": DECIMAL_PRECISION,
                "scale": DECIMAL_SCALE,
            }
        case Kind.STRING_MAP:
            avro_type = {"type": "map", "values": "string"}
    entry: dict[str, Any] = {"name": field.name, "type": avro_type, "doc": field.doc}
    if field.nullable:
        entry["type"] = ["null", avro_type]
        entry["default"] = None
    elif field.kind is Kind.STRING_MAP:
        entry["default"] = {}
    return entry


def _plain_type(field: Field) -> pa.DataType:
    match field.kind:
        case Kind.STRING | Kind.ENUM:
            return pa.string()
        case Kind.LONG:
            return pa.int64()
        case Kind.DECIMAL:
            return DECIMAL_TYPE
        case Kind.STRING_MAP:
            return pa.map_(
                _with_id(pa.field("key", pa.string(), nullable=False), VENDOR_DATA_KEY_ID),
                _with_id(pa.field("value", pa.string(), nullable=False), VENDOR_DATA_VALUE_ID),
            )


def _arrow_type(field: Field) -> pa.DataType:
    if field.kind is Kind.ENUM or field.repeats:
        return pa.dictionary(pa.int32(), pa.string())
    return _plain_type(field)


def _with_id(field: pa.Field, field_id: int) -> pa.Field:
    return field.with_metadata({_FIELD_ID: str(field_id).encode()})


def _camel(name: str) -> str:
    return "".join(part.capitalize() for part in name.split("_"))
