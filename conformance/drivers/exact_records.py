"""Records at the edges of what can be held, and what must be seen of each in the table and in an answer."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from conformance.drivers import http
from conformance.drivers.table_view import view_table
from conformance.stacks.base import Stack
from k2.feeds.feed import FeedRecord
from k2.records.definition import RECORD_TYPES

ENDPOINTS = {"trades": "trades", "quotes": "quotes", "reference_data": "reference"}
Row = dict[str, Any]

# As given, and as it must be shown: all that can be held, and nothing else.
_NUMBERS = (
    ("61837.63", "61837.63"),
    ("0.0000000001", "0.0000000001"),
    ("999999999999999999.9999999999", "999999999999999999.9999999999"),
    ("100", "100"),
    ("0.1000000000", "0.1"),
    ("123456789012345678.1", "123456789012345678.1"),
    (Decimal("1E+3"), "1000"),
    (7, "7"),
)
# Nanoseconds that no float and no microsecond holds; the bounds of what is taken for a time.
_TIMES_NS = (1_763_000_000_123_456_789, 946_684_800_000_000_000, 4_102_444_799_999_999_999, 1_763_000_000_000_000_001)
_SIDES = ("BUY", "SELL", "UNKNOWN")
_VENUES = (None, "SPOT", "ASX TradeMatch", "größer")
_CONDITIONS = (None, "", "@ T", "XT,IN", "條件", "' OR 1=1 --")
_VENDOR_DATA: tuple[dict[str, str], ...] = ({}, {"maker": "true"}, {"empty": "", "": "no name", "ключ": "значение"})
_MARKETS = (("crypto", "BINANCE", "BTCUSDT"), ("equities", "ASX", "BHP"), ("equities", "NASDAQ", "BRK.B"))
_STATUSES = ("ACTIVE", "HALTED", "DELISTED", "UNKNOWN")
_DECIMALS = {
    "trades": ("price", "quantity"),
    "quotes": ("bid_price", "bid_quantity", "ask_price", "ask_quantity"),
    "reference_data": ("tick_size", "lot_size"),
}


@dataclass(frozen=True, slots=True)
class Exact:
    """A record to be sent, and its fields as they must be shown."""

    fed: FeedRecord
    shown: Row


def exact_records(session: str) -> Iterator[Exact]:
    """Twelve records of each type, of three markets."""
    for data_type in RECORD_TYPES:
        for number in range(12):
            asset_class, exchange, symbol = _MARKETS[number % len(_MARKETS)]
            own, own_shown = _own(data_type, number)
            time_ns = _TIMES_NS[number % len(_TIMES_NS)]
            common: Row = {
                "session": session,
                "session_sequence": number + 1,
                "exchange": exchange,
                "symbol": symbol,
                "asset_class": asset_class,
                "event_time_ns": time_ns,
                "receive_time_ns": time_ns,
                "source_sequence": None,
                "venue": _VENUES[number % len(_VENUES)],
                "vendor_data": _VENDOR_DATA[number % len(_VENDOR_DATA)],
            }
            shown = {**common, **own_shown, "event_time": _time(time_ns), "receive_time": _time(time_ns)}
            yield Exact(FeedRecord(data_type, asset_class, exchange, {**common, **own}), shown)


def _own(data_type: str, number: int) -> tuple[Row, Row]:
    """What only this type has, as given and as shown."""
    others = _others(data_type, number)
    given, shown = dict(others), dict(others)
    for position, name in enumerate(_DECIMALS[data_type]):
        given[name], shown[name] = _NUMBERS[(number + position) % len(_NUMBERS)]
    if data_type == "quotes":
        # Never crossed; every third has one side only.
        given["ask_price"], shown["ask_price"] = _NUMBERS[2]
        if number % 3 == 2:
            gone = {"bid_price": None, "bid_quantity": None}
            return given | gone, shown | gone
    return given, shown


def _others(data_type: str, number: int) -> Row:
    conditions = _CONDITIONS[number % len(_CONDITIONS)]
    if data_type == "trades":
        return {"trade_id": None, "side": _SIDES[number % len(_SIDES)], "conditions": conditions}
    if data_type == "quotes":
        return {"quote_id": f"q{number}" if number % 2 else None, "conditions": conditions}
    return {
        "name": f"Größe & Söhne {number}",
        "isin": "AU000000BHP4" if number % 2 else None,
        "currency": ("AUD", "USDT")[number % 2],
        "listing_status": _STATUSES[number % len(_STATUSES)],
        "listed_at_ns": -2_650_924_800_000_000_001 if number % 2 else None,
        "delisted_at_ns": None,
        "valid_from_ns": _TIMES_NS[number % len(_TIMES_NS)],
    }


def _time(time_ns: int) -> str:
    """RFC 3339 with the whole microseconds."""
    since = timedelta(microseconds=time_ns // 1_000)
    return (datetime(1970, 1, 1, tzinfo=UTC) + since).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def stored_rows(stack: Stack, data_type: str) -> dict[int, Row]:
    """The table's rows by session_sequence, read without K2, as JSON values."""
    storage = stack.settings.storage
    rows = view_table(storage, RECORD_TYPES[data_type].table).rows.to_pylist()
    return {row["session_sequence"]: {name: _plain(value) for name, value in row.items()} for row in rows}


def answered_rows(api_url: str, data_type: str) -> dict[int, Row]:
    """What the API answers, by session_sequence."""
    pages = http.all_pages(f"{api_url}/v1/{ENDPOINTS[data_type]}", {})
    return {row["session_sequence"]: row for page in pages for row in page.body["data"]}


def fields_of(rows: Mapping[int, Row], number: int, shown: Row) -> Row | None:
    """Of a row, the fields that something is known of; None if there is no such row."""
    row = rows.get(number)
    return None if row is None else {name: row.get(name) for name in shown}


def _plain(value: Any) -> Any:
    if isinstance(value, Decimal):
        text = f"{value:f}"
        return text.rstrip("0").rstrip(".") if "." in text else text
    if isinstance(value, datetime):
        return value.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    return dict(value) if isinstance(value, list) else value
