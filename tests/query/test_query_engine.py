"""Typed queries over real Parquet files."""

import time
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from k2.errors import PoolExhaustedError, QueryTimeoutError, UnavailableError, UsageError
from k2.query.result import LARGEST_LIMIT, RowQuery
from k2.records.definition import QUOTE, RECORD_TYPES, REFERENCE_DATA, TRADE
from k2.records.schemas import table_schema
from k2.settings import QuerySettings
from tests.query.table_files import FIRST_TIME_NS, GAP, Opened, open_engine, quote_rows, reference_rows, trade_rows

MILLISECOND_NS = 1_000_000


@pytest.mark.parametrize("data_type", RECORD_TYPES)
def test_a_table_never_written_answers_with_no_rows_and_the_whole_schema(opened: Opened, data_type: str) -> None:
    (result,) = opened.engine.query_rows(data_type, [RowQuery()])
    assert result.rows.num_rows == 0
    assert result.rows.schema.equals(table_schema(RECORD_TYPES[data_type]), check_metadata=True)
    assert (result.snapshot_id, result.snapshot_time_ms, result.next_position) == (None, None, None)
    assert opened.pool.statistics()["total_acquisitions"] == 0


def test_rows_come_back_exactly_as_they_were_written(opened: Opened) -> None:
    written = trade_rows(10)
    opened.source.commit(TRADE, written)
    result = opened.engine.query_trades()
    assert result.rows.equals(written, check_metadata=True)
    assert (result.table, result.snapshot_id, result.snapshot_time_ms) == (TRADE.table, 1, 1_000)


def test_quotes_keep_their_missing_sides(opened: Opened) -> None:
    written = quote_rows(4)
    opened.source.commit(QUOTE, written)
    rows = opened.engine.query_quotes().rows
    assert rows.equals(written)
    assert rows["bid_price"].to_pylist() == [Decimal("99.5"), None, Decimal("99.5"), None]
    assert rows["ask_price"][0].as_py() == Decimal("100.0000000001")


def test_reference_data_comes_back_exactly_as_it_was_written(opened: Opened) -> None:
    written = reference_rows(3)
    opened.source.commit(REFERENCE_DATA, written)
    assert opened.engine.query_reference(symbol="BHP", exchange="ASX").rows.equals(written, check_metadata=True)
    assert opened.engine.query_reference(symbol="RIO").rows.num_rows == 0


def test_filters_combine(opened: Opened) -> None:
    opened.source.commit(TRADE, trade_rows(100))
    opened.source.commit(TRADE, trade_rows(100, first=100, exchange=["ASX"] * 100))
    rows = opened.engine.query_trades(
        symbol="BTCUSDT",
        exchange="ASX",
        start_time_ns=FIRST_TIME_NS + 150 * MILLISECOND_NS,
        end_time_ns=FIRST_TIME_NS + 154 * MILLISECOND_NS,
    ).rows
    assert rows["trade_id"].to_pylist() == ["150", "152"]


def test_start_is_inclusive_and_end_exclusive(opened: Opened) -> None:
    opened.source.commit(TRADE, trade_rows(10))
    rows = opened.engine.query_trades(
        start_time_ns=FIRST_TIME_NS + 3 * MILLISECOND_NS, end_time_ns=FIRST_TIME_NS + 6 * MILLISECOND_NS
    ).rows
    assert rows["trade_id"].to_pylist() == ["3", "4", "5"]


def test_rows_are_ordered_across_files(opened: Opened) -> None:
    opened.source.commit(TRADE, trade_rows(5, first=5))
    opened.source.commit(TRADE, trade_rows(5))
    assert opened.engine.query_trades().rows["trade_id"].to_pylist() == [str(n) for n in range(10)]


def test_the_limit_cuts_and_the_default_is_a_thousand(opened: Opened) -> None:
    opened.source.commit(TRADE, trade_rows(1_500))
    assert opened.engine.query_trades(limit=7).rows.num_rows == 7
    assert opened.engine.query_trades().rows.num_rows == 1_000
    assert opened.engine.query_trades(limit=LARGEST_LIMIT).rows.num_rows == 1_500


def test_pages_hold_every_row_once_also_where_all_times_are_equal(opened: Opened) -> None:
    rows = 97
    tied: dict[str, Any] = {
        "event_time_ns": [FIRST_TIME_NS] * rows,
        "kafka_partition": [n % 3 for n in range(rows)],
        "kafka_offset": [n // 12 for n in range(rows)],
        "topic": [f"market.{'crypto' if n // 3 % 2 else 'equities'}.trades" for n in range(rows)],
        "session": [f"s-{n // 6 % 2}" for n in range(rows)],
    }
    opened.source.commit(TRADE, trade_rows(rows, **tied))
    seen: list[str] = []
    after = None
    pages = 0
    while True:
        page = opened.engine.query_trades(limit=10, after=after)
        seen += page.rows["trade_id"].to_pylist()
        pages += 1
        after = page.next_position
        if after is None:
            break
    assert pages == 10
    assert len(seen) == len(set(seen)) == rows
    assert seen == opened.engine.query_trades().rows["trade_id"].to_pylist()


@pytest.mark.parametrize(("limit", "follows"), [(9, True), (10, False), (11, False)])
def test_a_next_position_is_given_only_when_rows_follow(opened: Opened, limit: int, follows: bool) -> None:
    opened.source.commit(TRADE, trade_rows(10))
    assert (opened.engine.query_trades(limit=limit).next_position is not None) is follows


def test_an_older_snapshot_answers_as_it_stood(opened: Opened) -> None:
    opened.source.commit(TRADE, trade_rows(3))
    opened.source.commit(TRADE, trade_rows(3, first=3))
    then = opened.engine.query_trades(snapshot_id=1)
    assert (then.snapshot_id, then.rows.num_rows) == (1, 3)
    assert opened.engine.query_trades().rows.num_rows == 6
    with pytest.raises(UsageError, match="no snapshot 99"):
        opened.engine.query_trades(snapshot_id=99)


def test_several_queries_share_one_connection_and_one_snapshot(opened: Opened) -> None:
    opened.source.commit(TRADE, trade_rows(10))
    plan = opened.source.plan

    def plan_and_commit(table: str, **arguments: object) -> object:
        planned = plan(table, **arguments)  # type: ignore[arg-type]
        opened.source.commit(TRADE, trade_rows(10, first=10))
        return planned

    opened.source.plan = plan_and_commit  # type: ignore[assignment, method-assign]
    results = opened.engine.query_rows("trades", [RowQuery(symbol="BTCUSDT"), RowQuery(), RowQuery(limit=1)])
    assert [result.rows.num_rows for result in results] == [5, 10, 1]
    assert {result.snapshot_id for result in results} == {1}
    assert opened.pool.statistics()["total_acquisitions"] == 1


def test_a_file_from_before_a_column_was_added_or_renamed_is_read_as_the_table_stands(opened: Opened) -> None:
    rows = trade_rows(2)
    folder = opened.source.folder / TRADE.table
    folder.mkdir()
    older = rows.drop(["source_sequence"]).rename_columns(
        ["instrument" if name == "symbol" else name for name in rows.drop(["source_sequence"]).column_names]
    )
    pq.write_table(older, folder / "000001.parquet")
    opened.source.commit(TRADE, trade_rows(2, first=2))
    answer = opened.engine.query_trades().rows
    assert answer["symbol"].to_pylist() == ["BTCUSDT", "ETHUSDT"] * 2
    assert answer["source_sequence"].to_pylist() == [None, None, 2, 3]


def test_partition_values_in_paths_are_not_taken_for_columns(tmp_path: Path) -> None:
    opened = open_engine(tmp_path / "exchange=NOWHERE" / "[a]*?")
    opened.source.commit(TRADE, trade_rows(2))
    assert opened.engine.query_trades(exchange="BINANCE").rows["exchange"].to_pylist() == ["BINANCE"] * 2
    opened.pool.close()


def test_symbols_are_distinct_and_ordered(opened: Opened) -> None:
    opened.source.commit(TRADE, trade_rows(10))
    opened.source.commit(
        TRADE, trade_rows(2, exchange=["ASX"] * 2, asset_class=["equities"] * 2, symbol=["RIO", "BHP"])
    )
    result = opened.engine.get_symbols("trades")
    assert result.rows.to_pylist() == [
        {"exchange": "ASX", "asset_class": "equities", "symbol": "BHP"},
        {"exchange": "ASX", "asset_class": "equities", "symbol": "RIO"},
        {"exchange": "BINANCE", "asset_class": "crypto", "symbol": "BTCUSDT"},
        {"exchange": "BINANCE", "asset_class": "crypto", "symbol": "ETHUSDT"},
    ]
    assert result.snapshot_id == 2
    assert opened.engine.get_symbols("trades", "ASX").rows["symbol"].to_pylist() == ["BHP", "RIO"]
    assert opened.engine.get_symbols("quotes").rows.num_rows == 0


def test_tables_gaps_and_statistics_are_reported(opened: Opened) -> None:
    opened.source.commit(TRADE, trade_rows(1_234))
    assert opened.engine.list_tables() == (TRADE.table, QUOTE.table, REFERENCE_DATA.table)
    assert opened.engine.open_gaps("trades", exchange="BINANCE") == (GAP,)
    assert opened.engine.open_gaps("quotes") == ()
    statistics = opened.engine.get_stats()
    assert statistics["pool"]["pool_size"] == 2
    assert statistics["tables"] == {
        TRADE.table: {"rows": 1_234, "snapshot_id": 1, "snapshot_time_ms": 1_000},
        QUOTE.table: {"rows": 0, "snapshot_id": None, "snapshot_time_ms": None},
        REFERENCE_DATA.table: {"rows": 0, "snapshot_id": None, "snapshot_time_ms": None},
    }


@pytest.mark.parametrize(
    ("query", "complaint"),
    [
        (RowQuery(limit=0), "limit must be between 1 and 100000, not 0"),
        (RowQuery(limit=LARGEST_LIMIT + 1), "limit must be between 1 and 100000, not 100001"),
        (RowQuery(start_time_ns=2**63), "start_time_ns does not fit 64 bits"),
        (RowQuery(end_time_ns=-(2**63) - 1), "end_time_ns does not fit 64 bits"),
        (RowQuery(symbol="\ud800"), "symbol holds a lone surrogate"),
    ],
)
def test_arguments_no_table_can_be_asked_for_are_refused(opened: Opened, query: RowQuery, complaint: str) -> None:
    with pytest.raises(UsageError, match=complaint):
        opened.engine.query_rows("trades", [query])


def test_a_data_type_without_a_table_is_refused_with_those_there_are(opened: Opened) -> None:
    with pytest.raises(UsageError, match="no table holds 'candles'; there are trades, quotes"):
        opened.engine.get_symbols("candles")


def test_a_query_over_its_limit_is_stopped_and_the_next_one_answered(opened: Opened) -> None:
    opened.source.commit(TRADE, trade_rows(2_000))
    opened.engine.query_trades()
    started = time.monotonic()
    with pytest.raises(QueryTimeoutError, match=r"trades query was stopped at its limit of 0.05 s"):
        opened.engine.query_rows("trades", [RowQuery()] * 1_000, time_limit_seconds=0.05)
    assert time.monotonic() - started < 2
    assert opened.metrics.value("k2_query_timeouts_total", {"query": "trades"}) == 1
    assert opened.pool.statistics()["active_connections"] == 0
    assert opened.engine.query_trades().rows.num_rows == 1_000


def test_the_limit_of_the_settings_holds_where_none_is_given(tmp_path: Path) -> None:
    opened = open_engine(tmp_path, QuerySettings(time_limit_seconds=0.03, threads=1, memory_limit="256MB"))
    opened.source.commit(TRADE, trade_rows(10))
    with pytest.raises(QueryTimeoutError, match=r"limit of 0.03 s"):
        opened.engine.query_rows("trades", [RowQuery()] * 1_000)
    opened.pool.close()


def test_a_plan_that_took_too_long_is_not_followed_by_a_query(opened: Opened) -> None:
    opened.source.commit(TRADE, trade_rows(10))
    plan = opened.source.plan

    def slow_plan(table: str, **arguments: object) -> object:
        time.sleep(0.05)
        return plan(table, **arguments)  # type: ignore[arg-type]

    opened.source.plan = slow_plan  # type: ignore[assignment, method-assign]
    with pytest.raises(QueryTimeoutError):
        opened.engine.query_trades(time_limit_seconds=0.02)
    assert opened.pool.statistics()["total_acquisitions"] == 0


def test_waiting_for_a_connection_ends_at_the_shorter_of_both_limits(opened: Opened) -> None:
    opened.source.commit(TRADE, trade_rows(10))
    with opened.pool.acquire(), opened.pool.acquire():
        started = time.monotonic()
        with pytest.raises(PoolExhaustedError):
            opened.engine.query_rows("trades", [RowQuery()], pool_wait_seconds=0.02)
        with pytest.raises(PoolExhaustedError):
            opened.engine.query_rows("trades", [RowQuery()], time_limit_seconds=0.02)
        assert time.monotonic() - started < 2


def test_a_vanished_file_is_unavailable_and_harms_no_later_query(opened: Opened) -> None:
    opened.source.commit(TRADE, trade_rows(10))
    plan = opened.source.plan("market_data.trades_v2")
    Path(plan.paths[0]).rename(opened.source.folder / "hidden")
    opened.source.plan = lambda table, **arguments: plan  # type: ignore[method-assign]
    with pytest.raises(UnavailableError, match="a data file cannot be read"):
        opened.engine.query_trades()
    (opened.source.folder / "hidden").rename(plan.paths[0])
    assert opened.engine.query_trades().rows.num_rows == 10


def test_durations_are_recorded_by_query(opened: Opened) -> None:
    opened.source.commit(TRADE, trade_rows(10))
    opened.engine.query_trades()
    opened.engine.get_symbols("trades")
    for query in ("trades", "symbols"):
        assert opened.metrics.registry.get_sample_value("k2_query_seconds_count", {"query": query}) == 1


def test_a_source_that_cannot_be_read_is_told_apart(opened: Opened) -> None:
    opened.engine.check_source()
    opened.source.readable = False
    with pytest.raises(UnavailableError):
        opened.engine.check_source()


def test_answers_are_arrow_tables_without_copies_of_the_schema_rules(opened: Opened) -> None:
    opened.source.commit(TRADE, trade_rows(1))
    rows = opened.engine.query_trades().rows
    assert isinstance(rows, pa.Table)
    assert rows.schema.field("vendor_data").type == table_schema(TRADE).field("vendor_data").type
