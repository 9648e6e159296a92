"""Requests are due at their rate, whatever became of those before."""

import random

from conformance.drivers.load_profile import Phase
from load._arrivals import SECOND_NS, Arrivals, Due

CALM, SPIKE = Phase("calm", 100.0, 10.0), Phase("spike", 50.0, 40.0)


def all_due(arrivals: Arrivals, idle_since_ns: int = 0) -> list[Due]:
    found = []
    while due := arrivals.next(idle_since_ns):
        found.append(due)
    return found


def test_as_many_are_due_as_the_rates_of_the_phases_say() -> None:
    found = [due for user in range(4) for due in all_due(Arrivals((CALM, SPIKE), 4, 0, random.Random(user)))]
    counts = {name: sum(due.phase == name for due in found) for name in ("calm", "spike")}
    assert abs(counts["calm"] - 1_000) < 130
    assert abs(counts["spike"] - 2_000) < 180


def test_each_request_is_due_within_its_phase_and_after_the_last() -> None:
    found = all_due(Arrivals((CALM, SPIKE), 1, 5 * SECOND_NS, random.Random(1)))
    times = [due.at_ns for due in found]
    assert times == sorted(times)
    ends = {"calm": (5, 105), "spike": (105, 155)}
    assert all(ends[due.phase][0] * SECOND_NS <= due.at_ns < ends[due.phase][1] * SECOND_NS for due in found)


def test_a_slow_answer_delays_no_request_that_is_due() -> None:
    quick = all_due(Arrivals((CALM,), 1, 0, random.Random(3)))
    slow = all_due(Arrivals((CALM,), 1, 0, random.Random(3)), idle_since_ns=60 * SECOND_NS)
    assert slow == quick


def test_without_a_rate_the_next_is_due_when_the_user_is_idle() -> None:
    arrivals = Arrivals((Phase("closed", 10.0, 0.0),), 1, SECOND_NS, random.Random(1))
    assert arrivals.next(0) == Due(SECOND_NS, "closed")
    assert arrivals.next(4 * SECOND_NS) == Due(4 * SECOND_NS, "closed")
    assert arrivals.next(11 * SECOND_NS) is None
