"""Feeds: every line of every format is a record, is counted by name, or is a named reject.

Captures and CSV files MUST be read completely (REC-5a, REC-5c): the counts of a file's lines add up to its lines, each
bad line is reported with its number, and each record is a row. A number that no feed declares a sequence MUST NOT be
tracked as one, and rows without numbers that are equal MUST all be kept (SEQ-1b).
"""

from pathlib import Path
from typing import Any

import pytest

from conformance.clause import ClauseRun
from conformance.drivers import feed_files, http
from conformance.drivers.capture_truth import read_truth
from conformance.drivers.dlq_command import Answer
from conformance.drivers.equity_rows import (
    exchange_rows,
    first_difference,
    stored_ticks,
    ticks_in,
    values_that_must_be_null,
)
from conformance.drivers.facts import record_fact
from conformance.drivers.feed_command import feed, summary
from conformance.drivers.feed_files import Line
from conformance.drivers.sequences import reported_gaps
from conformance.history import HistoryWriter
from conformance.stacks.base import Stack

COPIES = 20
EXIT_DONE, EXIT_SOME_REFUSED = 0, 65
REMEDY = "docs/feeds.md says how each line is counted; k2/feeds/ has a reader for each format"
EMBEDDED_WINDOW = "20000"
USDM_LINES = {"trades": 14_076, "quotes": 53_992, "depth": 6_586, "depth_snapshots": 1}
# Measured on the file by a program of its own; "T" is the time of the event, "E" that of sending.
USDM_INVERSIONS = {
    "event_time": {"against_maximum": 3_082, "between_neighbours": 464, "largest_ms": 35.0},
    "send_time": {"against_maximum": 3_432, "between_neighbours": 508, "largest_ms": 36.0},
}
SEQUENCE_HEADER = b"event_time,symbol,price,quantity,trade_id"


def follow_file(stack: Stack, history: HistoryWriter, path: Path, lines: list[Line], *arguments: str) -> Answer:
    """Feed one file and record what was said of its lines, and the rows they became."""
    name, rejects = path.name, path.with_suffix(".rejects")
    before = {data_type: row_count(stack, data_type) for data_type in feed_files.records_in(lines)}
    answer = feed(stack, history, *arguments, str(path), "--rejects", str(rejects), "--json")
    (said,) = summary(answer)["files"]
    bad = feed_files.expected_rejects(lines)
    record_fact(history, f"{name}: lines", len(lines), lambda: said["lines"], samples=len(lines))
    record_fact(history, f"{name}: lines by kind", feed_files.expected_kinds(lines), lambda: said["kinds"])
    record_fact(history, f"{name}: sum of the kinds", len(lines), lambda: sum(said["kinds"].values()))
    record_fact(history, f"{name}: rejects", bad, feed_files.reported_rejects, rejects)
    record_fact(history, f"{name}: exit code", EXIT_SOME_REFUSED if bad else EXIT_DONE, lambda: answer.exit_code)
    for data_type, records in feed_files.records_in(lines).items():
        wanted = before[data_type] + records
        record_fact(history, f"{name}: rows of {data_type}", wanted, row_count, stack, data_type)
    return answer


def row_count(stack: Stack, data_type: str) -> int:
    """How many rows a table has, of the exchanges these clauses feed."""
    return sum(exchange_rows(stack, exchange, data_type).num_rows for exchange in ("ASX", "BINANCE", "NYSE"))


@pytest.mark.clause(
    name="feeds/capture_lines",
    claims=("REC-5a",),
    checker="facts",
    title="Each line of a capture, of thirteen kinds, is a row, counted by name, or reported with number and name",
    minimum_samples=13 * COPIES,
    remedy=REMEDY,
)
def test_every_line_of_a_capture_is_accounted_for(stack: Stack, clause: ClauseRun, tmp_path: Path) -> None:
    lines = feed_files.capture_lines(COPIES)
    with clause.history() as history:
        for data_type in ("trades", "quotes"):
            stack.start_consumer(data_type)
        follow_file(stack, history, feed_files.write_lines(tmp_path / "capture.gz", lines), lines, "--capture")
        stamps = sorted({stamp % 1_000 for stamp in receive_times(stack)})
        record_fact(
            history, "microseconds were scaled, nanoseconds kept", True, lambda: 0 in stamps and len(stamps) > 1
        )
        record_fact(history, "latest receive time less the first", True, lambda: is_one_moment(receive_times(stack)))
    clause.judge()


def receive_times(stack: Stack) -> list[int]:
    """Receive times of the trades, ns."""
    times: list[int] = exchange_rows(stack, "BINANCE", "trades")["receive_time_ns"].to_pylist()
    return times


def is_one_moment(times: list[int]) -> bool:
    """Whether all lie within a millisecond: a stamp taken for another unit would lie decades away."""
    return max(times) - min(times) < 1_000_000


@pytest.mark.clause(
    name="feeds/recorded_futures",
    claims=("REC-5a",),
    checker="facts",
    title="A recorded futures capture: every line counted, 68,068 rows, times that run backwards reported, none lost",
    minimum_samples=74_655,
    remedy=REMEDY,
)
def test_a_recorded_futures_capture_is_read_completely(stack: Stack, clause: ClauseRun, captures: Path) -> None:
    path = captures / "binance_usdm" / "ethusdt_20240808.gz"
    truth = read_truth(path)
    with clause.history() as history:
        for data_type in ("trades", "quotes"):
            stack.start_consumer(data_type)
        answer = feed(stack, history, "--capture", str(path), "--window", EMBEDDED_WINDOW, "--json")
        (said,) = summary(answer)["files"]
        record_fact(history, "lines", truth.lines, lambda: said["lines"], samples=truth.lines)
        record_fact(history, "lines by kind", USDM_LINES, lambda: said["kinds"])
        record_fact(history, "times that ran backwards", USDM_INVERSIONS, lambda: said["inversions"])
        for data_type, records in truth.records.items():
            record_fact(history, f"rows of {data_type}", len(records), row_count, stack, data_type)
        record_fact(history, "exit code", EXIT_DONE, lambda: answer.exit_code)
    clause.judge()


@pytest.mark.clause(
    name="feeds/csv_lines",
    claims=("REC-5c",),
    checker="facts",
    title="Each line of CSV files of three data types is a row, counted by name, or reported with number and name",
    minimum_samples=14 * COPIES,
    remedy=REMEDY,
)
def test_every_line_of_csv_files_is_accounted_for(stack: Stack, clause: ClauseRun, tmp_path: Path) -> None:
    files: dict[str, tuple[str, list[Line], list[str]]] = {
        "trades": ("trades.csv.gz", feed_files.csv_trades(COPIES),
                   ["--column", "venue=last_venue", "--column", "vendor_data.notes=notes"]),
        "quotes": ("quotes.csv", feed_files.csv_quotes(COPIES), ["--delimiter", ";"]),
        "reference_data": ("reference.csv", feed_files.csv_reference(), []),
    }  # fmt: skip
    with clause.history() as history:
        for data_type, (name, lines, options) in files.items():
            stack.start_consumer(data_type)
            path = feed_files.write_lines(tmp_path / name, lines)
            follow_file(stack, history, path, lines, "--exchange", "ASX", "--data-type", data_type, *options, "--csv")
        record_fact(history, "the trades' last digits of time", list(range(780, 790)), last_digits, stack)
        notes = {"plain", 'a "quoted", note'}
        record_fact(history, "the trades' notes", sorted(notes), noted, stack)
        quotes = exchange_rows(stack, "ASX", "quotes")
        record_fact(history, "quotes without a bid", COPIES, lambda: quotes["bid_price"].null_count)
        events = {"IN_ORDER"}
        record_fact(
            history, "the declared sequence", sorted(events), lambda: sorted(set(quotes["sequence_event"].to_pylist()))
        )
    clause.judge()


def last_digits(stack: Stack) -> list[int]:
    """The nanoseconds of the trades' event times, below a microsecond."""
    return sorted({time % 1_000 for time in exchange_rows(stack, "ASX", "trades")["event_time_ns"].to_pylist()})


def noted(stack: Stack) -> list[str]:
    """What the trades' vendor_data keeps under `notes`."""
    return sorted(
        {dict(entries)["notes"] for entries in exchange_rows(stack, "ASX", "trades")["vendor_data"].to_pylist()}
    )


@pytest.mark.clause(
    name="feeds/undeclared_sequences",
    claims=("SEQ-1b",),
    checker="facts",
    title="Ids that jump are no gaps where no feed declares them a sequence, and are gaps where one does",
    minimum_samples=8,
    remedy="see the docstrings of k2/feeds/binance.py and k2/feeds/csv_feed.py for what is a sequence",
)
def test_a_number_that_no_feed_declares_a_sequence_is_not_tracked(
    stack: Stack, clause: ClauseRun, tmp_path: Path
) -> None:
    jumping = [Line("headers", SEQUENCE_HEADER)] + [
        Line("trades", f"2024-08-09T10:00:00Z,BHP,41.5,1,{5 * number}".encode()) for number in range(COPIES)
    ]
    books = [line for line in feed_files.capture_lines(COPIES) if line.kind == "quotes"]
    path = feed_files.write_lines(tmp_path / "jumping.csv", jumping)
    book_path = feed_files.write_lines(tmp_path / "books", books)
    with clause.history() as history:
        for data_type in ("trades", "quotes"):
            stack.start_consumer(data_type)
        api_url = stack.start_api()
        feed(stack, history, "--csv", str(path), "--exchange", "ASX")
        feed(stack, history, "--capture", str(book_path))
        for exchange, data_type, records in (("ASX", "trades", COPIES), ("BINANCE", "quotes", 2 * COPIES)):
            rows = exchange_rows(stack, exchange, data_type)
            name = f"{exchange} {data_type} with undeclared numbers"
            record_fact(history, f"{name}: rows", records, lambda rows=rows: rows.num_rows)
            nulls = [rows["source_sequence"].null_count, rows["sequence_event"].null_count]
            record_fact(history, f"{name}: without number and event", [records] * 2, lambda nulls=nulls: nulls)
            record_fact(history, f"{name}: gaps", [], reported_gaps, api_url, data_type)
        declared = ("--column", "source_sequence=trade_id")
        feed(stack, history, "--csv", str(path), "--exchange", "ASX", *declared)
        events = ["GAP"] * (COPIES - 1) + ["IN_ORDER"] + [None] * COPIES
        record_fact(history, "events once it is declared", events, events_of, stack)
        gaps = [[5 * number + 1, 5 * number + 4] for number in range(COPIES - 1)]
        record_fact(history, "gaps once it is declared", gaps, source_ranges, api_url)
    clause.judge()


def events_of(stack: Stack) -> list[str | None]:
    """The sequence events of the ASX's trades, sorted, null last."""
    found: list[str | None] = exchange_rows(stack, "ASX", "trades")["sequence_event"].to_pylist()
    return sorted(found, key=lambda event: (event is None, event))


def source_ranges(api_url: str) -> list[list[int]]:
    """First and last missing number of each gap of the exchange's numbers."""
    gaps = [gap for gap in reported_gaps(api_url, "trades") if gap["tracker"] == "source"]
    return sorted([gap["first_missing"], gap["last_missing"]] for gap in gaps)


@pytest.mark.clause(
    name="feeds/equal_ticks",
    claims=("REC-5c", "SEQ-1b"),
    checker="facts",
    title="US equity ticks without numbers: equal lines are rows of their own in table and API, once when fed again",
    minimum_samples=10,
    remedy="see k2/feeds/us_equity.py, and k2/ingestion/judging.py for rows without a source number",
)
def test_equal_ticks_are_rows_of_their_own(stack: Stack, clause: ClauseRun, tmp_path: Path) -> None:
    trades = "".join(f"{34_200_000 + number // 10},139400,100,P,2000,{number % 2}\n" for number in range(10 * COPIES))
    sides = ("138400,700,0,0", "0,0,139500,20000", "138400,700,139500,100")
    quotes = "".join(f"{34_200_000 + number // 10},{sides[number % 3]},Q,1,0\n" for number in range(10 * COPIES))
    zips = {
        "trades": feed_files.write_zip(tmp_path / "t.zip", "20240311_bac_Trade_Tick.csv", trades.encode()),
        "quotes": feed_files.write_zip(tmp_path / "q.zip", "20240311_bac_Quote_Tick.csv", quotes.encode()),
    }
    with clause.history() as history:
        for data_type in zips:
            stack.start_consumer(data_type)
        api_url = stack.start_api()
        for time in ("once", "again"):
            follow_zips(stack, history, zips, "2024-03-11", time)
        for data_type in zips:
            identities = {identity(row) for row in answered(api_url, data_type)}
            record_fact(history, f"{data_type}: distinct rows in the API", 10 * COPIES, lambda ids=identities: len(ids))
    clause.judge()


def answered(api_url: str, data_type: str) -> list[dict[str, Any]]:
    """Every row of the stock, page by page."""
    pages = http.all_pages(f"{api_url}/v1/{data_type}", {"symbol": "BAC", "limit": 37})
    return [row for page in pages for row in page.body["data"]]


def identity(row: dict[str, Any]) -> tuple[Any, ...]:
    """What tells a row from all others."""
    return row["topic"], row["kafka_partition"], row["kafka_offset"], row["session"], row["session_sequence"]


def follow_zips(stack: Stack, history: HistoryWriter, zips: dict[str, Path], day: str, time: str) -> None:
    """Feed zips of ticks, and record how the rows differ from an independent reading of them."""
    named = [part for path in zips.values() for part in ("--us-equity", str(path))]
    answer = feed(stack, history, *named, "--exchange", "NYSE", "--window", EMBEDDED_WINDOW, "--json")
    for (data_type, path), said in zip(zips.items(), summary(answer)["files"], strict=True):
        expected = ticks_in(path, day, data_type)
        name = f"{data_type}, fed {time}"
        record_fact(history, f"{name}: lines by kind", {data_type: len(expected)}, lambda said=said: said["kinds"])
        found = stored_ticks(stack, "NYSE", data_type)
        record_fact(history, f"{name}: rows", len(expected), lambda found=found: len(found), samples=len(expected))
        record_fact(history, f"{name}: differences", [], first_difference, found, expected)
        record_fact(history, f"{name}: invented numbers", 0, values_that_must_be_null, stack, "NYSE", data_type)


def follow_recorded_ticks(stack: Stack, clause: ClauseRun, captures: Path, *kinds: tuple[str, str]) -> None:
    """Feed recorded days of US equity ticks and judge."""
    zips = {data_type: captures / "us_equity" / f"bac_20131007_{name}.zip" for data_type, name in kinds}
    with clause.history() as history:
        for data_type in zips:
            stack.start_consumer(data_type)
        follow_zips(stack, history, zips, "2013-10-07", "once")
    clause.judge()


@pytest.mark.clause(
    name="feeds/recorded_trade_ticks",
    claims=("REC-5c", "SEQ-1b"),
    checker="facts",
    title="88,172 recorded trades of a stock, 9,346 of them equal to another, are as many rows, unchanged",
    minimum_samples=88_172,
    remedy=REMEDY,
)
def test_every_recorded_trade_tick_is_a_row(stack: Stack, clause: ClauseRun, captures: Path) -> None:
    follow_recorded_ticks(stack, clause, captures, ("trades", "trade"))


@pytest.mark.full_profile
@pytest.mark.clause(
    name="feeds/recorded_quote_ticks",
    claims=("REC-5c", "SEQ-1b"),
    checker="facts",
    title="476,855 recorded quotes of a stock, 128,965 of them equal to another, are as many rows, unchanged",
    minimum_samples=476_855,
    remedy=REMEDY,
)
def test_every_recorded_quote_tick_is_a_row(stack: Stack, clause: ClauseRun, captures: Path) -> None:
    follow_recorded_ticks(stack, clause, captures, ("quotes", "quote"))
