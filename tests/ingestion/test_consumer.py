"""The consumer over an embedded broker and real tables: each record once, whatever fails on the way."""

import time
from pathlib import Path
from typing import cast

import pytest
from confluent_kafka import TopicPartition

from k2.clock import SystemClock
from k2.embedded.broker import EmbeddedBroker
from k2.errors import (
    ForeignClusterError,
    OffsetOutsideLogError,
    PartitionCountChangedError,
    RetriesExhaustedError,
)
from k2.ingestion.consumer import Step
from k2.ingestion.dead_letters import HEADER_OFFSET, DeadLetterQueue
from k2.ingestion.sequence_tracker import SequenceEvent
from k2.records.definition import dead_letter_topic
from k2.storage.writer import TableWriter
from tests.ingestion.failing_writers import (
    CommitFails,
    FirstCommitFails,
    FirstCommitUnanswered,
    FirstProgressUnreadable,
    SecondStateUnreadable,
)
from tests.ingestion.market_records import CRYPTO_TRADES, trade, trades
from tests.ingestion.stage import CLOSED_PORT, PARTITIONS, Stage, kafka_settings, wait_until

KIND = {"data_type": "trades"}
DEAD_LETTERS = dead_letter_topic(CRYPTO_TRADES)
BATCH_STEPS = list(Step)[1:]


def test_every_record_is_taken_into_the_table_once(stage: Stage) -> None:
    stage.produce(*trades(1, 40))
    stage.produce(*trades(1, 25, symbol="ETHUSDT"), partition=1)
    stage.take_in(40, 25)
    assert [(row["symbol"], row["session_sequence"], row["kafka_offset"]) for row in stage.rows()] == [
        *(("BTCUSDT", number, number - 1) for number in range(1, 41)),
        *(("ETHUSDT", number, number - 1) for number in range(1, 26)),
    ]


def test_records_that_come_while_it_runs_are_taken_in_too(stage: Stage) -> None:
    with stage.running(stage.consumer()) as run:
        stage.produce(*trades(1, 3))
        run.wait_until(lambda: stage.next_offsets() == {0: 3})
        stage.produce(*trades(4, 5))
        run.wait_until(lambda: stage.next_offsets() == {0: 5})
    assert stage.session_numbers() == [1, 2, 3, 4, 5]


def test_small_batches_take_in_what_a_large_one_does(stage: Stage) -> None:
    stage.produce(*trades(1, 23))
    stage.take_in(23, consumer=stage.consumer(batch_rows=5))
    assert stage.session_numbers() == list(range(1, 24))
    assert stage.metrics.value("k2_consumer_commits_total", {**KIND, "outcome": "success"}) >= 5


def test_a_restart_goes_on_where_the_table_stands_and_still_knows_duplicates(stage: Stage) -> None:
    stage.produce(*trades(1, 5))
    stage.take_in(5)
    stage.produce(*trades(4, 8))
    stage.take_in(10)
    assert stage.session_numbers() == list(range(1, 9))
    assert stage.metrics.value("k2_duplicates_detected_total", KIND) == 2
    assert stage.metrics.value("k2_messages_received_total", KIND) == 10


@pytest.mark.parametrize("wrong_offset", [0, 3, 6, 7])
def test_it_starts_where_the_table_stands_and_not_where_kafka_was_told(stage: Stage, wrong_offset: int) -> None:
    stage.produce(*trades(1, 7))
    stage.pretend(4)
    with stage.group_member() as client:
        client.commit(offsets=[TopicPartition(CRYPTO_TRADES, 0, wrong_offset)], asynchronous=False)
    assert stage.reported_offset() == wrong_offset
    stage.take_in(7)
    assert stage.session_numbers() == [5, 6, 7]
    assert stage.metrics.value("k2_messages_received_total", KIND) == 3


def test_an_empty_table_starts_at_the_beginning_of_the_log_whatever_kafka_was_told(stage: Stage) -> None:
    stage.produce(*trades(1, 4))
    with stage.group_member() as client:
        client.commit(offsets=[TopicPartition(CRYPTO_TRADES, 0, 3)], asynchronous=False)
    stage.take_in(4)
    assert stage.session_numbers() == [1, 2, 3, 4]


def test_kafka_hears_of_an_offset_only_after_the_table_holds_it(stage: Stage) -> None:
    heard: list[tuple[Step, int]] = []
    stage.produce(*trades(1, 6))
    with stage.running(stage.consumer(on_step=lambda step, _: heard.append((step, stage.reported_offset())))) as run:
        run.wait_until(lambda: stage.reported_offset() == 6)
    before_the_report = [offset for step, offset in heard if step < Step.REPORT]
    assert before_the_report == [before_the_report[0]] * len(BATCH_STEPS)
    assert before_the_report[0] < 0
    assert stage.next_offsets() == {0: 6}


def test_the_steps_come_in_the_order_of_the_protocol(stage: Stage) -> None:
    seen: list[tuple[Step, int]] = []
    stage.produce(*trades(1, 9))
    stage.take_in(9, consumer=stage.consumer(on_step=lambda step, batch: seen.append((step, batch)), batch_rows=4))
    batches = seen[-1][1]
    assert batches >= 3
    assert seen == [(Step.ASSIGN, 0), *((step, batch) for batch in range(1, batches + 1) for step in BATCH_STEPS)]


def test_a_batch_of_rejects_alone_moves_the_table_on(stage: Stage) -> None:
    stage.produce(b"junk", trade(1, 1, price="-1"), b"\x00")
    stage.take_in(3)
    assert stage.rows() == []
    assert dead_letter_offsets(stage) == [b"0", b"1", b"2"]
    stage.produce(trade(1, 1))
    stage.take_in(4)
    assert stage.session_numbers() == [1]
    assert len(dead_letter_offsets(stage)) == 3


def test_a_table_filled_from_another_cluster_stops_the_consumer(stage: Stage) -> None:
    stage.pretend(3, cluster_id="elsewhere")
    stage.produce(*trades(1, 5))
    with pytest.raises(ForeignClusterError, match=r"filled from cluster elsewhere.*accept_new_cluster"):
        stage.consumer().run()
    assert stage.rows() == []


def test_a_new_cluster_that_is_accepted_is_read_from_its_beginning(
    stage: Stage, tmp_path: Path, other_broker: EmbeddedBroker
) -> None:
    stage.produce(*trades(1, 4))
    stage.take_in(4)
    elsewhere = Stage(tmp_path, other_broker)
    elsewhere.produce(*trades(1, 6, session="session-2"))
    with pytest.raises(ForeignClusterError):
        elsewhere.consumer().run()
    with elsewhere.running(elsewhere.consumer(accept_new_cluster=True)) as run:
        run.wait_until(lambda: elsewhere.key() in elsewhere.progress().partitions)
    sessions = [row["session"] for row in elsewhere.rows()]
    assert (sessions.count("session-1"), sessions.count("session-2")) == (4, 6)
    progress = elsewhere.progress().partitions
    assert {key: place.next_offset for key, place in progress.items()} == {stage.key(): 4, elsewhere.key(): 6}
    elsewhere.catalog.close()


def test_another_number_of_partitions_stops_the_consumer(stage: Stage) -> None:
    stage.pretend(0, partition_counts=PARTITIONS + 1)
    with pytest.raises(PartitionCountChangedError, match=r"had 3 partitions .* and has 2 now"):
        stage.consumer().run()


def test_a_table_ahead_of_the_log_stops_the_consumer(stage: Stage) -> None:
    stage.produce(*trades(1, 4))
    stage.pretend(5)
    with pytest.raises(OffsetOutsideLogError, match="needs offset 5, the log holds 0 to 4"):
        stage.consumer().run()
    assert stage.next_offsets() == {0: 5}


def test_a_table_at_the_very_end_of_the_log_is_no_error(stage: Stage) -> None:
    stage.produce(*trades(1, 4))
    stage.pretend(4)
    stage.produce(*trades(5, 6))
    stage.take_in(6)
    assert stage.session_numbers() == [5, 6]


def test_a_log_that_forgot_what_the_table_needs_stops_the_consumer(stage: Stage) -> None:
    stage.pretend(1)
    stage.produce(*[b"x" * 900_000] * 12)
    with pytest.raises(OffsetOutsideLogError, match=r"needs offset 1, the log holds [1-9]"):
        stage.consumer().run()


@pytest.mark.parametrize("kind", [FirstCommitFails, FirstCommitUnanswered])
def test_a_commit_that_fails_once_loses_and_repeats_nothing(stage: Stage, kind: type[TableWriter]) -> None:
    stage.produce(*trades(1, 30))
    stage.produce(*trades(1, 10, symbol="ETHUSDT"), partition=1)
    stage.take_in(30, 10, consumer=stage.consumer(stage.writer(kind)))
    assert stage.session_numbers() == [*range(1, 31), *range(1, 11)]
    stage.produce(*trades(31, 33))
    stage.take_in(33, 10)
    assert {row["sequence_event"] for row in stage.rows()} == {"IN_ORDER"}
    assert {row["quality_flags"] for row in stage.rows()} == {0}


def test_a_commit_that_keeps_failing_ends_with_nothing_committed(stage: Stage) -> None:
    stage.produce(*trades(1, 5))
    batches: list[int] = []
    consumer = stage.consumer(
        stage.writer(CommitFails), lambda step, batch: batches.append(batch) if step is Step.POLL else None
    )
    with pytest.raises(RetriesExhaustedError, match="gave up after 3 attempts, nothing was committed"):
        consumer.run()
    assert batches == [1, 2, 3]
    assert stage.next_offsets() == {}
    assert stage.rows() == []
    assert stage.reported_offset() < 0
    stage.take_in(5)
    assert stage.session_numbers() == [1, 2, 3, 4, 5]


def test_a_table_that_cannot_be_read_at_the_assignment_is_asked_again(stage: Stage) -> None:
    stage.produce(*trades(1, 6))
    stage.pretend(2)
    with stage.group_member() as client:
        client.commit(offsets=[TopicPartition(CRYPTO_TRADES, 0, 5)], asynchronous=False)
    stage.take_in(6, consumer=stage.consumer(stage.writer(FirstProgressUnreadable)))
    assert stage.session_numbers() == [3, 4, 5, 6]


def test_an_assignment_that_fails_halfway_is_taken_up_again(stage: Stage) -> None:
    stage.produce(*trades(1, 5))
    stage.produce(*trades(1, 5, symbol="ETHUSDT"), partition=1)
    stage.take_in(5, 5)
    stage.produce(*trades(6, 7))
    stage.produce(*trades(6, 8, symbol="ETHUSDT"), partition=1)
    stage.take_in(7, 8, consumer=stage.consumer(stage.writer(SecondStateUnreadable)))
    assert stage.session_numbers() == [*range(1, 8), *range(1, 9)]


def test_a_batch_another_writer_committed_first_is_dropped(stage: Stage) -> None:
    overtaken = False

    def overtake(step: Step, _: int) -> None:
        nonlocal overtaken
        if step is Step.WRITE and not overtaken:
            overtaken = True
            stage.pretend(3)

    stage.produce(*trades(1, 3))
    with stage.running(stage.consumer(on_step=overtake)) as run:
        run.wait_until(lambda: stage.next_offsets() == {0: 3})
        stage.produce(*trades(4, 6))
        run.wait_until(lambda: stage.next_offsets() == {0: 6})
    assert overtaken
    assert stage.session_numbers() == [4, 5, 6]


def test_dead_letters_nobody_acknowledges_hold_the_source_back(stage: Stage) -> None:
    stage.produce(*trades(1, 3), b"junk")
    stage.settings = stage.settings.model_copy(
        update={"retry": stage.settings.retry.model_copy(update={"attempts": 1})}
    )
    nowhere = DeadLetterQueue(kafka_settings(CLOSED_PORT, delivery_timeout_ms=200), SystemClock())
    with pytest.raises(RetriesExhaustedError, match="1 dead letters were not acknowledged"):
        stage.consumer(dead_letters=nowhere).run()
    assert stage.next_offsets() == {}
    assert stage.rows() == []
    assert stage.reported_offset() < 0
    stage.take_in(4)
    assert stage.session_numbers() == [1, 2, 3]
    assert dead_letter_offsets(stage) == [b"3"]


def test_a_broker_that_is_not_there_keeps_it_waiting_and_it_still_stops(stage: Stage) -> None:
    stage.settings = stage.settings.model_copy(update={"kafka": kafka_settings(CLOSED_PORT)})
    seen: list[Step] = []
    with stage.running(stage.consumer(on_step=lambda step, _: seen.append(step))) as run:
        time.sleep(0.5)
        run.wait_until(lambda: True)
    assert seen == []


def test_two_consumers_of_a_group_share_the_partitions_and_take_each_record_once(stage: Stage) -> None:
    stage.produce(*trades(1, 5))
    with stage.running(stage.consumer()) as first:
        first.wait_until(lambda: stage.next_offsets() == {0: 5})
        with stage.running(stage.consumer()) as second:
            wait_until(lambda: stage.metrics.value("k2_consumer_rebalances_total", {**KIND, "kind": "lost"}) >= 1)
            stage.produce(*trades(6, 20))
            stage.produce(*trades(1, 20, symbol="ETHUSDT"), partition=1)
            second.wait_until(lambda: stage.next_offsets() == {0: 20, 1: 20})
        first.wait_until(lambda: True)
    assert stage.session_numbers() == [*range(1, 21), *range(1, 21)]


def test_what_was_done_is_counted(stage: Stage) -> None:
    asx = {"exchange": "ASX", "symbol": "BHP"}
    stage.produce(trade(1, 1), trade(2, 4), trade(2, 4), trade(3, 4), trade(4, 3), b"junk", trade(5, 5, price="0"))
    stage.produce(trade(1, 1, **asx), trade(2, 9, **asx), partition=1)
    stage.take_in(7, 2)
    value = stage.metrics.value
    assert value("k2_messages_received_total", KIND) == 9
    assert value("k2_duplicates_detected_total", KIND) == 2
    assert value("k2_sequence_gaps_total", {**KIND, "exchange": "BINANCE"}) == 1
    assert value("k2_sequence_gaps_total", {**KIND, "exchange": "ASX"}) == 1
    events = {name: value("k2_sequence_events_total", {**KIND, "event": name}) for name in SequenceEvent.__members__}
    assert {name: count for name, count in events.items() if count} == {
        "IN_ORDER": 2,
        "GAP": 2,
        "OUT_OF_ORDER": 1,
        "DUPLICATE": 1,
    }
    assert value("k2_messages_rejected_total", {**KIND, "stage": "decode", "reason": "not_framed"}) == 1
    assert value("k2_messages_rejected_total", {**KIND, "stage": "validate", "reason": "price_not_positive"}) == 1
    assert value("k2_consumer_rebalances_total", {**KIND, "kind": "assigned"}) == 1
    assert value("k2_consumer_commits_total", {**KIND, "outcome": "success"}) >= 1
    assert value("k2_consumer_lag_seconds", KIND) > 0
    for step in Step:
        assert value("k2_consumer_step_seconds_count", {**KIND, "step": step.name.lower()}) >= 1


def test_the_lag_is_what_the_table_does_not_hold_yet(stage: Stage) -> None:
    lags: list[float] = []
    partition = {**KIND, "partition": f"{CRYPTO_TRADES}/0"}
    stage.produce(*trades(1, 10))
    consumer = stage.consumer(
        on_step=lambda step, _: (
            lags.append(stage.metrics.value("k2_consumer_lag_messages", partition)) if step is Step.REPORT else None
        ),
        batch_rows=4,
    )
    stage.take_in(10, consumer=consumer)
    assert lags[0] >= 6
    assert lags[-1] == 0
    assert lags == sorted(lags, reverse=True)


def dead_letter_offsets(stage: Stage) -> list[bytes]:
    """Where the dead letters came from, in order."""
    headers = [dict(message.headers() or ()) for message in stage.messages(DEAD_LETTERS)]
    return sorted(bytes(cast("bytes", header[HEADER_OFFSET])) for header in headers)
