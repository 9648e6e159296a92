"""CSV files as trades, quotes or reference data.

Rules:
    header          the first line; names are those of the fields (k2.feeds.csv_columns). A file whose header does not
                    fit is refused as a whole, before anything is sent
    cells           as given, without trimming; exact decimals; an empty cell is null, or a bad line where a record
                    cannot do without the value; an empty side is UNKNOWN
    a line          is one record: a quoted cell may hold separators and doubled quotes, but no line end
    times           event_time and receive_time; where one is missing the other stands in, and vendor_data says so
                    ({"receive_time_source": "event"})
    sequence        the column source_sequence, and no other, declares the exchange's sequence number
    session         "csv-", the file's identity and how it was read: the same file read again in the same way is the
                    same session, so its records are recognised
"""

import csv
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from k2.errors import CaptureError, UsageError
from k2.feeds.csv_columns import HeaderError, Mapped, map_header
from k2.feeds.feed import EVENT_TIME_SOURCE, RECEIVE_TIME_SOURCE, FeedRecord, FileStatistics, SessionCounter
from k2.feeds.file_feed import FileFeed, OnBadLine
from k2.feeds.line_file import BadLineError, LineFile
from k2.records.definition import ASSET_CLASSES, RECORD_TYPES

ASSET_CLASS_OF_EXCHANGE = {"ASX": "equities", "BINANCE": "crypto"}
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_DELIMITERS = (",", ";", "\t", "|")
_is_exchange_code = re.compile(r"[A-Z][A-Z0-9_]*", re.ASCII).fullmatch


@dataclass(frozen=True, slots=True)
class CsvFormat:
    """How a file is to be read; UsageError for what makes no sense.

    Attributes:
        data_type: what the lines hold.
        exchange: code of all records; None where the column `exchange` names it.
        asset_class: of all records; None where the exchange decides it (ASX: equities, BINANCE: crypto).
        columns: expected column -> its name in the file.
        ignored: columns not to be read.
        time_zone: IANA name, for times that name no offset; None refuses those.
        delimiter: between cells: comma, semicolon, tabulator or bar.
    """

    data_type: str = "trades"
    exchange: str | None = None
    asset_class: str | None = None
    columns: Mapping[str, str] = field(default_factory=dict)
    ignored: tuple[str, ...] = ()
    time_zone: str | None = None
    delimiter: str = ","

    def __post_init__(self) -> None:
        if self.data_type not in RECORD_TYPES:
            raise UsageError(f"CSV: data type {self.data_type!r} is not one of {', '.join(RECORD_TYPES)}")
        if self.asset_class is not None and self.asset_class not in ASSET_CLASSES:
            raise UsageError(f"CSV: asset class {self.asset_class!r} is not one of {', '.join(ASSET_CLASSES)}")
        if self.delimiter not in _DELIMITERS:
            raise UsageError("CSV: the delimiter is a comma, a semicolon, a tabulator or a bar")
        if self.exchange is not None and not _is_exchange_code(self.exchange):
            raise UsageError(f"CSV: exchange {self.exchange!r} is not a code of upper case letters, digits and _")
        if self.asset_class is None and self.exchange not in (None, *ASSET_CLASS_OF_EXCHANGE):
            raise UsageError(f"CSV: the asset class of {self.exchange} is not known: give --asset-class")
        self.zone()

    def zone(self) -> ZoneInfo | None:
        """The time zone."""
        try:
            return None if self.time_zone is None else ZoneInfo(self.time_zone)
        except (ZoneInfoNotFoundError, ValueError, OSError):
            raise UsageError(
                f"CSV: time zone {self.time_zone!r} is not known; name one such as Australia/Sydney"
            ) from None


@dataclass(frozen=True, slots=True)
class CsvStatistics(FileStatistics):
    """What the lines of a CSV file were: records, the header, blank lines, bad lines."""

    headers: int = 0
    blank_lines: int = 0

    @property
    def other_lines(self) -> Mapping[str, int]:
        """Lines that hold no record and are not bad, by what they are."""
        return {"headers": self.headers, "blank_lines": self.blank_lines}


class CsvFeed(FileFeed):
    """One CSV file as a feed."""

    def __init__(self, path: Path, on_bad_line: OnBadLine, csv_format: CsvFormat) -> None:
        """Nothing is opened yet.

        Args:
            path: the file, plain, gzip or zip.
            on_bad_line: told of every line that could not be read.
            csv_format: how to read it.
        """
        FileFeed.__init__(self, LineFile(path, "CSV file", _unfit), on_bad_line)
        self._format = csv_format
        self._other: Counter[str] = Counter()

    @property
    def session(self) -> str:
        """The session of all records of this file; CaptureError if it cannot be read."""
        chosen = self._format
        reading = (
            chosen.data_type, chosen.exchange, chosen.asset_class, sorted(chosen.columns.items()),
            sorted(chosen.ignored), chosen.time_zone, chosen.delimiter,
        )  # fmt: skip
        return "csv-" + sha256(f"{self._file.identity()} {reading}".encode()).hexdigest()[:12]

    @property
    def statistics(self) -> CsvStatistics:
        """Counts of the iteration in progress, or of the last one."""
        counts = self._counts
        return CsvStatistics(
            trades=counts.records["trades"],
            quotes=counts.records["quotes"],
            reference_data=counts.records["reference_data"],
            lines=counts.lines,
            bad_lines=counts.bad.total(),
            bad_lines_by_name=dict(counts.bad),
            headers=self._other["headers"],
            blank_lines=self._other["blank_lines"],
        )

    def _new_reader(self) -> "_RowReader":
        self._other = Counter()
        first_line = self._file.first_line().removeprefix(_BYTE_ORDER_MARK)
        try:
            mapped = map_header(
                RECORD_TYPES[self._format.data_type],
                _cells(first_line, self._format.delimiter),
                named=self._format.columns,
                ignored=self._format.ignored,
                constants=("exchange",) if self._format.exchange is not None else (),
                time_zone=self._format.zone(),
            )
        except BadLineError as error:
            raise self._file.error(1, f"is not a header: {error}", "mend it") from error
        except HeaderError as error:
            raise CaptureError(f"{self.path}: line 1 {error}") from error
        return _RowReader(self.session, self._format, mapped, self._other)


class _RowReader:
    """Reads the lines of one iteration, the header first."""

    def __init__(self, session: str, csv_format: CsvFormat, mapped: Mapped, other: Counter[str]) -> None:
        self._session = session
        self._format = csv_format
        self._mapped = mapped
        self._other = other
        self._counter = SessionCounter()

    def read(self, line: bytes) -> FeedRecord | None:
        if not self._other["headers"]:
            self._other["headers"] = 1
            return None
        if not line.strip():
            self._other["blank_lines"] += 1
            return None
        cells = _cells(line, self._format.delimiter)
        if len(cells) != self._mapped.width:
            raise BadLineError(
                "wrong_number_of_cells", f"it has {len(cells)} cells, the header names {self._mapped.width}"
            )
        return self._record(self._values(cells))

    def _values(self, cells: list[str]) -> dict[str, Any]:
        values: dict[str, Any] = {**self._mapped.defaults, "vendor_data": {}}
        for column in self._mapped.columns:
            cell = cells[column.position]
            if column.entry:
                if cell:
                    values["vendor_data"][column.entry] = cell
                continue
            if not cell:
                if column.required:
                    raise BadLineError("missing_value", f"{column.header} is empty")
                values[column.field] = column.empty
                continue
            try:
                values[column.field] = column.convert(cell)
            except BadLineError as error:
                raise BadLineError(error.name, f"{column.header}: {error}") from error
        return values

    def _record(self, values: dict[str, Any]) -> FeedRecord:
        chosen = self._format
        exchange = chosen.exchange or values["exchange"]
        asset_class = chosen.asset_class or ASSET_CLASS_OF_EXCHANGE.get(exchange)
        if asset_class is None:
            raise BadLineError("unknown_asset_class", f"the asset class of {exchange} is not known: give --asset-class")
        _fill_times(values)
        record = {
            "session": self._session,
            "session_sequence": self._counter.next(chosen.data_type, exchange, values["symbol"]),
            **values,
            "exchange": exchange,
            "asset_class": asset_class,
        }
        return FeedRecord(chosen.data_type, asset_class, exchange, record)


def _fill_times(values: dict[str, Any]) -> None:
    event, receive = values.get("event_time_ns"), values.get("receive_time_ns")
    if event is None and receive is None:
        raise BadLineError("missing_value", "it has neither event_time nor receive_time")
    if event is None:
        values["event_time_ns"] = receive
        values["vendor_data"][EVENT_TIME_SOURCE] = "receive"
    elif receive is None:
        values["receive_time_ns"] = event
        values["vendor_data"][RECEIVE_TIME_SOURCE] = "event"


def _cells(line: bytes, delimiter: str) -> list[str]:
    try:
        text = line.removesuffix(b"\r").decode()
    except UnicodeDecodeError as error:
        raise BadLineError("bad_text", f"it is not UTF-8 at byte {error.start + 1}") from error
    if "\0" in text:
        raise BadLineError("bad_text", "it holds a zero byte")
    if '"' not in text:
        return text.split(delimiter)
    try:
        return next(csv.reader([text], delimiter=delimiter, strict=True))
    except csv.Error as error:
        raise BadLineError("bad_quotes", f"its quotes do not match: {error}") from error


def _unfit(line: bytes) -> str | None:
    text = line.removeprefix(_BYTE_ORDER_MARK)
    try:
        text.decode()
    except UnicodeDecodeError:
        return f"is not a header in UTF-8 but {line[:40]!r}"
    return f"is not a header but {line[:40]!r}" if b"\0" in text or not text.strip() else None
