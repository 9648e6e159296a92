"""What every feed yields, and the position it gives each record."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol


@dataclass(frozen=True, slots=True)
class FeedRecord:
    """One record and where it belongs.

    Attributes:
        data_type: "trades" or "quotes".
        asset_class: "crypto" or "equities".
        exchange: exchange code, upper case.
        record: exactly the fields of the record type (k2.records.definition). Prices and quantities are decimal
            strings or Decimal, never float; times are ns since epoch UTC.
    """

    data_type: str
    asset_class: str
    exchange: str
    record: dict[str, Any]


@dataclass(frozen=True, slots=True)
class FeedStatistics:
    """What a feed has yielded so far; a feed may report more in a subclass."""

    trades: int = 0
    quotes: int = 0


class Feed(Protocol):
    """A source of records. Each iteration starts from the beginning and restarts the statistics."""

    @property
    def statistics(self) -> FeedStatistics:
        """Counts of the iteration in progress, or of the last one."""

    def __iter__(self) -> Iterator[FeedRecord]: ...


class SessionCounter:
    """Assigns session_sequence: 1, 2, 3... for each (data_type, exchange, symbol)."""

    def __init__(self) -> None:
        self._last: dict[tuple[str, str, str], int] = {}

    def next(self, data_type: str, exchange: str, symbol: str) -> int:
        """The position of the next record of that key."""
        key = (data_type, exchange, symbol)
        position = self._last.get(key, 0) + 1
        self._last[key] = position
        return position
