"""CSV files as records: the header decides once, each line stands alone, nothing is guessed and nothing is lost."""

import gzip
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from k2.errors import CaptureError, UsageError
from k2.feeds.csv_feed import CsvFeed, CsvFormat, CsvStatistics
from k2.feeds.feed import FeedRecord
from k2.feeds.line_file import BadLine
from k2.records.definition import RECORD_TYPES

ASX = CsvFormat(exchange="ASX")
HEADER = "event_time,symbol,price,quantity"
LINE = "2024-08-09T10:00:00+10:00,BHP,41.520,100"
AT_NS = 1_723_161_600_000_000_000


def write(path: Path, *lines: str | bytes) -> Path:
    path.write_bytes(b"\n".join(line if isinstance(line, bytes) else line.encode() for line in lines) + b"\n")
    return path


def read(
    path: Path, csv_format: CsvFormat = ASX
) -> tuple[list[dict[str, Any]], CsvStatistics, list[tuple[int, str, str]]]:
    bad: list[BadLine] = []
    feed = CsvFeed(path, bad.append, csv_format)
    records = [item.record for item in feed]
    return records, feed.statistics, [(one.line_number, one.name, one.reason) for one in bad]


def test_a_line_becomes_a_record_whose_missing_columns_are_null_and_not_invented(tmp_path: Path) -> None:
    records, statistics, bad = read(write(tmp_path / "trades.csv", HEADER, LINE))
    (record,) = records
    assert record.pop("session").startswith("csv-")
    assert record == {
        "session_sequence": 1,
        "exchange": "ASX",
        "symbol": "BHP",
        "asset_class": "equities",
        "event_time_ns": AT_NS,
        "receive_time_ns": AT_NS,
        "source_sequence": None,
        "trade_id": None,
        "price": "41.520",
        "quantity": "100",
        "side": "UNKNOWN",
        "venue": None,
        "conditions": None,
        "vendor_data": {"receive_time_source": "event"},
    }
    assert bad == []
    assert statistics.by_kind == {"trades": 1, "headers": 1}


@pytest.mark.parametrize("data_type", RECORD_TYPES)
def test_every_record_type_can_be_given_with_all_its_columns(tmp_path: Path, data_type: str) -> None:
    fed = ("session", "session_sequence", "asset_class", "vendor_data")
    names = [field.name for field in RECORD_TYPES[data_type].fields if field.name not in fed]
    values: Mapping[str, str] = {"exchange": "ASX", "side": "SELL", "listing_status": "HALTED", "price": "1.5"}
    cells = [values.get(name, str(AT_NS) if name.endswith("_ns") else "7") for name in names]
    path = write(tmp_path / "file", ",".join([*names, "vendor_data.note"]), ",".join([*cells, "kept"]))
    records, _, bad = read(path, CsvFormat(data_type=data_type))
    assert bad == []
    (record,) = records
    assert set(record) == {field.name for field in RECORD_TYPES[data_type].fields}
    assert record["vendor_data"] == {"note": "kept"}
    assert record["source_sequence"] == 7
    given = {name: record[name] for name in names}
    assert [str(value) for value in given.values()] == cells


def test_columns_of_other_names_are_mapped_and_others_left_out_on_request(tmp_path: Path) -> None:
    chosen = CsvFormat(
        exchange="ASX", columns={"price": "last", "vendor_data.broker": "broker"}, ignored=("row",), delimiter=";"
    )
    path = write(tmp_path / "file", "row;event_time;symbol;last;quantity;broker", "1;2024-08-09T00:00:00Z;BHP;1;2;MQG")
    (record,), _, _ = read(path, chosen)
    assert (record["price"], record["vendor_data"]["broker"]) == ("1", "MQG")
    assert "row" not in record["vendor_data"]


def test_quoted_cells_byte_order_mark_and_windows_line_ends_are_understood(tmp_path: Path) -> None:
    path = write(
        tmp_path / "file",
        b"\xef\xbb\xbf" + HEADER.encode() + b",conditions\r",
        f'{LINE},"a ""b"", c"\r',
        f"{LINE},\r",
        "\r",
    )
    records, statistics, bad = read(path)
    assert [record["conditions"] for record in records] == ['a "b", c', None]
    assert bad == []
    assert statistics.by_kind == {"trades": 2, "headers": 1, "blank_lines": 1}


BAD_CELLS = [
    ("2024-08-09T10:00:00,BHP,1,1", "bad_time", "names no offset"),
    ("yesterday,BHP,1,1", "bad_time", "is not a time"),
    (",BHP,1,1", "missing_value", "neither event_time nor receive_time"),
    ("2024-08-09T10:00:00Z,,1,1", "missing_value", "symbol is empty"),
    ("2024-08-09T10:00:00Z,BHP,,1", "missing_value", "price is empty"),
    ("2024-08-09T10:00:00Z,BHP,1e2,1", "bad_decimal", "price: '1e2' is not a decimal"),
    ("2024-08-09T10:00:00Z,BHP, 1,1", "bad_decimal", "price: ' 1' is not a decimal"),
    ("2024-08-09T10:00:00Z,BHP,NaN,1", "bad_decimal", "price: 'NaN' is not a decimal"),
    ("2024-08-09T10:00:00Z,BHP,0.12345678901,1", "bad_decimal", "10 after the point"),
    ("2024-08-09T10:00:00Z,BHP,1234567890123456789,1", "bad_decimal", "18 digits before"),
    ("2024-08-09T10:00:00Z,BHP,1", "wrong_number_of_cells", "it has 3 cells, the header names 4"),
    ("2024-08-09T10:00:00Z,BHP,1,000,5", "wrong_number_of_cells", "it has 5 cells"),
    ('2024-08-09T10:00:00Z,BHP,"1,1', "bad_quotes", "quotes do not match"),
    ('2024-08-09T10:00:00Z,BHP,"1"0,1', "bad_quotes", "quotes do not match"),
    (b"2024-08-09T10:00:00Z,BH\xff,1,1", "bad_text", "not UTF-8 at byte 24"),
    (b"2024-08-09T10:00:00Z,BH\0,1,1", "bad_text", "zero byte"),
]


@pytest.mark.parametrize(("line", "name", "reason"), BAD_CELLS, ids=[str(case[0]) for case in BAD_CELLS])
def test_a_bad_line_is_named_with_its_number_and_its_neighbours_are_read(
    tmp_path: Path, line: str | bytes, name: str, reason: str
) -> None:
    records, statistics, bad = read(write(tmp_path / "file", HEADER, LINE, line, LINE))
    assert [record["session_sequence"] for record in records] == [1, 2]
    ((number, found, text),) = bad
    assert (number, found) == (3, name)
    assert reason in text
    assert (statistics.bad_lines, statistics.by_kind[name]) == (1, 1)


@pytest.mark.parametrize(
    ("column", "cell", "name"),
    [
        ("side", "buy", "unknown_value"),
        ("source_sequence", "1.0", "bad_number"),
        ("source_sequence", "9" * 19, "bad_number"),
    ],
)
def test_a_value_that_does_not_fit_its_field_is_a_bad_line(tmp_path: Path, column: str, cell: str, name: str) -> None:
    _, _, bad = read(write(tmp_path / "file", f"{HEADER},{column}", f"{LINE},{cell}"))
    assert [found for _, found, _ in bad] == [name]


@pytest.mark.parametrize(
    ("header", "csv_format", "reason"),
    [
        ("event_time,symbol,price", ASX, "no column quantity, which trades cannot do without"),
        ("symbol,price,quantity", ASX, "no column event_time or receive_time"),
        (HEADER, CsvFormat(), "no column exchange.*or give --exchange"),
        (f"{HEADER},exchange", ASX, "'exchange', and the same was given for the whole file"),
        (f"{HEADER},colour", ASX, "'colour', which no trades field is called: .*--ignore-column colour"),
        (f"{HEADER},session_sequence", ASX, "'session_sequence', which no trades field"),
        (f"{HEADER},price", ASX, "names the column 'price' twice"),
        (f"{HEADER},event_time_ms", ASX, "two columns for event_time_ns"),
        (HEADER, CsvFormat(exchange="ASX", columns={"price": "last"}), "no column 'last', but the mapping"),
        (HEADER, CsvFormat(exchange="ASX", data_type="quotes"), "'price', which no quotes field"),
        ("event_time,symbol", CsvFormat(exchange="ASX", data_type="quotes"), "no column bid_price"),
        (f'{HEADER},"x', ASX, "is not a header: its quotes do not match"),
        ("\n", ASX, "is not a header but"),
        (b"\x7fELF\xff\xfe", ASX, "is not a header in UTF-8"),
        (b"\x00\x01", ASX, "is not a header but"),
    ],
)
def test_a_header_that_does_not_fit_refuses_the_file_before_anything_is_read(
    tmp_path: Path, header: str | bytes, csv_format: CsvFormat, reason: str
) -> None:
    path = write(tmp_path / "file", header, LINE)
    feed = CsvFeed(path, lambda bad: pytest.fail(str(bad)), csv_format)
    with pytest.raises(CaptureError, match=reason) as raised:
        feed.check()
    assert str(raised.value).startswith(f"{path}: line 1 ")
    with pytest.raises(CaptureError, match=reason):
        list(feed)


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"data_type": "ticks"}, "data type 'ticks' is not one of trades, quotes"),
        ({"asset_class": "bonds"}, "asset class 'bonds' is not one of"),
        ({"exchange": "XLON"}, "the asset class of XLON is not known"),
        ({"exchange": "asx"}, "'asx' is not a code"),
        ({"exchange": ""}, "'' is not a code"),
        ({"time_zone": "Sydney"}, "time zone 'Sydney' is not known"),
        ({"time_zone": "../etc/passwd"}, "is not known"),
        ({"delimiter": ":"}, "the delimiter is"),
    ],
)
def test_a_format_that_makes_no_sense_is_refused(values: dict[str, Any], reason: str) -> None:
    with pytest.raises(UsageError, match=reason):
        CsvFormat(**values)


def test_times_without_offset_are_placed_in_the_zone_that_was_named(tmp_path: Path) -> None:
    path = write(tmp_path / "file", HEADER, "2024-08-09 10:00:00.000000001,BHP,1,1", "2024-10-06 02:30:00,BHP,1,1")
    records, _, bad = read(path, CsvFormat(exchange="ASX", time_zone="Australia/Sydney"))
    assert [record["event_time_ns"] for record in records] == [AT_NS + 1]
    assert [(number, name) for number, name, _ in bad] == [(3, "ambiguous_time")]


def test_an_event_without_time_takes_that_of_receipt_and_says_so(tmp_path: Path) -> None:
    path = write(tmp_path / "file", "receive_time_ms,symbol,price,quantity", "1723161600000,BHP,1,1")
    (record,), _, _ = read(path)
    assert record["event_time_ns"] == record["receive_time_ns"] == AT_NS
    assert record["vendor_data"] == {"event_time_source": "receive"}


def test_an_exchange_column_decides_line_by_line(tmp_path: Path) -> None:
    lines = [f"{LINE},{exchange}" for exchange in ("ASX", "BINANCE", "ASX", "XLON")]
    path = write(tmp_path / "file", f"{HEADER},exchange", *lines)
    records, _, bad = read(path, CsvFormat())
    found = [(record["exchange"], record["asset_class"], record["session_sequence"]) for record in records]
    assert found == [("ASX", "equities", 1), ("BINANCE", "crypto", 1), ("ASX", "equities", 2)]
    assert [(number, name) for number, name, _ in bad] == [(5, "unknown_asset_class")]


def test_the_same_file_read_in_the_same_way_is_the_same_session(tmp_path: Path) -> None:
    plain = write(tmp_path / "plain", HEADER, LINE)
    packed = tmp_path / "packed"
    packed.write_bytes(gzip.compress(plain.read_bytes()))

    def session(path: Path, csv_format: CsvFormat = ASX) -> str:
        return CsvFeed(path, lambda _: None, csv_format).session

    assert session(plain) == session(packed)
    others = [
        CsvFormat(exchange="ASX", time_zone="Australia/Sydney"),
        CsvFormat(exchange="NYSE", asset_class="equities"),
    ]
    longer = write(tmp_path / "longer", HEADER, LINE, LINE)
    assert len({session(plain), session(longer), *(session(plain, other) for other in others)}) == 4


def test_a_cut_file_gives_all_lines_before_the_damage(tmp_path: Path) -> None:
    lines = [f"2024-08-09T10:00:00Z,BHP,{number}.5,{number * 7919 % 10007}" for number in range(1, 4_000)]
    packed = gzip.compress("\n".join([HEADER, *lines]).encode())
    path = tmp_path / "cut.csv.gz"
    path.write_bytes(packed[: len(packed) * 2 // 3])
    records: list[FeedRecord] = []
    feed = CsvFeed(path, lambda bad: pytest.fail(str(bad)), ASX)
    with pytest.raises(CaptureError, match=r"the gzip data ends too early; the \d+ lines before it were read"):
        # list.extend keeps what came before the error.
        records.extend(feed)
    assert len(records) > 1_000
    assert [item.record["price"] for item in records] == [f"{number}.5" for number in range(1, len(records) + 1)]


@settings(deadline=None, max_examples=200)
@given(st.lists(st.one_of(st.sampled_from([LINE, "", *(case[0] for case in BAD_CELLS)]), st.binary(max_size=40))))
def test_every_line_is_counted_once_whatever_it_holds(
    tmp_path_factory: pytest.TempPathFactory, lines: list[str | bytes]
) -> None:
    lines = [line for line in lines if not (isinstance(line, bytes) and b"\n" in line)]
    path = write(tmp_path_factory.getbasetemp() / "counted.csv", HEADER, *lines)
    records, statistics, bad = read(path)
    assert statistics.lines == 1 + len(lines) == sum(statistics.by_kind.values())
    assert len(records) == statistics.trades
    assert len(bad) == statistics.bad_lines


@settings(deadline=None, max_examples=100)
@given(st.decimals(min_value=Decimal("-1e17"), max_value=Decimal("1e17"), places=10))
def test_a_price_is_kept_to_the_last_digit(tmp_path_factory: pytest.TempPathFactory, price: Decimal) -> None:
    path = write(tmp_path_factory.getbasetemp() / "exact.csv", HEADER, f"2024-08-09T10:00:00Z,BHP,{price:f},1")
    (record,), _, _ = read(path)
    assert Decimal(record["price"]) == price
