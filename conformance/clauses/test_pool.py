"""An exhausted pool says so in time.

A client that finds every connection taken MUST get a timeout, not a hang (POOL-1): from the pool itself as
TimeoutError, from the API as 503 with Retry-After; and once a connection is back the next one MUST get it.
"""

import threading
import time
from pathlib import Path

import pytest

from conformance.clause import ClauseRun
from conformance.drivers.facts import record_fact
from k2.clock import SystemClock
from k2.observability.metrics import Metrics
from k2.query.connection import DuckDBDatabase
from k2.query.pool import DuckDBConnectionPool
from k2.settings import QuerySettings

pytestmark = pytest.mark.alone

POOL_SIZE = 2
TIMEOUT_SECONDS = 0.2
TOLERANCE_SECONDS = 0.25


@pytest.mark.clause(
    name="pool_exhaustion",
    claims=("POOL-1a",),
    checker="facts",
    title="A pool whose connections are all taken raises a timeout in time, and serves again once one is back",
    minimum_samples=5,
    remedy="see k2/query/pool.py",
)
def test_an_exhausted_pool_raises_a_timeout_and_then_serves_again(clause: ClauseRun, tmp_path: Path) -> None:
    metrics = Metrics()
    database = DuckDBDatabase(tmp_path, QuerySettings())
    with (
        DuckDBConnectionPool(database, pool_size=POOL_SIZE, metrics=metrics, clock=SystemClock()) as pool,
        clause.history() as history,
    ):
        release = threading.Event()
        holders = [threading.Thread(target=hold, args=(pool, release)) for _ in range(POOL_SIZE)]
        for holder in holders:
            holder.start()
        wait_until_taken(pool)
        record_fact(history, "acquiring when all are taken", "TimeoutError", acquire, pool)
        record_fact(history, "the wait was as long as asked for", True, waited_as_asked, pool)
        name = "k2_connection_pool_acquisition_timeouts_total"
        record_fact(history, "timeouts counted", 2.0, metrics.value, name)
        release.set()
        for holder in holders:
            holder.join()
        record_fact(history, "acquiring once they are back", "acquired", acquire, pool)
        record_fact(history, "connections in use at the end", 0, lambda: pool.statistics()["active_connections"])
    clause.judge()


def hold(pool: DuckDBConnectionPool, until: threading.Event) -> None:
    """Keep a connection until told."""
    with pool.acquire(5):
        until.wait()


def wait_until_taken(pool: DuckDBConnectionPool) -> None:
    """Return when every connection is lent."""
    while pool.statistics()["available_connections"]:
        time.sleep(0.005)


def acquire(pool: DuckDBConnectionPool) -> str:
    """What comes of asking for a connection."""
    try:
        with pool.acquire(TIMEOUT_SECONDS):
            return "acquired"
    except TimeoutError:
        return "TimeoutError"


def waited_as_asked(pool: DuckDBConnectionPool) -> bool:
    """Whether a failing wait took its time and not much more."""
    started = time.monotonic()
    acquire(pool)
    return TIMEOUT_SECONDS <= time.monotonic() - started <= TIMEOUT_SECONDS + TOLERANCE_SECONDS
