"""Hostile values are values: they match nothing and change nothing."""

import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from k2.errors import UsageError
from k2.query.result import Position, RowQuery
from k2.records.definition import TRADE
from tests.query.table_files import FIRST_TIME_NS, Opened, open_engine, trade_rows

ROWS = 6
QUOTES_AND_COMMENTS = ["'", '"', "''", ";", "--", "/*", "*/", "\\", "%", "_", "\x00", "$1", "?", "{0}", "\n"]
SQL = [" OR 1=1", " UNION SELECT 1", "DROP TABLE trades", "COPY x TO 'y'", "read_text('/etc/passwd')", "BINANCE"]
hostile = st.one_of(
    st.text(max_size=60),
    st.lists(st.sampled_from(QUOTES_AND_COMMENTS + SQL), min_size=1, max_size=8).map("".join),
).filter(lambda text: text not in ("BINANCE", "BTCUSDT", "ETHUSDT"))


@pytest.fixture(scope="module")
def populated(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Opened]:
    opened = open_engine(tmp_path_factory.mktemp("warehouse"))
    opened.source.commit(TRADE, trade_rows(ROWS))
    yield opened
    opened.pool.close()


def assert_unharmed(opened: Opened) -> None:
    assert opened.engine.query_trades().rows.num_rows == ROWS
    assert [path.name for path in sorted(opened.source.folder.rglob("*"))] == [TRADE.table, "000001.parquet"]


@given(hostile, st.sampled_from(["exchange", "symbol"]))
@settings(max_examples=150)
def test_hostile_names_match_nothing_and_harm_nothing(populated: Opened, text: str, argument: str) -> None:
    assert populated.engine.query_trades(**{argument: text}).rows.num_rows == 0  # type: ignore[arg-type]
    assert populated.engine.get_symbols("trades", text).rows.num_rows == 0
    assert_unharmed(populated)


@given(hostile, hostile)
@settings(max_examples=30)
def test_hostile_positions_only_compare(populated: Opened, topic: str, session: str) -> None:
    position = Position(FIRST_TIME_NS + 2_000_000, 0, 2, topic, session)
    (result,) = populated.engine.query_rows("trades", [RowQuery(after=position)])
    follows = (topic, session) < ("market.crypto.trades", "s-1")
    assert result.rows["trade_id"].to_pylist() == (["2"] if follows else []) + ["3", "4", "5"]
    assert_unharmed(populated)


@given(st.lists(hostile, min_size=1, max_size=3))
@settings(max_examples=60)
def test_hostile_columns_are_refused_before_the_engine_sees_them(populated: Opened, names: list[str]) -> None:
    asked = populated.pool.statistics()["total_acquisitions"]
    for columns in (tuple(names), ("price", *names)):
        with pytest.raises(UsageError, match="there is no column"):
            populated.engine.query_trades(columns=columns)
    assert populated.pool.statistics()["total_acquisitions"] == asked


@given(st.integers() | st.integers(-(2**63) - 1, 2**63), st.sampled_from(["start_time_ns", "end_time_ns"]))
@settings(max_examples=40)
def test_any_number_is_a_bound_or_refused(populated: Opened, number: int, argument: str) -> None:
    if -(2**63) <= number < 2**63:
        assert 0 <= populated.engine.query_trades(**{argument: number}).rows.num_rows <= ROWS  # type: ignore[arg-type]
    else:
        with pytest.raises(UsageError, match="does not fit 64 bits"):
            populated.engine.query_trades(**{argument: number})  # type: ignore[arg-type]


@given(st.text(alphabet=st.characters(categories=["Cs"]), min_size=1, max_size=4))
@settings(max_examples=10)
def test_what_is_not_text_is_refused(populated: Opened, text: str) -> None:
    with pytest.raises(UsageError, match="lone surrogate"):
        populated.engine.query_trades(exchange=text)


@pytest.mark.parametrize("name", ["trades_v2", "market_data.trades_v2", "trades; DROP TABLE x", "'", ""])
def test_tables_come_from_a_list(populated: Opened, name: str) -> None:
    with pytest.raises(UsageError, match="no table holds"):
        populated.engine.get_symbols(name)


def test_a_hostile_value_that_is_in_the_table_is_found_exactly(tmp_path: Path) -> None:
    names = [
        "".join(parts) for parts in itertools.product(QUOTES_AND_COMMENTS[:6], SQL[:3]) if "\x00" not in "".join(parts)
    ]
    opened = open_engine(tmp_path)
    opened.source.commit(TRADE, trade_rows(len(names), exchange=names))
    for number, name in enumerate(names):
        assert opened.engine.query_trades(exchange=name).rows["trade_id"].to_pylist() == [str(number)]
    opened.pool.close()
