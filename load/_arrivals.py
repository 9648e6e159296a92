"""When each request of a user is due.

A user's requests are due at random times of a constant rate, and they stay due while it waits for an answer: what a
slow answer delays is sent as soon as it is there, and its latency counts from when it was due. So a system that stands
still for a second is charged for every request of that second, and not for one of each user (coordinated omission).
In a phase without a rate a user's next request is due when it is idle; its latencies say nothing of what waits outside.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass

from conformance.drivers.load_profile import Phase

SECOND_NS = 10**9


@dataclass(frozen=True, slots=True)
class Due:
    """A request that is to be sent.

    Attributes:
        at_ns: when, on the clock that the phases began on.
        phase: in which phase that is.
    """

    at_ns: int
    phase: str


class Arrivals:
    """The requests of one user.

    Args:
        phases: one after the other.
        users: how many share their rates.
        began_ns: when the first phase began.
        chance: where the gaps between requests come from.
    """

    def __init__(self, phases: Sequence[Phase], users: int, began_ns: int, chance: random.Random) -> None:
        self._phases = []
        start_ns = began_ns
        for phase in phases:
            end_ns = start_ns + round(phase.seconds * SECOND_NS)
            self._phases.append((start_ns, end_ns, phase.requests_per_second / users, phase.name))
            start_ns = end_ns
        self._chance = chance
        self._last_ns = began_ns

    def next(self, idle_since_ns: int) -> Due | None:
        """The next request of a user that is idle since then; None when all phases are over."""
        for start_ns, end_ns, rate, name in self._phases:
            if self._last_ns >= end_ns:
                continue
            # Random gaps know nothing of the past, so where the rate changes they may begin anew.
            from_ns = max(self._last_ns, start_ns)
            gap_ns = round(self._chance.expovariate(rate) * SECOND_NS) if rate else 0
            due_ns = from_ns + gap_ns if rate else max(from_ns, idle_since_ns)
            if due_ns < end_ns:
                self._last_ns = due_ns
                return Due(due_ns, name)
            self._last_ns = end_ns
        return None
