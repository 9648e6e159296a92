"""What every feed yields, and the position it gives each record."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

RECEIVE_TIME_SOURCE = "receive_time_source"
"""Entry of vendor_data where the time of receipt is unknown and that of the event stands in, which it then names."""
EVENT_TIME_SOURCE = "event_time_source"
"""Entry of vendor_data where the time of the event is unknown and that of receipt stands in."""


@dataclass(frozen=True, slots=True)
class FeedRecord:
    """One record and where it belongs.

    Attributes:
        data_type: "trades", "quotes" or "reference_data".
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
    reference_data: int = 0


@dataclass(frozen=True, slots=True)
class FileStatistics(FeedStatistics):
    """What the lines of a file were. `lines` is the sum of the records, `bad_lines` and `other_lines`.

    Attributes:
        lines: lines read.
        bad_lines: lines that could not be read.
        bad_lines_by_name: the same, by what is wrong with them.
    """

    lines: int = 0
    bad_lines: int = 0
    bad_lines_by_name: Mapping[str, int] = field(default_factory=dict)

    @property
    def other_lines(self) -> Mapping[str, int]:
        """Lines that hold no record and are not bad, by what they are."""
        return {}

    @property
    def by_kind(self) -> dict[str, int]:
        """Every line counted once, by what it was; kinds that did not occur are left out."""
        records = {"trades": self.trades, "quotes": self.quotes, "reference_data": self.reference_data}
        kinds = {**records, **self.other_lines, **self.bad_lines_by_name}
        return {kind: count for kind, count in kinds.items() if count}


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
