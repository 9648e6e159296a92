"""Arrow columns as JSON values: exact, and the same row by row."""

from datetime import UTC, datetime
from decimal import Decimal

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from k2.api.rendering import render_rows
from k2.records.schemas import DECIMAL_TYPE, TIMESTAMP_TYPE
from tests.query.table_files import quote_rows, trade_rows

decimals = st.decimals(-(10**17), 10**17, places=10, allow_nan=False, allow_infinity=False)


def rendered(values: list[object], data_type: pa.DataType) -> list[object]:
    return [row["v"] for row in render_rows(pa.table({"v": pa.array(values, data_type)}))]


@pytest.mark.parametrize(
    ("number", "text"),
    [
        ("61837.63", "61837.63"),
        ("61837.6300000000", "61837.63"),
        ("100", "100"),
        ("0", "0"),
        ("0.0000000001", "0.0000000001"),
        ("0.0000001", "0.0000001"),
        ("-0.00000025", "-0.00000025"),
        ("-1200.5", "-1200.5"),
        ("123456789012345678.0123456789", "123456789012345678.0123456789"),
    ],
)
def test_a_price_is_exact_text_without_trailing_zeros_or_exponent(number: str, text: str) -> None:
    assert rendered([Decimal(number)], DECIMAL_TYPE) == [text]


@given(st.lists(st.none() | decimals, max_size=20))
def test_every_decimal_survives_its_text(numbers: list[Decimal | None]) -> None:
    texts = rendered([*numbers], DECIMAL_TYPE)
    assert [None if text is None else Decimal(str(text)) for text in texts] == numbers
    assert not any(text is not None and ("E" in str(text) or str(text).endswith(".")) for text in texts)


def test_times_are_rfc_3339_with_microseconds() -> None:
    times: list[object] = [datetime(2026, 11, 21, 9, 45, 0, 120, UTC), None, datetime(1969, 12, 31, 23, tzinfo=UTC)]
    assert rendered(times, TIMESTAMP_TYPE) == ["2026-11-21T09:45:00.000120Z", None, "1969-12-31T23:00:00.000000Z"]


def test_maps_become_dicts_also_when_sliced_or_null() -> None:
    maps = pa.chunked_array(
        [pa.array([[("a", "1")], None, [], [("b", "2"), ("c", "3")]], pa.map_(pa.string(), pa.string()))]
    )
    rows = render_rows(pa.table({"v": maps}))
    assert [row["v"] for row in rows] == [{"a": "1"}, None, {}, {"b": "2", "c": "3"}]
    assert [row["v"] for row in render_rows(pa.table({"v": maps.slice(2)}))] == [{}, {"b": "2", "c": "3"}]


@pytest.mark.parametrize("rows", [trade_rows(7), quote_rows(7), pa.concat_tables([trade_rows(3), trade_rows(4)])])
def test_every_other_column_is_what_arrow_says(rows: pa.Table) -> None:
    expected = rows.to_pylist(maps_as_pydicts="strict")
    for made, row in zip(render_rows(rows), expected, strict=True):
        assert list(made) == rows.column_names
        for name, value in row.items():
            if isinstance(value, Decimal):
                assert Decimal(made[name]) == value
            elif isinstance(value, datetime):
                assert datetime.fromisoformat(made[name]) == value
            else:
                assert made[name] == value


def test_no_rows_are_an_empty_list() -> None:
    assert render_rows(trade_rows(0)) == []
