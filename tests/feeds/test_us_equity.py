"""US equity ticks as Lean stores them: New York's clock, ten-thousandths of a dollar, equal lines that are all real."""

import zipfile
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from k2.errors import CaptureError
from k2.feeds.feed import FileStatistics
from k2.feeds.line_file import BadLine
from k2.feeds.us_equity import Day, UsEquityZip

TRADES = "20131007_bac_Trade_Tick.csv"
QUOTES = "20131007_bac_Quote_Tick.csv"


def zipped(path: Path, name: str, *lines: str) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(name, "".join(f"{line}\n" for line in lines))
    return path


def read(path: Path) -> tuple[list[dict[str, Any]], FileStatistics, list[BadLine]]:
    bad: list[BadLine] = []
    feed = UsEquityZip(path, bad.append, exchange="NYSE")
    return [item.record for item in feed], feed.statistics, bad


def unexpected(bad: BadLine) -> None:
    pytest.fail(str(bad))


def test_a_trade_has_no_number_no_id_and_no_side_because_its_feed_has_none(tmp_path: Path) -> None:
    records, statistics, bad = read(zipped(tmp_path / "trade.zip", TRADES, "14400614,139400,500,P,20002020,0"))
    (record,) = records
    assert record.pop("session").startswith("us-equity-")
    # Four in the morning in New York, in summer time.
    at = int(datetime(2013, 10, 7, 8, 0, 0, 614_000, UTC).timestamp() * 1_000) * 1_000_000
    assert record == {
        "session_sequence": 1,
        "exchange": "NYSE",
        "symbol": "BAC",
        "asset_class": "equities",
        "event_time_ns": at,
        "receive_time_ns": at,
        "source_sequence": None,
        "trade_id": None,
        "price": "13.9400",
        "quantity": "500",
        "side": "UNKNOWN",
        "venue": "P",
        "conditions": "20002020",
        "vendor_data": {"receive_time_source": "event"},
    }
    assert bad == []
    assert statistics == FileStatistics(trades=1, lines=1)


def test_a_side_of_zeros_is_no_quote_and_one_zero_alone_is_kept(tmp_path: Path) -> None:
    lines = ("1,0,0,140200,500,Q,1,0", "2,138400,700,0,0,P,1,1", "3,0,0,0,0,P,,0", "4,138400,0,0,500,P,1,0")
    records, _, bad = read(zipped(tmp_path / "quote.zip", QUOTES, *lines))
    names = ("bid_price", "bid_quantity", "ask_price", "ask_quantity")
    assert [tuple(record[name] for name in names) for record in records] == [
        (None, None, "14.0200", "500"),
        ("13.8400", "700", None, None),
        (None, None, None, None),
        ("13.8400", "0", "0.0000", "500"),
    ]
    assert [record["conditions"] for record in records] == ["1", "1", None, "1"]
    assert [record["vendor_data"].get("suspicious") for record in records] == [None, "1", None, None]
    assert {(record["quote_id"], record["source_sequence"]) for record in records} == {(None, None)}
    assert bad == []


def test_equal_lines_are_records_of_their_own(tmp_path: Path) -> None:
    records, statistics, _ = read(zipped(tmp_path / "trade.zip", TRADES, *["5,1,1,P,0,0"] * 4))
    assert [record["session_sequence"] for record in records] == [1, 2, 3, 4]
    assert statistics.trades == 4


@pytest.mark.parametrize(
    ("day", "hour", "utc_hour"),
    [("20240308", 9, 14), ("20240311", 9, 13), ("20241101", 9, 13), ("20241104", 9, 14), ("20240310", 9, 13)],
    ids=["winter", "summer", "last of summer", "winter again", "the day the clocks change"],
)
def test_new_yorks_clock_is_read_with_daylight_saving(day: str, hour: int, utc_hour: int) -> None:
    found = Day.of(f"{day}_spy_Trade_Tick.csv")
    assert found is not None
    time = datetime.fromtimestamp(found.event_time_ns(hour * 3_600_000) / 1e9, UTC)
    assert (time.day, time.hour) == (int(day[-2:]), utc_hour)


@pytest.mark.parametrize("day", ["20240310", "20241103"], ids=["never shown", "shown twice"])
def test_a_time_the_clock_did_not_show_once_is_a_bad_line(tmp_path: Path, day: str) -> None:
    hour = 2 if day == "20240310" else 1
    lines = (f"{hour * 3_600_000 + 1},1,1,P,0,0", f"{4 * 3_600_000},1,1,P,0,0")
    records, _, bad = read(zipped(tmp_path / "trade.zip", f"{day}_spy_Trade_Tick.csv", *lines))
    assert len(records) == 1
    assert [(one.line_number, one.name) for one in bad] == [(1, "ambiguous_time")]


@pytest.mark.parametrize(
    ("line", "name"),
    [
        ("x,1,1,P,0,0", "bad_time"),
        ("86400000,1,1,P,0,0", "bad_time"),
        ("-1,1,1,P,0,0", "bad_time"),
        ("1,1.5,1,P,0,0", "bad_price"),
        ("1,-1,1,P,0,0", "bad_price"),
        ("1,1,x,P,0,0", "bad_quantity"),
        ("1,1,1,P,0", "wrong_number_of_cells"),
        ("1,1,1,1,1,P,0,0", "wrong_number_of_cells"),
        ("1,1,1,Ä,0,0", "bad_text"),
        ("", "wrong_number_of_cells"),
    ],
)
def test_a_bad_line_is_named_and_its_neighbours_are_read(tmp_path: Path, line: str, name: str) -> None:
    records, statistics, bad = read(zipped(tmp_path / "trade.zip", TRADES, "1,1,1,P,0,0", line, "2,1,1,P,0,0"))
    assert len(records) == 2
    assert [(one.line_number, one.name) for one in bad] == [(2, name)]
    assert statistics.by_kind == {"trades": 2, name: 1}


@pytest.mark.parametrize(
    ("name", "line", "reason"),
    [
        ("bac.csv", "1,1,1,P,0,0", "is of 'bac.csv'; it must be of DAY_SYMBOL_Trade_Tick.csv"),
        ("20131307_bac_Trade_Tick.csv", "1,1,1,P,0,0", "is of '20131307_bac_Trade_Tick.csv'"),
        (TRADES, "time,price,quantity,venue,conditions,flag", "is not ticks as Lean stores them"),
        (TRADES, "", "is not ticks"),
    ],
)
def test_a_zip_of_something_else_is_refused(tmp_path: Path, name: str, line: str, reason: str) -> None:
    feed = UsEquityZip(zipped(tmp_path / "file.zip", name, line), unexpected, exchange="NYSE")
    with pytest.raises(CaptureError, match=reason):
        feed.check()


def test_ticks_that_are_not_in_a_zip_are_refused(tmp_path: Path) -> None:
    path = tmp_path / TRADES
    path.write_text("1,1,1,P,0,0\n")
    with pytest.raises(CaptureError, match="is of no zip; it must be of DAY_SYMBOL"):
        UsEquityZip(path, unexpected, exchange="NYSE").check()


def test_a_cut_zip_gives_all_lines_before_the_cut(tmp_path: Path) -> None:
    lines = [f"{number},{number * 7919 % 100_003},{number * 31 % 977 + 1},P,0,0" for number in range(20_000)]
    path = zipped(tmp_path / "trade.zip", TRADES, *lines)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    records: list[Any] = []
    with pytest.raises(CaptureError, match=r"the zip ends too early; the \d+ lines before it were read"):
        records.extend(UsEquityZip(path, unexpected, exchange="NYSE"))
    assert 5_000 < len(records) < 20_000


@pytest.mark.parametrize(("name", "trades", "quotes"), [("trade", 88_172, 0), ("quote", 0, 476_855)])
def test_a_recorded_day_is_read_completely(captures: Path, name: str, trades: int, quotes: int) -> None:
    path = captures / "us_equity" / f"bac_20131007_{name}.zip"
    feed = UsEquityZip(path, lambda bad: pytest.fail(str(bad)), exchange="NYSE")
    equal = len({tuple(item.record[field] for field in ("event_time_ns", *shown(item.record))) for item in feed})
    assert feed.statistics == FileStatistics(trades=trades, quotes=quotes, lines=trades + quotes)
    assert trades + quotes - equal == {"trade": 9_346, "quote": 128_965}[name]


def shown(record: dict[str, Any]) -> list[str]:
    """The fields that tell two lines apart."""
    return [name for name in record if name.startswith(("bid", "ask", "price", "quantity", "venue", "conditions"))]
