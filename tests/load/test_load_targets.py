"""What there is to ask for is found out by asking."""

import random
from collections.abc import Mapping
from typing import Any

import pytest

from load._targets import Target, find_targets

ROWS = [{"event_time_ns": 1_000}, {"event_time_ns": 90 * 10**9}]


def answering(symbols: list[str], rows: Mapping[str, Any]) -> Any:
    def ask(path: str, parameters: Mapping[str, Any]) -> Mapping[str, Any]:
        if path == "/v1/symbols":
            return {"data": [{"exchange": "BINANCE", "symbol": symbol} for symbol in symbols]}
        return {"data": rows.get(parameters["symbol"], [])}

    return ask


def test_instruments_without_trades_are_left_out() -> None:
    assert find_targets(answering(["A", "B"], {"B": ROWS}), 5) == [Target("BINANCE", "B", 1_000, 90 * 10**9)]


def test_no_more_instruments_are_looked_at_than_asked_for() -> None:
    assert len(find_targets(answering(["A", "B", "C"], dict.fromkeys("ABC", ROWS)), 2)) == 2


def test_an_api_without_trades_is_no_target() -> None:
    with pytest.raises(LookupError, match="feed some first"):
        find_targets(answering(["A"], {}), 5)


def test_a_window_lies_within_the_trades() -> None:
    target = Target("BINANCE", "B", 1_000, 90 * 10**9)
    for number in range(50):
        window = target.window(10.0, random.Random(number))
        assert 1_000 <= window["start_time"] <= 80 * 10**9
        assert window["end_time"] - window["start_time"] == 10 * 10**9


def test_a_window_longer_than_the_trades_begins_with_them() -> None:
    assert Target("BINANCE", "B", 5, 10).window(10.0, random.Random(1))["start_time"] == 5
