"""The batch encoder: byte for byte what the encoder of single records writes, and the same refusals."""

from collections.abc import Mapping
from decimal import Decimal
from enum import StrEnum
from types import MappingProxyType
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from k2.errors import RecordError
from k2.records.definition import QUOTE, RECORD_TYPES, REFERENCE_DATA, TRADE, RecordType
from k2.records.encode import RecordEncoder
from k2.records.encode_batch import BatchEncoder
from tests.records.record_samples import DECIMALS, GOOD, SCHEMA_ID, decode, good, records

ONE = RecordEncoder(TRADE, SCHEMA_ID)
MANY = BatchEncoder(TRADE, "crypto", SCHEMA_ID)
LARGEST = "999999999999999999.9999999999"


class Side(StrEnum):
    """A str that is not one exactly."""

    BUY = "BUY"


def of_crypto(record_type: RecordType) -> st.SearchStrategy[list[dict[str, Any]]]:
    return st.lists(records(record_type).map(lambda record: {**record, "asset_class": "crypto"}), max_size=12)


def one_by_one(batch: list[Mapping[str, Any]]) -> tuple[list[bytes], dict[int, str]]:
    """What the single encoder makes of each record."""
    values, refusals = [], {}
    for index, record in enumerate(batch):
        try:
            values.append(ONE.encode(record))
        except RecordError as error:
            refusals[index] = str(error)
    return values, refusals


def check(*batch: Mapping[str, Any]) -> None:
    """Both encoders say the same of a batch."""
    values, refusals = one_by_one(list(batch))
    encoded = MANY.encode(batch)
    assert list(encoded.values) == values
    assert {refusal.index: str(refusal.error) for refusal in encoded.refusals} == refusals
    assert list(encoded.indices) == [index for index in range(len(batch)) if index not in refusals]


@pytest.mark.parametrize("record_type", RECORD_TYPES.values(), ids=lambda kind: kind.data_type)
@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_records_and_columns_become_the_bytes_of_the_single_encoder(record_type: RecordType, data: Any) -> None:
    batch = data.draw(of_crypto(record_type))
    one, many = RecordEncoder(record_type, SCHEMA_ID), BatchEncoder(record_type, "crypto", SCHEMA_ID)
    expected = [one.encode(record) for record in batch]
    encoded = many.encode(batch)
    assert list(encoded.values) == expected
    assert list(encoded.keys) == [f"{record['exchange']}:{record['symbol']}".encode() for record in batch]
    columns = decode(expected, record_type).columns
    assert list(many.encode(columns).values) == expected
    middle = len(batch) // 2
    assert list(many.encode(columns.slice(middle)).values) == expected[middle:]


@settings(max_examples=100, deadline=None)
@given(prices=st.lists(st.one_of(DECIMALS, DECIMALS.map(str), st.text(max_size=6), st.integers()), max_size=8))
def test_prices_of_any_kind_are_taken_or_refused_alike(prices: list[Any]) -> None:
    check(*({**good(number), "price": price} for number, price in enumerate(prices)))


@pytest.mark.parametrize(
    "price",
    [
        *("1", "+1", "1.", ".5", "-.5", "1e5", "1E-5", "0e99", "1e17", "1e18", "-0", "0.0000000001", "0.00000000001"),
        *(LARGEST, f"-{LARGEST}", "1000000000000000000", "0" * 60 + "1", "9" * 60, "1e-400", "1e400", "0e-400"),
        *("", " 1", "1 ", "1_0", "NaN", "Infinity", "0x1", "\u0663", "1\x00", "."),
        *(Decimal("NaN"), Decimal("Infinity"), Decimal("1E+17"), Decimal("1E+18"), Decimal("1E-11"), Decimal("-0")),
        *(0, 7, -7, 10**17, 10**18, 10**5000, True, 1.5, None),
    ],
    ids=lambda price: repr(price)[:30] if not isinstance(price, int) or price < 10**20 else "huge",
)
def test_every_form_of_a_number_is_taken_or_refused_alike(price: Any) -> None:
    check(good(1), {**good(2), "price": price}, good(3))
    check({**good(2), "price": price})


@pytest.mark.parametrize(
    "changed",
    [
        *({"symbol": None}, {"symbol": 5}, {"symbol": "\ud800"}, {"symbol": ""}, {"session_sequence": 2**63}),
        *({"session_sequence": True}, {"session_sequence": "1"}, {"session_sequence": -(2**63)}, {"side": "MAYBE"}),
        *({"side": Side.BUY}, {"side": None}, {"source_sequence": None}, {"source_sequence": 1.0}, {"venue": 3}),
        *({"vendor_data": None}, {"vendor_data": {}}, {"vendor_data": {"a": 1}}, {"vendor_data": {1: "a"}}),
        *({"vendor_data": MappingProxyType({"a": "b"})}, {"vendor_data": {"\ud800": "b"}}, {"unknown": 1}),
        *({"trade_id": "x" * 5_000}, {"vendor_data": {str(number): "y" * 50 for number in range(200)}}),
    ],
    ids=lambda changed: ascii(changed)[:40],
)
def test_every_value_is_taken_or_refused_alike(changed: dict[str, Any]) -> None:
    check(good(1), {**good(2), **changed}, good(3))


@pytest.mark.parametrize("left_out", ["price", "venue", "vendor_data", "source_sequence", "symbol"])
def test_a_field_left_out_is_taken_or_refused_alike(left_out: str) -> None:
    record = good(2)
    del record[left_out]
    check(good(1), record)
    # As many entries as fields, and yet not the fields.
    check(good(1), {**record, "unknown": None})


def test_bad_records_anywhere_in_a_large_batch_cost_only_themselves() -> None:
    batch = [good(number) for number in range(500)]
    for index in (0, 17, 255, 256, 499):
        batch[index] = {**batch[index], "quantity": 0.5}
    check(*batch)
    assert [refusal.index for refusal in MANY.encode(batch).refusals] == [0, 17, 255, 256, 499]


def test_a_record_of_another_asset_class_is_refused() -> None:
    encoded = MANY.encode([good(1), {**good(2), "asset_class": "equities"}, good(3)])
    assert list(encoded.indices) == [0, 2]
    (refusal,) = encoded.refusals
    assert (refusal.index, str(refusal.error)) == (1, "the record says equities, the batch crypto")


def test_an_empty_batch_has_no_messages() -> None:
    assert list(MANY.encode([]).values) == []
    assert list(MANY.encode(decode([]).columns).values) == []


def test_rows_of_columns_that_do_not_fit_are_refused_one_by_one() -> None:
    columns = decode([ONE.encode(good(number)) for number in range(4)]).columns
    prices = pa.array([Decimal("1.5"), None, Decimal("2.5"), Decimal("3.5")], columns.schema.field("price").type)
    sides = pa.array(["BUY", "SELL", "MAYBE", "BUY"])
    encoded = MANY.encode(columns.set_column(9, "price", prices).set_column(11, "side", sides))
    assert {refusal.index: str(refusal.error).partition(":")[0] for refusal in encoded.refusals} == {
        1: "Trade.price = <NoneType>",
        2: "Trade.side = 'MAYBE'",
    }
    assert decode(list(encoded.values)).columns.column("price").to_pylist() == [Decimal("1.5"), Decimal("3.5")]


def test_columns_of_another_record_are_refused_as_a_whole() -> None:
    columns = decode([ONE.encode(GOOD)]).columns
    with pytest.raises(RecordError, match="columns of Quote must be session, session_sequence"):
        BatchEncoder(QUOTE, "crypto", SCHEMA_ID).encode(columns)
    with pytest.raises(RecordError, match="columns of ReferenceData must be"):
        BatchEncoder(REFERENCE_DATA, "crypto", SCHEMA_ID).encode(columns)


def test_columns_may_come_in_another_order_and_in_plain_types() -> None:
    columns = decode([ONE.encode(good(number)) for number in range(3)]).columns
    plain = [
        column.dictionary_decode() if pa.types.is_dictionary(column.type) else column for column in columns.columns
    ]
    names = columns.schema.names
    turned = pa.RecordBatch.from_arrays(plain[::-1], names=names[::-1])
    assert list(MANY.encode(turned).values) == [ONE.encode(good(number)) for number in range(3)]
