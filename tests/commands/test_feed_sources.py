"""From options to a feed: what makes no sense is refused, with one line, before anything is sent."""

import gzip
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from k2.commands.feed_sources import FileOptions, SyntheticOptions, check_source, file_feeds, synthetic_settings
from k2.errors import CaptureError, UsageError
from k2.feeds.bad_records import SENDABLE
from k2.feeds.csv_feed import CsvFeed
from k2.feeds.line_file import BadLine
from k2.feeds.synthetic import SyntheticExchange

NOTHING, NOT_PLANTED = FileOptions(), SyntheticOptions()
CSV = FileOptions(csv=(Path("x"),))
CAPTURE = FileOptions(captures=(Path("x"),))
US_EQUITY = FileOptions(us_equity=(Path("x"),), exchange="NYSE")


@pytest.mark.parametrize(
    ("files", "synthetic", "planted", "says"),
    [
        (NOTHING, False, NOT_PLANTED, "give one of --capture FILE, --csv FILE, --us-equity FILE and --synthetic"),
        (CSV, True, NOT_PLANTED, "give one of"),
        (replace(CSV, captures=(Path("y"),)), False, NOT_PLANTED, "give one of"),
        (FileOptions(columns=("a=b",)), True, NOT_PLANTED, "--column goes with --csv, not with --synthetic"),
        (replace(CAPTURE, time_zone="UTC"), False, NOT_PLANTED, "--time-zone goes with --csv, not with --capture"),
        (CAPTURE, False, SyntheticOptions(truth=Path("t")), "--truth goes with --synthetic, not with --capture"),
        (CSV, False, SyntheticOptions(seed=0), "--seed goes with --synthetic, not with --csv"),
        (FileOptions(exchange="ASX"), True, NOT_PLANTED, "--exchange does not go with --synthetic, use --market"),
        (replace(US_EQUITY, exchange=None), False, NOT_PLANTED, "--us-equity needs --exchange"),
    ],
)
def test_options_of_one_source_do_not_go_with_another(
    files: FileOptions, synthetic: bool, planted: SyntheticOptions, says: str
) -> None:
    with pytest.raises(UsageError, match=says):
        check_source(files, synthetic, planted)


@pytest.mark.parametrize(
    ("files", "synthetic", "planted"),
    [
        (CAPTURE, False, NOT_PLANTED),
        (US_EQUITY, False, NOT_PLANTED),
        (replace(CSV, exchange="ASX", columns=("price=last",), time_zone="UTC"), False, NOT_PLANTED),
        (NOTHING, True, SyntheticOptions(markets=("asx",), truth=Path("t"), seed=0)),
    ],
)
def test_options_of_one_source_go_together(files: FileOptions, synthetic: bool, planted: SyntheticOptions) -> None:
    check_source(files, synthetic, planted)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"columns": ("price",)}, "--column is FIELD=HEADER, such as price=last, not 'price'"),
        ({"columns": ("price=",)}, "--column is FIELD=HEADER"),
        ({"columns": ("price=a", "quantity=a")}, "--column names a field or a header twice"),
        ({"data_type": "ticks"}, "data type 'ticks' is not one of"),
        ({"delimiter": "x"}, "the delimiter is"),
    ],
)
def test_a_reading_of_csv_that_makes_no_sense_is_refused(options: dict[str, Any], says: str) -> None:
    with pytest.raises(UsageError, match=says):
        file_feeds(replace(CSV, exchange="ASX", **options), unexpected)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"markets": ("lse",)}, "--market is each of binance, asx at most once, not lse"),
        ({"markets": ("asx", "asx")}, "--market is each of binance, asx at most once"),
        ({"defects": ("sadness",)}, "--defect is one of negative_price.*not 'sadness'"),
        ({"start_time": "noon"}, "--start-time: 'noon' is not a time"),
        ({"start_time": "2024-08-09T10:00:00"}, "--start-time: .* names no offset"),
        ({"reset_every": 5}, "reset_every must be 0 or at least 1001"),
    ],
)
def test_a_synthetic_exchange_that_makes_no_sense_is_refused(options: dict[str, Any], says: str) -> None:
    with pytest.raises(UsageError, match=says):
        synthetic_settings(SyntheticOptions(**options))


def test_the_same_seed_and_start_are_the_same_records() -> None:
    options = SyntheticOptions(markets=("binance", "asx"), records=200, seed=9, start_time="2024-08-10T10:00:00+10:00")
    first, second = (synthetic_settings(options) for _ in range(2))
    assert first == second
    assert {one.start_time_ns for one in first} == {1_723_248_000_000_000_000}
    assert len({one.seed for one in first}) == 2
    assert list(SyntheticExchange(first[1])) == list(SyntheticExchange(second[1]))


def test_options_that_are_not_given_leave_the_market_as_it_is() -> None:
    (settings,) = synthetic_settings(SyntheticOptions(records=10, gap_rate=0.5, bad_rate=0.1, start_time="2024-01-01Z"))
    assert (settings.gap_rate, settings.bad_rate, settings.defects) == (0.5, 0.1, SENDABLE)
    assert (settings.seed, settings.exchange, settings.duplicate_rate) == (1, "BINANCE", 0.001)


def test_files_are_read_in_the_order_given_and_each_beginning_is_checked_first(tmp_path: Path) -> None:
    good = tmp_path / "good.csv"
    good.write_text("event_time\tsymbol\tlast\tquantity\n2024-08-09T10:00:00Z\tBHP\t1\t2\n")
    options = FileOptions(csv=(good, good), exchange="ASX", columns=("price=last",), delimiter="tab")
    feeds = file_feeds(options, unexpected)
    assert [type(feed) for feed in feeds] == [CsvFeed, CsvFeed]
    assert [record.record["price"] for feed in feeds for record in feed] == ["1", "1"]
    with pytest.raises(CaptureError, match="missing: line 1: cannot be opened"):
        file_feeds(replace(options, csv=(good, tmp_path / "missing")), unexpected)


FILES = {
    "missing": (None, "cannot be opened: No such file or directory"),
    "directory": (None, "is a directory; name one"),
    "empty": (b"", "is empty; fetch it again"),
    "empty gzip": (gzip.compress(b""), "is empty; fetch it again"),
    "binary": (b"\x7fELF\x02\x01\x01\x00\xff", "is not"),
    "cut in its first line": (gzip.compress(b"event_time,symbol,price,quantity")[:15], "the gzip data ends too early"),
    "a zip cut in its header": (b"PK\x03\x04\x14\x00", "the zip ends too early"),
}


SOURCES: dict[str, Callable[[Path], FileOptions]] = {
    "csv": lambda path: FileOptions(csv=(path,), exchange="ASX"),
    "us_equity": lambda path: FileOptions(us_equity=(path,), exchange="NYSE"),
    "captures": lambda path: FileOptions(captures=(path,)),
}


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("name", FILES)
def test_a_file_that_cannot_be_used_is_one_line(tmp_path: Path, source: str, name: str) -> None:
    path = tmp_path / "file"
    content, says = FILES[name]
    if name == "directory":
        path.mkdir()
    elif content is not None:
        path.write_bytes(content)
    with pytest.raises(CaptureError, match=says) as raised:
        file_feeds(SOURCES[source](path), unexpected)
    assert str(raised.value).startswith(f"{path}: line 1")
    assert "\n" not in str(raised.value)
    assert raised.value.exit_code == 64


def unexpected(bad: BadLine) -> None:
    pytest.fail(str(bad))


@pytest.mark.parametrize(
    ("rate", "markets", "each"),
    [(0.0, ("binance",), 1_000), (200.0, ("binance",), 200), (50.0, ("binance", "asx"), 25)],
)
def test_the_clocks_of_synthetic_exchanges_go_as_fast_as_records_are_sent(
    rate: float, markets: tuple[str, ...], each: int
) -> None:
    chosen = synthetic_settings(SyntheticOptions(markets=markets), rate)
    assert [settings.rate_per_second for settings in chosen] == [each] * len(markets)
