"""The pool with real DuckDB connections: lending, waiting, breaking, counting, closing."""

import _thread
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import pytest

from k2.clock import SystemClock
from k2.errors import K2Error, PoolExhaustedError, UnavailableError, UsageError
from k2.observability.metrics import Metrics
from k2.query.connection import DuckDBDatabase
from k2.query.pool import DuckDBConnectionPool
from k2.settings import QuerySettings

SETTINGS = QuerySettings(threads=1, memory_limit="256MB")
MakePool = Callable[..., DuckDBConnectionPool]


@pytest.fixture
def metrics() -> Metrics:
    return Metrics()


@pytest.fixture
def make_pool(tmp_path: Path, metrics: Metrics) -> Iterator[MakePool]:
    with ExitStack() as pools:

        def make(pool_size: int = 2, settings: QuerySettings = SETTINGS) -> DuckDBConnectionPool:
            database = DuckDBDatabase(tmp_path, settings)
            return pools.enter_context(
                DuckDBConnectionPool(database, pool_size=pool_size, metrics=metrics, clock=SystemClock())
            )

        yield make


def wait_until(condition: Callable[[], bool]) -> None:
    give_up = time.monotonic() + 5
    while not condition():
        assert time.monotonic() < give_up, "the condition did not come true"
        time.sleep(0.001)


def waiting(pool: DuckDBConnectionPool) -> int:
    return len(pool._waiters)


# concurrency


def test_connections_up_to_the_size_are_lent_at_once_and_differ(make_pool: MakePool) -> None:
    pool = make_pool(3)
    with pool.acquire() as first, pool.acquire() as second, pool.acquire() as third:
        assert len({first, second, third}) == 3
        assert [c.fetch("SELECT 1 AS n")["n"].to_pylist() for c in (first, second, third)] == [[1]] * 3


def test_many_threads_share_few_connections_and_never_exceed_the_size(make_pool: MakePool) -> None:
    pool = make_pool(3)
    lent: list[int] = []

    def ask(number: int) -> int:
        with pool.acquire() as connection:
            lent.append(pool.statistics()["active_connections"])
            answer: int = connection.fetch("SELECT ? AS n", [number])["n"][0].as_py()
            return answer

    with ThreadPoolExecutor(16) as threads:
        assert list(threads.map(ask, range(200))) == list(range(200))
    assert max(lent) <= 3
    assert pool.statistics()["active_connections"] == 0
    assert pool.statistics()["total_acquisitions"] == 200


def test_a_connection_given_back_is_lent_to_the_thread_that_waits(make_pool: MakePool) -> None:
    pool = make_pool(1)
    with ThreadPoolExecutor(1) as threads:
        with pool.acquire() as first:
            later = threads.submit(lambda: pool.acquire(5).__enter__())
            wait_until(lambda: waiting(pool) == 1)
        assert later.result() is first


def test_waiters_are_served_in_the_order_they_came(make_pool: MakePool) -> None:
    pool = make_pool(1)
    served: list[int] = []

    def ask(number: int) -> None:
        with pool.acquire(5):
            served.append(number)

    with ThreadPoolExecutor(8) as threads, pool.acquire():
        for number in range(8):
            threads.submit(ask, number)
            wait_until(lambda: waiting(pool) == number + 1)  # noqa: B023 - called before the loop goes on
    assert served == list(range(8))


def test_nobody_overtakes_a_waiter_that_was_promised_the_connection(make_pool: MakePool) -> None:
    pool = make_pool(1)
    served: list[str] = []

    def wait_long() -> None:
        with pool.acquire(5):
            served.append("waiter")

    with ThreadPoolExecutor(1) as threads:
        with pool.acquire():
            threads.submit(wait_long)
            wait_until(lambda: waiting(pool) == 1)
        with pool.acquire(5):
            served.append("newcomer")
    assert served == ["waiter", "newcomer"]


# timeout


def test_exhaustion_raises_in_time_and_is_counted(make_pool: MakePool, metrics: Metrics) -> None:
    pool = make_pool(1)
    with pool.acquire():
        started = time.monotonic()
        with pytest.raises(
            PoolExhaustedError, match=r"none of 1 query connections became free within 0.05 s"
        ) as raised:
            pool.acquire(0.05).__enter__()
        assert 0.05 <= time.monotonic() - started < 2
    assert isinstance(raised.value, TimeoutError)
    assert metrics.value("k2_connection_pool_acquisition_timeouts_total") == 1
    with pool.acquire(0.05) as connection:
        assert connection.is_usable()


def test_a_waiter_that_gave_up_is_not_served_instead_of_the_next(make_pool: MakePool) -> None:
    pool = make_pool(1)
    with ThreadPoolExecutor(1) as threads:
        with pool.acquire():
            with pytest.raises(PoolExhaustedError):
                pool.acquire(0.01).__enter__()
            patient = threads.submit(lambda: pool.acquire(5).__enter__())
            wait_until(lambda: waiting(pool) == 1)
        assert patient.result().is_usable()


def test_a_waiter_that_is_interrupted_leaves_the_queue(make_pool: MakePool) -> None:
    pool = make_pool(1)
    with pool.acquire():
        interrupting = threading.Timer(0.05, _thread.interrupt_main)
        interrupting.start()
        with pytest.raises(KeyboardInterrupt):
            pool.acquire(10).__enter__()
        interrupting.join()
        assert waiting(pool) == 0
    with pool.acquire(0) as connection:
        assert connection.is_usable()


# exceptions


def test_a_connection_comes_back_when_its_borrower_raises(make_pool: MakePool) -> None:
    pool = make_pool(1)
    with pytest.raises(ZeroDivisionError), pool.acquire() as first:
        raise ZeroDivisionError
    assert pool.statistics()["available_connections"] == 1
    with pool.acquire(0) as second:
        assert second is first


def test_many_exceptions_leak_no_connection(make_pool: MakePool) -> None:
    pool = make_pool(2)

    def fail(number: int) -> None:
        with pool.acquire(5) as connection:
            if number % 2:
                connection.fetch("SELECT nothing")
            raise K2Error

    with ThreadPoolExecutor(4) as threads:
        failures = [threads.submit(fail, number).exception() for number in range(20)]
    assert all(isinstance(failure, K2Error) for failure in failures)
    with pool.acquire(0) as first, pool.acquire(0) as second:
        assert first is not second
    assert pool.statistics()["active_connections"] == 0


def test_a_failed_query_leaves_the_connection_usable(make_pool: MakePool) -> None:
    pool = make_pool(1)
    with pytest.raises(K2Error), pool.acquire() as first:
        first.fetch("SELECT no_such_column")
    with pool.acquire(0) as second:
        assert second is first
        assert second.fetch("SELECT 7 AS n")["n"].to_pylist() == [7]


def test_a_broken_connection_is_replaced(make_pool: MakePool) -> None:
    pool = make_pool(1)
    with pool.acquire() as broken:
        broken._cursor.close()
        with pytest.raises(K2Error):
            broken.fetch("SELECT 1")
    with pool.acquire(0) as fresh:
        assert fresh is not broken
        assert fresh.fetch("SELECT 7 AS n")["n"].to_pylist() == [7]
    assert pool.statistics()["active_connections"] == 0


def test_a_connection_found_broken_after_an_exception_is_replaced(make_pool: MakePool) -> None:
    pool = make_pool(1)

    def break_and_raise() -> None:
        with pool.acquire() as broken:
            broken._cursor.close()
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        break_and_raise()
    with pool.acquire(0) as fresh:
        assert fresh.is_usable()


def test_an_instance_that_died_is_opened_again(make_pool: MakePool) -> None:
    pool = make_pool(1)
    with pool.acquire() as broken:
        pool._database._instance.close()  # type: ignore[union-attr]
        broken.interrupt()
    with pool.acquire(0) as fresh:
        assert fresh.fetch("SELECT 7 AS n")["n"].to_pylist() == [7]


def test_a_connection_that_cannot_be_opened_is_counted_and_blocks_nobody(make_pool: MakePool, metrics: Metrics) -> None:
    pool = make_pool(1, QuerySettings(threads=1, memory_limit="much"))
    for _ in range(2):
        with pytest.raises(UsageError, match="'much'"):
            pool.acquire(0).__enter__()
    assert metrics.value("k2_connection_pool_creation_errors_total") == 2
    assert pool.statistics()["available_connections"] == 1


# statistics


def test_statistics_before_first_use_show_an_empty_lazy_pool(make_pool: MakePool) -> None:
    pool = make_pool(4)
    assert pool.statistics() == {
        "pool_size": 4,
        "active_connections": 0,
        "available_connections": 4,
        "total_acquisitions": 0,
        "average_wait_time_seconds": 0.0,
        "peak_utilization": 0,
        "utilization_percentage": 0.0,
    }
    assert pool._database._instance is None


def test_statistics_follow_what_is_lent(make_pool: MakePool) -> None:
    pool = make_pool(4)
    with pool.acquire(), pool.acquire(), pool.acquire():
        pass
    with pool.acquire():
        statistics = pool.statistics()
    assert statistics["active_connections"] == 1
    assert statistics["available_connections"] == 3
    assert statistics["total_acquisitions"] == 4
    assert statistics["peak_utilization"] == 3
    assert statistics["utilization_percentage"] == 25.0


def test_the_peak_is_the_most_that_were_ever_lent_at_once(make_pool: MakePool) -> None:
    pool = make_pool(3)
    for count in (1, 2, 1):
        with ExitStack() as lent:
            for _ in range(count):
                lent.enter_context(pool.acquire())
    assert (pool.statistics()["peak_utilization"], pool.statistics()["total_acquisitions"]) == (2, 4)


def test_the_average_wait_is_what_borrowers_waited(make_pool: MakePool, metrics: Metrics) -> None:
    pool = make_pool(1)
    with pool.acquire():
        pass
    with ThreadPoolExecutor(1) as threads:
        with pool.acquire():
            waiter = threads.submit(lambda: pool.acquire(5).__enter__())
            wait_until(lambda: waiting(pool) == 1)
            time.sleep(0.15)
        waiter.result()
    assert pool.statistics()["average_wait_time_seconds"] >= 0.15 / 3
    assert metrics.registry.get_sample_value("k2_connection_pool_wait_time_seconds_count") == 3
    assert (metrics.registry.get_sample_value("k2_connection_pool_wait_time_seconds_sum") or 0) >= 0.15


def test_gauges_show_size_active_and_available(make_pool: MakePool, metrics: Metrics) -> None:
    pool = make_pool(3)

    def gauges() -> tuple[float, float, float]:
        return (
            metrics.value("k2_connection_pool_size"),
            metrics.value("k2_connection_pool_active_connections"),
            metrics.value("k2_connection_pool_available_connections"),
        )

    assert gauges() == (3, 0, 3)
    with pool.acquire(), pool.acquire():
        assert gauges() == (3, 2, 1)
    assert gauges() == (3, 0, 3)


# clean-up


def test_close_refuses_borrowers_and_may_be_repeated(make_pool: MakePool) -> None:
    pool = make_pool(2)
    with pool.acquire() as connection:
        pass
    pool.close()
    pool.close()
    assert not connection.is_usable()
    with pytest.raises(UnavailableError, match="closed"):
        pool.acquire().__enter__()


def test_close_lets_a_borrower_finish_and_turns_waiters_away(make_pool: MakePool) -> None:
    pool = make_pool(1)
    with ThreadPoolExecutor(1) as threads, pool.acquire() as connection:
        waiter = threads.submit(lambda: pool.acquire(5).__enter__())
        wait_until(lambda: waiting(pool) == 1)
        pool.close()
        with pytest.raises(UnavailableError, match="closed while waiting"):
            waiter.result(timeout=5)
        assert connection.fetch("SELECT 7 AS n")["n"].to_pylist() == [7]
    assert not connection.is_usable()


def test_leaving_the_with_block_closes_the_pool(make_pool: MakePool) -> None:
    with make_pool(1) as pool, pool.acquire():
        pass
    with pytest.raises(UnavailableError):
        pool.acquire().__enter__()


# configuration


def test_connections_are_opened_only_when_needed(make_pool: MakePool) -> None:
    pool = make_pool(5)
    for _ in range(3):
        with pool.acquire():
            pass
    assert len(pool._idle) == 1


def test_a_pool_without_connections_is_refused(make_pool: MakePool) -> None:
    with pytest.raises(UsageError, match="at least one connection, not 0"):
        make_pool(0)


def test_the_pools_own_timeout_holds_where_none_is_given(tmp_path: Path, metrics: Metrics) -> None:
    database = DuckDBDatabase(tmp_path, SETTINGS)
    with (
        DuckDBConnectionPool(
            database, pool_size=1, acquire_timeout_seconds=0.02, metrics=metrics, clock=SystemClock()
        ) as pool,
        pool.acquire(),
        pytest.raises(PoolExhaustedError, match=r"within 0.02 s"),
    ):
        pool.acquire().__enter__()


def test_all_connections_share_one_memory_limit(make_pool: MakePool) -> None:
    pool = make_pool(2, QuerySettings(threads=1, memory_limit="64MB"))
    hungry = "SELECT list(range) FROM range(50_000_000)"
    with pool.acquire() as first, pool.acquire() as second:
        for connection in (first, second):
            with pytest.raises(UnavailableError, match="K2_QUERY__MEMORY_LIMIT"):
                connection.fetch(hungry)
            limit = connection.fetch("SELECT current_setting('memory_limit') AS value")["value"][0].as_py()
            assert limit.startswith("61.0")
    assert threading.active_count() < 50
