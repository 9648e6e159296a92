"""The encoder: exact on the wire as an independent reader sees it, or a refusal that names the field and the value."""

import decimal
import io
from decimal import Decimal
from enum import StrEnum
from fractions import Fraction
from types import MappingProxyType
from typing import Any

import fastavro
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from k2.errors import RecordError
from k2.records.definition import QUOTE, RECORD_TYPES, TRADE
from k2.records.encode import RecordEncoder
from k2.records.schemas import avro_schema
from tests.records.record_samples import GOOD, decode, records, rows

ENCODER = RecordEncoder(TRADE, 7)
LARGEST = Decimal("999999999999999999.9999999999")


def read_by_fastavro(value: bytes, record_type=TRADE) -> dict[str, Any]:
    assert value[:5] == b"\x00\x00\x00\x00\x07"
    stream = io.BytesIO(value[5:])
    record = fastavro.schemaless_reader(stream, fastavro.parse_schema(avro_schema(record_type)), None)
    assert stream.read() == b""
    return record


def refusal_of(**changed: Any) -> str:
    with pytest.raises(RecordError) as refusal:
        ENCODER.encode({**GOOD, **changed})
    text = str(refusal.value)
    assert "\n" not in text
    assert len(text) < 220
    return text


@pytest.mark.parametrize("record_type", RECORD_TYPES.values(), ids=lambda record_type: record_type.data_type)
class TestAnyRecord:
    @settings(max_examples=150)
    @given(data=st.data())
    def test_comes_back_from_an_independent_reader(self, record_type, data):
        record = data.draw(records(record_type))
        assert read_by_fastavro(RecordEncoder(record_type, 7).encode(record), record_type) == record

    @settings(max_examples=50)
    @given(data=st.data())
    def test_comes_back_from_our_own_decoder(self, record_type, data):
        written = data.draw(st.lists(records(record_type), max_size=5))
        encoder = RecordEncoder(record_type, 7)
        assert rows(decode([encoder.encode(record) for record in written], record_type).columns) == written


class TestDecimals:
    @pytest.mark.parametrize(
        ("given_value", "stored"),
        [
            (5, "5"),
            (0, "0"),
            (-(10**18) + 1, "-999999999999999999"),
            ("97123.45", "97123.45"),
            ("+1.", "1"),
            (".5", "0.5"),
            ("1e3", "1000"),
            ("1E-10", "0.0000000001"),
            ("-0", "0"),
            ("1.00000000000000000000", "1"),
            ("0e400", "0"),
            (Decimal("1E+17"), "100000000000000000"),
            (Decimal("0E+100"), "0"),
            (LARGEST, "999999999999999999.9999999999"),
            (-LARGEST, "-999999999999999999.9999999999"),
            (str(LARGEST) + "0" * 40, "999999999999999999.9999999999"),
        ],
    )
    def test_exact_forms_are_taken(self, given_value, stored):
        assert read_by_fastavro(ENCODER.encode({**GOOD, "price": given_value}))["price"] == Decimal(stored)

    @pytest.mark.parametrize(
        ("given_value", "reason"),
        [
            (0.1, "must be Decimal, int or str, not float"),
            (True, "not bool"),
            (None, "not NoneType"),
            (b"1", "not bytes"),
            (10**18, "more than 18 digits before the point"),
            (-(10**18), "more than 18 digits before the point"),
            pytest.param(10**5_000, "more than 18 digits before the point", id="5001 digits"),
            ("1e18", "more than 18 digits before the point"),
            ("1e999999999", "more than 18 digits before the point"),
            ("1e" + "9" * 60, "not a decimal number"),
            (Decimal("0.00000000001"), "more than 10 digits after the point"),
            ("1.00000000001", "more than 10 digits after the point"),
            ("999999999999999999.99999999999", "more than 10 digits after the point"),
            ("1e-999999999", "more than 10 digits after the point"),
            pytest.param("1." + "0" * 5_000 + "1", "more than 10 digits after the point", id="5001 places"),
            (Decimal("NaN"), "not a finite number"),
            (Decimal("sNaN"), "not a finite number"),
            (Decimal("-Infinity"), "not a finite number"),
            ("NaN", "not a decimal number"),
            ("Infinity", "not a decimal number"),
            ("", "not a decimal number"),
            ("1_000", "not a decimal number"),
            (" 1", "not a decimal number"),
            ("1\n", "not a decimal number"),
            ("0x10", "not a decimal number"),
            ("\u0661", "not a decimal number"),
            ("1,5", "not a decimal number"),
        ],
    )
    def test_what_would_not_be_stored_exactly_is_refused(self, given_value, reason):
        assert reason in refusal_of(price=given_value)

    @given(
        st.integers(-(10**40), 10**40),
        st.integers(-50, 30),
        st.sampled_from([str, Decimal]),
    )
    def test_any_number_is_stored_exactly_or_refused(self, digits, exponent, form):
        number = form(Decimal(digits).scaleb(exponent, decimal.Context(prec=50)))
        unscaled = Fraction(digits) * Fraction(10) ** (exponent + 10)
        if unscaled.denominator == 1 and abs(unscaled) < 10**28:
            stored = read_by_fastavro(ENCODER.encode({**GOOD, "price": number}))["price"]
            assert Fraction(stored) * 10**10 == unscaled
        else:
            assert refusal_of(price=number).startswith("Trade.price = ")

    def test_the_caller_s_decimal_context_changes_nothing(self):
        with decimal.localcontext(decimal.Context(prec=3)):
            value = ENCODER.encode({**GOOD, "price": LARGEST})
        assert read_by_fastavro(value)["price"] == LARGEST


class TestRefusals:
    @pytest.mark.parametrize("field", [field for field in TRADE.fields if not field.nullable], ids=lambda f: f.name)
    def test_a_missing_field(self, field):
        without = {name: value for name, value in GOOD.items() if name != field.name}
        if field.name == "vendor_data":
            assert read_by_fastavro(ENCODER.encode(without))["vendor_data"] == {}
        else:
            with pytest.raises(RecordError, match=f"^Trade.{field.name}: it is missing"):
                ENCODER.encode(without)

    @pytest.mark.parametrize("field", [field for field in TRADE.fields if not field.nullable], ids=lambda f: f.name)
    def test_none_where_a_value_is_needed(self, field):
        assert f"Trade.{field.name} = <NoneType>: it must be " in refusal_of(**{field.name: None})

    @pytest.mark.parametrize("field", [field for field in TRADE.fields if field.nullable], ids=lambda f: f.name)
    def test_nothing_where_nothing_is_needed(self, field):
        without = {name: value for name, value in GOOD.items() if name != field.name}
        assert ENCODER.encode(without) == ENCODER.encode({**GOOD, field.name: None})
        assert read_by_fastavro(ENCODER.encode(without))[field.name] is None

    @pytest.mark.parametrize(
        ("name", "value", "reason"),
        [
            ("symbol", 5, "must be str, not int"),
            ("symbol", b"BHP", "must be str, not bytes"),
            ("venue", 1.5, "must be str, not float"),
            ("side", 1, "must be str, not int"),
            ("side", "buy", "must be one of BUY, SELL, UNKNOWN"),
            ("asset_class", "", "must be one of equities, crypto"),
            ("session_sequence", "1", "must be int, not str"),
            ("session_sequence", 1.0, "must be int, not float"),
            ("session_sequence", True, "must be int, not bool"),
            ("event_time_ns", 2**63, "does not fit 64 bits"),
            ("source_sequence", -(2**63) - 1, "does not fit 64 bits"),
            pytest.param("event_time_ns", 10**5_000, "does not fit 64 bits", id="5001 digits"),
            ("vendor_data", [("a", "b")], "must be a mapping of str to str, not list"),
            ("vendor_data", {"a": 1}, "entry 'a' must be str to str"),
            ("vendor_data", {1: "a"}, "entry 1 must be str to str"),
            ("symbol", "BHP\ud800", "lone surrogate"),
            ("trade_id", "\udfff", "lone surrogate"),
            ("vendor_data", {"\ud800": "a"}, "lone surrogate"),
            ("vendor_data", {"a": "\ud800"}, "lone surrogate"),
        ],
    )
    def test_a_value_that_does_not_fit(self, name, value, reason):
        text = refusal_of(**{name: value})
        assert text.startswith(f"Trade.{name} = ")
        assert reason in text

    def test_an_unknown_field(self):
        assert refusal_of(colour="red") == "Trade.'colour' = 'red': there is no such field"

    def test_long_values_are_shortened_to_eighty_characters(self):
        shown = refusal_of(side="x" * 10_000).split(" = ")[1].split(": ")[0]
        assert len(shown) == 80
        assert shown.endswith("...")

    def test_line_ends_in_a_value_stay_on_the_line(self):
        assert "'one\\ntwo'" in refusal_of(side="one\ntwo")

    def test_a_refused_record_leaves_the_encoder_usable(self):
        expected = ENCODER.encode(GOOD)
        refusal_of(symbol="\ud800")
        assert ENCODER.encode(GOOD) == expected


class Side(StrEnum):
    """Values of a field as callers may keep them."""

    SELL = "SELL"


def test_subclasses_of_text_and_any_mapping_are_taken():
    record = MappingProxyType({**GOOD, "side": Side.SELL, "vendor_data": MappingProxyType(GOOD["vendor_data"])})
    assert ENCODER.encode(record) == ENCODER.encode(GOOD)


@pytest.mark.parametrize("schema_id", [0, 1, 256, 2**31 - 1])
def test_the_frame_carries_the_schema_id(schema_id):
    value = RecordEncoder(QUOTE, schema_id).encode(
        {name: GOOD[name] for name in GOOD if name in {field.name for field in QUOTE.fields}}
    )
    assert value[0] == 0
    assert int.from_bytes(value[1:5], "big") == schema_id


@pytest.mark.parametrize("schema_id", [-1, 2**31, 2**40])
def test_a_schema_id_beyond_the_frame_is_refused(schema_id):
    with pytest.raises(RecordError, match=f"schema id {schema_id} of Quote"):
        RecordEncoder(QUOTE, schema_id)
