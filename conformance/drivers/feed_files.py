"""Files for feeds, written line by line with what must become of each: a capture, CSV files, a zip of US equity ticks.

Nothing here is K2's: each line is written out, and what it must become stands beside it.
"""

import gzip
import io
import json
import zipfile
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

NS = 1_723_161_254_087_896_568
US = NS // 1_000
_RECORD_KINDS = ("trades", "quotes", "reference_data")


@dataclass(frozen=True, slots=True)
class Line:
    """A line and the kind it must be counted as; a bad one has to be reported."""

    kind: str
    text: bytes
    is_bad: bool = False


def capture_lines(copies: int) -> list[Line]:
    """Every kind of line a Binance capture may hold, spot and futures, with both units of receive time."""
    lines = [Line("subscription_replies", _capture(NS, {"result": None, "id": 1}))]
    for number in range(copies):
        spot = {"e": "trade", "E": 1_723_161_255_343, "s": "BTCUSDT", "t": 100 + number, "p": "61837.63000000",
                "q": "0.02000000", "T": 1_723_161_255_342, "m": True, "M": True}  # fmt: skip
        book = {"u": 50 + 7 * number, "s": "BTCUSDT", "b": "61837.6", "B": "3.7", "a": "61837.7", "A": "1.5"}
        futures = {"e": "bookTicker", "u": 9 * number, "s": "ETHUSDT", "b": "2681.62", "B": "16.9", "a": "2681.63",
                   "A": "1.5", "T": 1_723_161_256_310 - number % 2, "E": 1_723_161_256_311}  # fmt: skip
        good = spot | {"t": 200 + number, "s": "ETHUSDT"}
        lines += [
            Line("trades", _capture(NS + number, _on("btcusdt@trade", spot))),
            Line("trades", _capture(US + number, _on("ethusdt@trade", good))),
            Line("quotes", _capture(NS + number, _on("btcusdt@bookTicker", book))),
            Line("quotes", _capture(US + number, _on("ethusdt@bookTicker", futures))),
            Line("depth", _capture(NS, _on("btcusdt@depth@100ms", {"e": "depthUpdate", "b": [], "a": []}))),
            Line("depth_snapshots", _capture(NS, {"lastUpdateId": 5, "bids": [], "asks": []})),
            Line("foreign kline_1m", _capture(NS, _on("btcusdt@kline_1m", {}))),
            Line("bad_json", _capture(NS, _on("btcusdt@trade", spot))[:-9], is_bad=True),
            Line("bad_receive_time", _capture(NS // 10**6, _on("btcusdt@trade", spot)), is_bad=True),
            Line("bad_field", _capture(NS, _on("btcusdt@trade", spot | {"p": "x"})), is_bad=True),
            Line("bad_event_time", _capture(NS, _on("btcusdt@trade", spot | {"T": 5})), is_bad=True),
            Line("bad_message", _capture(NS, _on("btcusdt@trade", [])), is_bad=True),
            Line("refused_request", _capture(NS, {"error": {"code": 2, "msg": "no"}, "id": 2}), is_bad=True),
        ]
    return lines


def csv_trades(copies: int) -> list[Line]:
    """A CSV file of ASX trades: a header, good lines, a blank one, and every kind of bad line."""
    lines = [Line("headers", b"event_time,symbol,price,quantity,side,trade_id,last_venue,notes")]
    at = "2024-08-09T10:00:00.12345678{}+10:00"
    for number in range(copies):
        time = at.format(number % 10)
        lines += [
            Line("trades", f"{time},BHP,41.520,100,BUY,{5 * number},ASX,plain".encode()),
            Line("trades", f'{time},BHP,41.520,100,,{5 * number},CXA,"a ""quoted"", note"\r'.encode()),
            Line("blank_lines", b""),
            Line("bad_time", f"2024-08-09T10:00:00,BHP,41.520,100,BUY,{number},ASX,no offset".encode(), is_bad=True),
            Line("bad_decimal", f"{time},BHP,4e1,100,BUY,{number},ASX,exponent".encode(), is_bad=True),
            Line("bad_decimal", f"{time},BHP,0.12345678901,1,BUY,{number},ASX,fine".encode(), is_bad=True),
            Line("unknown_value", f"{time},BHP,41.520,100,B,{number},ASX,side".encode(), is_bad=True),
            Line("missing_value", f"{time},,41.520,100,BUY,{number},ASX,no symbol".encode(), is_bad=True),
            Line("wrong_number_of_cells", f"{time},BHP,41.520,100,BUY,{number}".encode(), is_bad=True),
            Line("bad_quotes", f'{time},BHP,41.520,100,BUY,{number},ASX,"open'.encode(), is_bad=True),
            Line("bad_text", f"{time},BHP,41.520,100,BUY,{number},ASX,".encode() + b"\xff", is_bad=True),
        ]
    return lines


def csv_quotes(copies: int) -> list[Line]:
    """A CSV file of ASX quotes with semicolons and microseconds, some with an empty side."""
    lines = [Line("headers", b"symbol;event_time_us;bid_price;bid_quantity;ask_price;ask_quantity;source_sequence")]
    for number in range(copies):
        lines.append(Line("quotes", f"RIO;{US + number};114.30;10;114.31;20;{2 * number + 1}".encode()))
        lines.append(Line("quotes", f"RIO;{US + number};;;114.31;20;{2 * number + 2}".encode()))
        lines.append(Line("bad_number", f"RIO;{US + number};1;1;2;2;1.5".encode(), is_bad=True))
    return lines


def csv_reference() -> list[Line]:
    """A CSV file of ASX reference data."""
    return [
        Line("headers", b"symbol,event_time,valid_from,name,isin,currency,tick_size,lot_size,listing_status"),
        Line("reference_data", b"BHP,2024-08-09T00:00:00Z,2024-08-09T00:00:00Z,BHP,AU000000BHP4,AUD,0.01,1,ACTIVE"),
        Line("reference_data", b"RIO,2024-08-09T00:00:00Z,2024-08-09T00:00:00Z,Rio,,AUD,,,"),
        Line("bad_time", b"CBA,2024-08-09T00:00:00Z,soon,Commonwealth Bank,,AUD,,,", is_bad=True),
    ]


def write_lines(path: Path, lines: Sequence[Line]) -> Path:
    """Write lines, as gzip if the name says so."""
    content = b"".join(line.text + b"\n" for line in lines)
    path.write_bytes(gzip.compress(content, mtime=0) if path.suffix == ".gz" else content)
    return path


def write_zip(path: Path, name: str, content: bytes) -> Path:
    """A zip of one file."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(name, content)
    return path


def expected_kinds(lines: Iterable[Line]) -> dict[str, int]:
    """How many lines must be counted as what."""
    return dict(Counter(line.kind for line in lines))


def expected_rejects(lines: Sequence[Line]) -> list[list[Any]]:
    """Number and name of each line that must be reported."""
    return [[number, line.kind] for number, line in enumerate(lines, start=1) if line.is_bad]


def records_in(lines: Iterable[Line]) -> dict[str, int]:
    """How many records of each data type the lines hold."""
    return dict(Counter(line.kind for line in lines if line.kind in _RECORD_KINDS))


def reported_rejects(path: Path) -> list[list[Any]]:
    """Number and name of each line in a file of rejects."""
    entries = [json.loads(line) for line in path.read_text().splitlines()]
    return [[entry["line"], entry["name"]] for entry in entries]


def read_zip(path: Path) -> list[list[str]]:
    """The cells of each line of the one file in a zip."""
    with zipfile.ZipFile(path) as archive, archive.open(archive.namelist()[0]) as file:
        return [line.rstrip("\r\n").split(",") for line in io.TextIOWrapper(file, "ascii")]


def _on(stream: str, data: object) -> dict[str, object]:
    return {"stream": stream, "data": data}


def _capture(stamp: int, message: object) -> bytes:
    return f"{stamp} {json.dumps(message)}".encode()
