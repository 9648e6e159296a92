"""When two messages are the same record: by the exchange's id and all the exchange said, whatever the delivery."""

from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from k2.feeds.feed import EVENT_TIME_SOURCE, RECEIVE_TIME_SOURCE
from k2.ingestion.record_identity import (
    SCHEMA,
    RecordIdentities,
    equal_identities,
    identity_hashes,
    joined_identities,
)
from k2.records.definition import QUOTE, REFERENCE_DATA, TRADE, RecordType
from tests.ingestion.market_records import EVENT_TIME_NS, columns, quote, trade

QUOTED = {"quote_id": "4711", "event_time_ns": EVENT_TIME_NS}
CONTENTS = [7824501307492618826, 4814265817735493784]
"""What was written for the two quotes of that test from the first release on."""
STANDS_IN = {"receive_time_ns": EVENT_TIME_NS, "vendor_data": {"E": "1", EVENT_TIME_SOURCE: "receive"}}


def identities(*records: dict[str, Any], record_type: RecordType = QUOTE) -> pa.RecordBatch:
    read, batch = RecordIdentities(record_type), columns(*records, record_type=record_type)
    chosen = read.identified(batch)
    assert chosen is not None
    return read.of(batch, chosen)


def same(one: dict[str, Any], other: dict[str, Any], record_type: RecordType = QUOTE) -> bool:
    """Whether two records are one; hash and comparison must agree."""
    both = identities(one, other, record_type=record_type)
    hashes = identity_hashes(both)
    equal = bool(equal_identities(both.slice(0, 1), both.slice(1, 1))[0])
    assert equal == bool(hashes[0] == hashes[1])
    return equal


@pytest.mark.parametrize(
    "changes",
    [
        {"session": "another", "session_sequence": 77},
        {"receive_time_ns": EVENT_TIME_NS + 5_000_000_000},
        {"vendor_data": {"E": "123", "latency": "5"}},
    ],
)
def test_another_delivery_of_a_record_is_the_same_record(changes: dict[str, Any]) -> None:
    assert same(quote(1, **QUOTED), {**quote(1, **QUOTED), **changes})


@pytest.mark.parametrize(
    "changes",
    [
        {"quote_id": "4712"},
        {"quote_id": "04711"},
        {"symbol": "ETHUSDT"},
        {"exchange": "ASX"},
        {"bid_price": "99.6"},
        {"bid_price": "-99.5"},
        {"bid_price": None},
        {"bid_price": None, "bid_quantity": "99.5"},
        {"bid_quantity": "99.5", "bid_price": "1"},
        {"bid_price": "100.5", "ask_price": "99.5"},
        {"ask_quantity": "184467440737095516.15"},
        {"venue": "X"},
        {"conditions": "X"},
        {"event_time_ns": EVENT_TIME_NS + 1},
    ],
)
def test_whatever_the_exchange_says_differently_is_another_record(changes: dict[str, Any]) -> None:
    assert not same(quote(1, **QUOTED), quote(1, **{**QUOTED, **changes}))


def test_venue_and_conditions_are_not_taken_for_one_another() -> None:
    assert not same(quote(1, **QUOTED, venue="X"), quote(1, **QUOTED, conditions="X"))


def test_a_trade_of_the_other_side_is_another_record() -> None:
    told: dict[str, Any] = {"trade_id": "9", "event_time_ns": EVENT_TIME_NS}
    assert same(trade(1, **told), trade(2, **told), TRADE)
    assert not same(trade(1, **told), trade(2, **told, side="SELL"), TRADE)


def test_a_time_of_receipt_that_stands_in_for_the_event_is_no_part_of_the_record() -> None:
    later = {**STANDS_IN, "event_time_ns": EVENT_TIME_NS + 9, "receive_time_ns": EVENT_TIME_NS + 9}
    assert same(quote(1, **QUOTED, **STANDS_IN), quote(1, **{**QUOTED, **later}))


def test_a_time_of_the_event_that_stands_in_for_receipt_is() -> None:
    stands_in = {"vendor_data": {RECEIVE_TIME_SOURCE: "event"}}
    first = quote(1, **QUOTED, receive_time_ns=EVENT_TIME_NS, **stands_in)
    next_day = quote(
        1, quote_id="4711", event_time_ns=EVENT_TIME_NS + 1, receive_time_ns=EVENT_TIME_NS + 1, **stands_in
    )
    assert not same(first, next_day)


def test_which_row_says_so_is_found_among_rows_with_other_entries() -> None:
    rows = [
        quote(1, **QUOTED, receive_time_ns=EVENT_TIME_NS, vendor_data={}),
        quote(2, **QUOTED, **STANDS_IN),
        quote(3, **QUOTED, receive_time_ns=EVENT_TIME_NS, vendor_data={"a": "1", "b": "2"}),
        quote(4, **QUOTED, **STANDS_IN),
    ]
    whole = identities(*rows).column("content").to_pylist()
    assert whole[0] == whole[2]
    assert whole[1] == whole[3] != whole[0]
    read, batch = RecordIdentities(QUOTE), columns(*rows, record_type=QUOTE)
    for start in range(4):
        part = batch.slice(start)
        assert read.of(part, np.ones(len(part), np.bool_)).column("content").to_pylist() == whole[start:]


def test_records_with_a_number_or_without_an_id_have_no_identity() -> None:
    rows = [quote(1, quote_id="1"), quote(2), quote(3, quote_id="3", source_sequence=3), quote(4, quote_id="4")]
    batch = columns(*rows, record_type=QUOTE)
    chosen = RecordIdentities(QUOTE).identified(batch)
    assert chosen is not None
    assert chosen.tolist() == [True, False, False, True]
    assert RecordIdentities(QUOTE).of(batch, chosen).column("identifier").to_pylist() == ["1", "4"]
    numbered = columns(trade(1, 1, trade_id="1"))
    assert RecordIdentities(TRADE).identified(numbered) is None
    assert RecordIdentities(QUOTE).identified(columns(quote(1), record_type=QUOTE)) is None
    assert REFERENCE_DATA.identifier is None


def test_hashes_are_the_same_in_every_process_and_release() -> None:
    # Checkpoints hold the contents, and a loaded window must go on recognising.
    told = identities(quote(1, **QUOTED), quote(2, **QUOTED, venue="X", conditions="@ F", bid_price=None))
    assert told.column("content").to_pylist() == CONTENTS


def test_a_hash_covers_every_letter_of_long_and_empty_texts() -> None:
    texts = ["", "0", "00", "a" * 300, "a" * 299 + "b", "b" + "a" * 299, "\x00", "ä"]
    names = [pa.array(["X"] * len(texts)).dictionary_encode()] * 2
    batch = pa.RecordBatch.from_arrays([*names, pa.array(texts), pa.array([0] * len(texts))], schema=SCHEMA)
    assert len(set(identity_hashes(batch).tolist())) == len(texts)
    assert identity_hashes(batch.slice(3)).tolist() == identity_hashes(batch).tolist()[3:]


def test_joined_identities_hold_no_memory_of_the_batch_they_came_in() -> None:
    rows = [quote(number, quote_id=str(number), symbol=f"S{number}") for number in range(1, 200)]
    whole = identities(*rows)
    one = joined_identities([whole.slice(10, 2)])
    assert one.to_pylist() == whole.to_pylist()[10:12]
    assert one.column("symbol").dictionary.to_pylist() == ["S11", "S12"]
    assert sum(buffer.size for column in one.columns for buffer in column.buffers() if buffer) < 1_000
    assert joined_identities([whole.slice(3, 1), whole.slice(9, 1)]).to_pylist() == [
        *whole.to_pylist()[3:4],
        *whole.to_pylist()[9:10],
    ]
