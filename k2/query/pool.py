"""A fixed number of DuckDB connections shared by many threads, first come, first served."""

import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Self, TypedDict

from k2.clock import Clock
from k2.errors import K2Error, PoolExhaustedError, UnavailableError, UsageError
from k2.observability.metrics import Metrics
from k2.query.connection import DuckDBDatabase, QueryConnection


class PoolStatistics(TypedDict):
    """How the pool has been used since it was made.

    `peak_utilization` is the most connections that were ever in use at once; `utilization_percentage` is the share of
    the pool in use now. A connection not opened yet counts as available: it can be acquired at once.
    """

    pool_size: int
    active_connections: int
    available_connections: int
    total_acquisitions: int
    average_wait_time_seconds: float
    peak_utilization: int
    utilization_percentage: float


class _Waiter:
    """A thread in the queue. `granted` and `refused` change under the pool's lock only."""

    __slots__ = ("granted", "refused", "woken")

    def __init__(self) -> None:
        self.woken = threading.Event()
        self.granted = False
        self.refused = False


class DuckDBConnectionPool:
    """Lends connections of one hardened DuckDB, opening each when it is first needed.

    A permit to hold a connection passes from the thread that returns one straight to the thread that has waited
    longest, so nobody who comes later can overtake it. A connection that broke while it was lent is closed, and the
    next holder of its permit opens another.

    Args:
        database: what to connect to; the pool owns it from now on and closes it.
        pool_size: connections lent at once, at most.
        acquire_timeout_seconds: how long `acquire` waits unless told otherwise.
        metrics: receives the six k2_connection_pool_* metrics.
        clock: measures waits.

    Raises:
        UsageError: a pool_size below one.
    """

    def __init__(
        self,
        database: DuckDBDatabase,
        *,
        pool_size: int = 5,
        acquire_timeout_seconds: float = 30.0,
        metrics: Metrics,
        clock: Clock,
    ) -> None:
        if pool_size < 1:
            raise UsageError(f"a connection pool needs at least one connection, not {pool_size}")
        self._database = database
        self._pool_size = pool_size
        self._acquire_timeout_seconds = acquire_timeout_seconds
        self._metrics = metrics
        self._clock = clock
        self._lock = threading.Lock()
        self._idle: deque[QueryConnection] = deque()
        self._waiters: deque[_Waiter] = deque()
        self._active = 0
        self._peak = 0
        self._acquisitions = 0
        self._waited_seconds = 0.0
        self._closed = False
        metrics.set("k2_connection_pool_size", pool_size)
        self._publish()

    @contextmanager
    def acquire(self, timeout_seconds: float | None = None) -> Iterator[QueryConnection]:
        """Borrow a connection for the length of a `with` block.

        Raises:
            PoolExhaustedError: none became free in time.
            UnavailableError: the pool is closed, or DuckDB cannot be opened.
        """
        connection = self._borrow(self._acquire_timeout_seconds if timeout_seconds is None else timeout_seconds)
        try:
            yield connection
        except BaseException:
            connection.is_usable()
            raise
        finally:
            self._give_back(connection)

    def statistics(self) -> PoolStatistics:
        """Counts and waits up to now."""
        with self._lock:
            return {
                "pool_size": self._pool_size,
                "active_connections": self._active,
                "available_connections": self._pool_size - self._active,
                "total_acquisitions": self._acquisitions,
                "average_wait_time_seconds": self._waited_seconds / self._acquisitions if self._acquisitions else 0.0,
                "peak_utilization": self._peak,
                "utilization_percentage": 100.0 * self._active / self._pool_size,
            }

    def close(self) -> None:
        """Refuse new and waiting borrowers, close idle connections; lent ones are closed when they come back."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            idle, self._idle = list(self._idle), deque()
            for waiter in self._waiters:
                waiter.refused = True
                waiter.woken.set()
            self._waiters.clear()
            last = self._active == 0
        for connection in idle:
            connection.close()
        if last:
            self._database.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _borrow(self, timeout_seconds: float) -> QueryConnection:
        asked_ns = self._clock.monotonic_ns()
        self._wait_for_permit(timeout_seconds)
        try:
            connection = self._idle_or_new()
        except BaseException as error:
            if isinstance(error, K2Error):
                self._metrics.increment("k2_connection_pool_creation_errors_total")
            self._give_back(None)
            raise
        waited_seconds = (self._clock.monotonic_ns() - asked_ns) / 1e9
        with self._lock:
            self._acquisitions += 1
            self._waited_seconds += waited_seconds
        self._metrics.observe("k2_connection_pool_wait_time_seconds", waited_seconds)
        return connection

    def _wait_for_permit(self, timeout_seconds: float) -> None:
        with self._lock:
            if self._closed:
                raise UnavailableError("the query connection pool is closed")
            if self._active < self._pool_size:
                self._active += 1
                self._peak = max(self._peak, self._active)
                self._publish()
                return
            waiter = _Waiter()
            self._waiters.append(waiter)
        try:
            waiter.woken.wait(timeout_seconds)
        except BaseException:
            self._leave_queue(waiter)
            raise
        with self._lock:
            if waiter.granted:
                return
            if not waiter.refused:
                self._waiters.remove(waiter)
        if waiter.refused:
            raise UnavailableError("the query connection pool was closed while waiting for a connection")
        self._metrics.increment("k2_connection_pool_acquisition_timeouts_total")
        raise PoolExhaustedError(
            f"none of {self._pool_size} query connections became free within {timeout_seconds:g} s; "
            "ask again later or raise K2_QUERY__POOL_SIZE"
        )

    def _leave_queue(self, waiter: _Waiter) -> None:
        with self._lock:
            if waiter in self._waiters:
                self._waiters.remove(waiter)
            granted = waiter.granted
        if granted:
            self._give_back(None)

    def _idle_or_new(self) -> QueryConnection:
        with self._lock:
            if self._idle:
                return self._idle.pop()
        return self._database.connect()

    def _give_back(self, connection: QueryConnection | None) -> None:
        with self._lock:
            if connection is not None and connection.is_open and not self._closed:
                self._idle.append(connection)
                connection = None
            if self._waiters:
                waiter = self._waiters.popleft()
                waiter.granted = True
                waiter.woken.set()
            else:
                self._active -= 1
                self._publish()
            last = self._closed and self._active == 0
        if connection is not None:
            connection.close()
        if last:
            self._database.close()

    def _publish(self) -> None:
        self._metrics.set("k2_connection_pool_active_connections", self._active)
        self._metrics.set("k2_connection_pool_available_connections", self._pool_size - self._active)
