"""The forms of one definition beside one another: Avro as registered, Arrow as decoded, Iceberg as the table has it."""

from collections.abc import Mapping
from typing import Any

import pyarrow as pa
from pyiceberg.types import MapType, NestedField

from conformance.drivers.table_view import open_table
from conformance.stacks.base import Stack
from k2.ingestion.registry import PackagedRegistry
from k2.records.definition import RecordType
from k2.records.schemas import arrow_schema

Form = dict[str, tuple[str, bool]]
"""Type in one vocabulary and whether it may be null, by field."""
_AVRO = {"string": "string", "long": "long", "enum": "string", "bytes": "decimal(28, 10)", "map": "map<string, string>"}
_ARROW = {pa.string(): "string", pa.int64(): "long", pa.decimal128(28, 10): "decimal(28, 10)"}


def disagreements(stack: Stack, record_type: RecordType) -> list[str]:
    """Fields that the three forms do not have alike; the table's columns of provenance are its own."""
    storage = stack.settings.storage
    table = open_table(storage, record_type.table)
    avro = _of_avro(PackagedRegistry().writer_schema(PackagedRegistry().schema_id("crypto", record_type)))
    arrow = {field.name: (_arrow_type(field.type), field.nullable) for field in arrow_schema(record_type)}
    columns = {field.name: (_iceberg_type(field), not field.required) for field in table.schema().fields}
    forms: Mapping[str, Form] = {"avro": avro, "arrow": arrow, "table": columns}
    return [
        f"{name}: " + ", ".join(f"{form} {fields.get(name)}" for form, fields in forms.items())
        for name in sorted({*avro, *arrow})
        if len({fields.get(name) for fields in forms.values()}) > 1
    ]


def _of_avro(schema: Mapping[str, Any]) -> Form:
    form: Form = {}
    for field in schema["fields"]:
        nullable = isinstance(field["type"], list) and "null" in field["type"]
        kept = next(branch for branch in field["type"] if branch != "null") if nullable else field["type"]
        form[field["name"]] = (_AVRO[kept if isinstance(kept, str) else kept["type"]], nullable)
    return form


def _arrow_type(data_type: pa.DataType) -> str:
    plain = data_type.value_type if pa.types.is_dictionary(data_type) else data_type
    return "map<string, string>" if pa.types.is_map(plain) else _ARROW[plain]


def _iceberg_type(field: NestedField) -> str:
    if isinstance(field.field_type, MapType):
        return f"map<{field.field_type.key_type}, {field.field_type.value_type}>"
    return str(field.field_type)
