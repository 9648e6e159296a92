"""The connection pool behaves as documented, and tells what it did.

The 13 behaviours MUST hold: concurrency 3, timeout 1, exceptions 2, statistics 3, clean-up 2, configuration 2 (POOL-3).
Waiters MUST be served in the order they came, a broken connection MUST be replaced, and a client of the API that finds
no connection MUST be told when to come back (POOL-1). Statistics and metrics MUST equal what happened (POOL-2).
"""

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from conformance.clause import ClauseRun
from conformance.drivers import http
from conformance.drivers.facts import record_fact
from conformance.drivers.feeding import feed_records, wait_until_drained
from conformance.drivers.silence import wait_until
from conformance.stacks.base import Stack
from k2.clock import SystemClock
from k2.errors import K2Error
from k2.feeds.synthetic import SyntheticExchange, SyntheticSettings
from k2.observability.metrics import Metrics
from k2.query.connection import DuckDBDatabase, QueryConnection
from k2.query.pool import DuckDBConnectionPool
from k2.settings import QuerySettings

SIZE, THREADS, QUERIES, HELD_SECONDS, PATIENCE_SECONDS = 3, 12, 120, 0.2, 20.0
PREFIX = "k2_connection_pool_"
STATISTICS = ("active_connections", "available_connections", "total_acquisitions", "peak_utilization")
SYMBOL = "BTCUSDT"
HEAVY = {"queries": [{"exchange": "BINANCE", "symbol": SYMBOL, "limit": 1_000}] * 40}
CLIENTS, RECORDS = 6, 4_000
CROWDED = {"K2_QUERY__POOL_SIZE": "1", "K2_API__POOL_WAIT_SECONDS": "0.05"}


@dataclass(slots=True)
class Tried:
    """A pool being tried, with its metrics."""

    pool: DuckDBConnectionPool
    metrics: Metrics

    def counts(self) -> list[int]:
        """In use, free, acquisitions so far, most in use at once."""
        statistics = dict(self.pool.statistics())
        return [int(str(statistics[name])) for name in STATISTICS]

    def gauges(self) -> list[float]:
        """Exported size, connections in use and free."""
        return [
            self.metrics.value(f"{PREFIX}{name}") for name in ("size", "active_connections", "available_connections")
        ]

    def waiting(self) -> int:
        """How many threads wait; nothing public tells."""
        return len(self.pool._waiters)


@pytest.mark.clause(
    name="pool_behaviours",
    claims=("POOL-3a", "POOL-1c", "POOL-2a"),
    checker="facts",
    title="The 13 behaviours of the connection pool hold, and its statistics and metrics are what happened",
    minimum_samples=QUERIES + 13,
    remedy="see k2/query/pool.py and tests/query/test_connection_pool.py",
)
def test_the_pool_behaves_as_documented(clause: ClauseRun, tmp_path: Path) -> None:
    with clause.history() as history:

        def fact(name: str, expected: Any, observe: Callable[[Tried], Any], samples: int = 1, **options: Any) -> None:
            with tried(tmp_path, **options) as one:
                record_fact(history, name, expected, observe, one, samples=samples)

        fact("connections lent at once that differ and answer", [SIZE, [7] * SIZE], lent_at_once)
        fact("answers to many threads, most connections in use", [QUERIES, True], shared_by_threads, QUERIES)
        fact("order in which waiters were served", list(range(8)), served, pool_size=1)
        fact("asking when all are taken", ["TimeoutError", 1.0, "lent"], exhausted, pool_size=1)
        fact("after its borrower raised", [True, [0, 1, 2, 1]], raised, pool_size=1)
        fact("after it broke", [False, 7, [0, 1, 2, 1]], broken, pool_size=1)
        fact("before first use", [[0, SIZE, 0, 0], [SIZE, 0, SIZE]], lambda one: [one.counts(), one.gauges()])
        fact("while two of four acquired are lent", [[2, 1, 4, 2], [SIZE, 2, 1], 66.7], partly_lent)
        fact("waits, average and exported", [True, 2.0, True], waits, pool_size=1)
        fact("asking after it was closed", ["UnavailableError", "UnavailableError"], closed)
        fact(
            "a borrower and a waiter while it is closed", [7, "UnavailableError", False], closed_meanwhile, pool_size=1
        )
        fact("connections opened for one borrower at a time", 1, opened_one_by_one)
        fact(
            "a connection that cannot be opened", ["UsageError", 1.0, [0, SIZE, 0, 1]], unopenable, memory_limit="much"
        )
        record_fact(history, "a pool of no connections", "UsageError", refusal_of_size, tmp_path, 0)
        record_fact(history, "connections where none is chosen", 5, lambda: QuerySettings().pool_size)
    clause.judge()


@pytest.mark.clause(
    name="pool_exhausted",
    claims=("POOL-1d",),
    checker="facts",
    title="A client that finds every connection taken gets 503 POOL_EXHAUSTED with Retry-After, and is served later",
    minimum_samples=5,
    remedy="see the handler of PoolExhaustedError in k2/api/envelope.py",
)
def test_a_client_that_finds_no_connection_is_told_when_to_come_back(stack: Stack, clause: ClauseRun) -> None:
    with clause.history(seed=16) as history:
        stack.start_consumer("trades")
        records = SyntheticExchange(SyntheticSettings(seed=16, records=RECORDS, trade_share=1.0))
        wait_until_drained(stack, history, feed_records(stack, records).acknowledged_ends())
        url = stack.start_api(CROWDED)
        with ThreadPoolExecutor(CLIENTS) as clients:
            answers = list(clients.map(lambda _: http.post(f"{url}/v1/trades/query", HEAVY), range(CLIENTS)))
        refused = [answer for answer in answers if answer.status == 503]
        record_fact(history, "statuses", [200, 503], lambda: sorted({answer.status for answer in answers}))
        codes = sorted({answer.body["error"]["code"] for answer in refused})
        record_fact(history, "codes", ["POOL_EXHAUSTED"], lambda: codes, samples=len(refused))
        after = sorted({retry_after(answer) for answer in refused})
        record_fact(history, "Retry-After", ["1"], lambda: after, samples=len(refused))
        exported = http.metric(http.get(f"{url}/metrics").body, f"{PREFIX}acquisition_timeouts_total", {})
        record_fact(history, "timeouts exported", float(len(refused)), lambda: exported)
        later = http.get(f"{url}/v1/trades", {"symbol": SYMBOL, "limit": 1})
        record_fact(history, "a later request", 200, lambda: later.status)
    clause.judge()


def retry_after(answer: http.Answer) -> str:
    """The header, whatever its case; empty where there is none."""
    return {name.lower(): value for name, value in answer.headers.items()}.get("retry-after", "")


@contextmanager
def tried(folder: Path, pool_size: int = SIZE, memory_limit: str = "256MB") -> Iterator[Tried]:
    """A pool of real connections."""
    metrics = Metrics()
    database = DuckDBDatabase(folder, QuerySettings(threads=1, memory_limit=memory_limit))
    with DuckDBConnectionPool(database, pool_size=pool_size, metrics=metrics, clock=SystemClock()) as pool:
        yield Tried(pool, metrics)


def seven(connection: QueryConnection) -> int:
    """What a query answers."""
    return int(connection.fetch("SELECT 7 AS n")["n"][0].as_py())


def answered(connection: QueryConnection) -> int | str:
    """What a query answers, or the error it ends in."""
    try:
        return seven(connection)
    except K2Error as error:
        return type(error).__name__


def asked(one: Tried, timeout_seconds: float) -> str:
    """What comes of asking for a connection: "lent", or the error, by the name callers catch it by."""
    try:
        with one.pool.acquire(timeout_seconds):
            return "lent"
    except TimeoutError:
        return "TimeoutError"
    except K2Error as error:
        return type(error).__name__


def wait_for_waiters(one: Tried, count: int) -> None:
    """Return when so many threads wait for a connection."""
    wait_until(lambda: one.waiting() == count, PATIENCE_SECONDS, "a thread did not come to wait")


def lent_at_once(one: Tried) -> list[Any]:
    """As many as the pool has."""
    with one.pool.acquire() as first, one.pool.acquire() as second, one.pool.acquire() as third:
        lent = (first, second, third)
        return [len(set(lent)), [seven(connection) for connection in lent]]


def shared_by_threads(one: Tried) -> list[Any]:
    """Many threads, each with a question of its own."""

    def ask(number: int) -> bool:
        with one.pool.acquire(PATIENCE_SECONDS) as connection:
            return bool(connection.fetch("SELECT ? AS n", [number])["n"][0].as_py() == number)

    with ThreadPoolExecutor(THREADS) as threads:
        right = sum(threads.map(ask, range(QUERIES)))
    return [right, one.counts()[:1] == [0] and one.counts()[3] <= SIZE]


def served(one: Tried) -> list[int]:
    """Eight threads that came one after the other while the only connection was lent."""
    order: list[int] = []

    def ask(number: int) -> None:
        with one.pool.acquire(PATIENCE_SECONDS):
            order.append(number)

    with ThreadPoolExecutor(8) as threads, one.pool.acquire():
        for number in range(8):
            threads.submit(ask, number)
            wait_for_waiters(one, number + 1)
    return order


def exhausted(one: Tried) -> list[Any]:
    """Asking while the only connection is lent, and once it is back."""
    with one.pool.acquire():
        refused = asked(one, 0.05)
    return [refused, one.metrics.value(f"{PREFIX}acquisition_timeouts_total"), asked(one, 0.05)]


def raised(one: Tried) -> list[Any]:
    """A borrower that raises: is the next one given the same connection?"""
    lent: list[QueryConnection] = []
    try:
        with one.pool.acquire() as connection:
            lent.append(connection)
            raise ZeroDivisionError
    except ZeroDivisionError:
        pass
    with one.pool.acquire(0) as connection:
        same = connection is lent[0]
    return [same, one.counts()]


def broken(one: Tried) -> list[Any]:
    """A connection that is closed under its borrower: is the next one given it, and does it answer?"""
    with one.pool.acquire() as first:
        first.close()
    with one.pool.acquire(0) as second:
        same, answer = second is first, answered(second)
    return [same, answer, one.counts()]


def partly_lent(one: Tried) -> list[Any]:
    """Two acquired and given back, two more held."""
    for _ in range(2):
        with one.pool.acquire():
            pass
    with one.pool.acquire(), one.pool.acquire():
        share = round(one.pool.statistics()["utilization_percentage"], 1)
        return [one.counts(), one.gauges(), share]


def waits(one: Tried) -> list[Any]:
    """One borrower without a wait, one who waited while it held on."""
    with ThreadPoolExecutor(1) as threads:
        with one.pool.acquire():
            waiter = threads.submit(asked, one, PATIENCE_SECONDS)
            wait_for_waiters(one, 1)
            time.sleep(HELD_SECONDS)
        waiter.result()
    average = one.pool.statistics()["average_wait_time_seconds"]
    name = f"{PREFIX}wait_time_seconds"
    count, waited = (one.metrics.registry.get_sample_value(f"{name}_{part}") or 0.0 for part in ("count", "sum"))
    return [average >= HELD_SECONDS / 2, count, abs(waited - average * count) < 1e-6]


def closed(one: Tried) -> list[str]:
    """Asking after the end, which may come twice."""
    one.pool.close()
    first = asked(one, 0)
    one.pool.close()
    return [first, asked(one, 0)]


def closed_meanwhile(one: Tried) -> list[Any]:
    """A pool that is closed while its connection is lent and a thread waits for it."""
    with ThreadPoolExecutor(1) as threads:
        with one.pool.acquire() as connection:
            waiter = threads.submit(asked, one, PATIENCE_SECONDS)
            wait_for_waiters(one, 1)
            one.pool.close()
            turned_away = waiter.result(PATIENCE_SECONDS)
            answer = seven(connection)
        return [answer, turned_away, connection.is_usable()]


def opened_one_by_one(one: Tried) -> int:
    """How many connections serve five borrowers who come one after the other."""
    lent = []
    for _ in range(5):
        with one.pool.acquire() as connection:
            lent.append(connection)
    return len(set(lent))


def unopenable(one: Tried) -> list[Any]:
    """A database that cannot be opened: the error, how often it was counted, and what is left."""
    return [asked(one, 0), one.metrics.value(f"{PREFIX}creation_errors_total"), one.counts()]


def refusal_of_size(folder: Path, pool_size: int) -> str | None:
    """The error of a pool of this size."""
    try:
        with tried(folder, pool_size=pool_size):
            return None
    except K2Error as error:
        return type(error).__name__
