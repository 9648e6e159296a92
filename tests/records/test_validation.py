"""The validation rules one by one: the last value each lets pass, and the first it does not."""

from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest

from k2.records.definition import QUOTE, TRADE, RecordType
from k2.records.schemas import arrow_schema
from k2.records.validation import (
    EARLIEST_EVENT_TIME_NS,
    LATEST_EVENT_AFTER_RECEIPT_NS,
    NO_FLAG,
    Action,
    QualityFlag,
    rules_for,
)

TIME_NS = 1_763_000_000_000_000_000
TICK = Decimal("0.0000000001")
COMMON = {
    "session": "session-1",
    "session_sequence": 1,
    "exchange": "BINANCE",
    "symbol": "BTCUSDT",
    "asset_class": "crypto",
    "event_time_ns": TIME_NS,
    "receive_time_ns": TIME_NS,
    "source_sequence": None,
    "venue": None,
    "conditions": None,
    "vendor_data": [],
}
SOUND: dict[str, dict[str, Any]] = {
    "trades": {**COMMON, "trade_id": None, "price": TICK, "quantity": TICK, "side": "BUY"},
    "quotes": {
        **COMMON,
        "quote_id": None,
        "bid_price": Decimal(1),
        "bid_quantity": Decimal(0),
        "ask_price": Decimal(1),
        "ask_quantity": Decimal(0),
    },
}
TYPES = pytest.mark.parametrize("record_type", [TRADE, QUOTE], ids=["trades", "quotes"])


def broken(record_type: RecordType, *changes: dict[str, Any]) -> list[list[str]]:
    """Names of the rules each row breaks, a row being a sound record with changes."""
    rows = [{**SOUND[record_type.data_type], **change} for change in changes]
    batch = pa.RecordBatch.from_pylist(rows, schema=arrow_schema(record_type))
    verdicts = {rule.name: rule.broken(batch).tolist() for rule in rules_for(record_type)}
    return [[name for name, mask in verdicts.items() if mask[row]] for row in range(len(rows))]


@TYPES
def test_a_sound_record_breaks_no_rule(record_type: RecordType) -> None:
    assert broken(record_type, {}) == [[]]


@TYPES
def test_an_empty_batch_breaks_no_rule(record_type: RecordType) -> None:
    assert broken(record_type) == []


@TYPES
def test_an_empty_symbol_is_refused(record_type: RecordType) -> None:
    assert broken(record_type, {"symbol": ""}, {"symbol": " "}) == [["empty_symbol"], []]


@TYPES
@pytest.mark.parametrize(
    ("event_time_ns", "receive_time_ns", "sound"),
    [
        (EARLIEST_EVENT_TIME_NS, TIME_NS, True),
        (EARLIEST_EVENT_TIME_NS - 1, TIME_NS, False),
        (0, TIME_NS, False),
        (-(2**63), TIME_NS, False),
        (TIME_NS + LATEST_EVENT_AFTER_RECEIPT_NS, TIME_NS, True),
        (TIME_NS + LATEST_EVENT_AFTER_RECEIPT_NS + 1, TIME_NS, False),
        (2**63 - 1, TIME_NS, False),
        (TIME_NS, EARLIEST_EVENT_TIME_NS - 1, False),
        (EARLIEST_EVENT_TIME_NS, EARLIEST_EVENT_TIME_NS, True),
        (2**63 - 1, 2**63 - 1, True),
    ],
)
def test_a_time_before_2000_or_far_after_receipt_is_refused(
    record_type: RecordType, event_time_ns: int, receive_time_ns: int, sound: bool
) -> None:
    found = broken(record_type, {"event_time_ns": event_time_ns, "receive_time_ns": receive_time_ns})
    assert found == [[] if sound else ["event_time_out_of_range"]]


@TYPES
def test_session_numbers_begin_at_one(record_type: RecordType) -> None:
    found = broken(record_type, *[{"session_sequence": number} for number in (1, 0, -1, -(2**63))])
    assert found == [[], *[["bad_session_sequence"]] * 3]


@pytest.mark.parametrize("column", ["price", "quantity"])
def test_a_trades_price_and_quantity_are_above_zero(column: str) -> None:
    found = broken(TRADE, {column: TICK}, {column: Decimal(0)}, {column: -TICK})
    assert found == [[], [f"{column}_not_positive"], [f"{column}_not_positive"]]


@pytest.mark.parametrize("column", ["bid_price", "bid_quantity", "ask_price", "ask_quantity"])
def test_a_quotes_prices_and_quantities_may_be_zero_or_missing_but_not_negative(column: str) -> None:
    uncrossed = {"bid_price": Decimal(0), "ask_price": Decimal(0)}
    found = broken(QUOTE, {**uncrossed, column: Decimal(0)}, {column: None}, {**uncrossed, column: -TICK})
    crossed = ["crossed_quote"] if column == "ask_price" else []
    assert found == [[], [], [f"{column}_negative", *crossed]]


def test_a_quote_is_crossed_only_with_its_bid_above_its_ask() -> None:
    found = broken(QUOTE, {"bid_price": 1 + TICK}, {"bid_price": Decimal(1)}, {"bid_price": None}, {"ask_price": None})
    assert found == [["crossed_quote"], [], [], []]


def test_only_a_crossed_quote_is_flagged_and_all_else_refused() -> None:
    flagged = {rule.name: rule.flag for rule in rules_for(QUOTE) if rule.action is Action.FLAG}
    assert flagged == {"crossed_quote": QualityFlag.CROSSED_QUOTE}
    refused = [rule for kind in (TRADE, QUOTE) for rule in rules_for(kind) if rule.action is Action.REJECT]
    assert {rule.flag for rule in refused} == {NO_FLAG}


def test_the_flags_are_those_that_stored_rows_hold() -> None:
    assert {flag.name: flag.value for flag in QualityFlag} == {
        "LATE": 1,
        "CROSSED_QUOTE": 2,
        "UNKNOWN_WHETHER_SEEN": 4,
    }


def test_one_broken_row_leaves_its_neighbours_sound() -> None:
    found = broken(TRADE, {}, {"symbol": "", "price": Decimal(0)}, {})
    assert found == [[], ["empty_symbol", "price_not_positive"], []]
