"""Writes trades and quotes as a Binance capture, so that the reader of captures can be fed without a recording.

Between the records stand the other lines a recording has: a subscription reply first, an order book change now
and then. Reading the capture gives the records again; only their session differs, since a capture is its own session.
"""

import gzip
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from itertools import chain
from pathlib import Path
from typing import IO, Any, cast

import orjson

from k2.errors import CaptureError, RecordError
from k2.feeds.binance import ASSET_CLASS, RECEIVE
from k2.feeds.feed import EVENT_TIME_SOURCE, FeedRecord

_NS_PER_MS = 1_000_000
_NO_QUOTE = "0.00000000"
_MAKER_IS_BUYER = {"SELL": True, "BUY": False}


def write_capture(records: Iterable[FeedRecord], path: Path, *, compressed: bool = True, depth_every: int = 50) -> int:
    """Write a capture. The same records give the same bytes.

    Args:
        records: trades and quotes as Binance can send them: crypto, event time in whole ms, prices and quantities as
            text, trade ids that are their source sequence, no source sequence in quotes.
        path: where to; replaced if there.
        compressed: gzip, else plain text.
        depth_every: records between two order book changes.

    Returns:
        Number of lines written.

    Raises:
        RecordError: a record that Binance cannot send. The lines before it are in the file.
        CaptureError: the file cannot be written.
    """
    lines = 0
    try:
        with ExitStack() as stack:
            file: IO[bytes] = stack.enter_context(path.open("wb"))
            if compressed:
                # Without a name and a time in its header the file depends on the records alone.
                archive = gzip.GzipFile(filename="", mode="wb", fileobj=file, mtime=0)
                file = cast("IO[bytes]", stack.enter_context(archive))
            for line in _lines(records, depth_every):
                file.write(line)
                lines += 1
    except OSError as error:
        raise CaptureError(f"{path}: cannot be written: {error.strerror}; check the path and the disk") from error
    return lines


def _lines(records: Iterable[FeedRecord], depth_every: int) -> Iterator[bytes]:
    source = iter(records)
    first = next(source, None)
    if first is None:
        return
    yield _line(first.record["receive_time_ns"], {"result": None, "id": 1})
    for position, feed_record in enumerate(chain((first,), source), start=1):
        record = feed_record.record
        if feed_record.asset_class != ASSET_CLASS:
            raise _inexpressible(record, f"its asset class is {feed_record.asset_class}")
        stream_type, data = _trade(record) if feed_record.data_type == "trades" else _quote(record)
        yield _message(record, stream_type, data)
        if position % depth_every == 0:
            yield _message(record, "depth@100ms", {"e": "depthUpdate", "s": record["symbol"], "b": [], "a": []})


def _trade(record: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    if record["side"] not in _MAKER_IS_BUYER:
        raise _inexpressible(record, "its side is unknown")
    if record["trade_id"] != str(record["source_sequence"]):
        raise _inexpressible(record, "its trade id is not its source sequence")
    return "trade", {
        "e": "trade",
        **_vendor_fields(record),
        "s": record["symbol"],
        "t": record["source_sequence"],
        "p": _decimal(record, "price"),
        "q": _decimal(record, "quantity"),
        "T": _event_time_ms(record),
        "m": _MAKER_IS_BUYER[record["side"]],
    }


def _quote(record: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    if record["source_sequence"] is not None:
        raise _inexpressible(record, "it has a source sequence")
    if not str(record["quote_id"]).isdecimal():
        raise _inexpressible(record, "its quote id is not a number")
    data = {
        "u": int(record["quote_id"]),
        "s": record["symbol"],
        "b": _decimal(record, "bid_price"),
        "B": _decimal(record, "bid_quantity"),
        "a": _decimal(record, "ask_price"),
        "A": _decimal(record, "ask_quantity"),
        **_vendor_fields(record),
    }
    if record["vendor_data"].get(EVENT_TIME_SOURCE) != RECEIVE:
        data = {"e": "bookTicker", **data, "T": _event_time_ms(record)}
    return "bookTicker", data


def _vendor_fields(record: dict[str, Any]) -> dict[str, int | str]:
    fields = {name: value for name, value in record["vendor_data"].items() if name != EVENT_TIME_SOURCE}
    return fields | {"E": int(fields["E"])} if "E" in fields else fields


def _event_time_ms(record: dict[str, Any]) -> int:
    milliseconds, rest = divmod(record["event_time_ns"], _NS_PER_MS)
    if rest:
        raise _inexpressible(record, "its event time is not in whole ms")
    return int(milliseconds)


def _decimal(record: dict[str, Any], name: str) -> str:
    value = record[name]
    if value is None:
        return _NO_QUOTE
    # str() of a small Decimal has an exponent, which Binance never sends.
    return value if isinstance(value, str) else f"{value:f}"


def _message(record: dict[str, Any], stream_type: str, data: dict[str, Any]) -> bytes:
    stream = f"{record['symbol'].lower()}@{stream_type}"
    return _line(record["receive_time_ns"], {"stream": stream, "data": data})


def _line(receive_time_ns: int, message: dict[str, Any]) -> bytes:
    return b"%d %b\n" % (receive_time_ns, orjson.dumps(message))


def _inexpressible(record: dict[str, Any], why: str) -> RecordError:
    place = f"{record['exchange']}:{record['symbol']} record {record['session_sequence']}"
    return RecordError(f"{place}: cannot be written as a Binance message: {why}; leave it out")
