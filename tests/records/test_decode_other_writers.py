"""Writers of other schemas than ours: looked up once, read as Avro resolves them, and never out of order."""

import json
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

import fastavro
import pytest

from k2.errors import SchemaError, UnavailableError
from k2.records.decode import BatchDecoder
from k2.records.definition import QUOTE, TRADE
from k2.records.schemas import avro_schema
from tests.records.record_samples import (
    GOOD,
    SCHEMA_ID,
    body,
    checked,
    decode,
    good,
    good_message,
    message,
    rows,
    sized,
    trade_body,
    varint,
)

TRADE_SCHEMA = avro_schema(TRADE)


class TestSchemaIds:
    def test_several_in_one_batch_come_back_in_arrival_order(self):
        reordered = {**TRADE_SCHEMA, "fields": TRADE_SCHEMA["fields"][::-1]}
        decoder = BatchDecoder(TRADE, {1: TRADE_SCHEMA, 900_000: reordered})
        schemas = {1: TRADE_SCHEMA, 900_000: reordered}
        ids = [1, 900_000, 900_000, 1, 900_000, 1]
        messages = [message(body(schemas[schema_id], good(n)), schema_id) for n, schema_id in enumerate(ids)]
        batch = checked(decoder.decode(messages))
        assert rows(batch.columns) == [good(n) for n in range(6)]
        assert batch.schema_ids.tolist() == ids

    def test_an_unknown_id_rejects_its_messages_alone(self):
        batch = decode([good_message(1), good_message(2, schema_id=8), good_message(3), good_message(4, schema_id=-1)])
        assert [(reject.index, reject.reason) for reject in batch.rejects] == [
            (1, "unknown_schema_id"),
            (3, "unknown_schema_id"),
        ]
        assert "schema id 8" in batch.rejects[0].detail
        assert rows(batch.columns) == [good(1), good(3)]

    def test_a_schema_of_another_record_rejects_its_messages(self):
        decoder = BatchDecoder(QUOTE, {SCHEMA_ID: TRADE_SCHEMA})
        batch = checked(decoder.decode([good_message(1)]))
        assert [reject.reason for reject in batch.rejects] == ["incompatible_schema"]
        assert "'Trade'" in batch.rejects[0].detail

    def test_the_lookup_is_asked_once_for_what_it_knows_and_once_a_batch_for_what_it_does_not(self):
        asked = []

        def lookup(schema_id: int) -> Mapping[str, Any]:
            asked.append(schema_id)
            if schema_id != SCHEMA_ID:
                raise SchemaError(f"subject has no version with id {schema_id}")
            return TRADE_SCHEMA

        decoder = BatchDecoder(TRADE, lookup)
        batch = [good_message(1), good_message(2, schema_id=9), good_message(3, schema_id=9)]
        first, second = decoder.decode(batch), decoder.decode(batch)
        assert sorted(asked) == [7, 9, 9]
        assert [len(first.rejects), len(second.rejects)] == [2, 2]
        assert "subject has no version" in first.rejects[0].detail

    def test_a_registry_that_does_not_answer_stops_the_batch(self):
        def lookup(schema_id: int) -> Mapping[str, Any]:
            raise UnavailableError("registry at port 8081 does not answer")

        with pytest.raises(UnavailableError, match="8081"):
            BatchDecoder(TRADE, lookup).decode([good_message(1)])

    def test_a_schema_may_be_json_text(self):
        batch = checked(BatchDecoder(TRADE, {SCHEMA_ID: json.dumps(TRADE_SCHEMA)}).decode([good_message(1)]))
        assert rows(batch.columns) == [good(1)]

    def test_many_unknown_ids_do_not_take_quadratic_time(self):
        batch = decode([good_message(1, schema_id=number) for number in range(100, 20_100)])
        assert len(batch.rejects) == 20_000
        assert {reject.reason for reject in batch.rejects} == {"unknown_schema_id"}


class TestEvolution:
    def decode_written_by(self, schema: Mapping[str, Any], record: Mapping[str, Any]) -> dict[str, Any]:
        raw = body(fastavro.parse_schema(schema), record)
        batch = checked(BatchDecoder(TRADE, {SCHEMA_ID: schema}).decode([message(raw)]))
        assert batch.rejects == ()
        return rows(batch.columns)[0]

    def test_a_writer_with_more_fields(self):
        extra = [
            {"name": "fee", "type": ["null", "double"]},
            {"name": "tags", "type": {"type": "array", "items": "string"}},
        ]
        schema = {**TRADE_SCHEMA, "fields": [extra[0], *TRADE_SCHEMA["fields"], extra[1]]}
        assert self.decode_written_by(schema, {**GOOD, "fee": 0.1, "tags": ["a", "b"]}) == GOOD

    @pytest.mark.parametrize("name", ["source_sequence", "trade_id", "venue", "conditions"])
    def test_a_writer_without_a_nullable_field(self, name):
        schema = {**TRADE_SCHEMA, "fields": [field for field in TRADE_SCHEMA["fields"] if field["name"] != name]}
        assert self.decode_written_by(schema, GOOD) == {**GOOD, name: None}

    def test_a_writer_without_the_map(self):
        schema = {**TRADE_SCHEMA, "fields": TRADE_SCHEMA["fields"][:-1]}
        assert self.decode_written_by(schema, GOOD) == {**GOOD, "vendor_data": {}}

    def test_a_writer_of_32_bit_integers(self):
        fields = [{**f, "type": "int"} if f["name"] == "session_sequence" else f for f in TRADE_SCHEMA["fields"]]
        decoder = BatchDecoder(TRADE, {SCHEMA_ID: {**TRADE_SCHEMA, "fields": fields}})
        sent = [0, 2**31 - 1, -(2**31), 2**31, -(2**31) - 1]
        batch = checked(decoder.decode([message(trade_body(session_sequence=varint(number))) for number in sent]))
        assert [row["session_sequence"] for row in rows(batch.columns)] == sent[:3]
        assert [(reject.index, reject.reason) for reject in batch.rejects] == [(3, "bad_varint"), (4, "bad_varint")]

    def test_enum_symbols_in_another_order(self):
        side = {"name": "side", "type": {"type": "enum", "name": "Side", "symbols": ["UNKNOWN", "SELL", "BUY"]}}
        fields = [side if field["name"] == "side" else field for field in TRADE_SCHEMA["fields"]]
        schema = {**TRADE_SCHEMA, "fields": fields}
        read = [self.decode_written_by(schema, {**GOOD, "side": name})["side"] for name in ("BUY", "SELL", "UNKNOWN")]
        assert read == ["BUY", "SELL", "UNKNOWN"]

    def test_an_enum_symbol_we_lack_rejects_its_row_alone(self):
        side = {"name": "side", "type": {"type": "enum", "name": "Side", "symbols": ["CROSS", "BUY", "SELL"]}}
        fields = [side if field["name"] == "side" else field for field in TRADE_SCHEMA["fields"]]
        schema = {**TRADE_SCHEMA, "fields": fields}
        messages = [message(body(schema, {**GOOD, "side": name})) for name in ("BUY", "CROSS", "SELL")]
        batch = checked(BatchDecoder(TRADE, {SCHEMA_ID: schema}).decode(messages))
        assert [row["side"] for row in rows(batch.columns)] == ["BUY", "SELL"]
        assert [(reject.index, reject.reason) for reject in batch.rejects] == [(1, "unknown_enum_symbol")]

    def test_a_null_in_a_field_we_need_rejects_its_row_alone(self):
        fields = [
            {"name": "symbol", "type": ["string", "null"]} if field["name"] == "symbol" else field
            for field in TRADE_SCHEMA["fields"]
        ]
        schema = {**TRADE_SCHEMA, "fields": fields}
        messages = [message(body(schema, {**GOOD, "symbol": symbol})) for symbol in ("A", None, "B")]
        batch = checked(BatchDecoder(TRADE, {SCHEMA_ID: schema}).decode(messages))
        assert [row["symbol"] for row in rows(batch.columns)] == ["A", "B"]
        assert [(reject.index, reject.reason) for reject in batch.rejects] == [(1, "unexpected_null")]

    @pytest.mark.parametrize(("scale", "precision"), [(0, 18), (2, 20), (8, 26), (10, 28), (10, 5)])
    @pytest.mark.parametrize("as_fixed", [True, False])
    def test_a_decimal_of_smaller_scale_is_rescaled_exactly(self, scale, precision, as_fixed):
        storage = {"type": "fixed", "name": "F", "size": 13} if as_fixed else {"type": "bytes"}
        decimal = {**storage, "logicalType": "decimal", "precision": precision, "scale": scale}
        fields = [{"name": "price", "type": decimal} if f["name"] == "price" else f for f in TRADE_SCHEMA["fields"]]
        schema = {**TRADE_SCHEMA, "fields": fields}
        for unscaled in (0, 7, -7, 10**precision - 1, 1 - 10**precision):
            raw = unscaled.to_bytes(13, "big", signed=True)
            sent = trade_body(price=raw if as_fixed else sized(raw))
            batch = checked(BatchDecoder(TRADE, {SCHEMA_ID: schema}).decode([message(sent)]))
            assert rows(batch.columns)[0]["price"] == Decimal(unscaled).scaleb(-scale)
        beyond = (10**precision).to_bytes(13, "big", signed=True)
        sent = trade_body(price=beyond if as_fixed else sized(beyond))
        batch = checked(BatchDecoder(TRADE, {SCHEMA_ID: schema}).decode([message(sent)]))
        assert [reject.reason for reject in batch.rejects] == ["decimal_too_wide"]
