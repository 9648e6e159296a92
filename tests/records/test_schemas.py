"""Schemas: the three forms of a record type say the same, and no field id is ever used twice."""

import fastavro
import pyarrow as pa
import pytest
from pyiceberg.io.pyarrow import pyarrow_to_schema

from k2.records.definition import (
    DECIMAL_PRECISION,
    DECIMAL_SCALE,
    RECORD_TYPES,
    VENDOR_DATA_KEY_ID,
    VENDOR_DATA_VALUE_ID,
    Kind,
    dead_letter_topic,
    topic,
)
from k2.records.schemas import PROVENANCE_FIELDS, arrow_schema, avro_schema, table_schema

each_record_type = pytest.mark.parametrize(
    "record_type", RECORD_TYPES.values(), ids=lambda record_type: record_type.data_type
)

AVRO_TYPES = {
    Kind.STRING: "string",
    Kind.LONG: "long",
    Kind.DECIMAL: {
        "type": "bytes",
        "logicalType": "decimal",
        "precision": DECIMAL_PRECISION,
        "scale": DECIMAL_SCALE,
    },
    Kind.STRING_MAP: {"type": "map", "values": "string"},
}


def plain(arrow_type):
    return arrow_type.value_type if pa.types.is_dictionary(arrow_type) else arrow_type


def shape(arrow_type):
    """A type without the metadata of its children."""
    return str(pa.map_(arrow_type.key_type, arrow_type.item_type)) if pa.types.is_map(arrow_type) else str(arrow_type)


@each_record_type
class TestOneRecordType:
    def test_avro_accepts_the_schema(self, record_type):
        parsed = fastavro.parse_schema(avro_schema(record_type))
        assert parsed["name"] == f"k2.v2.{record_type.name}"
        assert [field["name"] for field in parsed["fields"]] == [field.name for field in record_type.fields]

    def test_avro_has_the_types_of_the_definition(self, record_type):
        for field, written in zip(record_type.fields, avro_schema(record_type)["fields"], strict=True):
            avro_type = written["type"][1] if field.nullable else written["type"]
            if field.kind is Kind.ENUM:
                assert (avro_type["type"], avro_type["symbols"]) == ("enum", list(field.symbols))
            else:
                assert avro_type == AVRO_TYPES[field.kind]

    def test_avro_has_a_default_for_whatever_may_be_left_out(self, record_type):
        for field, written in zip(record_type.fields, avro_schema(record_type)["fields"], strict=True):
            if field.nullable:
                assert written["type"][0] == "null"
                assert written["default"] is None
            else:
                assert written.get("default") == ({} if field.kind is Kind.STRING_MAP else None)

    def test_avro_explains_every_field(self, record_type):
        assert [field["doc"] for field in avro_schema(record_type)["fields"]] == [f.doc for f in record_type.fields]
        assert all(field.doc.endswith(".") for field in record_type.fields)

    def test_avro_schemas_of_two_calls_share_nothing(self, record_type):
        first = avro_schema(record_type)
        first["fields"].clear()
        assert avro_schema(record_type)["fields"]

    def test_arrow_and_the_table_agree_on_names_and_nullability(self, record_type):
        decoded, table = arrow_schema(record_type), table_schema(record_type)
        assert decoded.names == [field.name for field in record_type.fields]
        assert table.names == decoded.names + [name for _, name, _, _ in PROVENANCE_FIELDS]
        assert [field.nullable for field in decoded] == [field.nullable for field in record_type.fields]
        assert [field.nullable for field in table][: len(decoded)] == [field.nullable for field in decoded]

    def test_arrow_and_the_table_agree_on_types(self, record_type):
        table = table_schema(record_type)
        for field in arrow_schema(record_type):
            assert shape(plain(field.type)) == shape(table.field(field.name).type)

    def test_what_repeats_and_every_enum_is_a_dictionary(self, record_type):
        for field in record_type.fields:
            is_dictionary = arrow_schema(record_type).field(field.name).type == pa.dictionary(pa.int32(), pa.string())
            assert is_dictionary == (field.repeats or field.kind is Kind.ENUM)

    def test_field_ids_are_unique_down_to_the_entries_of_the_map(self, record_type):
        table = table_schema(record_type)
        ids = [int(field.metadata[b"PARQUET:field_id"]) for field in table]
        vendor_data = table.field("vendor_data").type
        entries = [vendor_data.key_field, vendor_data.item_field]
        ids += [int(field.metadata[b"PARQUET:field_id"]) for field in entries]
        assert len(set(ids)) == len(ids) == len(table) + 2
        assert {VENDOR_DATA_KEY_ID, VENDOR_DATA_VALUE_ID} <= set(ids)

    def test_iceberg_takes_the_table_schema_with_its_ids(self, record_type):
        iceberg = pyarrow_to_schema(table_schema(record_type))
        assert {field.name: field.field_id for field in record_type.fields}.items() <= {
            field.name: field.field_id for field in iceberg.fields
        }.items()
        assert {field.name for field in iceberg.fields if field.required} == {
            field.name for field in table_schema(record_type) if not field.nullable
        }


def test_a_field_of_two_record_types_has_one_id_and_one_meaning():
    seen = {}
    for record_type in RECORD_TYPES.values():
        for field in record_type.fields:
            assert seen.setdefault(field.name, field) == field
    assert len({field.field_id for field in seen.values()}) == len(seen)


def test_a_field_that_does_not_exist_is_a_key_error():
    for record_type in RECORD_TYPES.values():
        assert record_type.field("symbol").name == "symbol"
        with pytest.raises(KeyError):
            record_type.field("colour")


def test_topics_name_the_asset_class_and_the_data_type():
    assert topic("crypto", "trades") == "market.crypto.trades"
    assert dead_letter_topic("market.crypto.trades") == "market.crypto.trades.dlq"
