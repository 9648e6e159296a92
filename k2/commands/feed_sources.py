"""From the options of `k2 feed` to a feed. What makes no sense is refused before a broker is asked."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from k2.errors import UsageError
from k2.feeds.bad_records import DEFECTS
from k2.feeds.binance import BinanceCapture
from k2.feeds.csv_feed import CsvFeed, CsvFormat
from k2.feeds.file_feed import FileFeed, OnBadLine
from k2.feeds.instants import text_reader
from k2.feeds.line_file import BadLineError
from k2.feeds.synthetic import SyntheticSettings
from k2.feeds.synthetic_markets import MARKETS, with_own_seeds
from k2.feeds.us_equity import UsEquityZip

BINANCE = "BINANCE"


@dataclass(frozen=True, slots=True)
class FileOptions:
    """Options of `k2 feed` that name files and say how to read them; None and empty: not given."""

    captures: Sequence[Path] = ()
    csv: Sequence[Path] = ()
    us_equity: Sequence[Path] = ()
    exchange: str | None = None
    asset_class: str | None = None
    data_type: str | None = None
    columns: Sequence[str] = ()
    ignored: Sequence[str] = ()
    time_zone: str | None = None
    delimiter: str | None = None

    def csv_only(self) -> Mapping[str, object]:
        """The options that only CSV files take."""
        return {
            "--asset-class": self.asset_class,
            "--data-type": self.data_type,
            "--column": self.columns,
            "--ignore-column": self.ignored,
            "--time-zone": self.time_zone,
            "--delimiter": self.delimiter,
        }


@dataclass(frozen=True, slots=True)
class SyntheticOptions:
    """Options of `k2 feed` for the synthetic exchange; None and empty: not given."""

    markets: Sequence[str] = ()
    records: int | None = None
    seed: int | None = None
    start_time: str | None = None
    gap_rate: float | None = None
    duplicate_rate: float | None = None
    reorder_rate: float | None = None
    reset_every: int | None = None
    largest_clock_skew_ms: int | None = None
    bad_rate: float | None = None
    defects: Sequence[str] = ()
    reference_data: bool | None = None
    truth: Path | None = None

    def as_typed(self) -> Mapping[str, object]:
        """Each option by its name on the command line."""
        return {
            "--market": self.markets,
            "--records": self.records,
            "--seed": self.seed,
            "--start-time": self.start_time,
            "--gap-rate": self.gap_rate,
            "--duplicate-rate": self.duplicate_rate,
            "--reorder-rate": self.reorder_rate,
            "--reset-every": self.reset_every,
            "--clock-skew-ms": self.largest_clock_skew_ms,
            "--bad-rate": self.bad_rate,
            "--defect": self.defects,
            "--reference-data": self.reference_data,
            "--truth": self.truth,
        }


def check_source(files: FileOptions, synthetic: bool, planted: SyntheticOptions) -> None:
    """Check that one kind of source is named, and no option of another.

    Raises:
        UsageError: it is not so.
    """
    named = [name for name, paths in _paths(files).items() if paths] + (["--synthetic"] if synthetic else [])
    if len(named) != 1:
        raise UsageError("give one of --capture FILE, --csv FILE, --us-equity FILE and --synthetic")
    source = named[0]
    for only, options in (("--csv", files.csv_only()), ("--synthetic", planted.as_typed())):
        given = next((option for option, value in options.items() if value not in (None, (), [])), None)
        if given is not None and source != only:
            raise UsageError(f"{given} goes with {only}, not with {source}")
    if synthetic and files.exchange is not None:
        raise UsageError("--exchange does not go with --synthetic, use --market")
    if files.us_equity and files.exchange is None:
        raise UsageError("--us-equity needs --exchange: no such file says where the stock is listed (NYSE, NASDAQ)")


def file_feeds(options: FileOptions, on_bad_line: OnBadLine) -> list[FileFeed]:
    """The files as feeds, in the order given; the beginning of each has been read.

    Raises:
        UsageError: an option makes no sense, or a file is not what it should be.
    """
    feeds: list[FileFeed]
    if options.captures:
        code = options.exchange or BINANCE
        feeds = [BinanceCapture(path, on_bad_line, exchange=code) for path in options.captures]
    elif options.us_equity:
        feeds = [UsEquityZip(path, on_bad_line, exchange=options.exchange or "") for path in options.us_equity]
    else:
        csv_format = _csv_format(options)
        feeds = [CsvFeed(path, on_bad_line, csv_format) for path in options.csv]
    for feed in feeds:
        feed.check()
    return feeds


def synthetic_settings(options: SyntheticOptions, rate: float = 0.0) -> list[SyntheticSettings]:
    """The settings of each synthetic exchange.

    Args:
        options: of the command line.
        rate: records a second of all of them together; 0 if nothing holds them back. Their clocks go at this rate too,
            or their records would be older with every second.

    Raises:
        UsageError: an option makes no sense.
    """
    markets = options.markets or ("binance",)
    unknown = next((name for name in markets if name not in MARKETS), None)
    if unknown is not None or len(set(markets)) < len(markets):
        raise UsageError(f"--market is each of {', '.join(MARKETS)} at most once, not {', '.join(markets)}")
    unknown = next((name for name in options.defects if name not in DEFECTS), None)
    if unknown is not None:
        raise UsageError(f"--defect is one of {', '.join(DEFECTS)}, not {unknown!r}")
    given: dict[str, Any] = {
        name: getattr(options, name)
        for name in (
            "gap_rate", "duplicate_rate", "reorder_rate", "reset_every", "largest_clock_skew_ms", "bad_rate",
            "reference_data",
        )
        if getattr(options, name) is not None
    }  # fmt: skip
    if options.defects:
        given["defects"] = tuple(options.defects)
    given |= {"records": options.records, "start_time_ns": _start_time_ns(options.start_time)}
    if rate:
        given["rate_per_second"] = max(1, round(rate / len(markets)))
    seed = 1 if options.seed is None else options.seed
    return [replace(settings, **given) for settings in with_own_seeds([MARKETS[name] for name in markets], seed)]


def _paths(files: FileOptions) -> Mapping[str, Sequence[Path]]:
    return {"--capture": files.captures, "--csv": files.csv, "--us-equity": files.us_equity}


def _csv_format(options: FileOptions) -> CsvFormat:
    pairs = [text.partition("=") for text in options.columns]
    wrong = next((text for text, pair in zip(options.columns, pairs, strict=True) if not all(pair)), None)
    if wrong is not None:
        raise UsageError(f"--column is FIELD=HEADER, such as price=last, not {wrong!r}")
    columns = {name: header for name, _, header in pairs}
    if len(columns) < len(pairs) or len(set(columns.values())) < len(pairs):
        raise UsageError("--column names a field or a header twice")
    return CsvFormat(
        data_type=options.data_type or "trades",
        exchange=options.exchange,
        asset_class=options.asset_class,
        columns=columns,
        ignored=tuple(options.ignored),
        time_zone=options.time_zone,
        delimiter={"\\t": "\t", "tab": "\t"}.get(options.delimiter or ",", options.delimiter or ","),
    )


def _start_time_ns(text: str | None) -> int:
    if text is None:
        return time.time_ns()
    try:
        return text_reader(None)(text)
    except BadLineError as error:
        raise UsageError(f"--start-time: {error}") from error
