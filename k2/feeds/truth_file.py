"""The truth about a synthetic feed as a file: a JSON line for everything planted, written as the records are handed on.

A line is written just before its record is handed on, so the file speaks of exactly what was, also where the feed was
stopped early. The last line is of kind "end"; a file without it is not complete. docs/feeds.md lists the kinds of
lines and their fields.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import Any

import orjson

from k2.errors import UsageError
from k2.feeds.feed import FeedRecord
from k2.feeds.synthetic import SyntheticExchange
from k2.feeds.synthetic_stream import Planted

FORMAT = 2
_KINDS = {"gaps": "gap", "duplicates": "duplicate", "reorderings": "reordering", "resets": "reset"}
Key = tuple[str, str, str, str]


class TruthFile:
    """Writes the truth about one or several synthetic exchanges; a context manager, whose exit writes the totals."""

    def __init__(self, path: Path) -> None:
        """Nothing is written yet.

        Raises:
            UsageError: the file cannot be written.
        """
        self._path = path
        try:
            self._file = path.open("wb")
        except OSError as error:
            raise UsageError(f"{path}: the truth cannot be written: {error.strerror}; name another file") from error
        self._events: dict[Key, Counter[str]] = {}
        self._overtaken: dict[Key, dict[str, Any]] = {}
        self._written: Counter[str] = Counter()

    def introduce(self, exchange: SyntheticExchange) -> None:
        """An exchange whose records will be described."""
        settings = exchange.settings
        codes = {"exchange": settings.exchange, "session": exchange.session}
        self._line("exchange", {**codes, "format": FORMAT, "settings": asdict(settings)})
        for symbol, skew_ns in exchange.clock_skews_ns().items():
            self._line("clock_skew", {**codes, "symbol": symbol, "clock_skew_ns": skew_ns})

    def describe(self, item: FeedRecord, planted: Planted) -> None:
        """What was planted with a record.

        Raises:
            UsageError: the file cannot be written any more.
        """
        record = item.record
        key = (item.data_type, item.exchange, record["symbol"], record["session"])
        self._events.setdefault(key, Counter())[planted.event or "NONE"] += 1
        place = {
            "data_type": item.data_type,
            "exchange": item.exchange,
            "symbol": record["symbol"],
            "session": record["session"],
            "session_sequence": record["session_sequence"],
            "source_sequence": record["source_sequence"],
            "numbering": planted.numbering,
        }
        if planted.overtaken is not None:
            at = record["session_sequence"]
            self._overtaken[key] = {**place, "source_sequence": planted.overtaken, "overtaken_at": at}
        if planted.defect:
            del place["numbering"]
            self._line("bad_record", {**place, "defect": planted.defect})
        elif planted.fault:
            self._line(_KINDS[planted.fault], {**place, **self._details(key, planted)})

    def __enter__(self) -> "TruthFile":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for place in self._overtaken.values():
            missing = {"first_missing": place["source_sequence"], "last_missing": place["source_sequence"]}
            at = {"session_sequence": place.pop("overtaken_at"), "source_sequence": place["source_sequence"] + 1}
            self._line("gap", {**place, **at, **missing})
        for key, events in self._events.items():
            names = dict(zip(("data_type", "exchange", "symbol", "session"), key, strict=True))
            self._line("key", {**names, "records": events.total(), "events": dict(events)})
        records = sum(events.total() for events in self._events.values())
        self._line("end", {"records": records, "lines": dict(self._written)})
        self._file.close()

    def _details(self, key: Key, planted: Planted) -> dict[str, Any]:
        if planted.missing is not None:
            return {"first_missing": planted.missing.first, "last_missing": planted.missing.last}
        if planted.fault == "reorderings":
            held_back = self._overtaken.pop(key)
            return {"overtaken_at": held_back["overtaken_at"], "numbering": held_back["numbering"]}
        return {}

    def _line(self, kind: str, fields: Mapping[str, Any]) -> None:
        self._written[kind] += 1
        try:
            self._file.write(orjson.dumps({"kind": kind, **fields}, option=orjson.OPT_APPEND_NEWLINE))
        except OSError as error:
            raise UsageError(f"{self._path}: the truth cannot be written: {error.strerror}; check the disk") from error
