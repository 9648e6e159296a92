"""Trades made by hand: each symbol an example of its own, with just the numbers it needs."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from conformance.drivers.table_view import view_table
from conformance.stacks.base import Stack
from k2.feeds.feed import FeedRecord
from k2.feeds.synthetic import SyntheticExchange, SyntheticSettings
from k2.records.definition import TRADE

EXCHANGE = "BINANCE"
LATE, UNKNOWN_WHETHER_SEEN = 1, 4
"""Bits of quality_flags."""
_NS_PER_MS = 1_000_000


class CraftedTrades:
    """Counts the records of each symbol, as a feed does; every record is one the feed has not sent before."""

    def __init__(self, session: str = "crafted") -> None:
        self._session = session
        self._positions: Counter[tuple[str, str]] = Counter()
        self._template = next(iter(SyntheticExchange(SyntheticSettings(seed=1, records=1, trade_share=1.0)))).record

    def of(self, numbers: Mapping[str, Sequence[int | None]], **changes: Any) -> Iterator[FeedRecord]:
        """A trade for each number of the exchange, symbol by symbol; with None, one without a number."""
        for symbol, wanted in numbers.items():
            for number in wanted:
                yield self.one(symbol, number, **changes)

    def one(self, symbol: str, number: int | None, **changes: Any) -> FeedRecord:
        """The next trade of a symbol."""
        exchange = str(changes.get("exchange", EXCHANGE))
        self._positions[exchange, symbol] += 1
        position = self._positions[exchange, symbol]
        later_ns = position * _NS_PER_MS
        record = {
            **self._template,
            "session": self._session,
            "session_sequence": position,
            "exchange": exchange,
            "symbol": symbol,
            "source_sequence": number,
            "trade_id": f"{exchange}-{symbol}-{position}",
            "event_time_ns": self._template["event_time_ns"] + later_ns,
            "receive_time_ns": self._template["receive_time_ns"] + later_ns,
            **changes,
        }
        return FeedRecord(TRADE.data_type, record["asset_class"], exchange, record)


def stored_rows(stack: Stack) -> list[dict[str, Any]]:
    """Every row of the trades table, in the order of the log within each partition."""
    storage = stack.settings.storage
    rows: list[dict[str, Any]] = view_table(storage, TRADE.table).rows.to_pylist()
    return sorted(rows, key=lambda row: (row["kafka_partition"], row["kafka_offset"]))


def stored_events(rows: Sequence[Mapping[str, Any]], symbol: str) -> list[list[Any]]:
    """Number and event of each row of a symbol."""
    return [[row["source_sequence"], row["sequence_event"]] for row in rows if row["symbol"] == symbol]


def stored_flags(rows: Sequence[Mapping[str, Any]], symbol: str) -> list[list[Any]]:
    """Number, event and quality flags of each row of a symbol."""
    return [
        [row["source_sequence"], row["sequence_event"], row["quality_flags"]] for row in rows if row["symbol"] == symbol
    ]
