"""The compiler of writer schemas: what it can read is read exactly, what it cannot is one clear line."""

import json
from typing import Any

import pytest

from k2.errors import SchemaError
from k2.records.avro_program import MAXIMUM_INSTRUCTIONS, compile_program, link
from k2.records.decode import BatchDecoder
from k2.records.definition import QUOTE, TRADE
from k2.records.schemas import avro_schema
from k2.records.writer_schema import MAXIMUM_NESTING
from tests.records.record_samples import GOOD, SCHEMA_ID, body, checked, message, rows, sized, varint

TRADE_SCHEMA = avro_schema(TRADE)


def with_field(name: str, avro_type: Any) -> dict[str, Any]:
    """The trade's schema with another type for one field."""
    fields = [{**f, "type": avro_type} if f["name"] == name else f for f in TRADE_SCHEMA["fields"]]
    return {**TRADE_SCHEMA, "fields": fields}


def with_extra(avro_type: Any) -> dict[str, Any]:
    """The trade's schema with a field we do not know in front."""
    return {**TRADE_SCHEMA, "fields": [{"name": "extra", "type": avro_type}, *TRADE_SCHEMA["fields"]]}


def read_past(avro_type: Any, *values: bytes) -> list[str]:
    """Reasons of the messages whose extra field has these bytes; "good" where the trade behind it was read."""
    good = body(TRADE_SCHEMA, GOOD)
    decoder = BatchDecoder(TRADE, {SCHEMA_ID: with_extra(avro_type)})
    batch = checked(decoder.decode([message(value + good) for value in values]))
    assert rows(batch.columns) == [GOOD] * batch.rows.size
    reasons = {reject.index: reject.reason for reject in batch.rejects}
    return [reasons.get(index, "good") for index in range(len(values))]


def decimal(precision: Any, scale: Any, **more: Any) -> dict[str, Any]:
    return {"type": "bytes", "logicalType": "decimal", "precision": precision, "scale": scale, **more}


RECURSIVE = {"type": "record", "name": "Node", "fields": [{"name": "next", "type": ["null", "Node"]}]}

REFUSED = {
    "not JSON": ("{", "is not JSON"),
    "JSON nested too deep to parse": ("[" * 100_000, "is not JSON"),
    "a primitive": ('"string"', "a record is needed"),
    "a list": ("[]", "a record is needed"),
    "null": ("null", "a record is needed"),
    "a record without a name": ({"type": "record", "fields": []}, "without a name"),
    "a record without fields": ({"type": "record", "name": "Trade"}, "without a list of fields"),
    "a field without a type": ({"type": "record", "name": "Trade", "fields": [{"name": "a"}]}, "without name or type"),
    "a field that is no object": ({"type": "record", "name": "Trade", "fields": [1]}, "without name or type"),
    "another record": (avro_schema(QUOTE), "'Quote'.*another topic"),
    "a number for a namespace": ({**TRADE_SCHEMA, "namespace": 5}, "not a string"),
    "a missing field": ({**TRADE_SCHEMA, "fields": TRADE_SCHEMA["fields"][1:]}, "field session: is missing"),
    "a field twice": ({**TRADE_SCHEMA, "fields": TRADE_SCHEMA["fields"][:1] * 2}, "field session: appears twice"),
    "text for a number": (with_field("event_time_ns", "string"), 'event_time_ns: is "string".*as long'),
    "a double for a number": (with_field("event_time_ns", "double"), "as long exactly"),
    "milliseconds for nanoseconds": (
        with_field("event_time_ns", {"type": "long", "logicalType": "timestamp-millis"}),
        "timestamp-millis.*as long exactly",
    ),
    "a double for a price": (with_field("price", "double"), 'field price: is "double".*as decimal exactly'),
    "plain bytes for a price": (with_field("price", "bytes"), "as decimal exactly"),
    "bytes for text": (with_field("symbol", "bytes"), "as string exactly"),
    "an enum for text": (with_field("symbol", {"type": "enum", "name": "E", "symbols": ["A"]}), "as string exactly"),
    "text for an enum": (with_field("side", "string"), "as enum exactly"),
    "a map of numbers": (with_field("vendor_data", {"type": "map", "values": "long"}), "as map<string,string> exactly"),
    "a map of nothing": (with_field("vendor_data", {"type": "map"}), "unknown type null"),
    "a finer scale": (with_field("price", decimal(28, 11)), r"decimal\(28, 11\).*does not fit decimal\(28, 10\)"),
    "a greater precision": (with_field("price", decimal(29, 10)), "does not fit"),
    "a scale whose rescaling does not fit": (with_field("price", decimal(28, 9)), "does not fit"),
    "a decimal without precision": (with_field("price", decimal(None, 2)), "precision null"),
    "a decimal of text": (with_field("price", decimal("28", 10)), 'precision "28"'),
    "a decimal of truth": (with_field("price", decimal(True, 0)), "precision true"),
    "a negative scale": (with_field("price", decimal(5, -1)), "scale -1"),
    "a union of three": (with_field("symbol", ["null", "string", "long"]), "is the union.*only null and one other"),
    "a union of nothing": (with_field("symbol", []), "is the union"),
    "a union of null": (with_field("venue", ["null"]), "is the union"),
    "an enum without symbols": (with_field("side", {"type": "enum", "name": "Side"}), "without a list of symbols"),
    "an enum of numbers": (with_field("side", {"type": "enum", "name": "Side", "symbols": [1]}), "list of symbols"),
    "a name nobody defined": (with_field("side", "Size"), "unknown type 'Size'"),
    "a name defined twice": (
        {
            **TRADE_SCHEMA,
            "fields": [
                *TRADE_SCHEMA["fields"],
                {"name": "a", "type": {"type": "fixed", "name": "F", "size": 1}},
                {"name": "b", "type": {"type": "fixed", "name": "F", "size": 2}},
            ],
        },
        "'F' a second time",
    ),
    "a record within itself": (with_extra(RECURSIVE), "extra.next: has a record within itself"),
    "the whole record within itself": (with_extra(["null", "Trade"]), "within itself"),
    "an array of an unknown type": (with_extra({"type": "array", "items": {"type": "tuple"}}), "unknown type 'tuple'"),
    "a fixed of negative size": (with_extra({"type": "fixed", "name": "F", "size": -1}), "size -1"),
    "a fixed larger than memory": (
        with_extra({"type": "fixed", "name": "F", "size": 2**64}),
        "size 18446744073709551616",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused_in_one_line_that_names_the_place(name):
    schema, expected = REFUSED[name]
    with pytest.raises(SchemaError, match=f"^writer schema of Trade.*{expected}") as refusal:
        compile_program(TRADE, schema)
    assert "\n" not in str(refusal.value)
    assert len(str(refusal.value)) < 300


def test_types_nested_without_end_are_refused():
    nested: Any = "long"
    for _ in range(MAXIMUM_NESTING + 1):
        nested = {"type": "array", "items": nested}
    with pytest.raises(SchemaError, match="nested deeper"):
        compile_program(TRADE, with_extra(nested))


def test_wrappers_around_a_type_without_end_are_refused():
    wrapped: Any = "long"
    for _ in range(500):
        wrapped = {"type": wrapped}
    with pytest.raises(SchemaError, match="nested deeper"):
        compile_program(TRADE, with_extra(wrapped))


def test_a_small_schema_that_doubles_at_every_level_is_refused():
    fields = [{"name": "a", "type": "long"}]
    for level in range(20):
        inner = {"type": "record", "name": f"Level{level}", "fields": fields}
        fields = [{"name": "left", "type": inner}, {"name": "right", "type": f"Level{level}"}]
    with pytest.raises(SchemaError, match=f"larger than {MAXIMUM_INSTRUCTIONS}"):
        compile_program(TRADE, with_extra({"type": "record", "name": "Top", "fields": fields}))


class TestNames:
    def test_a_field_may_refer_to_a_type_defined_before_it(self):
        side = {"type": "enum", "name": "Side", "symbols": ["BUY", "SELL", "UNKNOWN"]}
        extra = {"name": "first_side", "type": side}
        schema = {**TRADE_SCHEMA, "fields": [extra, *with_field("side", "Side")["fields"]]}
        raw = varint(0) + body(TRADE_SCHEMA, GOOD)
        batch = checked(BatchDecoder(TRADE, {SCHEMA_ID: schema}).decode([message(raw)]))
        assert rows(batch.columns) == [GOOD]

    @pytest.mark.parametrize("reference", ["Id", "k2.v2.Id"])
    def test_names_are_read_in_the_namespace_around_them(self, reference):
        pair = {
            "type": "record",
            "name": "Pair",
            "fields": [
                {"name": "left", "type": {"type": "fixed", "name": "Id", "size": 2}},
                {"name": "right", "type": reference},
            ],
        }
        assert read_past(pair, b"abcd") == ["good"]

    def test_a_type_in_another_namespace_needs_its_full_name(self):
        def pair(reference: str) -> dict[str, Any]:
            inner = {"type": "fixed", "name": "Id", "namespace": "other", "size": 2}
            fields = [{"name": "left", "type": inner}, {"name": "right", "type": reference}]
            return {"type": "record", "name": "Pair", "fields": fields}

        assert read_past(pair("other.Id"), b"abcd") == ["good"]
        assert read_past(pair("Id"), b"abcd") == ["incompatible_schema"]

    @pytest.mark.parametrize("name", ["Trade", "market.Trade"])
    def test_the_record_may_come_from_any_namespace(self, name):
        schema = {**TRADE_SCHEMA, "name": name}
        schema.pop("namespace")
        assert compile_program(TRADE, schema).code.shape == compile_program(TRADE, TRADE_SCHEMA).code.shape

    def test_what_a_type_is_wrapped_in_does_not_matter(self):
        schema = with_field("symbol", {"type": {"type": "string", "avro.java.string": "String"}})
        assert (compile_program(TRADE, schema).code == compile_program(TRADE, TRADE_SCHEMA).code).all()

    def test_json_text_and_dict_are_the_same(self):
        assert (
            compile_program(TRADE, json.dumps(TRADE_SCHEMA)).code == compile_program(TRADE, TRADE_SCHEMA).code
        ).all()


class TestFieldsWeDoNotKnow:
    def test_primitives(self):
        assert read_past("null", b"") == ["good"]
        assert read_past("boolean", b"\x00", b"\x01", b"\x02") == ["good", "good", "bad_boolean"]
        assert read_past("int", varint(-(2**31)), varint(2**31)) == ["good", "bad_varint"]
        assert read_past("long", varint(-(2**63)), varint(2**63)) == ["good", "bad_varint"]
        assert read_past("float", b"\xff" * 4) == ["good"]
        assert read_past("double", b"\xff" * 8) == ["good"]
        assert read_past("bytes", sized(b"\xff"), varint(-1), varint(2**62)) == ["good", "negative_length", "truncated"]
        assert read_past("string", sized(b"text"), sized(b"\xff")) == ["good", "bad_utf8"]

    def test_fixed_and_enums(self):
        assert read_past({"type": "fixed", "name": "F", "size": 3}, b"abc") == ["good"]
        assert read_past({"type": "fixed", "name": "F", "size": 0}, b"") == ["good"]
        assert read_past({"type": "fixed", "name": "F", "size": 2**62}, b"") == ["truncated"]
        enum = {"type": "enum", "name": "E", "symbols": ["A", "B"]}
        assert read_past(enum, varint(0), varint(1), varint(2)) == ["good", "good", "bad_enum_index"]

    def test_unions_of_many_branches(self):
        union = ["null", "string", {"type": "array", "items": "long"}, "boolean"]
        values = [
            varint(0),
            varint(1) + sized(b"x"),
            varint(2) + varint(2) + varint(5) + varint(6) + varint(0),
            varint(3) + b"\x01",
            varint(4),
        ]
        assert read_past(union, *values) == ["good", "good", "good", "good", "bad_union_branch"]

    def test_a_union_of_one_branch_still_has_its_branch_written(self):
        assert read_past(["string"], varint(0) + sized(b"x"), varint(1)) == ["good", "bad_union_branch"]

    def test_arrays_within_maps_within_arrays(self):
        inner = {"type": "map", "values": {"type": "array", "items": "long"}}
        longs = varint(2) + varint(1) + varint(2) + varint(1) + varint(3) + varint(0)
        one_map = varint(2) + sized(b"a") + longs + sized(b"b") + varint(0) + varint(0)
        arrays = varint(3) + one_map + varint(0) + one_map + varint(0)
        assert read_past({"type": "array", "items": inner}, arrays, varint(0), varint(1000)) == [
            "good",
            "good",
            "bad_block_count",
        ]

    def test_blocks_with_sizes_must_end_where_they_say(self):
        array = {"type": "array", "items": "string"}
        items = sized(b"a") + sized(b"bc")

        def block(size: int) -> bytes:
            return varint(-2) + varint(size) + items + varint(0)

        assert read_past(array, block(len(items)), block(len(items) - 1), block(len(items) + 1)) == [
            "good",
            "bad_block_size",
            "bad_block_size",
        ]

    def test_an_array_of_nulls_costs_no_time_however_many_it_claims(self):
        array = {"type": "array", "items": "null"}
        many = varint(2**63 - 1) + varint(2**62) + varint(0)
        sized_block = varint(-5) + varint(0) + varint(0)
        wrong_size = varint(-5) + varint(1) + varint(0)
        assert read_past(array, many, varint(0), sized_block, wrong_size) == ["good", "good", "good", "bad_block_size"]

    def test_an_array_of_empty_records_and_of_empty_fixed(self):
        record = {"type": "record", "name": "Empty", "fields": [{"name": "nothing", "type": "null"}]}
        assert read_past({"type": "array", "items": record}, varint(10**15) + varint(0)) == ["good"]
        fixed = {"type": "fixed", "name": "F", "size": 0}
        assert read_past({"type": "array", "items": fixed}, varint(10**15) + varint(0)) == ["good"]

    def test_the_failing_field_is_named_with_its_path(self):
        record = {"type": "record", "name": "R", "fields": [{"name": "flag", "type": "boolean"}]}
        decoder = BatchDecoder(TRADE, {SCHEMA_ID: with_extra(record)})
        batch = decoder.decode([message(b"\x07" + body(TRADE_SCHEMA, GOOD))])
        assert batch.rejects[0].detail.startswith("extra.flag at byte 0 ")


def test_linked_programs_keep_their_own_places():
    programs = [compile_program(TRADE, TRADE_SCHEMA), compile_program(TRADE, with_extra(["null", "long"]))]
    linked = link(programs)
    for program, (code, table) in zip(programs, linked.entries, strict=True):
        assert (linked.code[code : code + len(program.code)] == program.code).all()
        assert (linked.tables[table : table + len(program.tables)] == program.tables).all()
