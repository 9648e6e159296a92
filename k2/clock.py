"""Time as a value that is passed in, so that tests and the synthetic exchange decide what time it is."""

import time
from typing import Protocol


class Clock(Protocol):
    """Source of wall-clock and monotonic time, both in nanoseconds."""

    def wall_ns(self) -> int:
        """Nanoseconds since the Unix epoch, UTC."""

    def monotonic_ns(self) -> int:
        """Nanoseconds on a clock that never goes backwards."""


class SystemClock:
    """The machine's own clocks."""

    def wall_ns(self) -> int:
        """Nanoseconds since the Unix epoch, UTC."""
        return time.time_ns()

    def monotonic_ns(self) -> int:
        """Nanoseconds on a clock that never goes backwards."""
        return time.monotonic_ns()
