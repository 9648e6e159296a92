"""What is common to all feeds."""

from dataclasses import FrozenInstanceError
from pathlib import Path

import pytest

from k2.feeds.binance import BinanceCapture
from k2.feeds.capture_writer import write_capture
from k2.feeds.feed import Feed, FeedRecord, SessionCounter
from k2.feeds.synthetic import SyntheticExchange, SyntheticSettings
from k2.records.definition import RECORD_TYPES


@pytest.fixture(params=["synthetic", "synthetic with numbered quotes", "capture"])
def feed(request: pytest.FixtureRequest, tmp_path: Path) -> Feed:
    exchange = SyntheticExchange(SyntheticSettings(records=2_000, one_sided_rate=0.1))
    if request.param == "synthetic":
        return exchange
    if request.param == "synthetic with numbered quotes":
        return SyntheticExchange(SyntheticSettings(records=2_000, sequenced_quotes=True))
    path = tmp_path / "capture.gz"
    write_capture(exchange, path)
    return BinanceCapture(path, on_bad_line=lambda bad_line: pytest.fail(str(bad_line)))


def test_session_sequences_count_from_one_for_each_key() -> None:
    counter = SessionCounter()
    assert [counter.next("trades", "BINANCE", "BTCUSDT") for _ in range(3)] == [1, 2, 3]
    assert counter.next("quotes", "BINANCE", "BTCUSDT") == 1
    assert counter.next("trades", "ASX", "BTCUSDT") == 1
    assert counter.next("trades", "BINANCE", "ETHUSDT") == 1
    assert counter.next("trades", "BINANCE", "BTCUSDT") == 4


def test_a_feed_record_cannot_be_changed() -> None:
    record = FeedRecord("trades", "crypto", "BINANCE", {})
    with pytest.raises(FrozenInstanceError):
        record.exchange = "ASX"  # type: ignore[misc]


def test_every_record_has_exactly_the_fields_of_its_type(feed: Feed) -> None:
    records = list(feed)
    assert {record.data_type for record in records} == {"trades", "quotes"}
    for record in records:
        assert set(record.record) == {field.name for field in RECORD_TYPES[record.data_type].fields}


def test_only_nullable_fields_are_null_and_no_field_is_a_float(feed: Feed) -> None:
    for record in feed:
        for field in RECORD_TYPES[record.data_type].fields:
            value = record.record[field.name]
            assert value is not None or field.nullable, field.name
            assert not isinstance(value, float), field.name


def test_the_envelope_says_the_same_as_the_record(feed: Feed) -> None:
    for record in feed:
        assert (record.asset_class, record.exchange) == (record.record["asset_class"], record.record["exchange"])


def test_session_sequences_have_no_hole_and_sessions_do_not_change(feed: Feed) -> None:
    expected = SessionCounter()
    records = list(feed)
    for record in records:
        position = expected.next(record.data_type, record.exchange, record.record["symbol"])
        assert record.record["session_sequence"] == position
    assert len({record.record["session"] for record in records}) == 1


def test_a_second_iteration_gives_the_same_records_and_counts_anew(feed: Feed) -> None:
    first = list(feed)
    first_statistics = feed.statistics
    assert list(feed) == first
    assert feed.statistics == first_statistics
    assert first_statistics.trades + first_statistics.quotes == len(first)
    assert first_statistics.trades == sum(record.data_type == "trades" for record in first)
