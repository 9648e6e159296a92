"""What a consumer says of its lag is so, while it waits as well as while it works.

Exported lag MUST equal log end minus the table's offset in each partition, also while messages are polled and not yet
committed. The exported newest times and age MUST be those of the newest row (CON-4).
"""

import contextlib
import time
from collections.abc import Callable, Mapping

import pyarrow.compute as pc
import pytest

from conformance.clause import ClauseRun
from conformance.drivers import http
from conformance.drivers.facts import record_fact
from conformance.drivers.feeding import DRAIN_TIMEOUT_SECONDS, feed_records, table_offsets
from conformance.drivers.silence import METRICS, gauge, metrics_url, wait_until
from conformance.drivers.table_view import view_table
from conformance.stacks.base import Stack
from k2.feeds.synthetic import SyntheticExchange, SyntheticSettings
from k2.records.definition import RECORD_TYPES

DATA_TYPE, EXCHANGE = "quotes", "BINANCE"
PARTITIONS, BATCH_ROWS, WAITING_ROWS = 4, 1_000, 300
ONE_BATCH = {**METRICS, "K2_CONSUMER__BATCH_ROWS": str(BATCH_ROWS), "K2_CONSUMER__BATCH_SECONDS": "3600"}
SETTLE_SECONDS = 10.0


@pytest.mark.clause(
    name="lag_and_freshness",
    claims=("CON-4b", "CON-5c"),
    checker="facts",
    title="Exported lag is log end minus the table's offset, and exported freshness that of the newest row",
    minimum_samples=PARTITIONS + 4,
    remedy="see k2/ingestion/log_reader.py for the ends of the log, k2/storage/freshness.py for the newest row",
)
def test_exported_lag_and_freshness_are_those_of_log_and_table(stack: Stack, clause: ClauseRun) -> None:
    with clause.history(seed=31) as history:
        records = SyntheticSettings(seed=31, records=BATCH_ROWS + WAITING_ROWS, trade_share=0.0)
        ends = feed_records(stack, SyntheticExchange(records)).acknowledged_ends()
        url = metrics_url(stack.start_consumer(DATA_TYPE, environment=ONE_BATCH))
        wait_until(lambda: bool(table_offsets(stack)), DRAIN_TIMEOUT_SECONDS, "the first batch was not committed")
        held = table_offsets(stack)
        topic_name = stack.topic("crypto", DATA_TYPE)
        expected = {place: ends.get(place, 0) - held.get(place, 0) for place in places(topic_name)}
        settle(lambda: {place: exported_lag(url, place) for place in expected} == expected)
        for place, lag in expected.items():
            record_fact(history, f"lag of partition {place[1]}", lag, exported_lag, url, place)
        record_fact(history, "lag of all partitions", WAITING_ROWS, lambda: sum(expected.values()))
        newest = newest_times(stack)
        shown = http.get(f"{stack.start_api()}/health").body["freshness"]["tables"][DATA_TYPE][EXCHANGE]
        for name, time_ns in newest.items():
            record_fact(history, f"newest {name} in /health", time_ns, shown.get, f"newest_{name}")
        record_fact(history, "the consumer's lag is the newest row's age", True, age_is_right, url, newest)
    clause.judge()


def places(topic_name: str) -> list[tuple[str, int]]:
    """The partitions of a topic."""
    return [(topic_name, partition) for partition in range(PARTITIONS)]


def settle(holds: Callable[[], bool]) -> None:
    """Give it a while to come true; whether it did is judged elsewhere."""
    with contextlib.suppress(TimeoutError):
        wait_until(holds, SETTLE_SECONDS, "")


def exported_lag(url: str, place: tuple[str, int]) -> float | None:
    """k2_consumer_lag_messages of a partition; None if it is not exported."""
    labels = {"data_type": DATA_TYPE, "partition": f"{place[0]}/{place[1]}"}
    return gauge(http.get(url).body, "k2_consumer_lag_messages", labels)


def newest_times(stack: Stack) -> dict[str, int]:
    """The latest times of any row, from the rows themselves."""
    storage = stack.settings.storage
    rows = view_table(storage, RECORD_TYPES[DATA_TYPE].table).rows
    return {name: pc.max(rows.column(name)).as_py() for name in ("event_time_ns", "receive_time_ns")}


def age_is_right(url: str, newest: Mapping[str, int]) -> bool:
    """Whether the exported age is that of the newest row at a moment between question and answer."""
    asked_ns = time.time_ns()
    age_seconds = gauge(http.get(url).body, "k2_consumer_lag_seconds", {"data_type": DATA_TYPE})
    answered_ns = time.time_ns()
    received_ns = newest["receive_time_ns"]
    return age_seconds is not None and asked_ns - received_ns <= age_seconds * 1e9 <= answered_ns - received_ns
