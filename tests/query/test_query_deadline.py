"""Real interruption: in time, of the right query only, and never of the next one."""

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from k2.clock import SystemClock
from k2.errors import QueryTimeoutError
from k2.query.connection import DuckDBDatabase, QueryConnection
from k2.query.deadline import Deadline, Watchdog
from k2.settings import QuerySettings

# Minutes of work if nobody stops it.
ENDLESS = "SELECT count(*) AS n FROM range(1_000_000) a JOIN range(1_000_000) b ON (a.range + b.range) % 1000 = 7"
HALF_A_SECOND = "SELECT count(*) AS n FROM range(20_000) a JOIN range(2_000) b ON (a.range * b.range) % 1000 = 7"
CLOCK = SystemClock()


@pytest.fixture
def database(tmp_path: Path) -> Iterator[DuckDBDatabase]:
    database = DuckDBDatabase(tmp_path, QuerySettings(threads=2, memory_limit="512MB"))
    yield database
    database.close()


@pytest.fixture
def connection(database: DuckDBDatabase) -> QueryConnection:
    return database.connect()


def test_a_query_is_stopped_at_its_deadline(connection: QueryConnection) -> None:
    started = time.monotonic()
    with pytest.raises(QueryTimeoutError), Watchdog(CLOCK).watching(Deadline.after(0.1, CLOCK), connection.interrupt):
        connection.fetch(ENDLESS)
    assert 0.1 <= time.monotonic() - started < 2


def test_a_deadline_that_has_passed_before_the_query_begins_stops_it_too(connection: QueryConnection) -> None:
    with Watchdog(CLOCK).watching(Deadline.after(1e-9, CLOCK), connection.interrupt):
        time.sleep(0.05)
        started = time.monotonic()
        with pytest.raises(QueryTimeoutError):
            connection.fetch(ENDLESS)
    assert time.monotonic() - started < 2


def test_a_nearer_deadline_is_kept_while_a_farther_one_is_watched(connection: QueryConnection) -> None:
    watchdog = Watchdog(CLOCK)
    started = time.monotonic()
    with watchdog.watching(Deadline.after(60, CLOCK), lambda: None):
        time.sleep(0.05)
        with pytest.raises(QueryTimeoutError), watchdog.watching(Deadline.after(0.1, CLOCK), connection.interrupt):
            connection.fetch(ENDLESS)
    assert time.monotonic() - started < 2


def test_an_interrupt_leaves_the_other_connections_alone(database: DuckDBDatabase) -> None:
    stopped, undisturbed = database.connect(), database.connect()
    watchdog = Watchdog(CLOCK)
    with ThreadPoolExecutor(1) as threads:
        answer = threads.submit(undisturbed.fetch, HALF_A_SECOND)
        with pytest.raises(QueryTimeoutError), watchdog.watching(Deadline.after(0.05, CLOCK), stopped.interrupt):
            stopped.fetch(ENDLESS)
        was_running = not answer.done()
        assert answer.result(timeout=30)["n"].to_pylist() == database.connect().fetch(HALF_A_SECOND)["n"].to_pylist()
    assert was_running, "the other query was over before the interrupt came, so nothing was shown"


def test_the_connection_serves_the_next_query_after_an_interrupt(connection: QueryConnection) -> None:
    watchdog = Watchdog(CLOCK)
    for number in range(5):
        with pytest.raises(QueryTimeoutError), watchdog.watching(Deadline.after(0.02, CLOCK), connection.interrupt):
            connection.fetch(ENDLESS)
        assert connection.fetch("SELECT ? AS n", [number])["n"].to_pylist() == [number]


def test_no_interrupt_comes_once_the_watched_block_has_ended() -> None:
    watchdog = Watchdog(CLOCK)
    ended = threading.Event()
    interrupts: list[bool] = []
    for _ in range(30):
        ended.clear()
        with watchdog.watching(Deadline.after(0.001, CLOCK), lambda: interrupts.append(ended.is_set())):
            time.sleep(0.005)
        ended.set()
    time.sleep(0.05)
    assert interrupts
    assert not any(interrupts)


def test_queries_that_end_around_their_deadline_never_harm_the_next_one(connection: QueryConnection) -> None:
    watchdog = Watchdog(CLOCK)
    outcomes: set[str] = set()
    for round_number in range(150):
        try:
            with watchdog.watching(Deadline.after(0.0002 * (round_number % 20 + 1), CLOCK), connection.interrupt):
                connection.fetch("SELECT count(*) FROM range(1_500_000) t WHERE range % 7 = 3")
            outcomes.add("answered")
        except QueryTimeoutError:
            outcomes.add("stopped")
        assert connection.fetch("SELECT sum(range) AS n FROM range(1000)")["n"].to_pylist() == [499_500]
    assert outcomes == {"answered", "stopped"}


def test_the_watchdog_ends_its_thread_when_nothing_is_left_to_watch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("k2.query.deadline._IDLE_SECONDS", 0.02)
    watchdog = Watchdog(CLOCK)
    for _ in range(2):
        with watchdog.watching(Deadline.after(0.05, CLOCK), lambda: None):
            thread = watchdog._thread
            assert thread is not None
        thread.join(timeout=5)
        assert not thread.is_alive()
        assert watchdog._thread is None


def test_a_deadline_counts_down_to_zero_and_then_complains() -> None:
    deadline = Deadline.after(0.02, CLOCK)
    assert 0 < deadline.remaining_seconds() <= 0.02
    deadline.check()
    time.sleep(0.03)
    assert deadline.remaining_seconds() == 0
    with pytest.raises(QueryTimeoutError, match=r"limit of 0.02 s"):
        deadline.check()
