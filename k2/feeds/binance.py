"""Recorded Binance websocket streams (spot and USD-M futures) as trades and quotes.

A capture is what a recorder wrote: `<receive time> {json}`, one message a line, combined-stream form. Read are
`<symbol>@trade` and `<symbol>@bookTicker`; everything else is counted by kind. What Binance sends and no field of the
record holds goes into vendor_data under Binance's own letter, as text ("E", the time of sending, is the common one).

Rules:
    receive time    19 digits are ns, 16 digits are us and are scaled; any other length is a bad line
    event time      "T", the time of the trade or of the book change: 13 digits are ms, 16 digits us. Spot bookTicker
                    has none: the receive time stands in and vendor_data says {"event_time_source": "receive"}
    side            of the aggressor: "m" true (the buyer was the maker) is SELL, else BUY
    trades          "t" is trade_id and source_sequence
    quotes          "u" is quote_id; it jumps always, so it is no sequence
    empty side      price and quantity both zero: null both; one zero alone is kept as given
    session         "binance-" and the capture's identity (k2.feeds.capture_file): the same content read again is the
                    same session, so its records are recognised; another capture is another session
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import orjson

from k2.feeds.capture_file import CaptureFile
from k2.feeds.feed import EVENT_TIME_SOURCE, FeedRecord, FileStatistics, SessionCounter
from k2.feeds.file_feed import FileFeed, OnBadLine
from k2.feeds.inversions import EventTimeInversions, InversionCounter
from k2.feeds.line_file import BadLineError
from k2.feeds.values import DECIMAL_RULE, LARGEST_LONG, is_decimal

ASSET_CLASS = "crypto"
RECEIVE = "receive"
OTHER_STREAMS = "(other)"
MOST_STREAM_TYPES = 32
"""Foreign stream types told apart; the rest are counted together as OTHER_STREAMS."""

_NS_PER_US = 1_000
_NS_PER_MS = 1_000_000
_EARLIEST_MS, _EARLIEST_US = 10**12, 10**15
_TRADE_FIELDS = frozenset("estpqTmM")  # Binance says of "M": ignore
_QUOTE_FIELDS = frozenset("eusbBaAT")
_STREAM_TYPE_CHARACTERS = 40


@dataclass(frozen=True, slots=True)
class CaptureStatistics(FileStatistics):
    """What the lines of a capture were.

    Attributes:
        depth: order book changes.
        depth_snapshots: whole order books, as a recorder fetches one to start from.
        subscription_replies: answers to requests on the stream.
        foreign_streams: lines of streams that are not read, by stream type.
        event_time_inversions: of "T", the time of the event, in the records that carry one.
        send_time_inversions: of "E", the time of sending, in the same way.
    """

    depth: int = 0
    depth_snapshots: int = 0
    subscription_replies: int = 0
    foreign_streams: Mapping[str, int] = field(default_factory=dict)
    event_time_inversions: EventTimeInversions = field(default_factory=EventTimeInversions)
    send_time_inversions: EventTimeInversions = field(default_factory=EventTimeInversions)

    @property
    def other_lines(self) -> Mapping[str, int]:
        """Lines that hold no record and are not bad, by what they are."""
        foreign = {f"foreign {stream_type}": count for stream_type, count in self.foreign_streams.items()}
        return {
            "depth": self.depth,
            "depth_snapshots": self.depth_snapshots,
            "subscription_replies": self.subscription_replies,
            **foreign,
        }


class BinanceCapture(FileFeed):
    """A capture file as a feed.

    Spot and futures number their trades apart. Feed both into one platform only under two exchange codes.
    """

    def __init__(self, path: Path, on_bad_line: OnBadLine, *, exchange: str = "BINANCE") -> None:
        """Nothing is opened yet.

        Args:
            path: the capture, plain, gzip or zip.
            on_bad_line: told of every line that could not be read.
            exchange: code given to all records.
        """
        FileFeed.__init__(self, CaptureFile(path), on_bad_line)
        self._exchange = exchange
        self._tally = _Tally()

    @property
    def session(self) -> str:
        """The session of all records of this capture; CaptureError if the file cannot be read."""
        return f"binance-{self._file.identity()}"

    @property
    def statistics(self) -> CaptureStatistics:
        """Counts of the iteration in progress, or of the last one."""
        counts, tally = self._counts, self._tally
        return CaptureStatistics(
            trades=counts.records["trades"],
            quotes=counts.records["quotes"],
            lines=counts.lines,
            bad_lines=counts.bad.total(),
            bad_lines_by_name=dict(counts.bad),
            depth=tally.depth,
            depth_snapshots=tally.depth_snapshots,
            subscription_replies=tally.subscription_replies,
            foreign_streams=dict(tally.foreign_streams),
            event_time_inversions=tally.event_times.inversions(),
            send_time_inversions=tally.send_times.inversions(),
        )

    def _new_reader(self) -> "_MessageReader":
        self._tally = _Tally()
        return _MessageReader(self.session, self._exchange, self._tally)


class _Tally:
    """What the reader counts: lines without a record, and times that ran backwards."""

    __slots__ = ("depth", "depth_snapshots", "event_times", "foreign_streams", "send_times", "subscription_replies")

    def __init__(self) -> None:
        self.depth = self.depth_snapshots = self.subscription_replies = 0
        self.foreign_streams: Counter[str] = Counter()
        self.event_times, self.send_times = InversionCounter(), InversionCounter()

    def times(self, event_time_ns: int, data: dict[str, Any]) -> None:
        self.event_times.take(event_time_ns)
        sent = data.get("E")
        if type(sent) is int:
            self.send_times.take(sent * (_NS_PER_MS if sent < _EARLIEST_US else _NS_PER_US))

    def foreign(self, stream_type: str) -> None:
        known = stream_type in self.foreign_streams or len(self.foreign_streams) < MOST_STREAM_TYPES
        self.foreign_streams[stream_type if known else OTHER_STREAMS] += 1


class _MessageReader:
    def __init__(self, session: str, exchange: str, tally: _Tally) -> None:
        self._session = session
        self._exchange = exchange
        self._tally = tally
        self._counter = SessionCounter()

    def read(self, line: bytes) -> FeedRecord | None:
        """The record of a line, or None for a line that is only counted."""
        stamp, _, body = line.partition(b" ")
        receive_time_ns = _receive_time_ns(stamp)
        try:
            message = orjson.loads(body)
        except orjson.JSONDecodeError as error:
            raise BadLineError("bad_json", f"the JSON is cut or malformed: {error}") from error
        if type(message) is not dict:
            raise BadLineError("bad_message", "the message is not a JSON object")
        stream = message.get("stream")
        if stream is None:
            self._count_without_stream(message)
            return None
        data = message.get("data")
        if type(stream) is not str or type(data) is not dict:
            raise BadLineError("bad_message", '"stream" is not text or "data" is not an object')
        stream_type = stream.partition("@")[2]
        if stream_type == "bookTicker":
            return self._quote(data, receive_time_ns)
        if stream_type == "trade":
            return self._trade(data, receive_time_ns)
        if stream_type.startswith("depth"):
            self._tally.depth += 1
        else:
            self._tally.foreign(_foreign_type(stream))
        return None

    def _count_without_stream(self, message: dict[str, Any]) -> None:
        if "error" in message:
            raise BadLineError("refused_request", f"Binance refused a request: {message['error']!s:.100}")
        if "result" in message:
            self._tally.subscription_replies += 1
        elif "lastUpdateId" in message:
            self._tally.depth_snapshots += 1
        else:
            self._tally.foreign("(no stream name)")

    def _trade(self, data: dict[str, Any], receive_time_ns: int) -> FeedRecord:
        symbol = _text(data, "s")
        number = _integer(data, "t")
        event_time_ns = _event_time_ns(_integer(data, "T"))
        buyer_is_maker = data.get("m")
        if type(buyer_is_maker) is not bool:
            raise BadLineError("bad_field", '"m" is not true or false')
        price = _decimal(data, "p")
        quantity = _decimal(data, "q")
        vendor_data = {name: _vendor_text(data[name]) for name in _leftovers(tuple(data), _TRADE_FIELDS)}
        self._tally.times(event_time_ns, data)
        record = {
            "session": self._session,
            "session_sequence": self._counter.next("trades", self._exchange, symbol),
            "exchange": self._exchange,
            "symbol": symbol,
            "asset_class": ASSET_CLASS,
            "event_time_ns": event_time_ns,
            "receive_time_ns": receive_time_ns,
            "source_sequence": number,
            "trade_id": str(number),
            "price": price,
            "quantity": quantity,
            "side": "SELL" if buyer_is_maker else "BUY",
            "venue": None,
            "conditions": None,
            "vendor_data": vendor_data,
        }
        return FeedRecord("trades", ASSET_CLASS, self._exchange, record)

    def _quote(self, data: dict[str, Any], receive_time_ns: int) -> FeedRecord:
        symbol = _text(data, "s")
        number = _integer(data, "u")
        bid_price, bid_quantity = _book_side(data, "b", "B")
        ask_price, ask_quantity = _book_side(data, "a", "A")
        vendor_data = {name: _vendor_text(data[name]) for name in _leftovers(tuple(data), _QUOTE_FIELDS)}
        if "T" in data:
            event_time_ns = _event_time_ns(_integer(data, "T"))
            self._tally.times(event_time_ns, data)
        else:
            event_time_ns = receive_time_ns
            vendor_data[EVENT_TIME_SOURCE] = RECEIVE
        record = {
            "session": self._session,
            "session_sequence": self._counter.next("quotes", self._exchange, symbol),
            "exchange": self._exchange,
            "symbol": symbol,
            "asset_class": ASSET_CLASS,
            "event_time_ns": event_time_ns,
            "receive_time_ns": receive_time_ns,
            "source_sequence": None,
            "quote_id": str(number),
            "bid_price": bid_price,
            "bid_quantity": bid_quantity,
            "ask_price": ask_price,
            "ask_quantity": ask_quantity,
            "venue": None,
            "conditions": None,
            "vendor_data": vendor_data,
        }
        return FeedRecord("quotes", ASSET_CLASS, self._exchange, record)


def _receive_time_ns(stamp: bytes) -> int:
    if stamp.isdigit():
        if len(stamp) == 19 and (receive_time_ns := int(stamp)) <= LARGEST_LONG:
            return receive_time_ns
        if len(stamp) == 16:
            return int(stamp) * _NS_PER_US
    raise BadLineError("bad_receive_time", "the receive time is neither 19 digits (ns) nor 16 digits (us)")


def _event_time_ns(value: int) -> int:
    if _EARLIEST_MS <= value <= LARGEST_LONG // _NS_PER_MS:
        return value * _NS_PER_MS
    if _EARLIEST_US <= value <= LARGEST_LONG // _NS_PER_US:
        return value * _NS_PER_US
    raise BadLineError("bad_event_time", f'"T" is {value}, neither a time in ms (13 digits) nor in us (16 digits)')


def _text(data: dict[str, Any], name: str) -> str:
    value = data.get(name)
    if type(value) is str and value:
        return value
    raise BadLineError("bad_field", f'"{name}" is missing or not text')


def _integer(data: dict[str, Any], name: str) -> int:
    value = data.get(name)
    if type(value) is int and 0 <= value <= LARGEST_LONG:
        return value
    raise BadLineError("bad_field", f'"{name}" is missing or not a whole number')


def _decimal(data: dict[str, Any], name: str) -> str:
    value = data.get(name)
    if type(value) is str and is_decimal(value):
        return value
    raise BadLineError("bad_field", f'"{name}" is {value!r:.40}, not a decimal number in quotes with {DECIMAL_RULE}')


def _book_side(data: dict[str, Any], price_name: str, quantity_name: str) -> tuple[str | None, str | None]:
    price = _decimal(data, price_name)
    quantity = _decimal(data, quantity_name)
    # The first character settles it for nearly all prices, and this runs twice a quote.
    if price[0] == "0" and not price.strip("0.") and not quantity.strip("0."):
        return None, None
    return price, quantity


@lru_cache(maxsize=128)
def _leftovers(names: tuple[str, ...], known: frozenset[str]) -> tuple[str, ...]:
    return tuple(name for name in names if name not in known)


def _vendor_text(value: object) -> str:
    return value if type(value) is str else orjson.dumps(value).decode()


def _foreign_type(stream: str) -> str:
    # "btcusdt@kline_1m" -> "kline_1m", "btcusdt@markPrice@1s" -> "markPrice", "!ticker@arr" -> "!ticker"
    subject, _, rest = stream.partition("@")
    name = subject if subject.startswith("!") or not rest else rest.partition("@")[0]
    return name[:_STREAM_TYPE_CHARACTERS]
