"""The reader against recordings of the real exchange, where they are at hand.

They are looked for in the folder K2_CAPTURES names, else in shared/data beside the project.
"""

import os
from functools import cache
from itertools import accumulate, pairwise
from pathlib import Path

import pytest

from k2.feeds.binance import BinanceCapture, CaptureStatistics
from k2.feeds.feed import FeedRecord
from k2.feeds.inversions import EventTimeInversions

PROJECT_ROOT = Path(__file__).resolve().parents[2]
RECORDINGS = Path(os.environ.get("K2_CAPTURES", PROJECT_ROOT.parent / "shared" / "data"))
SPOT = ("binance_spot/btcusdt_20240808.gz", "binance_spot/btcusdt_20240809.gz")
FUTURES = "binance_usdm/ethusdt_20240808.gz"


@cache
def read(name: str) -> tuple[list[FeedRecord], CaptureStatistics]:
    path = RECORDINGS / name
    if not path.is_file():
        pytest.skip(f"the recording {name} is not there; point K2_CAPTURES at the folder that holds it")
    capture = BinanceCapture(path, on_bad_line=lambda bad_line: pytest.fail(str(bad_line)))
    records = list(capture)
    return records, capture.statistics


def test_two_spot_recordings_hold_what_was_counted_by_hand() -> None:
    statistics = [read(name)[1] for name in SPOT]
    assert sum(one.lines for one in statistics) == 99_574
    assert sum(one.trades for one in statistics) == 19_904
    assert sum(one.quotes for one in statistics) == 73_174
    assert sum(one.depth for one in statistics) == 6_495
    # The one line that belongs to no stream is the order book the recorder fetched to start from.
    assert sum(one.depth_snapshots for one in statistics) == 1
    assert sum(one.subscription_replies for one in statistics) == 0
    assert all(one.event_time_inversions == EventTimeInversions() for one in statistics)


def test_spot_trade_ids_have_no_gap_across_the_two_files() -> None:
    numbers = [record.record["source_sequence"] for name in SPOT for record in read(name)[0] if is_trade(record)]
    assert len(numbers) == 19_904
    assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))


def test_the_update_id_of_quotes_is_no_sequence() -> None:
    records, _ = read(SPOT[0])
    identifiers = [int(record.record["quote_id"]) for record in records if not is_trade(record)]
    steps = [later - earlier for earlier, later in pairwise(identifiers)]
    assert min(steps) >= 1
    assert sum(step > 1 for step in steps) > len(steps) / 2


def test_two_recordings_are_two_sessions() -> None:
    sessions = {read(name)[0][0].record["session"] for name in (*SPOT, FUTURES)}
    assert len(sessions) == 3


def test_the_futures_recording_holds_what_was_counted_by_hand() -> None:
    records, statistics = read(FUTURES)
    by_event = EventTimeInversions(between_neighbours=464, against_maximum=3_082, largest_ns=35_000_000)
    by_sending = EventTimeInversions(between_neighbours=508, against_maximum=3_432, largest_ns=36_000_000)
    assert statistics == CaptureStatistics(
        trades=14_076,
        quotes=53_992,
        lines=74_655,
        depth=6_586,
        depth_snapshots=1,
        event_time_inversions=by_event,
        send_time_inversions=by_sending,
    )
    assert sum(statistics.by_kind.values()) == statistics.lines
    numbers = [record.record["source_sequence"] for record in records if is_trade(record)]
    assert numbers == list(range(numbers[0], numbers[0] + 14_076))


def test_the_time_of_sending_is_kept_and_runs_backwards_more_often_than_the_time_of_the_event() -> None:
    records, _ = read(FUTURES)
    sent_ms = [int(record.record["vendor_data"]["E"]) for record in records]
    latest_ms = accumulate(sent_ms, max)
    assert sum(sent < latest for sent, latest in zip(sent_ms, latest_ms, strict=True)) == 3_432


def is_trade(record: FeedRecord) -> bool:
    return record.data_type == "trades"
