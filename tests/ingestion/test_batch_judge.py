"""What a decoded batch becomes: rows, rejects, flags and counts, and the state that carries over to the next."""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pyarrow as pa
import pytest

from k2.errors import ProgressError
from k2.ingestion.judging import JudgedBatch, PartitionState
from k2.ingestion.log_reader import Place
from k2.ingestion.sequence_tracker import SequenceEvent
from k2.records.definition import QUOTE, TRADE, topic
from k2.records.schemas import TIMESTAMP_TYPE, table_schema
from k2.records.validation import QualityFlag
from k2.settings import SequenceSettings
from tests.ingestion.market_records import (
    CRYPTO_TRADES,
    EVENT_TIME_NS,
    HERE,
    REGISTRY,
    Judged,
    encoded,
    numbers,
    quote,
    trade,
    trades,
)

LATE = int(QualityFlag.LATE)


@pytest.fixture
def judge() -> Judged:
    return Judged()


def flags(judged: JudgedBatch) -> list[int]:
    found: list[int] = judged.rows.column("quality_flags").to_pylist()
    return found


def sequence_events(judged: JudgedBatch) -> list[str | None]:
    found: list[str | None] = judged.rows.column("sequence_event").to_pylist()
    return found


def test_a_capture_fed_again_in_the_same_session_adds_nothing(judge: Judged) -> None:
    capture = trades(1, 50)
    assert numbers(judge.batch(*capture)) == list(range(1, 51))
    again = judge.batch(*capture)
    assert again.rows.num_rows == 0
    assert again.duplicates == 50


def test_a_long_capture_fed_again_is_no_session_reset(judge: Judged) -> None:
    capture = trades(1, 3_000)
    judge.batch(*capture)
    again = judge.batch(*capture)
    assert (again.rows.num_rows, again.duplicates) == (0, 3_000)
    assert not any(again.events.values())


def test_records_repeated_in_one_batch_are_taken_once(judge: Judged) -> None:
    judged = judge.batch(trade(1, 1), trade(2, 2), trade(1, 1), trade(3, 3), trade(3, 3))
    assert numbers(judged) == [1, 2, 3]
    assert judged.duplicates == 2


def test_a_second_session_is_deduplicated_by_the_exchanges_numbers(judge: Judged) -> None:
    judge.batch(*trades(1, 10))
    judged = judge.batch(*[trade(number, number + 5, session="session-2") for number in range(1, 11)])
    assert numbers(judged) == [6, 7, 8, 9, 10]
    assert judged.duplicates == 5


def test_without_numbers_of_the_exchange_a_second_session_is_all_new(judge: Judged) -> None:
    judge.batch(*[trade(number) for number in range(1, 6)])
    judged = judge.batch(*[trade(number, session="session-2") for number in range(1, 6)])
    assert numbers(judged) == [1, 2, 3, 4, 5]
    assert judged.duplicates == 0


def test_without_a_number_of_the_exchange_there_is_no_sequence_event(judge: Judged) -> None:
    judged = judge.batch(trade(1), trade(2, 7), trade(3), trade(4, 9))
    assert sequence_events(judged) == [None, "IN_ORDER", None, "GAP"]
    assert judged.events[SequenceEvent.IN_ORDER] == 1


def test_a_duplicate_by_session_never_reaches_the_exchanges_tracker(judge: Judged) -> None:
    judged = judge.batch(trade(1, 10), trade(1, 500), trade(2, 11))
    assert numbers(judged) == [1, 2]
    assert sequence_events(judged) == ["IN_ORDER", "IN_ORDER"]
    assert judged.gaps_by_exchange == {}


def test_a_late_number_that_fills_a_gap_is_kept_without_a_flag(judge: Judged) -> None:
    judged = judge.batch(trade(1, 1), trade(2, 4), trade(3, 3), trade(4, 2))
    assert numbers(judged) == [1, 2, 3, 4]
    assert sequence_events(judged) == ["IN_ORDER", "GAP", "OUT_OF_ORDER", "OUT_OF_ORDER"]
    assert flags(judged) == [0, 0, 0, 0]


def test_a_number_below_the_first_is_kept_once_flagged_late_and_dropped_the_second_time(judge: Judged) -> None:
    judge.batch(trade(1, 1_000))
    judged = judge.batch(trade(2, 990), trade(3, 990), trade(4, 500), trade(5, 500))
    assert numbers(judged) == [2, 4]
    assert sequence_events(judged) == ["DUPLICATE", "TOO_OLD"]
    assert flags(judged) == [LATE, LATE]
    assert judged.duplicates == 2
    assert numbers(judge.batch(trade(6, 990), trade(7, 500))) == []


def test_where_seen_and_missing_cannot_be_told_apart_the_row_is_kept_and_says_so() -> None:
    judge = Judged(settings=SequenceSettings(max_open_ranges=2))
    judge.batch(*[trade(place, number) for place, number in enumerate((1, 2, 5, 7, 9), start=1)])
    judged = judge.batch(trade(6, 2), trade(7, 6), trade(8, 5))
    assert numbers(judged) == [6, 7]
    assert flags(judged) == [int(QualityFlag.LATE | QualityFlag.UNKNOWN_WHETHER_SEEN), 0]
    assert judged.duplicates == 1


def test_the_exchanges_session_reset_is_followed(judge: Judged) -> None:
    judge.batch(*trades(1, 2_000))
    judged = judge.batch(trade(2_001, 1), trade(2_002, 2))
    assert sequence_events(judged) == ["SESSION_RESET", "IN_ORDER"]
    assert flags(judged) == [0, 0]


def test_a_first_record_that_comes_again_long_after_is_no_session_reset(judge: Judged) -> None:
    judge.batch(*[trade(number, number) for number in range(2, 3_001)])
    replayed = judge.batch(trade(1, 1))
    assert sequence_events(replayed) == ["TOO_OLD"]
    assert flags(replayed) == [LATE]
    assert sequence_events(judge.batch(trade(3_001, 3_001))) == ["IN_ORDER"]
    assert judge.states[HERE].source.open_gaps() == []


def test_gaps_are_counted_by_exchange(judge: Judged) -> None:
    asx = {"exchange": "ASX", "symbol": "BHP"}
    judged = judge.batch(
        trade(1, 1), trade(2, 3), trade(1, 10, **asx), trade(2, 12, **asx), trade(3, 9), trade(1, 5, symbol="ETHUSDT")
    )
    assert judged.gaps_by_exchange == {"BINANCE": 2, "ASX": 1}
    assert judged.events[SequenceEvent.GAP] == 3


def test_a_message_the_validation_refuses_names_its_place_and_its_rule(judge: Judged) -> None:
    judged = judge.batch(trade(1, 1), trade(2, 2, price="0"), b"\x00junk", trade(3, 3, symbol=""), trade(4, 4))
    assert numbers(judged) == [1, 4]
    assert {(reject.index, reject.reason, reject.stage) for reject in judged.rejects} == {
        (1, "price_not_positive", "validate"),
        (3, "empty_symbol", "validate"),
    }
    assert judged.rows.column("kafka_offset").to_pylist() == [100, 104]


def test_a_message_that_breaks_several_rules_is_rejected_once(judge: Judged) -> None:
    judged = judge.batch(trade(0, 1, symbol="", price="-1", quantity="0"))
    assert [(reject.index, reject.reason) for reject in judged.rejects] == [(0, "empty_symbol")]


def test_an_exchange_is_known_to_the_judge_it_was_told_to(judge: Judged) -> None:
    elsewhere = trade(1, exchange="MTGOX")
    assert [reject.reason for reject in judge.batch(elsewhere).rejects] == ["unknown_exchange"]
    told = Judged(exchanges=("MTGOX",)).batch(elsewhere, trade(1))
    assert numbers(told) == [1]
    assert [(reject.index, reject.reason) for reject in told.rejects] == [(1, "unknown_exchange")]


def test_equal_records_without_numbers_of_the_exchange_are_events_of_their_own(judge: Judged) -> None:
    fill: dict[str, Any] = {"exchange": "NYSE", "symbol": "BAC", "asset_class": "equities"}
    fill["event_time_ns"] = EVENT_TIME_NS
    judged = judge.batch(*[trade(number, **fill) for number in range(1, 101)])
    assert (judged.rows.num_rows, judged.duplicates) == (100, 0)
    assert set(judged.rows.column("sequence_event").to_pylist()) == {None}
    assert judged.rows.column("source_sequence").null_count == judged.rows.column("trade_id").null_count == 100
    again = judge.batch(*[trade(number, **fill) for number in range(51, 151)])
    assert (again.rows.num_rows, again.duplicates) == (50, 50)


def test_flags_are_counted_and_so_are_those_of_a_row_that_has_several() -> None:
    crossed = quote(1, bid_price="101")
    both = quote(2, bid_price="101", bid_quantity=None)
    judged = Judged(QUOTE).batch(crossed, both, quote(3), quote(4, ask_price="0"))
    counted = {flag: count for flag, count in judged.flagged.items() if count}
    assert counted == {QualityFlag.CROSSED_QUOTE: 2, QualityFlag.HALF_A_SIDE: 1, QualityFlag.ZERO_PRICE: 1}
    assert flags(judged) == [2, 2 | 32, 0, 16]
    assert Judged(QUOTE).batch(quote(1)).flagged == {}


def test_a_refused_message_leaves_the_sequence_state_alone(judge: Judged) -> None:
    judge.batch(trade(1, 1), trade(2, 900, price="-1"))
    judged = judge.batch(trade(2, 2))
    assert (numbers(judged), sequence_events(judged)) == ([2], ["IN_ORDER"])


def test_a_crossed_quote_is_kept_and_flagged() -> None:
    judged = Judged(QUOTE).batch(quote(1), quote(2, bid_price="101"))
    assert numbers(judged) == [1, 2]
    assert flags(judged) == [0, int(QualityFlag.CROSSED_QUOTE)]


def test_a_batch_of_nothing_but_rejects_and_duplicates_has_the_tables_columns(judge: Judged) -> None:
    judge.batch(*trades(1, 3))
    judged = judge.batch(*trades(1, 3), trade(4, 4, price="0"))
    assert judged.rows.num_rows == 0
    assert judged.rows.column_names == table_schema(TRADE).names
    assert (judged.duplicates, len(judged.rejects)) == (3, 1)


def test_a_batch_whose_every_message_is_refused_has_no_rows(judge: Judged) -> None:
    for batch in (judge.batch(trade(1, 1, price="0"), trade(2, 2, quantity="-1")), judge.batch(b"junk", b"\x00")):
        assert batch.rows.num_rows == 0
        assert batch.rows.column_names == table_schema(TRADE).names
        assert batch.duplicates == 0
        assert not any(batch.events.values())


def test_partitions_in_one_batch_keep_their_order_of_arrival_and_their_own_state(judge: Judged) -> None:
    equities = topic("equities", "trades")
    places: list[Place] = [HERE, (CRYPTO_TRADES, 3), HERE, (equities, 0), (CRYPTO_TRADES, 3), HERE, (equities, 0)]
    arrived = [(1, 1), (1, 70), (2, 3), (1, 5), (2, 72), (3, 2), (2, 6)]
    records = [trade(session, source) for session, source in arrived]
    judged = judge.batch(*records, places=places)
    rows = judged.rows.select(["topic", "kafka_partition", "session_sequence", "sequence_event"]).to_pylist()
    by_place = {
        place: [(row["session_sequence"], row["sequence_event"]) for row in rows if at(row) == place]
        for place in set(places)
    }
    assert by_place == {
        HERE: [(1, "IN_ORDER"), (2, "GAP"), (3, "OUT_OF_ORDER")],
        (CRYPTO_TRADES, 3): [(1, "IN_ORDER"), (2, "GAP")],
        (equities, 0): [(1, "IN_ORDER"), (2, "IN_ORDER")],
    }
    assert judged.duplicates == 0


def at(row: dict[str, object]) -> tuple[object, object]:
    return row["topic"], row["kafka_partition"]


def test_a_row_says_where_it_came_from_and_keeps_its_exact_values(judge: Judged) -> None:
    record = trade(1, 1, price="0.0000000001", vendor_data={"maker": "true"})
    (row,) = judge.batch(record, places=[(CRYPTO_TRADES, 2)]).rows.to_pylist()
    assert (row["topic"], row["kafka_partition"], row["kafka_offset"]) == (CRYPTO_TRADES, 2, 100)
    assert row["schema_id"] == REGISTRY.schema_id("crypto", TRADE)
    assert row["price"] == Decimal("0.0000000001")
    assert dict(row["vendor_data"]) == {"maker": "true"}


def test_timestamps_are_whole_microseconds_in_utc_and_nanoseconds_are_kept_beside_them(judge: Judged) -> None:
    rows = judge.batch(trade(1, event_time_ns=EVENT_TIME_NS)).rows
    assert rows.schema.field("event_time").type == rows.schema.field("receive_time").type == TIMESTAMP_TYPE
    seconds, nanoseconds = divmod(EVENT_TIME_NS, 10**9)
    expected = datetime.fromtimestamp(seconds, UTC).replace(microsecond=nanoseconds // 1_000)
    assert rows.column("event_time").to_pylist() == [expected]
    assert rows.column("event_time_ns").to_pylist() == [EVENT_TIME_NS]


def test_a_state_read_back_from_its_checkpoint_continues_exactly() -> None:
    straight, restarted = Judged(), Judged()
    source = [1, 2, 6, 4, 4, 990, 985, 2_990, 1, 2, 2, 5, 3, 1_500]
    session = [1, 2, 3, 4, 5, 5, 7, 8, 6, 10, 11, 3, 12, 13]
    for place, (number, exchange_number) in enumerate(zip(session, source, strict=True)):
        record = trade(number, exchange_number, symbol="ETHUSDT" if place % 3 == 0 else "BTCUSDT")
        expected = straight.batch(record)
        judged = restarted.batch(record)
        assert judged.rows.to_pylist() == expected.rows.to_pylist()
        assert (judged.duplicates, judged.events) == (expected.duplicates, expected.events)
        restarted.restart()
    assert restarted.states[HERE].to_arrow().equals(straight.states[HERE].to_arrow())


def test_keys_that_the_bound_pushes_out_are_counted_for_both_trackers() -> None:
    judge = Judged(settings=SequenceSettings(max_keys=2))
    assert judge.batch(trade(1, 1), trade(1, 1, symbol="ETHUSDT")).keys_forgotten == 0
    judged = judge.batch(trade(1, 2, session="session-2"), trade(1, 1, symbol="SOLUSDT"))
    assert judged.keys_forgotten == 2 + 1
    assert judge.states[HERE].keys_forgotten == 2 + 1


def test_a_repeat_from_a_forgotten_session_is_dropped_where_its_number_at_the_exchange_is_known() -> None:
    judge = Judged(settings=SequenceSettings(max_keys=1))
    judge.batch(trade(1, 7), trade(1, 8, session="session-2"))
    again = judge.batch(trade(1, 7))
    assert (again.rows.num_rows, again.duplicates) == (0, 1)


def test_a_repeat_from_a_forgotten_session_is_kept_where_nothing_else_tells_it_apart() -> None:
    judge = Judged(settings=SequenceSettings(max_keys=1))
    judge.batch(trade(1), trade(1, session="session-2"))
    again = judge.batch(trade(1))
    assert (numbers(again), again.duplicates) == ([1], 0)


def test_a_checkpoint_of_something_else_is_refused() -> None:
    with pytest.raises(ProgressError, match="no tracker column"):
        PartitionState.from_arrow(pa.table({"key": ["BINANCE"]}), SequenceSettings())


def test_a_body_that_cannot_be_decoded_disturbs_no_neighbour(judge: Judged) -> None:
    judged = judge.batch(trade(1, 1), encoded(trade(2, 2))[:-1], trade(3, 3))
    assert numbers(judged) == [1, 3]
    assert judged.rejects == ()
    assert sequence_events(judged) == ["IN_ORDER", "GAP"]
