"""How often the times of a feed run backwards. Nothing is reordered or dropped for it: it is only counted."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class EventTimeInversions:
    """How often exchange time went backwards, trades and quotes together in file order.

    Attributes:
        between_neighbours: records earlier than the one just before.
        against_maximum: records earlier than the latest before.
        largest_ns: the furthest a record lay behind the latest.
    """

    between_neighbours: int = 0
    against_maximum: int = 0
    largest_ns: int = 0


class InversionCounter:
    """Counts the inversions of one kind of time."""

    __slots__ = ("_against_maximum", "_between_neighbours", "_largest_ns", "_last_ns", "_latest_ns")

    def __init__(self) -> None:
        self._between_neighbours = self._against_maximum = self._largest_ns = 0
        self._last_ns = self._latest_ns = 0

    def take(self, time_ns: int) -> None:
        """The next record's time."""
        if time_ns < self._last_ns:
            self._between_neighbours += 1
        self._last_ns = time_ns
        if time_ns < self._latest_ns:
            self._against_maximum += 1
            self._largest_ns = max(self._largest_ns, self._latest_ns - time_ns)
        else:
            self._latest_ns = time_ns

    def inversions(self) -> EventTimeInversions:
        """The counts so far."""
        return EventTimeInversions(self._between_neighbours, self._against_maximum, self._largest_ns)
