"""Batches: when they end, what they cost, and what is counted of them, whatever becomes of their commits."""

import gc
import os
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pytest
from confluent_kafka import Message

from k2.ingestion.consumer import Step
from k2.records.definition import TRADE
from k2.records.schemas import DECIMAL_TYPE, TIMESTAMP_TYPE
from k2.storage.writer import TableWriter
from tests.ingestion.failing_writers import (
    FirstCommitFails,
    FirstCommitOvertaken,
    FirstCommitRefused,
    FirstCommitUnanswered,
)
from tests.ingestion.market_records import trade, trades
from tests.ingestion.stage import PATIENCE_SECONDS, Stage, wait_until

KIND = {"data_type": "trades"}
HOUR_SECONDS = 3_600.0
DAY_NS = 86_400 * 10**9


def batch_sizes(stage: Stage) -> list[int]:
    """Messages of each batch, from what each snapshot moved the table on by."""
    table = stage.catalog.load(TRADE.table)
    ends = []
    for snapshot in table.metadata.snapshots:
        assert snapshot.summary is not None
        batch = snapshot.summary.additional_properties["k2.batch"]
        ends.append(sum(int(part.rsplit(" to ", 1)[1]) for part in batch.split("; ")))
    return [end - before for before, end in zip([0, *ends], ends, strict=False)]


def outcomes(stage: Stage) -> dict[str, float]:
    """Commits by outcome."""
    name = "k2_consumer_commits_total"
    return {
        outcome: stage.metrics.value(name, {**KIND, "outcome": outcome}) for outcome in ("success", "refused", "failed")
    }


def test_a_batch_ends_at_its_row_limit_although_there_is_time(stage: Stage) -> None:
    stage.produce(*trades(1, 12))
    stage.take_in(12, consumer=stage.consumer(batch_rows=4, batch_seconds=HOUR_SECONDS))
    assert batch_sizes(stage) == [4, 4, 4]


def test_a_batch_ends_at_its_time_limit_although_there_is_room(stage: Stage) -> None:
    stage.produce(*trades(1, 3))
    started = time.monotonic()
    stage.take_in(3, consumer=stage.consumer(batch_rows=1_000_000, batch_seconds=0.3))
    assert time.monotonic() - started >= 0.3
    assert sum(batch_sizes(stage)) == 3


def test_while_nothing_comes_nothing_is_committed(stage: Stage) -> None:
    polls: list[int] = []
    stage.produce(*trades(1, 3))
    consumer = stage.consumer(on_step=lambda _, batch: polls.append(batch), batch_seconds=0.05)
    with stage.running(consumer) as run:
        run.wait_until(lambda: stage.next_offsets() == {0: 3})
        batches = len(batch_sizes(stage))
        time.sleep(0.5)
    assert len(batch_sizes(stage)) == batches == polls[-1]
    assert outcomes(stage) == {"success": batches, "refused": 0, "failed": 0}


def test_messages_of_earlier_batches_are_let_go(stage: Stage) -> None:
    alive: list[int] = []

    def count_messages(step: Step, _: int) -> None:
        if step is Step.POLL:
            alive.append(sum(isinstance(thing, Message) for thing in gc.get_objects()))

    stage.produce(*trades(1, 60))
    before = sum(isinstance(thing, Message) for thing in gc.get_objects())
    stage.take_in(60, consumer=stage.consumer(on_step=count_messages, batch_rows=10, batch_seconds=HOUR_SECONDS))
    assert [count - before for count in alive] == [10] * 6


def test_sizes_and_durations_of_batches_are_observed(stage: Stage) -> None:
    stage.produce(*trades(1, 12))
    started = time.monotonic()
    stage.take_in(12, consumer=stage.consumer(batch_rows=4, batch_seconds=HOUR_SECONDS))
    value = stage.metrics.value
    assert value("k2_consumer_batch_rows_count", KIND) == 3
    assert value("k2_consumer_batch_rows_sum", KIND) == 12
    assert value("k2_consumer_batch_rows_bucket", {**KIND, "le": "10.0"}) == 3
    assert value("k2_consumer_batch_rows_bucket", {**KIND, "le": "1.0"}) == 0
    assert value("k2_consumer_batch_seconds_count", KIND) == 3
    assert 0 < value("k2_consumer_batch_seconds_sum", KIND) < time.monotonic() - started
    assert value("k2_consumer_step_seconds_count", {**KIND, "step": "commit"}) == 3


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        (FirstCommitFails, {"success": 1, "refused": 0, "failed": 1}),
        (FirstCommitUnanswered, {"success": 1, "refused": 0, "failed": 1}),
        (FirstCommitRefused, {"success": 1, "refused": 1, "failed": 0}),
    ],
)
def test_a_commit_is_counted_by_its_outcome_and_its_batch_once(
    stage: Stage, kind: type[TableWriter], expected: dict[str, float]
) -> None:
    stage.produce(*trades(1, 5), trade(5, 5), b"junk")
    consumer = stage.consumer(stage.writer(kind), batch_rows=7, batch_seconds=HOUR_SECONDS)
    counted = "k2_messages_received_total"
    with stage.running(consumer) as run:
        run.wait_until(lambda: stage.metrics.value(counted, KIND) > 0)
    assert stage.next_offsets() == {0: 7}
    assert outcomes(stage) == expected
    assert stage.metrics.value(counted, KIND) == 7
    assert stage.metrics.value("k2_duplicates_detected_total", KIND) == 1
    assert stage.metrics.value("k2_messages_rejected_total", {**KIND, "stage": "decode", "reason": "not_framed"}) == 1
    assert stage.metrics.value("k2_consumer_batch_rows_count", KIND) == 1


def test_a_batch_that_somebody_else_committed_past_is_not_counted(stage: Stage) -> None:
    stage.produce(*trades(1, 6))
    consumer = stage.consumer(stage.writer(FirstCommitOvertaken), batch_rows=3)
    with stage.running(consumer) as run:
        run.wait_until(lambda: outcomes(stage)["success"] == 1)
    assert stage.next_offsets() == {0: 6}
    assert outcomes(stage) == {"success": 1, "refused": 0, "failed": 1}
    assert stage.metrics.value("k2_messages_received_total", KIND) == 2


def test_values_reach_the_table_exactly_and_in_their_types(stage: Stage) -> None:
    record = trade(1, 1, price="0.0000000001", quantity="987654321098765432.5")
    stage.produce(record)
    stage.take_in(1)
    (row,) = stage.rows()
    assert (row["price"], row["quantity"]) == (Decimal(record["price"]), Decimal(record["quantity"]))
    assert (row["event_time_ns"], row["receive_time_ns"]) == (record["event_time_ns"], record["receive_time_ns"])
    assert row["event_time"] == datetime.fromtimestamp(record["event_time_ns"] // 1_000 / 1e6, UTC)
    schema = stage.catalog.load(TRADE.table).scan().to_arrow().schema
    assert (schema.field("price").type, schema.field("event_time").type) == (DECIMAL_TYPE, TIMESTAMP_TYPE)


def test_rows_lie_in_files_of_their_day_and_their_exchange(stage: Stage) -> None:
    day = trade(1)["event_time_ns"] // DAY_NS
    for place, (days, exchange) in enumerate(((0, "BINANCE"), (0, "ASX"), (1, "BINANCE"), (0, "ASX")), start=1):
        stage.produce(trade(place, event_time_ns=(day - days) * DAY_NS + place, exchange=exchange))
    stage.take_in(4)
    partitions = stage.catalog.load(TRADE.table).inspect.partitions().to_pylist()
    epoch = datetime(1970, 1, 1, tzinfo=UTC).date()
    found = {
        ((value - epoch).days, exchange): one["record_count"]
        for one in partitions
        for value, exchange in [tuple(one["partition"].values())]
    }
    assert found == {(day, "BINANCE"): 1, (day, "ASX"): 2, (day - 1, "BINANCE"): 1}


def test_a_consumer_told_to_stop_finishes_the_batch_in_hand(stage: Stage) -> None:
    steps: list[Step] = []

    def stop_after_the_first_poll(step: Step, _: int) -> None:
        steps.append(step)
        if step is Step.POLL:
            consumer.stop()

    stage.produce(*trades(1, 9))
    consumer = stage.consumer(on_step=stop_after_the_first_poll, batch_rows=4, batch_seconds=HOUR_SECONDS)
    consumer.run()
    assert steps == list(Step)
    assert stage.next_offsets() == {0: 4}
    assert stage.session_numbers() == [1, 2, 3, 4]


def test_a_process_that_gets_sigterm_ends_with_0_and_the_next_goes_on(stage: Stage, tmp_path: Path) -> None:
    stage.produce(*trades(1, 5))
    settings = {
        "K2_KAFKA__BOOTSTRAP_SERVERS": stage.broker.bootstrap_servers,
        "K2_KAFKA__SESSION_TIMEOUT_MS": str(stage.settings.kafka.session_timeout_ms),
        "K2_KAFKA__HEARTBEAT_INTERVAL_MS": str(stage.settings.kafka.heartbeat_interval_ms),
        "K2_CONSUMER__ASSET_CLASSES": '["crypto"]',
        "K2_CONSUMER__BATCH_SECONDS": "0.2",
    }
    command = [sys.executable, "-m", "k2.cli", "--data-dir", str(tmp_path), "consume"]
    process = subprocess.Popen(command, env={**os.environ, **settings}, stderr=subprocess.DEVNULL)
    try:
        wait_until(lambda: stage.next_offsets() == {0: 5})
        process.send_signal(signal.SIGTERM)
        assert process.wait(PATIENCE_SECONDS) == 0
    finally:
        process.kill()
        process.wait()
    stage.produce(*trades(6, 8))
    stage.take_in(8)
    assert stage.session_numbers() == list(range(1, 9))
