"""A feed that goes on at a steady rate beside whatever else a clause does."""

from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from threading import Event
from types import TracebackType
from typing import Self

from conformance.drivers.feeding import Fed, feed_records
from conformance.stacks.base import Stack
from k2.clock import SystemClock
from k2.feeds.feed import FeedRecord
from k2.feeds.pacing import at_rate


class SteadyFeed:
    """Records go to a stack at a steady rate from the start of the `with` block until `finish`, or the end of it.

    Args:
        stack: where to.
        records: at least as many as are sent.
        records_per_second: the rate.
    """

    def __init__(self, stack: Stack, records: Iterable[FeedRecord], records_per_second: float) -> None:
        self._stack = stack
        self._records = records
        self._records_per_second = records_per_second
        self._over = Event()
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="steady-feed")

    def finish(self) -> Fed:
        """Send no more, and say what became of each record once that is known.

        Raises:
            K2Error: what stopped the feed before.
        """
        self._over.set()
        return self._fed.result()

    def __enter__(self) -> Self:
        self._fed = self._pool.submit(feed_records, self._stack, self._paced())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._over.set()
        self._pool.shutdown()

    def _paced(self) -> Iterator[FeedRecord]:
        for record in at_rate(self._records, self._records_per_second, SystemClock(), self._over.wait):
            if self._over.is_set():
                return
            yield record
