"""The truth about a feed as a file: exactly what was handed on, told line by line."""

from collections import Counter
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import orjson
import pytest

from conformance.drivers.truth_file import read_truth_file
from k2.errors import UsageError
from k2.feeds.synthetic import SyntheticExchange, SyntheticSettings
from k2.feeds.synthetic_markets import MARKETS, SyntheticMarkets, with_own_seeds
from k2.feeds.truth_file import TruthFile

FAULTY = SyntheticSettings(
    seed=3, symbols=("BTCUSDT", "ETHUSDT"), records=8_000, gap_rate=0.02, duplicate_rate=0.02, reorder_rate=0.02,
    largest_delay=40, reset_every=1_001, bad_rate=0.02,
)  # fmt: skip


def lines_of(path: Path) -> list[dict[str, Any]]:
    return [orjson.loads(line) for line in path.read_bytes().splitlines()]


def write(path: Path, settings: SyntheticSettings, taken: int | None = None) -> list[dict[str, Any]]:
    with TruthFile(path) as truth:
        for _ in islice(SyntheticMarkets([settings], None, truth), taken):
            pass
    return lines_of(path)


def test_the_lines_are_the_exchanges_own_truth(tmp_path: Path) -> None:
    exchange = SyntheticExchange(FAULTY)
    lines = write(tmp_path / "truth", FAULTY)
    truth = exchange.truth()
    kinds = Counter(line["kind"] for line in lines)
    names = {"gap": "gaps", "duplicate": "duplicates", "reordering": "reorderings", "reset": "resets"}
    assert {name: kinds[kind] for kind, name in names.items()} == truth.faults
    assert min(truth.faults.values()) > 1
    assert kinds["bad_record"] == sum(bool(planted.defect) for _, planted in exchange.planted())
    planted = {
        (line["data_type"], line["symbol"], line["numbering"], line["first_missing"], line["last_missing"])
        for line in lines
        if line["kind"] == "gap"
    }
    assert planted == {
        (key.data_type, key.symbol, gap.numbering, gap.first, gap.last) for key in truth.keys for gap in key.missing
    }
    for line in lines:
        if line["kind"] == "key":
            (key,) = (one for one in truth.keys if (one.data_type, one.exchange, one.symbol) == key_of(line))
            assert line["records"] == len(key.events)
            assert line["events"] == Counter(event or "NONE" for event in key.events)


def key_of(line: dict[str, Any]) -> tuple[str, str, str]:
    return line["data_type"], line["exchange"], line["symbol"]


def test_each_fault_points_to_the_record_that_has_it(tmp_path: Path) -> None:
    exchange = SyntheticExchange(FAULTY)
    records = {(*key_of_item(item), item.record["session_sequence"]): item.record for item in exchange}
    events = {(key.data_type, key.exchange, key.symbol): key.events for key in exchange.truth().keys}
    expected = {"gap": "GAP", "duplicate": "DUPLICATE", "reordering": "OUT_OF_ORDER", "reset": "SESSION_RESET"}
    for line in write(tmp_path / "truth", FAULTY):
        if line["kind"] in expected:
            place = (*key_of(line), line["session_sequence"])
            assert events[key_of(line)][line["session_sequence"] - 1] == expected[line["kind"]]
            assert records[place]["source_sequence"] == line["source_sequence"]
            if line["kind"] == "gap":
                assert line["last_missing"] == line["source_sequence"] - 1
            if line["kind"] == "reordering":
                assert events[key_of(line)][line["overtaken_at"] - 1] == "GAP"


def key_of_item(item: Any) -> tuple[str, str, str]:
    return item.data_type, item.exchange, item.record["symbol"]


@pytest.mark.parametrize("taken", [0, 1, 500, 5_003])
def test_a_feed_that_was_stopped_is_described_up_to_what_was_taken(tmp_path: Path, taken: int) -> None:
    stopped = write(tmp_path / "stopped", FAULTY, taken)
    whole = write(tmp_path / "whole", replace(FAULTY, records=taken))
    described = [
        [{name: value for name, value in line.items() if name not in ("session", "settings")} for line in lines]
        for lines in (stopped, whole)
    ]
    assert described[0] == described[1]
    assert stopped[-1]["records"] == taken


def test_the_harness_reads_what_was_written_and_notices_a_file_that_was_cut_off(tmp_path: Path) -> None:
    path = tmp_path / "truth"
    lines = write(path, FAULTY)
    truth = read_truth_file(path)
    assert truth.is_complete
    assert truth.planted.num_rows == sum(line["kind"] in set(truth.planted["kind"].to_pylist()) for line in lines)
    assert set(truth.clock_skews_ns) == {("BINANCE", "BTCUSDT"), ("BINANCE", "ETHUSDT")}
    numbered = {
        (row["data_type"], row["is_numbered"]) for row in truth.keys.to_pylist() if row["exchange"] == "BINANCE"
    }
    assert ("trades", True) in numbered
    assert ("quotes", True) not in numbered
    content = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(content[:-1]))
    assert not read_truth_file(path).is_complete
    path.write_bytes(b"".join(content[:5] + content[6:]))
    assert not read_truth_file(path).is_complete


def test_several_markets_come_in_the_order_they_are_received_and_are_described_to_the_last(tmp_path: Path) -> None:
    chosen = with_own_seeds([MARKETS["binance"], MARKETS["asx"]], 5)
    with TruthFile(tmp_path / "truth") as truth:
        markets = SyntheticMarkets(chosen, 3_000, truth)
        records = list(markets)
    lines = lines_of(tmp_path / "truth")
    assert len(records) == 3_000 == lines[-1]["records"]
    times = [item.record["receive_time_ns"] for item in records]
    assert times == sorted(times)
    by_exchange = Counter((item.exchange, item.asset_class) for item in records)
    assert set(by_exchange) == {("BINANCE", "crypto"), ("ASX", "equities")}
    assert min(by_exchange.values()) > 1_000
    assert (markets.statistics.trades, markets.statistics.quotes) == (
        sum(item.data_type == "trades" for item in records),
        sum(item.data_type == "quotes" for item in records),
    )
    assert [item.record for item in records] == [item.record for item in SyntheticMarkets(chosen, 3_000)]


def test_one_market_is_the_exchange_it_always_was() -> None:
    settings = replace(MARKETS["binance"], records=500)
    assert list(SyntheticMarkets([settings], 500)) == list(SyntheticExchange(settings))


def test_a_file_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="the truth cannot be written: Is a directory"):
        TruthFile(tmp_path)
