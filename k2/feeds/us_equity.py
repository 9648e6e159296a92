"""A day of US equity ticks as QuantConnect's Lean stores it: a zip of one CSV file without header, trades or quotes.

The name inside the zip says what it is: `20131007_bac_Trade_Tick.csv`, the day in New York, the symbol, the data type.

    trade   time, price, quantity, venue, conditions, suspicious
    quote   time, bid price, bid quantity, ask price, ask quantity, venue, conditions, suspicious

Rules:
    time            ms that New York's clock shows since midnight; daylight saving is taken into account
    prices          whole numbers of a ten-thousandth of a dollar
    receive time    there is none: the time of the event stands in, vendor_data says {"receive_time_source": "event"}
    empty side      price and quantity both zero: null both; one zero alone is kept as given
    conditions      as given
    suspicious      "1" is kept as {"suspicious": "1"} in vendor_data
    sequence, ids   there are none, so source_sequence and trade_id are null. Equal lines are trades of their own, and
                    all are kept: they are told apart by session_sequence, their position in the file
    session         "us-equity-" and the file's identity: the same content read again is the same session
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from pathlib import Path
from typing import Any, ClassVar
from zoneinfo import ZoneInfo

from k2.feeds.feed import RECEIVE_TIME_SOURCE, FeedRecord, FileStatistics, SessionCounter
from k2.feeds.file_feed import FileFeed, OnBadLine
from k2.feeds.instruments import decimal_text
from k2.feeds.line_file import BadLineError, LineFile
from k2.feeds.values import DECIMAL_RULE, is_decimal

ASSET_CLASS = "equities"
NEW_YORK = ZoneInfo("America/New_York")
PRICE_DECIMALS = 4

_MS_A_DAY = 86_400_000
_MS_A_MINUTE = 60_000
_NS_PER_MS = 1_000_000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_LONGEST_PRICE_DIGITS = 18
_entry_name = re.compile(
    r"(?:.*/)?([0-9]{8})_([A-Za-z0-9._]+)_(Trade|Quote)_Tick\.csv", re.ASCII | re.IGNORECASE
).fullmatch
_looks_right = re.compile(rb"[0-9]+(?:,[^,]*){5}(?:,[^,]*,[^,]*)?\r?").fullmatch
_CELLS = {"trades": 6, "quotes": 8}
_NO_QUOTE = "0"


@dataclass(frozen=True, slots=True)
class Day:
    """What the name inside the zip says.

    Attributes:
        midnight: of the day, as New York's clock shows it; without a time zone.
        symbol: upper case.
        data_type: "trades" or "quotes".
    """

    midnight: datetime
    symbol: str
    data_type: str

    @classmethod
    def of(cls, entry_name: str) -> "Day | None":
        """The day of an entry's name; None if it is no such name."""
        parts = _entry_name(entry_name)
        if parts is None:
            return None
        try:
            midnight = datetime.strptime(parts[1], "%Y%m%d")  # noqa: DTZ007 - the wall clock's day, placed in `event_time_ns`
        except ValueError:
            return None
        return cls(midnight, parts[2].upper(), "trades" if parts[3].lower() == "trade" else "quotes")

    def event_time_ns(self, milliseconds: int) -> int:
        """When New York's clock showed so many ms after midnight, ns since epoch UTC.

        Raises:
            BadLineError: it never did, or twice, because the clocks were changed.
        """
        minutes, rest_ms = divmod(milliseconds, _MS_A_MINUTE)
        return (_minute_ms(self.midnight, minutes) + rest_ms) * _NS_PER_MS


@lru_cache(maxsize=4_096)
def _minute_ms(midnight: datetime, minutes: int) -> int:
    local = midnight + timedelta(minutes=minutes)
    first, second = (local.replace(tzinfo=NEW_YORK, fold=fold) for fold in (0, 1))
    if first.utcoffset() != second.utcoffset():
        reason = f"{local.isoformat()} came twice or never in New York, where the clocks were changed"
        raise BadLineError("ambiguous_time", reason)
    return (first - _EPOCH) // timedelta(milliseconds=1)


class UsEquityZip(FileFeed):
    """One zip of ticks as a feed."""

    def __init__(self, path: Path, on_bad_line: OnBadLine, *, exchange: str = "US") -> None:
        """Nothing is opened yet.

        Args:
            path: the zip.
            on_bad_line: told of every line that could not be read.
            exchange: code given to all records; the venue of each is in the file.
        """
        FileFeed.__init__(self, LineFile(path, "US equity zip", _unfit), on_bad_line)
        self._exchange = exchange

    @property
    def session(self) -> str:
        """The session of all records of this file; CaptureError if it cannot be read."""
        return f"us-equity-{self._file.identity()}"

    @property
    def statistics(self) -> FileStatistics:
        """Counts of the iteration in progress, or of the last one."""
        counts = self._counts
        return FileStatistics(
            trades=counts.records["trades"],
            quotes=counts.records["quotes"],
            lines=counts.lines,
            bad_lines=counts.bad.total(),
            bad_lines_by_name=dict(counts.bad),
        )

    def _new_reader(self) -> "_TickReader":
        session = self.session
        name = self._file.archived_name() or ""
        day = Day.of(name)
        if day is None:
            reason = f"is of {name!r}" if name else "is of no zip"
            remedy = "it must be of DAY_SYMBOL_Trade_Tick.csv or DAY_SYMBOL_Quote_Tick.csv in a zip"
            raise self._file.error(1, reason, remedy)
        return _TickReader(session, self._exchange, day)


class _TickReader:
    """Reads the lines of one iteration."""

    _TRADE_REST: ClassVar[Mapping[str, Any]] = {"source_sequence": None, "trade_id": None, "side": "UNKNOWN"}
    _QUOTE_REST: ClassVar[Mapping[str, Any]] = {"source_sequence": None, "quote_id": None}

    def __init__(self, session: str, exchange: str, day: Day) -> None:
        self._exchange = exchange
        self._day = day
        self._counter = SessionCounter()
        self._same = {
            "session": session,
            "exchange": exchange,
            "symbol": day.symbol,
            "asset_class": ASSET_CLASS,
            **(self._TRADE_REST if day.data_type == "trades" else self._QUOTE_REST),
        }

    def read(self, line: bytes) -> FeedRecord:
        day = self._day
        try:
            cells = line.removesuffix(b"\r").decode("ascii").split(",")
        except UnicodeDecodeError as error:
            raise BadLineError("bad_text", f"byte {error.start + 1} is not ASCII") from error
        if len(cells) != _CELLS[day.data_type]:
            needed = _CELLS[day.data_type]
            raise BadLineError("wrong_number_of_cells", f"it has {len(cells)} cells, {day.data_type} have {needed}")
        event_time_ns = day.event_time_ns(_milliseconds(cells[0]))
        values = _trade(cells) if day.data_type == "trades" else _quote(cells)
        venue, conditions, suspicious = cells[-3:]
        vendor_data = {RECEIVE_TIME_SOURCE: "event"}
        if suspicious != "0":
            vendor_data["suspicious"] = suspicious
        record = {
            **self._same,
            "session_sequence": self._counter.next(day.data_type, self._exchange, day.symbol),
            "event_time_ns": event_time_ns,
            "receive_time_ns": event_time_ns,
            **values,
            "venue": venue or None,
            "conditions": conditions or None,
            "vendor_data": vendor_data,
        }
        return FeedRecord(day.data_type, ASSET_CLASS, self._exchange, record)


def _trade(cells: list[str]) -> dict[str, str]:
    return {"price": _price(cells[1]), "quantity": _quantity(cells[2])}


def _quote(cells: list[str]) -> dict[str, str | None]:
    bid_price, bid_quantity = _side(cells[1], cells[2])
    ask_price, ask_quantity = _side(cells[3], cells[4])
    return {
        "bid_price": bid_price,
        "bid_quantity": bid_quantity,
        "ask_price": ask_price,
        "ask_quantity": ask_quantity,
    }


def _side(price: str, quantity: str) -> tuple[str | None, str | None]:
    if price == _NO_QUOTE == quantity:
        return None, None
    return _price(price), _quantity(quantity)


def _milliseconds(text: str) -> int:
    if not (text.isdecimal() and len(text) <= len(str(_MS_A_DAY)) and int(text) < _MS_A_DAY):
        raise BadLineError("bad_time", f"{text!r:.40} is not a number of ms below a day's {_MS_A_DAY}")
    return int(text)


def _price(text: str) -> str:
    if not (text.isdecimal() and len(text) <= _LONGEST_PRICE_DIGITS):
        raise BadLineError("bad_price", f"{text!r:.40} is not a whole number of ten-thousandths of a dollar")
    return decimal_text(int(text), PRICE_DECIMALS)


def _quantity(text: str) -> str:
    if not is_decimal(text):
        raise BadLineError("bad_quantity", f"{text!r:.40} is not a number with {DECIMAL_RULE}")
    return text


def _unfit(line: bytes) -> str | None:
    return None if _looks_right(line) else f"is not ticks as Lean stores them but {line[:40]!r}"
