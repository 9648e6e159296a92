"""Records written as a Binance capture and read back."""

import gzip
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from k2.errors import CaptureError, RecordError
from k2.feeds.binance import BinanceCapture
from k2.feeds.capture_writer import write_capture
from k2.feeds.feed import FeedRecord
from k2.feeds.synthetic import SyntheticExchange, SyntheticSettings

FAULTY = SyntheticSettings(
    records=2_000,
    gap_rate=0.02,
    duplicate_rate=0.02,
    reorder_rate=0.02,
    reset_every=1_001,
    one_sided_rate=0.05,
    symbols=("BTCUSDT", "BTTCUSDT"),
)


def first(data_type: str, **changes: object) -> FeedRecord:
    record = next(record for record in SyntheticExchange(SyntheticSettings()) if record.data_type == data_type)
    return replace(record, record={**record.record, **changes})


def read(path: Path) -> list[FeedRecord]:
    return list(BinanceCapture(path, on_bad_line=lambda bad_line: pytest.fail(str(bad_line))))


def without_session(records: list[FeedRecord]) -> list[FeedRecord]:
    return [replace(record, record={**record.record, "session": ""}) for record in records]


@settings(deadline=None, max_examples=8)
@given(seed=st.integers(0, 10**6), compressed=st.booleans())
def test_what_was_written_is_read_back(tmp_path_factory: pytest.TempPathFactory, seed: int, compressed: bool) -> None:
    path = tmp_path_factory.getbasetemp() / "written-capture"
    records = list(SyntheticExchange(replace(FAULTY, seed=seed)))
    write_capture(records, path, compressed=compressed)
    assert without_session(read(path)) == without_session(records)


def test_what_was_read_can_be_written_and_read_again(tmp_path: Path) -> None:
    receive = {"event_time_source": "receive"}
    quote = first("quotes", vendor_data=receive)
    at_receipt = replace(quote, record={**quote.record, "event_time_ns": quote.record["receive_time_ns"]})
    trade = first("trades", vendor_data={"E": "1723161255343", "X": "MARKET", "b": "88", "RPI": "false"})
    write_capture([at_receipt, trade], tmp_path / "first")
    records = read(tmp_path / "first")
    assert without_session(records) == without_session([at_receipt, trade])
    write_capture(records, tmp_path / "second")
    assert (tmp_path / "second").read_bytes() == (tmp_path / "first").read_bytes()


def test_the_other_lines_of_a_recording_are_there_and_counted(tmp_path: Path) -> None:
    path = tmp_path / "capture"
    lines = write_capture(SyntheticExchange(FAULTY), path, depth_every=100)
    capture = BinanceCapture(path, on_bad_line=lambda bad_line: pytest.fail(str(bad_line)))
    assert len(list(capture)) == 2_000
    statistics = capture.statistics
    assert (statistics.subscription_replies, statistics.depth, statistics.lines) == (1, 20, lines)
    assert lines == 2_021


def test_lines_have_the_form_the_exchange_gives_them(tmp_path: Path) -> None:
    write_capture([first("trades"), first("quotes")], tmp_path / "capture", compressed=False)
    reply, trade, quote = (
        orjson.loads(line.split(b" ", 1)[1]) for line in (tmp_path / "capture").read_bytes().splitlines()
    )
    assert reply == {"result": None, "id": 1}
    assert trade["stream"] == f"{trade['data']['s'].lower()}@trade"
    assert set(trade["data"]) == set("eEstpqTm")
    assert {type(trade["data"][name]) for name in "EtT"} == {int}
    assert quote["stream"].endswith("@bookTicker")
    assert set(quote["data"]) == set("eEusbBaAT")


def test_gzip_is_the_default_and_the_same_records_give_the_same_bytes(tmp_path: Path) -> None:
    write_capture(SyntheticExchange(FAULTY), tmp_path / "one")
    write_capture(SyntheticExchange(FAULTY), tmp_path / "another")
    write_capture(SyntheticExchange(FAULTY), tmp_path / "plain", compressed=False)
    packed = (tmp_path / "one").read_bytes()
    assert packed == (tmp_path / "another").read_bytes()
    assert packed[4:8] == bytes(4), "the header must not hold the time of writing"
    assert gzip.decompress(packed) == (tmp_path / "plain").read_bytes()


def test_a_decimal_price_is_written_as_its_text(tmp_path: Path) -> None:
    write_capture([first("trades", price=Decimal("0.0000001000"))], tmp_path / "capture")
    assert read(tmp_path / "capture")[0].record["price"] == "0.0000001000"


def test_no_records_make_an_empty_capture_that_the_reader_refuses(tmp_path: Path) -> None:
    assert write_capture([], tmp_path / "capture") == 0
    with pytest.raises(CaptureError, match="is empty"):
        read(tmp_path / "capture")


@pytest.mark.parametrize(
    ("record", "why"),
    [
        (first("trades", side="UNKNOWN"), "its side is unknown"),
        (first("trades", trade_id="abc"), "its trade id is not its source sequence"),
        (first("trades", source_sequence=None), "its trade id is not its source sequence"),
        (first("trades", event_time_ns=1_723_161_255_342_000_001), "its event time is not in whole ms"),
        (first("quotes", source_sequence=5), "it has a source sequence"),
        (first("quotes", quote_id=None), "its quote id is not a number"),
        (replace(first("quotes"), asset_class="equities"), "its asset class is equities"),
    ],
)
def test_a_record_the_exchange_could_not_send_is_refused_with_its_place(
    tmp_path: Path, record: FeedRecord, why: str
) -> None:
    with pytest.raises(RecordError, match=rf"^BINANCE:\w+ record 1: cannot be written .* {why}; "):
        write_capture([record], tmp_path / "capture")


def test_a_place_that_cannot_be_written_is_one_clear_error(tmp_path: Path) -> None:
    with pytest.raises(CaptureError, match="cannot be written: No such file or directory; check"):
        write_capture(SyntheticExchange(FAULTY), tmp_path / "missing" / "capture")
