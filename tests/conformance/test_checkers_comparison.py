"""Columns are compared exactly, whatever their encodings."""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from conformance.checkers.comparison import differing

MAP = pa.map_(pa.string(), pa.string())
ONE = Decimal("1.10")
NEW_YEAR = datetime(2025, 1, 1, tzinfo=UTC)


def differ(left: list[Any], left_type: pa.DataType, right: list[Any], right_type: pa.DataType) -> list[bool]:
    columns = pa.chunked_array([pa.array(left, left_type)]), pa.chunked_array([pa.array(right, right_type)])
    return [bool(flag) for flag in differing(*columns)]


@pytest.mark.parametrize(
    ("left", "left_type", "right", "right_type"),
    [
        (ONE, pa.decimal128(28, 10), ONE, pa.decimal128(5, 2)),
        (ONE, pa.decimal128(28, 10), "1.1", pa.string()),
        ("1.1000000000000", pa.large_string(), ONE, pa.decimal256(40, 12)),
        (Decimal("1e-10"), pa.decimal128(28, 10), "1E-10", pa.string()),
        (Decimal(7), pa.decimal128(28, 10), 7, pa.int32()),
        (7, pa.int64(), 7, pa.uint8()),
        (2**64 - 1, pa.uint64(), 2**64 - 1, pa.uint64()),
        ("BUY", pa.string(), "BUY", pa.large_string()),
        (b"x", pa.binary(), b"x", pa.large_binary()),
        (NEW_YEAR, pa.timestamp("us", "UTC"), NEW_YEAR, pa.timestamp("ms")),
        ([("a", "1"), ("b", "2")], MAP, [("b", "2"), ("a", "1")], MAP),
        ([("a", "1")], MAP, {"a": "1", "b": None}, pa.struct([("a", pa.string()), ("b", pa.string())])),
        ([("a", "1")], MAP, '{"a": "1"}', pa.string()),
        ([], MAP, [], MAP),
        (None, pa.string(), None, pa.int64()),
        (None, MAP, None, MAP),
        (None, pa.decimal128(28, 10), None, pa.null()),
    ],
)
def test_equal_values_do_not_differ(left: Any, left_type: pa.DataType, right: Any, right_type: pa.DataType) -> None:
    assert differ([left], left_type, [right], right_type) == [False]
    assert differ([right], right_type, [left], left_type) == [False]


@pytest.mark.parametrize(
    ("left", "left_type", "right", "right_type"),
    [
        (ONE, pa.decimal128(28, 10), Decimal("1.1000000001"), pa.decimal128(28, 10)),
        (ONE, pa.decimal128(28, 10), "1.10000000000000000001", pa.string()),
        (ONE, pa.decimal128(28, 10), "1.1e", pa.string()),
        (ONE, pa.decimal128(28, 10), "1." + "1" * 40, pa.string()),
        (Decimal("0.5"), pa.decimal128(28, 10), 0.5, pa.float64()),
        (Decimal(0), pa.decimal128(28, 10), None, pa.decimal128(28, 10)),
        (7, pa.int64(), None, pa.null()),
        (7, pa.int64(), "7", pa.string()),
        ("", pa.string(), None, pa.string()),
        ("BUY", pa.string(), "buy", pa.string()),
        (True, pa.bool_(), False, pa.bool_()),
        ([("a", "1"), ("b", "2")], MAP, [("a", "1"), ("b", "3")], MAP),
        ([("a", "1"), ("b", "2")], MAP, [("a", "2"), ("b", "1")], MAP),
        ([("a", "1")], MAP, [("a", "1"), ("b", "2")], MAP),
        ([("a", "1")], MAP, [("a", None)], MAP),
        ([], MAP, None, MAP),
        ([("a", "1")], MAP, '{"a": "2"}', pa.string()),
        ([("a", "1")], MAP, "not json", pa.string()),
    ],
)
def test_unequal_values_differ(left: Any, left_type: pa.DataType, right: Any, right_type: pa.DataType) -> None:
    assert differ([left], left_type, [right], right_type) == [True]
    assert differ([right], right_type, [left], left_type) == [True]


def test_only_the_row_that_differs_is_flagged() -> None:
    rows = [[("a", "1")], None, [], [("a", "1"), ("b", "2")], [("c", "3")]]
    changed = [[("a", "1")], None, [], [("b", "2"), ("a", "x")], [("c", "3")]]
    assert differ(rows, MAP, changed, MAP) == [False, False, False, True, False]


maps = st.lists(
    st.one_of(st.none(), st.dictionaries(st.sampled_from("abc"), st.sampled_from("12"), max_size=3)), max_size=8
)


@given(maps, st.data())
def test_maps_are_compared_as_dictionaries_are(left: list[dict[str, str] | None], data: st.DataObject) -> None:
    right = data.draw(st.lists(maps.map(lambda rows: rows[0] if rows else {}), min_size=len(left), max_size=len(left)))
    # The right side's entries come in the opposite order, and from the middle of a longer array.
    entries = [None if row is None else list(reversed(row.items())) for row in right]
    one = pa.chunked_array([pa.array([None if row is None else list(row.items()) for row in left], MAP)])
    other = pa.chunked_array([pa.array([[("z", "z")], *entries], MAP).slice(1)])
    assert differing(one, other).tolist() == [a != b for a, b in zip(left, right, strict=True)]


decimals = st.decimals(min_value=-(10**15), max_value=10**15, places=6)


@given(st.lists(st.tuples(decimals, decimals), max_size=6))
def test_decimals_are_compared_by_value_in_every_encoding(pairs: list[tuple[Decimal, Decimal]]) -> None:
    left, right = [one for one, _ in pairs], [other for _, other in pairs]
    expected = [one != other for one, other in pairs]
    assert differ(left, pa.decimal128(28, 10), right, pa.decimal128(38, 12)) == expected
    assert differ(left, pa.decimal128(28, 10), [str(value) for value in right], pa.string()) == expected
