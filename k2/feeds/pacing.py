"""Slows a feed down: to a steady rate, or to the timing it was recorded with. A feed by itself is as fast as possible.

Records are handed on when they are due, at most 1 ms early. A receiver that falls behind gets records at once until it
has caught up, so the pace holds over the whole run. An Event's `wait` as `sleep` makes a pause end early.
"""

import time
from collections.abc import Callable, Iterable, Iterator
from math import inf

from k2.clock import Clock
from k2.errors import UsageError
from k2.feeds.feed import FeedRecord

_NS_PER_SECOND = 1_000_000_000
# Waiting costs about this much, so a record due sooner is handed on at once.
_SHORTEST_WAIT_NS = 1_000_000


def at_rate(
    records: Iterable[FeedRecord],
    records_per_second: float,
    clock: Clock,
    sleep: Callable[[float], object] = time.sleep,
) -> Iterator[FeedRecord]:
    """So many records a second; UsageError unless that is a number above 0."""
    _require_positive("records_per_second", records_per_second)
    return _paced(records, lambda position, _: position * _NS_PER_SECOND / records_per_second, clock, sleep)


def as_recorded(
    records: Iterable[FeedRecord],
    clock: Clock,
    speed: float = 1.0,
    sleep: Callable[[float], object] = time.sleep,
) -> Iterator[FeedRecord]:
    """As their receive times say, `speed` times as fast; UsageError unless that is a number above 0."""
    _require_positive("speed", speed)
    return _paced(records, lambda _, elapsed_ns: elapsed_ns / speed, clock, sleep)


def _paced(
    records: Iterable[FeedRecord],
    due_ns: Callable[[int, int], float],
    clock: Clock,
    sleep: Callable[[float], object],
) -> Iterator[FeedRecord]:
    # due_ns(position, recorded time since the first record) counts from the moment the first record was handed on.
    start_ns = first_receive_ns = 0
    for position, record in enumerate(records):
        receive_ns = record.record["receive_time_ns"]
        if position == 0:
            start_ns, first_receive_ns = clock.monotonic_ns(), receive_ns
        else:
            wait_ns = start_ns + due_ns(position, receive_ns - first_receive_ns) - clock.monotonic_ns()
            if wait_ns >= _SHORTEST_WAIT_NS:
                sleep(wait_ns / _NS_PER_SECOND)
        yield record


def _require_positive(name: str, value: float) -> None:
    if not 0 < value < inf:
        raise UsageError(f"pacing: {name} is {value}, it must be a number above 0; change it")
