"""What the synthetic exchange planted, as data to judge a pipeline against."""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class MissingRange:
    """Source numbers that were never sent, both ends included.

    `numbering` counts a key's numberings from 1; a session reset begins the next one.
    """

    numbering: int
    first: int
    last: int


@dataclass(frozen=True, slots=True)
class PlantedKey:
    """What was planted in the records of one (data_type, exchange, symbol).

    Attributes:
        events: expected sequence event of each record in the order sent: `events[i]` belongs to session_sequence i + 1.
            None throughout for records without source numbers.
        missing: in the order planted.
        clock_skew_ns: exchange clock minus receiver clock, before rounding to ms.
    """

    data_type: str
    exchange: str
    symbol: str
    events: tuple[str | None, ...] = ()
    missing: tuple[MissingRange, ...] = ()
    clock_skew_ns: int = 0

    @property
    def open_ranges(self) -> tuple[MissingRange, ...]:
        """What a tracker still misses at the end: the ranges of the last numbering."""
        last_numbering = 1 + self.events.count("SESSION_RESET")
        return tuple(missing for missing in self.missing if missing.numbering == last_numbering)


@dataclass(frozen=True, slots=True)
class PlantedTruth:
    """Everything that was planted.

    Attributes:
        session: the session of all records.
        keys: one entry for each key that has records.
        faults: how many of each fault: gaps, duplicates, reorderings (late arrivals), resets. A record held back that
            the end of the run overtook is a gap, and its range is the last of its key.
    """

    session: str
    keys: tuple[PlantedKey, ...]
    faults: Mapping[str, int] = field(default_factory=dict)
