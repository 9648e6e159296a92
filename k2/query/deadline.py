"""Time limits that really stop a query: DuckDB has no limit of its own, so a thread interrupts at the deadline.

The end of a call and an interrupt exclude one another (both need the same lock), so an interrupt can never reach the
next query of the same connection. DuckDB forgets an interrupt that comes before its query begins, so it is repeated
until the call has ended.
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from k2.clock import Clock
from k2.errors import QueryTimeoutError

_REPEAT_SECONDS = 0.01
_IDLE_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Deadline:
    """A moment on the monotonic clock, and the limit it came from."""

    clock: Clock
    at_ns: int
    limit_seconds: float

    @classmethod
    def after(cls, limit_seconds: float, clock: Clock) -> "Deadline":
        """The moment that lies limit_seconds ahead."""
        return cls(clock, clock.monotonic_ns() + round(limit_seconds * 1e9), limit_seconds)

    def remaining_seconds(self) -> float:
        """Time left; zero once it has passed."""
        return max(0.0, (self.at_ns - self.clock.monotonic_ns()) / 1e9)

    def check(self) -> None:
        """Raise QueryTimeoutError once it has passed."""
        if self.remaining_seconds() == 0.0:
            raise QueryTimeoutError(f"the limit of {self.limit_seconds:g} s has passed")


@dataclass(frozen=True, slots=True, eq=False)
class _Watched:
    deadline: Deadline
    interrupt: Callable[[], None]


class Watchdog:
    """Interrupts calls that outlive their deadline. One daemon thread, there only while calls are being watched.

    Args:
        clock: the one the deadlines were made with.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._changed = threading.Condition()
        self._watched: set[_Watched] = set()
        self._thread: threading.Thread | None = None
        self._wakes_at_ns = 0
        self._is_stopped = False

    def stop(self) -> None:
        """From now on treat every deadline as passed."""
        with self._changed:
            self._is_stopped = True
            self._changed.notify()

    @contextmanager
    def watching(self, deadline: Deadline, interrupt: Callable[[], None]) -> Iterator[None]:
        """Call `interrupt` from the deadline on, again and again, until the block ends; never after it.

        Args:
            deadline: when the block must have ended.
            interrupt: stops what the block does; returns at once and does not raise.
        """
        watched = _Watched(deadline, interrupt)
        with self._changed:
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="query-watchdog", daemon=True)
                self._thread.start()
            self._watched.add(watched)
            if self._is_stopped or deadline.at_ns < self._wakes_at_ns:
                self._changed.notify()
        try:
            yield
        finally:
            with self._changed:
                self._watched.discard(watched)

    def _run(self) -> None:
        with self._changed:
            while True:
                wait_seconds = self._interrupt_late_ones()
                self._wakes_at_ns = self._clock.monotonic_ns() + round(wait_seconds * 1e9)
                if not self._changed.wait(wait_seconds) and not self._watched:
                    self._thread = None
                    return

    def _interrupt_late_ones(self) -> float:
        """Interrupt what is past its deadline; seconds until somebody has to be interrupted next."""
        next_seconds = _IDLE_SECONDS
        for watched in self._watched:
            remaining_seconds = watched.deadline.remaining_seconds()
            if self._is_stopped or remaining_seconds == 0.0:
                watched.interrupt()
                remaining_seconds = _REPEAT_SECONDS
            next_seconds = min(next_seconds, remaining_seconds)
        return next_seconds
