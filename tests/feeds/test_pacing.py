"""When a replayed record is handed on, on a clock that only moves when somebody sleeps."""

from collections.abc import Iterator
from math import inf, nan

import pytest

from k2.clock import SystemClock
from k2.errors import UsageError
from k2.feeds.feed import FeedRecord
from k2.feeds.pacing import as_recorded, at_rate

SECOND = 1_000_000_000


class StandingClock:
    def __init__(self) -> None:
        self.now_ns = 5_000 * SECOND
        self.sleeps: list[float] = []

    def wall_ns(self) -> int:
        raise AssertionError("pacing must not depend on the time of day")

    def monotonic_ns(self) -> int:
        return self.now_ns

    def sleep(self, seconds: float) -> None:
        self.sleeps.append(seconds)
        self.now_ns += round(seconds * SECOND)


def records(*receive_seconds: float) -> list[FeedRecord]:
    return [
        FeedRecord("trades", "crypto", "BINANCE", {"receive_time_ns": 1_700_000_000 * SECOND + round(second * SECOND)})
        for second in receive_seconds
    ]


def times(source: Iterator[FeedRecord], clock: StandingClock) -> list[float]:
    return [(clock.now_ns - 5_000 * SECOND) / SECOND for _ in source]


def test_a_steady_rate_ignores_recorded_times() -> None:
    clock = StandingClock()
    assert times(at_rate(records(0, 100, 3, 3), 4, clock, clock.sleep), clock) == [0, 0.25, 0.5, 0.75]


def test_recorded_timing_is_kept_and_scaled() -> None:
    clock = StandingClock()
    assert times(as_recorded(records(7, 8, 10), clock, sleep=clock.sleep), clock) == [0, 1, 3]
    clock = StandingClock()
    assert times(as_recorded(records(7, 8, 10), clock, 4, clock.sleep), clock) == [0, 0.25, 0.75]


def test_a_receive_time_that_goes_back_is_due_at_once() -> None:
    clock = StandingClock()
    assert times(as_recorded(records(7, 9, 6, 10), clock, sleep=clock.sleep), clock) == [0, 2, 2, 3]


def test_a_slow_receiver_gets_records_at_once_until_it_has_caught_up() -> None:
    clock = StandingClock()
    handed: list[float] = []
    for position, _ in enumerate(at_rate(records(*[0] * 6), 1, clock, clock.sleep)):
        handed.append((clock.now_ns - 5_000 * SECOND) / SECOND)
        if position == 1:
            clock.sleep(2.5)
    assert handed == [0, 1, 3.5, 3.5, 4, 5]


def test_no_sleep_is_shorter_than_a_millisecond_and_the_rate_still_holds() -> None:
    clock = StandingClock()
    handed = times(at_rate(records(*[0] * 5_001), 10_000, clock, clock.sleep), clock)
    assert min(clock.sleeps) >= 0.001
    assert handed[-1] == pytest.approx(0.5, abs=0.001)
    assert all(at >= position / 10_000 - 0.001 for position, at in enumerate(handed))


def test_records_are_taken_from_the_source_only_when_asked_for() -> None:
    clock = StandingClock()
    source = iter(records(0, 1, 2))
    next(at_rate(source, 1, clock, clock.sleep))
    assert len(list(source)) == 2


def test_a_real_clock_paces_too() -> None:
    clock = SystemClock()
    start_ns = clock.monotonic_ns()
    assert len(list(as_recorded(records(0, 0.02, 0.04), clock))) == 3
    assert clock.monotonic_ns() - start_ns >= 0.039 * SECOND


@pytest.mark.parametrize("value", [0, -1, nan, inf])
def test_a_rate_or_speed_that_is_no_number_above_zero_is_refused_at_once(value: float) -> None:
    with pytest.raises(UsageError, match=r"records_per_second is .*, it must be a number above 0"):
        at_rate(records(), value, StandingClock())
    with pytest.raises(UsageError, match=r"speed is .*, it must be a number above 0"):
        as_recorded(records(), StandingClock(), value)
