"""Quotes that carry an id of the exchange and no number, delivered once or again, by one feed or by another."""

from collections.abc import Iterator, Sequence
from typing import Any

from conformance.drivers.table_view import view_table
from conformance.stacks.base import Stack
from k2.feeds.feed import FeedRecord
from k2.feeds.synthetic import SyntheticExchange, SyntheticSettings
from k2.records.definition import QUOTE

_LATER_NS = 3_000_000
SYMBOLS = ("BTCUSDT", "ETHUSDT")


class IdentifiedQuotes:
    """A stretch of an exchange's quotes, each with an id that its symbol has once."""

    def __init__(self, count: int, seed: int = 61) -> None:
        settings = SyntheticSettings(seed=seed, records=count, symbols=SYMBOLS, trade_share=0.0)
        self._quotes = [item for item in SyntheticExchange(settings) if item.data_type == QUOTE.data_type]

    def __len__(self) -> int:
        return len(self._quotes)

    def delivered(self, session: str, first: int = 0, last: int | None = None, **changes: Any) -> Iterator[FeedRecord]:
        """Quotes `first` to before `last` as a feed of that session delivers them, at a time of its own."""
        positions = dict.fromkeys(SYMBOLS, 0)
        for item in self._quotes[first:last]:
            symbol = item.record["symbol"]
            positions[symbol] += 1
            record = {
                **item.record,
                "session": session,
                "session_sequence": positions[symbol],
                "receive_time_ns": item.record["receive_time_ns"] + _LATER_NS * len(session),
                "vendor_data": {"session": session},
                **changes,
            }
            yield FeedRecord(QUOTE.data_type, item.asset_class, item.exchange, record)

    def ids(self, first: int = 0, last: int | None = None) -> list[list[str]]:
        """Symbol and id of each, in order of both."""
        return sorted([item.record["symbol"], item.record["quote_id"]] for item in self._quotes[first:last])


def stored_ids(stack: Stack) -> list[list[str]]:
    """Symbol and id of every row of the quotes table, in order of both."""
    rows = view_table(stack.settings.storage, QUOTE.table).rows
    pairs: Sequence[dict[str, str]] = rows.select(["symbol", "quote_id"]).to_pylist()
    return sorted([row["symbol"], row["quote_id"]] for row in pairs)
