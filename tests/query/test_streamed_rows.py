"""Answers page by page, columns of choice, older states, and plans."""

import json
from typing import Any

import pyarrow as pa
import pytest

from k2.errors import UsageError
from k2.query.result import RowQuery
from k2.records.definition import QUOTE, TRADE
from k2.records.schemas import table_schema
from tests.query.table_files import FIRST_TIME_NS, Opened, quote_rows, trade_rows


def pages(opened: Opened, query: RowQuery, **options: Any) -> list[pa.Table]:
    return [result.rows for result in opened.engine.stream_rows("trades", query, **options)]


@pytest.mark.parametrize("page_rows", [1, 7, 100, 1_000])
def test_pages_hold_every_row_once_in_order(opened: Opened, page_rows: int) -> None:
    opened.source.commit(TRADE, trade_rows(60, first=40))
    opened.source.commit(TRADE, trade_rows(40))
    found = pages(opened, RowQuery(limit=page_rows))
    assert pa.concat_tables(found).equals(opened.engine.query_trades().rows)
    assert {page.num_rows for page in found[:-1]} <= {page_rows}


@pytest.mark.parametrize(("total", "sizes"), [(1, [1]), (10, [10]), (25, [10, 10, 5]), (40, [10, 10, 10]), (0, [])])
def test_a_total_limit_ends_the_pages(opened: Opened, total: int, sizes: list[int]) -> None:
    opened.source.commit(TRADE, trade_rows(30))
    assert [page.num_rows for page in pages(opened, RowQuery(limit=10), total_limit=total)] == sizes


def test_all_pages_are_of_one_snapshot_and_no_connection_is_held_between_them(opened: Opened) -> None:
    opened.source.commit(TRADE, trade_rows(20))
    stream = opened.engine.stream_rows("trades", RowQuery(limit=15))
    first = next(stream)
    assert opened.pool.statistics()["active_connections"] == 0
    opened.source.commit(TRADE, trade_rows(20, first=20))
    (second,) = stream
    assert (first.snapshot_id, second.snapshot_id) == (1, 1)
    assert first.rows.num_rows + second.rows.num_rows == 20


def test_a_table_without_rows_is_one_empty_page(opened: Opened) -> None:
    (page,) = pages(opened, RowQuery(columns=("price",)))
    assert (page.num_rows, page.column_names) == (0, ["price"])


@pytest.mark.parametrize("columns", [("price",), ("symbol", "price"), ("event_time_ns", "vendor_data", "session")])
def test_only_the_columns_asked_for_are_answered(opened: Opened, columns: tuple[str, ...]) -> None:
    opened.source.commit(TRADE, trade_rows(30))
    whole = opened.engine.query_trades().rows
    assert opened.engine.query_trades(columns=columns).rows.equals(whole.select(columns))
    assert pa.concat_tables(pages(opened, RowQuery(limit=7, columns=columns))).equals(whole.select(columns))


@pytest.mark.parametrize("name", ["", "*", "bid_price", "price, session", "1", "PRICE", '"price"', "count(*)"])
def test_columns_come_from_the_table(opened: Opened, name: str) -> None:
    opened.source.commit(TRADE, trade_rows(1))
    with pytest.raises(UsageError, match="there is no column"):
        opened.engine.query_trades(columns=("price", name))
    assert opened.pool.statistics()["total_acquisitions"] == 0


@pytest.mark.parametrize("columns", [(), ("price", "price")])
def test_columns_are_at_least_one_and_each_once(opened: Opened, columns: tuple[str, ...]) -> None:
    with pytest.raises(UsageError, match="at least one column, and each only once"):
        opened.engine.query_trades(columns=columns)


def test_every_column_of_every_table_can_be_asked_for(opened: Opened) -> None:
    opened.source.commit(TRADE, trade_rows(1))
    names = tuple(table_schema(TRADE).names)
    assert opened.engine.query_trades(columns=names[::-1]).rows.column_names == list(names[::-1])


def test_an_older_state_is_found_by_its_time(opened: Opened) -> None:
    opened.source.commit(TRADE, trade_rows(3))
    opened.source.commit(TRADE, trade_rows(3, first=3))
    for time_ns, rows in ((10**9 - 1, 0), (10**9, 3), (2 * 10**9 - 1, 3), (2 * 10**9, 6), (2**62, 6)):
        assert opened.engine.query_trades(as_of_time_ns=time_ns).rows.num_rows == rows
    assert [one.snapshot_id for one in opened.engine.snapshots("trades")] == [1, 2]
    assert opened.engine.snapshots("quotes") == ()


def test_a_time_that_does_not_fit_is_refused(opened: Opened) -> None:
    with pytest.raises(UsageError, match="as_of_time_ns does not fit 64 bits"):
        opened.engine.query_trades(as_of_time_ns=2**63)


def scan(node: dict[str, Any]) -> dict[str, Any]:
    """The operator of a JSON plan that reads files."""
    if node.get("extra_info", {}).get("Function") == "READ_PARQUET":
        found: dict[str, Any] = node["extra_info"]
        return found
    (found,) = [scan(child) for child in node.get("children", node.get("operator", []))]
    return found


def test_the_plan_shows_filters_and_columns_pushed_down_to_the_files(opened: Opened) -> None:
    opened.source.commit(TRADE, trade_rows(5_000))
    start_ns = FIRST_TIME_NS + 2_500 * 1_000_000
    query = RowQuery("BTCUSDT", "BINANCE", start_ns, start_ns + 10 * 1_000_000, columns=("price",))
    plan = opened.engine.explain_rows("trades", query, as_json=True)
    assert (plan.snapshot_id, plan.files, plan.snapshot_files) == (1, 1, 1)
    read = scan(json.loads(plan.text))
    assert {"price", "event_time_ns"} <= set(read["Projections"])
    assert not {"vendor_data", "trade_id", "quantity", "source_sequence"} & set(read["Projections"])
    assert "symbol = 'BTCUSDT'" in str(read["Filters"])
    assert f"event_time_ns >= {start_ns}" in str(read["Filters"])
    # One of five row groups holds the window.
    assert "1 / 5" in opened.engine.explain_rows("trades", query).text


def test_a_plan_of_nothing_reads_nothing(opened: Opened) -> None:
    plan = opened.engine.explain_rows("trades", RowQuery())
    assert (plan.snapshot_id, plan.files, plan.text) == (None, 0, "")


def test_quotes_can_be_streamed_too(opened: Opened) -> None:
    opened.source.commit(QUOTE, quote_rows(9))
    assert [r.rows.num_rows for r in opened.engine.stream_rows("quotes", RowQuery(limit=5))] == [5, 4]
