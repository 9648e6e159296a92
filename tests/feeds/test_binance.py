"""Binance messages as records."""

import gzip
import re
from collections.abc import Iterable
from decimal import Decimal
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from k2.errors import CaptureError
from k2.feeds.binance import (
    MOST_STREAM_TYPES,
    OTHER_STREAMS,
    BinanceCapture,
    CaptureStatistics,
)
from k2.feeds.capture_writer import write_capture
from k2.feeds.feed import FeedRecord
from k2.feeds.inversions import EventTimeInversions
from k2.feeds.line_file import BadLine
from k2.feeds.synthetic import SyntheticExchange, SyntheticSettings

STAMP = 1_723_161_254_087_896_568
SPOT_TRADE = {
    "e": "trade",
    "E": 1_723_161_255_343,
    "s": "BTCUSDT",
    "t": 3_735_683_259,
    "p": "61837.63000000",
    "q": "0.02000000",
    "T": 1_723_161_255_342,
    "m": True,
    "M": True,
}
SPOT_QUOTE = {
    "u": 50_093_239_212,
    "s": "BTCUSDT",
    "b": "61837.63000000",
    "B": "3.78826000",
    "a": "61837.64000000",
    "A": "1.54698000",
}
FUTURES_QUOTE = {**SPOT_QUOTE, "e": "bookTicker", "T": 1_723_161_256_310, "E": 1_723_161_256_311}


def line(message: object, stamp: object = STAMP) -> bytes:
    return b"%b %b" % (str(stamp).encode(), message if isinstance(message, bytes) else orjson.dumps(message))


def on(stream: str, data: object) -> dict[str, object]:
    return {"stream": stream, "data": data}


def trade(**changes: object) -> dict[str, object]:
    return on("btcusdt@trade", {**SPOT_TRADE, **changes})


def quote(**changes: object) -> dict[str, object]:
    return on("btcusdt@bookTicker", {**SPOT_QUOTE, **changes})


def without(message: dict[str, Any], name: str) -> dict[str, object]:
    return {**message, "data": {key: value for key, value in message["data"].items() if key != name}}


def read(path: Path, lines: Iterable[bytes]) -> tuple[list[dict[str, Any]], CaptureStatistics, list[BadLine]]:
    path.write_bytes(b"\n".join(lines))
    bad_lines: list[BadLine] = []
    capture = BinanceCapture(path, on_bad_line=bad_lines.append)
    records = [feed_record.record for feed_record in capture]
    return records, capture.statistics, bad_lines


def read_one(path: Path, message: object, stamp: object = STAMP) -> dict[str, Any]:
    records, statistics, bad_lines = read(path, [line(message, stamp)])
    assert bad_lines == []
    assert statistics.lines == 1
    return records[0]


def test_a_trade_keeps_every_figure_the_exchange_sent(tmp_path: Path) -> None:
    record = read_one(tmp_path / "capture", trade())
    session = record.pop("session")
    assert session.startswith("binance-")
    assert record == {
        "session_sequence": 1,
        "exchange": "BINANCE",
        "symbol": "BTCUSDT",
        "asset_class": "crypto",
        "event_time_ns": 1_723_161_255_342_000_000,
        "receive_time_ns": STAMP,
        "source_sequence": 3_735_683_259,
        "trade_id": "3735683259",
        "price": "61837.63000000",
        "quantity": "0.02000000",
        "side": "SELL",
        "venue": None,
        "conditions": None,
        "vendor_data": {"E": "1723161255343"},
    }


def test_a_spot_quote_has_no_sequence_and_says_that_its_time_is_that_of_receipt(tmp_path: Path) -> None:
    record = read_one(tmp_path / "capture", quote())
    del record["session"]
    assert record == {
        "session_sequence": 1,
        "exchange": "BINANCE",
        "symbol": "BTCUSDT",
        "asset_class": "crypto",
        "event_time_ns": STAMP,
        "receive_time_ns": STAMP,
        "source_sequence": None,
        "quote_id": "50093239212",
        "bid_price": "61837.63000000",
        "bid_quantity": "3.78826000",
        "ask_price": "61837.64000000",
        "ask_quantity": "1.54698000",
        "venue": None,
        "conditions": None,
        "vendor_data": {"event_time_source": "receive"},
    }


def test_a_futures_quote_has_the_time_of_the_exchange(tmp_path: Path) -> None:
    record = read_one(tmp_path / "capture", on("ethusdt@bookTicker", FUTURES_QUOTE))
    assert record["event_time_ns"] == 1_723_161_256_310_000_000
    assert record["vendor_data"] == {"E": "1723161256311"}


def test_the_side_is_that_of_the_aggressor(tmp_path: Path) -> None:
    assert read_one(tmp_path / "capture", trade(m=True))["side"] == "SELL"
    assert read_one(tmp_path / "capture", trade(m=False))["side"] == "BUY"


def test_what_no_field_holds_is_kept_as_text_under_the_vendors_letter(tmp_path: Path) -> None:
    message = trade(X="MARKET", b=88, RPI=False, n=None, nested={"a": [1]})
    vendor_data = {"E": "1723161255343", "X": "MARKET", "b": "88", "RPI": "false", "n": "null", "nested": '{"a":[1]}'}
    assert read_one(tmp_path / "capture", message)["vendor_data"] == vendor_data


def test_a_trade_without_the_time_of_sending_is_complete(tmp_path: Path) -> None:
    assert read_one(tmp_path / "capture", without(trade(), "E"))["vendor_data"] == {}


def test_a_receive_time_of_sixteen_digits_is_in_microseconds(tmp_path: Path) -> None:
    record = read_one(tmp_path / "capture", quote(), stamp=STAMP // 1_000)
    assert record["receive_time_ns"] == STAMP // 1_000 * 1_000
    assert record["event_time_ns"] == record["receive_time_ns"]


def test_an_event_time_of_sixteen_digits_is_in_microseconds(tmp_path: Path) -> None:
    record = read_one(tmp_path / "capture", trade(T=1_723_161_255_342_123))
    assert record["event_time_ns"] == 1_723_161_255_342_123_000


def test_a_side_of_the_book_with_zero_price_and_quantity_is_empty(tmp_path: Path) -> None:
    record = read_one(tmp_path / "capture", quote(b="0.00000000", B="0"))
    assert (record["bid_price"], record["bid_quantity"]) == (None, None)
    assert (record["ask_price"], record["ask_quantity"]) == ("61837.64000000", "1.54698000")
    record = read_one(tmp_path / "capture", quote(a="0", A="0.0"))
    assert (record["ask_price"], record["ask_quantity"]) == (None, None)


@pytest.mark.parametrize(("price", "quantity"), [("0.00000000", "1.00"), ("0.00001000", "0.00"), ("10", "0")])
def test_one_zero_alone_is_kept_as_given(tmp_path: Path, price: str, quantity: str) -> None:
    record = read_one(tmp_path / "capture", quote(b=price, B=quantity))
    assert (record["bid_price"], record["bid_quantity"]) == (price, quantity)


@pytest.mark.parametrize("price", ["0.0000000001", "999999999999999999.9999999999", "-1.5", "7", "1.1000000000000"])
def test_a_decimal_that_fits_28_digits_is_kept_as_given(tmp_path: Path, price: str) -> None:
    assert read_one(tmp_path / "capture", trade(p=price))["price"] == price


def test_a_jump_in_trade_ids_passes_through_untouched(tmp_path: Path) -> None:
    numbers = [5_129_698_195, 5_129_698_197, 1_684_952, 1_687_081]
    records, _, _ = read(tmp_path / "capture", [line(trade(t=number)) for number in numbers])
    assert [record["source_sequence"] for record in records] == numbers
    assert [record["session_sequence"] for record in records] == [1, 2, 3, 4]


def test_lines_that_are_no_records_are_counted_by_kind(tmp_path: Path) -> None:
    messages: list[object] = [
        {"result": None, "id": 1},
        on("btcusdt@depth@100ms", {"e": "depthUpdate"}),
        on("btcusdt@depth20", {"bids": []}),
        {"lastUpdateId": 5, "bids": [], "asks": []},
        on("btcusdt@aggTrade", {"e": "aggTrade"}),
        on("btcusdt@kline_1m", {}),
        on("btcusdt@markPrice@1s", {}),
        on("btcusdt@markPrice", {}),
        on("!ticker@arr", {}),
        {"topic": "orderbook.50.BTCUSDT"},
        trade(),
        quote(),
    ]
    records, statistics, bad_lines = read(tmp_path / "capture", map(line, messages))
    assert len(records) == 2
    assert bad_lines == []
    assert statistics == CaptureStatistics(
        trades=1,
        quotes=1,
        lines=12,
        depth=2,
        depth_snapshots=1,
        subscription_replies=1,
        foreign_streams={"aggTrade": 1, "kline_1m": 1, "markPrice": 2, "!ticker": 1, "(no stream name)": 1},
    )


def test_foreign_stream_types_are_bounded_and_still_all_counted(tmp_path: Path) -> None:
    lines = [line(on(f"btcusdt@type{'x' * 100}{number}", {})) for number in range(3)]
    lines += [line(on(f"btcusdt@type{number}", {})) for number in range(1_000)]
    _, statistics, _ = read(tmp_path / "capture", lines)
    assert len(statistics.foreign_streams) == MOST_STREAM_TYPES + 1
    assert sum(statistics.foreign_streams.values()) == 1_003
    assert statistics.foreign_streams[OTHER_STREAMS] == 1_003 - 3 - (MOST_STREAM_TYPES - 1)
    assert max(map(len, statistics.foreign_streams)) == 40


BAD_LINES = [
    (line(trade())[:-5], "the JSON is cut or malformed"),
    (line(b'{"stream":"btcusdt@trade","data":{"p":NaN}}'), "the JSON is cut or malformed"),
    (line(b"[1]"), "not a JSON object"),
    (b"", "receive time"),
    (b"\xff\xfe\x00", "receive time"),
    (line(trade(), stamp=1_723_161_254), "receive time"),
    (line(trade(), stamp=9_999_999_999_999_999_999), "receive time"),
    (line(trade(), stamp=-1), "receive time"),
    (line(on("btcusdt@trade", [])), '"data" is not an object'),
    (line({"stream": "btcusdt@trade"}), '"data" is not an object'),
    (line(on(7, {})), '"stream" is not text'),  # type: ignore[arg-type]
    (line({"error": {"code": 2, "msg": "Invalid request"}, "id": 1}), "Binance refused a request.*Invalid request"),
    *((line(without(trade(), name)), f'"{name}" is') for name in "stpqTm"),
    *((line(without(quote(), name)), f'"{name}" is') for name in "usbBaA"),
    *(
        (line(trade(p=price)), '"p" is .* not a decimal number')
        for price in ["abc", "NaN", "Infinity", "", " 1", "1.", ".5", "1e5", "+1", "1_0", "\u0661", 61837.63, 5, None]
    ),
    (line(trade(p="1234567890123456789")), "at most 18 digits before"),
    (line(trade(q="0.12345678901")), "10 after the point"),
    (line(quote(A="NaN")), '"A" is'),
    (line(trade(s="")), '"s" is'),
    (line(trade(t=-1)), '"t" is'),
    (line(trade(t=True)), '"t" is'),
    (line(trade(t="5")), '"t" is'),
    (line(trade(t=2**63)), '"t" is'),
    (line(trade(T=1_723_161_255)), '"T" is'),
    (line(trade(T=9_999_999_999_999)), '"T" is'),
    (line(trade(T=99_999_999_999_999)), '"T" is'),
    (line(quote(T=None)), '"T" is'),
    (line(trade(m=1)), '"m" is not true or false'),
]


@pytest.mark.parametrize(("bad", "reason"), BAD_LINES, ids=[reason for _, reason in BAD_LINES])
def test_a_bad_line_in_the_middle_is_reported_and_its_neighbours_are_read(
    tmp_path: Path, bad: bytes, reason: str
) -> None:
    records, statistics, bad_lines = read(tmp_path / "capture", [line(trade(t=1)), bad, line(trade(t=3))])
    assert [record["source_sequence"] for record in records] == [1, 3]
    assert [record["session_sequence"] for record in records] == [1, 2]
    assert (statistics.lines, statistics.trades, statistics.bad_lines) == (3, 2, 1)
    assert [(bad_line.line_number, bad_line.raw) for bad_line in bad_lines] == [(2, bad[:200])]
    assert re.search(reason, bad_lines[0].reason)


@settings(deadline=None, max_examples=100)
@given(
    st.lists(
        st.one_of(
            st.sampled_from([trade(), quote(), {"result": None}, on("a@depth", {}), on("a@b", {})]).map(line),
            st.sampled_from([bad for bad, _ in BAD_LINES if bad != b""]),
            st.binary(min_size=1, max_size=60).filter(lambda raw: b"\n" not in raw),
        )
    )
)
def test_every_line_is_counted_once_and_every_bad_one_is_reported(
    tmp_path_factory: pytest.TempPathFactory, lines: list[bytes]
) -> None:
    path = tmp_path_factory.getbasetemp() / "counted-capture"
    records, statistics, bad_lines = read(path, [line(trade()), *lines])
    assert statistics.lines == 1 + len(lines)
    assert statistics.lines == (
        statistics.trades
        + statistics.quotes
        + statistics.depth
        + statistics.depth_snapshots
        + statistics.subscription_replies
        + sum(statistics.foreign_streams.values())
        + statistics.bad_lines
    )
    assert len(records) == statistics.trades + statistics.quotes
    assert len(bad_lines) == statistics.bad_lines


def test_inversions_are_counted_between_neighbours_and_against_the_latest_time(tmp_path: Path) -> None:
    def at(milliseconds: int) -> bytes:
        return line(trade(T=1_723_161_255_000 + milliseconds))

    lines = [at(5), at(9), line(quote()), at(3), at(4), line(quote(T=1_723_161_255_008)), at(9), at(9), at(8)]
    _, statistics, _ = read(tmp_path / "capture", lines)
    # 9>3 and 9>8 lie between neighbours; behind the 9 lie 3, 4, 8 and the last 8. Spot quotes have no time to compare.
    assert statistics.event_time_inversions == EventTimeInversions(2, 4, 6_000_000)


def test_statistics_can_be_read_while_reading(tmp_path: Path) -> None:
    path = tmp_path / "capture"
    path.write_bytes(b"\n".join([line(trade())] * 3))
    capture = BinanceCapture(path, on_bad_line=lambda _: None)
    assert capture.statistics == CaptureStatistics()
    iterator = iter(capture)
    next(iterator)
    assert capture.statistics.trades == 1
    assert len(list(iterator)) == 2
    assert capture.statistics.trades == 3


def test_the_same_content_is_the_same_session_and_other_content_is_another(tmp_path: Path) -> None:
    content = b"\n".join([line(trade(t=1)), line(trade(t=2)), b""])
    contents = {
        "a": content,
        "copy": content,
        "packed": gzip.compress(content),
        "longer": content + line(trade(t=3)),
        "other price": content.replace(b"61837.63", b"61837.64"),
    }
    sessions = {}
    for name, stored in contents.items():
        (tmp_path / name).write_bytes(stored)
        capture = BinanceCapture(tmp_path / name, on_bad_line=lambda _: None)
        sessions[name] = capture.session
        assert {record.record["session"] for record in capture} == {capture.session}
    assert sessions["a"] == sessions["copy"] == sessions["packed"]
    assert len(set(sessions.values())) == 3


def test_the_exchange_code_is_the_callers_choice(tmp_path: Path) -> None:
    (tmp_path / "capture").write_bytes(line(trade()))
    (record,) = BinanceCapture(tmp_path / "capture", on_bad_line=lambda _: None, exchange="BINANCE_USDM")
    assert (record.exchange, record.record["exchange"]) == ("BINANCE_USDM", "BINANCE_USDM")


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> tuple[bytes, list[FeedRecord], Path]:
    path = tmp_path_factory.mktemp("cut") / "capture.gz"
    write_capture(SyntheticExchange(SyntheticSettings(records=1_500)), path)
    records = list(BinanceCapture(path, on_bad_line=lambda bad_line: pytest.fail(str(bad_line))))
    return path.read_bytes(), records, path.with_name("damaged.gz")


@settings(deadline=None, max_examples=60)
@given(data=st.data())
def test_a_capture_cut_anywhere_yields_records_that_were_there_and_then_an_error(
    written: tuple[bytes, list[FeedRecord], Path], data: st.DataObject
) -> None:
    content, whole, path = written
    path.write_bytes(content[: data.draw(st.integers(0, len(content) - 1))])
    bad_lines: list[BadLine] = []
    records: list[FeedRecord] = []
    with pytest.raises(CaptureError, match="line "):
        records.extend(BinanceCapture(path, on_bad_line=bad_lines.append))
    # list.extend keeps what came before the error.
    sent = [{**record.record, "session": ""} for record in whole[: len(records)]]
    assert [{**record.record, "session": ""} for record in records] == sent
    assert bad_lines == []


def test_prices_read_as_the_numbers_that_were_sent(tmp_path: Path) -> None:
    record = read_one(tmp_path / "capture", trade(p="0.1000000000", q="123456789012345678.0000000001"))
    assert Decimal(record["price"]) == Decimal("0.1")
    assert Decimal(record["quantity"]) == Decimal("123456789012345678.0000000001")
