"""Data files are read through the object store's breaker; what else goes wrong with a query is not its business."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from k2.clock import SystemClock
from k2.errors import CircuitOpenError, PoolExhaustedError, QueryTimeoutError
from k2.query.connection import UnreadableFileError
from k2.query.engine import QueryEngine
from k2.query.result import RowQuery
from k2.records.definition import TRADE
from k2.resilience.breakers import CircuitBreakers, Dependency
from k2.resilience.circuit_breaker import BreakerState
from k2.settings import BreakerSettings, QuerySettings
from tests.query.table_files import Opened, open_engine, trade_rows
from tests.resilience.manual_clock import ManualClock

CLOSED, HALF_OPEN, OPEN = BreakerState


class Guarded:
    """An engine with breakers of its own."""

    def __init__(self, opened: Opened) -> None:
        self.opened = opened
        self.clock = ManualClock()
        settings = BreakerSettings(failures_to_open=2, open_seconds=10, successes_to_close=1)
        breakers = CircuitBreakers(settings, opened.metrics, self.clock)
        self.breaker = breakers[Dependency.OBJECT_STORE]
        self.engine = QueryEngine(opened.source, opened.pool, QuerySettings(), opened.metrics, SystemClock(), breakers)


@pytest.fixture
def guarded(tmp_path: Path) -> Iterator[Guarded]:
    opened = open_engine(tmp_path, QuerySettings(pool_size=1, threads=2, memory_limit="512MB"))
    opened.source.commit(TRADE, trade_rows(5))
    yield Guarded(opened)
    opened.pool.close()


def test_files_that_are_away_open_the_breaker_and_no_connection_is_waited_for(guarded: Guarded, tmp_path: Path) -> None:
    (path,) = guarded.opened.source.plan(TRADE.table).paths
    gone = Path(path).rename(tmp_path / "gone")
    # The table still names the file.
    Path(path).symlink_to(tmp_path / "nowhere")
    for _ in range(2):
        with pytest.raises(UnreadableFileError):
            guarded.engine.query_trades()
    assert guarded.breaker.state is OPEN
    with guarded.opened.pool.acquire(), pytest.raises(CircuitOpenError, match="object_store"):
        guarded.engine.query_trades()
    gone.rename(path)
    guarded.clock.advance(10)
    assert guarded.engine.query_trades().rows.num_rows == 5
    assert guarded.breaker.state is CLOSED


def test_a_query_that_is_too_slow_or_finds_no_connection_says_nothing_of_the_store(guarded: Guarded) -> None:
    for _ in range(3):
        with guarded.opened.pool.acquire(), pytest.raises(PoolExhaustedError):
            guarded.engine.query_rows("trades", [RowQuery()], pool_wait_seconds=0.01)
        with pytest.raises(QueryTimeoutError):
            guarded.engine.query_rows("trades", [RowQuery()], time_limit_seconds=1e-9)
    assert guarded.breaker.state is CLOSED
