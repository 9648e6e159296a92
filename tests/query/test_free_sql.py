"""Free SQL in its own process: what it answers, what it refuses, and how it ends."""

import os
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from k2.clock import SystemClock
from k2.errors import QueryTimeoutError, UnavailableError, UsageError
from k2.observability.metrics import Metrics
from k2.query.free_sql import SqlProcess
from k2.records.definition import QUOTE, TRADE
from k2.settings import QuerySettings
from tests.query.table_files import FileTableSource, quote_rows, trade_rows

SETTINGS = QuerySettings(memory_limit="200MB", threads=1)
COUNT = "SELECT count(*) AS n FROM trades"


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> FileTableSource:
    source = FileTableSource(tmp_path_factory.mktemp("it's [a] warehouse*"))
    source.commit(TRADE, trade_rows(10))
    source.commit(TRADE, trade_rows(5, first=10))
    source.commit(QUOTE, quote_rows(4))
    return source


@pytest.fixture(scope="module")
def metrics() -> Metrics:
    return Metrics()


@pytest.fixture(scope="module")
def process(source: FileTableSource, metrics: Metrics) -> Iterator[SqlProcess]:
    with SqlProcess(source, SETTINGS, metrics, SystemClock()) as process:
        yield process


def rows(process: SqlProcess, sql: str, time_limit_seconds: float = 30) -> list[dict[str, object]]:
    with process.run(sql, time_limit_seconds=time_limit_seconds) as answer:
        answered: list[dict[str, object]] = answer.read_all().to_pylist()
        return answered


def pid(process: SqlProcess) -> int:
    assert process._process is not None
    return process._process.pid


def test_every_table_is_a_view_also_one_without_rows(process: SqlProcess) -> None:
    assert rows(process, COUNT) == [{"n": 15}]
    assert rows(process, "SELECT count(bid_price) AS n FROM quotes") == [{"n": 2}]
    assert rows(process, "SELECT * FROM reference_data") == []
    assert {row["name"] for row in rows(process, "SHOW TABLES")} == {"trades", "quotes", "reference_data"}


def test_the_types_of_the_tables_are_kept(process: SqlProcess) -> None:
    with process.run("SELECT price, event_time, vendor_data FROM trades LIMIT 1") as answer:
        assert [str(field.type) for field in answer.schema] == [
            "decimal128(28, 10)",
            "timestamp[us, tz=UTC]",
            "map<string, string>",
        ]
        assert answer.read_all().num_rows == 1


@pytest.mark.parametrize("sql", ["", "DELETE FROM trades", "SELECT 1; SELECT 2", "SET threads = 2", "COMMIT"])
def test_only_a_single_select_is_run(process: SqlProcess, sql: str) -> None:
    with pytest.raises(UsageError, match="only a single SELECT statement"):
        rows(process, sql)


@pytest.mark.parametrize(
    ("sql", "message"),
    [
        ("SELEKT", "syntax error"),
        ("SELECT nothing FROM trades", "nothing"),
        ("SELECT * FROM candles", "candles does not exist"),
        ("SELECT 1 / 'a'", "Could not convert"),
        ("SELECT * FROM read_text('/etc/passwd')", "disabled by configuration"),
        ("SELECT CAST(trade_id || 'x' AS INTEGER) FROM trades", "Could not convert"),
    ],
)
def test_wrong_sql_is_a_usage_error_in_one_line(process: SqlProcess, sql: str, message: str) -> None:
    with pytest.raises(UsageError, match=message) as caught:
        rows(process, sql)
    assert "\n" not in str(caught.value)


def test_only_files_of_the_snapshot_can_be_read(process: SqlProcess, source: FileTableSource) -> None:
    newer = source.folder / TRADE.table / "stray.parquet"
    newer.write_bytes((source.folder / TRADE.table / "000001.parquet").read_bytes())
    try:
        with pytest.raises(UsageError, match="disabled by configuration"):
            rows(process, f"SELECT * FROM read_parquet('{str(newer).replace(chr(39), chr(39) * 2)}')")
    finally:
        newer.unlink()


def test_work_over_its_limit_is_interrupted_and_its_process_stays(process: SqlProcess, metrics: Metrics) -> None:
    rows(process, COUNT)
    before, timeouts = pid(process), metrics.value("k2_query_timeouts_total", {"query": "sql"})
    with pytest.raises(QueryTimeoutError, match=r"stopped at its limit of 0\.2 s; ask for less"):
        rows(process, "SELECT sum(i) FROM range(1000000000000) t(i)", 0.2)
    assert rows(process, COUNT) == [{"n": 15}]
    assert pid(process) == before
    assert metrics.value("k2_query_timeouts_total", {"query": "sql"}) == timeouts + 1


def test_work_that_ignores_its_interrupt_is_killed_and_the_next_statement_answered(process: SqlProcess) -> None:
    rows(process, COUNT)
    before = pid(process)
    with pytest.raises(QueryTimeoutError, match="was killed with its process, because it ignored its interrupt"):
        rows(process, "SELECT levenshtein(repeat('a', 300000), repeat('b', 300000))", 0.2)
    assert not psutil.pid_exists(before)
    assert rows(process, COUNT) == [{"n": 15}]


@pytest.mark.parametrize("sql", ["SELECT length(repeat('x', 2000000000))", "SELECT list(i) FROM range(100000000) t(i)"])
def test_memory_beyond_the_limit_is_refused(process: SqlProcess, sql: str) -> None:
    with pytest.raises(UnavailableError, match="needs more memory than K2_QUERY__MEMORY_LIMIT leaves"):
        rows(process, sql)


def test_a_process_that_dies_is_told_of_and_replaced(process: SqlProcess) -> None:
    rows(process, COUNT)
    with process.run("SELECT repeat(trade_id, 1000) AS t FROM trades, range(1000000)") as answer:
        next(iter(answer))
        os.kill(pid(process), 9)
        with pytest.raises(UnavailableError, match="the process that ran the query ended with signal 9"):
            answer.read_all()
    assert rows(process, COUNT) == [{"n": 15}]


def test_an_answer_given_up_half_way_leaves_nothing_to_the_next(process: SqlProcess) -> None:
    with process.run("SELECT i FROM range(10000000) t(i)") as answer:
        assert next(iter(answer)).num_rows > 0
    assert rows(process, COUNT) == [{"n": 15}]


def test_the_plan_is_shown_instead_of_rows(process: SqlProcess) -> None:
    with process.run("SELECT price FROM trades WHERE symbol = 'BTCUSDT'", explain=True) as answer:
        text = answer.read_all()["plan"][0].as_py()
    assert "READ_PARQUET" in text
    assert "symbol = 'BTCUSDT'" in text
    with pytest.raises(UsageError), process.run("DELETE FROM trades", explain=True):
        pass


def test_an_older_state_is_read_as_it_was(source: FileTableSource, metrics: Metrics) -> None:
    with SqlProcess(source, SETTINGS, metrics, SystemClock(), as_of_time_ns=10**9) as process:
        assert rows(process, COUNT) == [{"n": 10}]


def test_settings_duckdb_does_not_accept_are_named(source: FileTableSource, metrics: Metrics) -> None:
    with SqlProcess(source, QuerySettings(memory_limit="much"), metrics, SystemClock()) as process:
        for _ in range(2):
            with pytest.raises(UsageError, match="DuckDB does not accept the query settings 'much'"):
                rows(process, COUNT)


def test_its_process_knows_no_variable_of_ours_and_ends_with_it(
    source: FileTableSource, metrics: Metrics, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("K2_STORAGE__S3_SECRET_KEY", "a-secret")
    with SqlProcess(source, SETTINGS, metrics, SystemClock()) as process:
        assert rows(process, COUNT) == [{"n": 15}]
        child = pid(process)
        assert "a-secret" not in Path(f"/proc/{child}/environ").read_text()
    assert not psutil.pid_exists(child)
