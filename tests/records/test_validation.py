"""The validation rules one by one: the last value each lets pass, and the first it does not."""

from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest

from k2.records.definition import QUOTE, RECORD_TYPES, REFERENCE_DATA, TRADE, RecordType
from k2.records.schemas import arrow_schema
from k2.records.validation import (
    CLOCKS_APART_NS,
    EARLIEST_TIME_NS,
    LATEST_EVENT_AFTER_RECEIPT_NS,
    LATEST_TIME_NS,
    MAXIMUM_NAME_CHARACTERS,
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
    "vendor_data": [],
}
SOUND: dict[str, dict[str, Any]] = {
    "trades": {**COMMON, "trade_id": None, "price": TICK, "quantity": TICK, "side": "BUY", "conditions": None},
    "quotes": {
        **COMMON,
        "quote_id": None,
        "bid_price": Decimal(1),
        "bid_quantity": Decimal(0),
        "ask_price": Decimal(1),
        "ask_quantity": Decimal(0),
        "conditions": None,
    },
    "reference_data": {
        **COMMON,
        "name": "Bitcoin",
        "isin": None,
        "currency": "USDT",
        "tick_size": TICK,
        "lot_size": None,
        "listing_status": "ACTIVE",
        "listed_at_ns": None,
        "delisted_at_ns": None,
        "valid_from_ns": TIME_NS,
    },
}
TYPES = pytest.mark.parametrize("record_type", RECORD_TYPES.values(), ids=lambda record_type: record_type.data_type)


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


LONGEST = "x" * MAXIMUM_NAME_CHARACTERS
UNPRINTABLE = {
    "NUL": "BTC\x00USDT",
    "a line end": "BTC\nUSDT",
    "a delete": "BTC\x7f",
    "a C1 control": "BTC\x85",
    "a right-to-left override": "BTC\u202eTDSU",
    "a zero width joiner": "BTC\u200dUSDT",
    "a line separator": "BTC\u2028USDT",
    "a byte order mark": "\ufeffBTCUSDT",
    "a megabyte": "B" * 2**20,
    "one too many": f"{LONGEST}x",
}


@TYPES
@pytest.mark.parametrize("text", UNPRINTABLE.values(), ids=UNPRINTABLE)
def test_a_symbol_or_session_nobody_could_ask_for_is_refused(record_type: RecordType, text: str) -> None:
    found = broken(record_type, {"symbol": text}, {"session": text}, {})
    assert found == [["unusable_symbol"], ["unusable_session"], []]


@TYPES
@pytest.mark.parametrize(
    "text", [LONGEST, "\U0001f600" * MAXIMUM_NAME_CHARACTERS, "شركة", "größer", "BRK.B", "' OR 1=1"]
)
def test_any_text_that_can_be_printed_is_a_symbol(record_type: RecordType, text: str) -> None:
    assert broken(record_type, {"symbol": text}, {"session": text}) == [[], []]


@TYPES
def test_a_session_has_a_name(record_type: RecordType) -> None:
    assert broken(record_type, {"session": ""}) == [["unusable_session"]]


@TYPES
@pytest.mark.parametrize("exchange", ["", "binance", "BINANCE ", "MTGOX", "../ASX", "X" * 2**20])
def test_an_exchange_nobody_knows_is_refused(record_type: RecordType, exchange: str) -> None:
    assert broken(record_type, {"exchange": exchange}, {"exchange": "ASX"}) == [["unknown_exchange"], []]


def test_the_settings_may_know_other_exchanges() -> None:
    row = {**SOUND["trades"], "exchange": "MTGOX"}
    batch = pa.RecordBatch.from_pylist([row, SOUND["trades"]], schema=arrow_schema(TRADE))
    (rule,) = [rule for rule in rules_for(TRADE, ["MTGOX"]) if rule.name == "unknown_exchange"]
    assert rule.broken(batch).tolist() == [False, True]


@TYPES
def test_text_is_judged_alike_in_a_dictionary_and_plain(record_type: RecordType) -> None:
    rows = [{**SOUND[record_type.data_type], "symbol": symbol} for symbol in ("A", "", "B", "\n", "A")]
    encoded = pa.RecordBatch.from_pylist(rows, schema=arrow_schema(record_type))
    position = encoded.schema.get_field_index("symbol")
    plain = encoded.set_column(position, "symbol", encoded.column("symbol").cast(pa.string()))
    for rule in rules_for(record_type):
        assert rule.broken(encoded).tolist() == rule.broken(plain).tolist()


RANGE, APART = ["event_time_out_of_range"], ["event_after_receipt"]
FUTURE = ["event_time_in_future", "event_after_receipt"]


@TYPES
@pytest.mark.parametrize(
    ("event_time_ns", "receive_time_ns", "expected"),
    [
        (EARLIEST_TIME_NS, TIME_NS, []),
        (EARLIEST_TIME_NS - 1, TIME_NS, RANGE),
        (0, TIME_NS, RANGE),
        (-(2**63), TIME_NS, RANGE),
        (TIME_NS + CLOCKS_APART_NS, TIME_NS, []),
        (TIME_NS + CLOCKS_APART_NS + 1, TIME_NS, APART),
        (TIME_NS + LATEST_EVENT_AFTER_RECEIPT_NS, TIME_NS, APART),
        (TIME_NS + LATEST_EVENT_AFTER_RECEIPT_NS + 1, TIME_NS, FUTURE),
        (LATEST_TIME_NS, LATEST_TIME_NS, []),
        (LATEST_TIME_NS, LATEST_TIME_NS + 1, RANGE),
        (LATEST_TIME_NS + 1, LATEST_TIME_NS, RANGE),
        (2**63 - 1, TIME_NS, [*RANGE, *FUTURE]),
        (2**63 - 1, 2**63 - 1, [*RANGE, *FUTURE]),
        (TIME_NS, EARLIEST_TIME_NS - 1, [*RANGE, *FUTURE]),
        (EARLIEST_TIME_NS, EARLIEST_TIME_NS, []),
        (TIME_NS // 1_000_000, TIME_NS // 1_000_000, RANGE),
    ],
)
def test_times_lie_in_this_century_and_an_event_before_its_receipt(
    record_type: RecordType, event_time_ns: int, receive_time_ns: int, expected: list[str]
) -> None:
    found = broken(record_type, {"event_time_ns": event_time_ns, "receive_time_ns": receive_time_ns})
    assert found == [expected]


@TYPES
def test_session_numbers_begin_at_one(record_type: RecordType) -> None:
    found = broken(record_type, *[{"session_sequence": number} for number in (1, 0, -1, -(2**63))])
    assert found == [[], *[["bad_session_sequence"]] * 3]


@pytest.mark.parametrize("column", ["price", "quantity"])
def test_a_trades_price_and_quantity_are_above_zero(column: str) -> None:
    found = broken(TRADE, {column: TICK}, {column: Decimal(0)}, {column: -TICK})
    assert found == [[], [f"{column}_not_positive"], [f"{column}_not_positive"]]


@pytest.mark.parametrize("column", ["tick_size", "lot_size"])
def test_a_step_is_above_zero_or_unknown(column: str) -> None:
    found = broken(REFERENCE_DATA, {column: TICK}, {column: None}, {column: Decimal(0)}, {column: -TICK})
    assert found == [[], [], [f"{column}_not_positive"], [f"{column}_not_positive"]]


@pytest.mark.parametrize("column", ["bid_price", "bid_quantity", "ask_price", "ask_quantity"])
def test_a_quotes_prices_and_quantities_are_not_negative(column: str) -> None:
    (found,) = broken(QUOTE, {column: -TICK})
    assert found[0] == f"{column}_negative"


@pytest.mark.parametrize("column", ["bid_price", "ask_price"])
def test_a_price_of_zero_is_no_quote_and_flagged(column: str) -> None:
    assert broken(QUOTE, {column: Decimal(0)}) == [["zero_price"]]


@pytest.mark.parametrize("side", ["bid", "ask"])
def test_a_side_is_there_or_not_but_never_by_half(side: str) -> None:
    price, quantity = f"{side}_price", f"{side}_quantity"
    found = broken(QUOTE, {price: None}, {quantity: None}, {price: None, quantity: None})
    assert found == [["half_a_side"], ["half_a_side"], []]


def test_a_quote_is_crossed_only_with_its_bid_above_its_ask() -> None:
    no_bid, no_ask = {"bid_price": None, "bid_quantity": None}, {"ask_price": None, "ask_quantity": None}
    found = broken(QUOTE, {"bid_price": 1 + TICK}, {"bid_price": Decimal(1)}, no_bid, no_ask, no_bid | no_ask)
    assert found == [["crossed_quote"], [], [], [], []]


@pytest.mark.parametrize("record_type", RECORD_TYPES.values(), ids=lambda record_type: record_type.data_type)
def test_a_rule_that_flags_is_named_after_its_flag_and_no_other_rule_has_one(record_type: RecordType) -> None:
    for rule in rules_for(record_type):
        if rule.action is Action.FLAG:
            assert rule.name == str(rule.flag.name).lower()
        else:
            assert rule.flag == NO_FLAG


def test_the_flags_are_those_that_stored_rows_hold() -> None:
    assert {flag.name: flag.value for flag in QualityFlag} == {
        "LATE": 1,
        "CROSSED_QUOTE": 2,
        "UNKNOWN_WHETHER_SEEN": 4,
        "EVENT_AFTER_RECEIPT": 8,
        "ZERO_PRICE": 16,
        "HALF_A_SIDE": 32,
    }


def test_one_broken_row_leaves_its_neighbours_sound() -> None:
    found = broken(TRADE, {}, {"symbol": "", "price": Decimal(0)}, {})
    assert found == [[], ["empty_symbol", "price_not_positive"], []]
