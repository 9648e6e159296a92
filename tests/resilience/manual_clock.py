"""A clock that stands still until it is told to move."""


class ManualClock:
    """Wall clock and monotonic clock in one; starts at second 1,000."""

    def __init__(self) -> None:
        self.now_ns = 1_000 * 10**9

    def wall_ns(self) -> int:
        return self.now_ns

    def monotonic_ns(self) -> int:
        return self.now_ns

    def advance(self, seconds: float) -> None:
        self.now_ns += round(seconds * 1e9)
