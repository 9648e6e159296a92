"""`k2 feed`: records from files or from the synthetic exchange to Kafka."""

import json
from collections.abc import Iterable
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from k2.clock import SystemClock
from k2.commands.context import AsJson, settings_of, stop_on_signals
from k2.commands.feed_output import BadLines, print_feed_result
from k2.errors import DeliveryError, RecordError, UsageError

if TYPE_CHECKING:
    from k2.commands.feed_sources import FileOptions, SyntheticOptions
    from k2.feeds.feed import FeedRecord
    from k2.feeds.file_feed import FileFeed
    from k2.settings import Settings

_Files = list[Path] | None
Captures = Annotated[_Files, typer.Option("--capture", help="Binance capture; may be given again, read in order.")]
CsvFiles = Annotated[_Files, typer.Option("--csv", help="CSV file with a header; may be given again.")]
UsEquities = Annotated[_Files, typer.Option("--us-equity", help="Zip of US equity ticks (Lean); may be given again.")]
Synthetic = Annotated[bool, typer.Option("--synthetic", help="The synthetic exchange instead of files.")]
Exchange = Annotated[str | None, typer.Option(help="Exchange code of all records; captures: BINANCE if not given.")]
AssetClass = Annotated[str | None, typer.Option(help="CSV: crypto or equities; known for ASX and BINANCE.")]
FileDataType = Annotated[str | None, typer.Option("--data-type", help="CSV: trades, quotes or reference_data.")]
Columns = Annotated[list[str] | None, typer.Option("--column", help="CSV: FIELD=HEADER for a column named otherwise.")]
Ignored = Annotated[list[str] | None, typer.Option("--ignore-column", help="CSV: a column that is not read.")]
TimeZone = Annotated[str | None, typer.Option(help="CSV: zone of times without offset, such as Australia/Sydney.")]
Delimiter = Annotated[str | None, typer.Option(help="CSV: comma if not given, else one of ; | and tab.")]
Rejects = Annotated[Path | None, typer.Option(help="Write every line that cannot be read here, as JSON lines.")]
Markets = Annotated[list[str] | None, typer.Option("--market", help="Synthetic: binance, asx; may be given again.")]
Seed = Annotated[int | None, typer.Option(min=0, help="Synthetic: the same seed and start, the same bytes; default 1.")]
StartTime = Annotated[str | None, typer.Option(help="Synthetic: receive time before the first record; default now.")]
Records = Annotated[int | None, typer.Option(min=0, help="Synthetic: how many records; default no end.")]
Rate01 = typer.Option(min=0.0, max=1.0, help="Synthetic: probability for each record.", show_default=False)
Probability = Annotated[float | None, Rate01]
ResetEvery = Annotated[int | None, typer.Option(min=0, help="Synthetic: numbers before a session reset, from 1001.")]
ClockSkew = Annotated[int | None, typer.Option("--clock-skew-ms", min=0, help="Synthetic: bound of each clock's skew.")]
Defects = Annotated[list[str] | None, typer.Option("--defect", help="Synthetic: what bad records are; default all.")]
WithReference = Annotated[
    bool | None, typer.Option("--reference-data", help="Synthetic: begin with reference data of each symbol.")
]
Truth = Annotated[Path | None, typer.Option(help="Synthetic: write everything that is planted here, as JSON lines.")]
Rate = Annotated[float, typer.Option(min=0, help="Records a second; 0 for as fast as the tables take them in.")]
Speed = Annotated[float | None, typer.Option(help="Replay at the pace of the receive times, so many times as fast.")]
Window = Annotated[int, typer.Option(min=0, help="Messages a partition may be ahead of the tables; 0: no limit.")]


def feed(
    context: typer.Context,
    capture: Captures = None,
    csv: CsvFiles = None,
    us_equity: UsEquities = None,
    synthetic: Synthetic = False,
    exchange: Exchange = None,
    asset_class: AssetClass = None,
    data_type: FileDataType = None,
    column: Columns = None,
    ignore_column: Ignored = None,
    time_zone: TimeZone = None,
    delimiter: Delimiter = None,
    rejects: Rejects = None,
    market: Markets = None,
    seed: Seed = None,
    start_time: StartTime = None,
    records: Records = None,
    gap_rate: Probability = None,
    duplicate_rate: Probability = None,
    reorder_rate: Probability = None,
    reset_every: ResetEvery = None,
    clock_skew_ms: ClockSkew = None,
    bad_rate: Probability = None,
    defect: Defects = None,
    reference_data: WithReference = None,
    truth: Truth = None,
    rate: Rate = 0.0,
    speed: Speed = None,
    window: Window = 8000,
    as_json: AsJson = False,
) -> None:
    """Send records to Kafka and wait until they are acknowledged.

    With K2_PRODUCER__METRICS_PORT set it serves its metrics there and prints the address first.

    Exit codes: 0 all of it, 64 a file or an option cannot be used (what was readable before was sent), 65 some lines or
    records were refused and all others sent, 69 no broker, 74 not acknowledged.

    Example: k2 feed --capture btcusdt_20240808.gz --capture btcusdt_20240809.gz
    """
    from k2.commands.feed_sources import FileOptions, SyntheticOptions, check_source

    files = FileOptions(
        capture or (), csv or (), us_equity or (), exchange, asset_class, data_type, column or (), ignore_column or (),
        time_zone, delimiter,
    )  # fmt: skip
    planted = SyntheticOptions(
        market or (), records, seed, start_time, gap_rate, duplicate_rate, reorder_rate, reset_every, clock_skew_ms,
        bad_rate, defect or (), reference_data, truth,
    )  # fmt: skip
    check_source(files, synthetic, planted)
    if rate and speed is not None:
        raise UsageError("give --rate or --speed, not both")
    _send(settings_of(context), planted if synthetic else files, rejects, Pace(rate, speed), window, as_json)


@dataclass(frozen=True, slots=True)
class Pace:
    """How fast records are sent: so many a second, or so many times as fast as they were received; neither: at once."""

    rate: float
    speed: float | None

    @property
    def is_at_once(self) -> bool:
        """Whether nothing holds the records back."""
        return not self.rate and self.speed is None

    def of(self, records: "Iterable[FeedRecord]") -> "Iterable[FeedRecord]":
        """The records at this pace.

        Raises:
            UsageError: the speed is not above 0.
        """
        from k2.feeds.pacing import as_recorded, at_rate

        if self.speed is not None:
            return as_recorded(records, SystemClock(), self.speed)
        return at_rate(records, self.rate, SystemClock()) if self.rate else records


def _send(
    settings: "Settings",
    options: "FileOptions | SyntheticOptions",
    rejects: Path | None,
    pace: Pace,
    window: int,
    as_json: bool,
) -> None:
    from k2.assembly.feeding import feed as send
    from k2.commands.feed_sources import FileOptions, file_feeds
    from k2.ingestion.feed_runner import BATCH_RECORDS

    with BadLines(rejects) as bad_lines, ExitStack() as stack:
        feeds: list[FileFeed] = []
        if isinstance(options, FileOptions):
            feeds = file_feeds(options, bad_lines.take)
            source: Iterable[FeedRecord] = chain.from_iterable(feeds)
        else:
            source = _generated(options, pace.rate, stack)
        batch_records = BATCH_RECORDS if pace.is_at_once else 1
        result = send(
            settings,
            pace.of(source),
            window,
            stop_on_signals(),
            batch_records,
            lambda url: typer.echo(json.dumps({"metrics_url": url})),
        )
    print_feed_result(result, feeds, bad_lines.count, as_json)
    if result.failed:
        raise typer.Exit(DeliveryError.exit_code)
    if result.refused or bad_lines.count:
        raise typer.Exit(RecordError.exit_code)


def _generated(options: "SyntheticOptions", rate: float, stack: ExitStack) -> "Iterable[FeedRecord]":
    from k2.commands.feed_sources import synthetic_settings
    from k2.feeds.synthetic_markets import SyntheticMarkets
    from k2.feeds.truth_file import TruthFile

    chosen = synthetic_settings(options, rate)
    truth = None if options.truth is None else stack.enter_context(TruthFile(options.truth))
    return SyntheticMarkets(chosen, options.records, truth)
