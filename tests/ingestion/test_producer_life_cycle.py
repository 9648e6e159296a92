"""The producer's life cycle, over a broker that is there, and over one that is gone: the tests of docs/producer.md."""

import contextlib
import gc
import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from k2.embedded.broker import EmbeddedBroker
from k2.ingestion.producer import MarketDataProducer
from k2.observability.metrics import Metrics
from k2.records.definition import QUOTE, REFERENCE_DATA, TRADE, RecordType
from tests.ingestion.market_records import REGISTRY, trade, trades
from tests.ingestion.producing import (
    ALL_TOPICS,
    RECORDS,
    TRADES,
    is_balanced,
    messages_in,
    produce_methods,
    producer_over,
    send,
)
from tests.ingestion.stage import PARTITIONS

PRODUCE_API_KEY = 0
OUT_OF_ORDER_SEQUENCE_NUMBER = 45
SHORT_SECONDS = 0.2
# The client counts whole milliseconds, and may have begun within one.
CLOCK_STEP_SECONDS = 0.002
# A machine that has other things to do as well.
PATIENCE_SECONDS = 5.0


@pytest.fixture(scope="module")
def shared() -> Iterator[EmbeddedBroker]:
    with EmbeddedBroker(ALL_TOPICS, PARTITIONS) as broker:
        yield broker


@pytest.fixture
def broker(shared: EmbeddedBroker) -> EmbeddedBroker:
    """A broker that is there and has nothing to send late."""
    return shared


@pytest.fixture
def gone(shared: EmbeddedBroker) -> Iterator[EmbeddedBroker]:
    """A broker that takes no connection."""
    shared.go_down()
    yield shared
    shared.come_up()


@pytest.fixture(params=["there", "gone"])
def any_broker(request: pytest.FixtureRequest, shared: EmbeddedBroker) -> EmbeddedBroker:
    """A broker that is there, then one that is gone."""
    found: EmbeddedBroker = request.getfixturevalue("broker" if request.param == "there" else "gone")
    return found


def opened(broker: EmbeddedBroker, **changes: object) -> MarketDataProducer:
    """A producer that waits only shortly, and long enough for a broker that is there."""
    return producer_over(broker.bootstrap_servers, **{"flush_timeout_seconds": PATIENCE_SECONDS, **changes})  # type: ignore[arg-type]


def hurried(broker: EmbeddedBroker, **changes: object) -> MarketDataProducer:
    """A producer over a broker that is gone, which it does not notice before its flush times out."""
    return opened(broker, flush_timeout_seconds=SHORT_SECONDS, delivery_timeout_ms=60_000, **changes)


class TestContextManager:
    def test_leaving_the_context_delivers_and_closes(self, broker: EmbeddedBroker) -> None:
        before = messages_in(broker)
        with opened(broker) as producer:
            send(producer, *trades(1, 3))
        assert messages_in(broker) == before + 3
        assert producer.statistics().closed_at is not None
        with pytest.raises(RuntimeError, match="the producer is closed"):
            send(producer, trade(4))

    def test_an_exception_in_the_context_still_delivers_and_closes(self, broker: EmbeddedBroker) -> None:
        before = messages_in(broker)
        with pytest.raises(ValueError, match="the feed broke"), opened(broker) as producer:  # noqa: PT012
            send(producer, trade(1))
            raise ValueError("the feed broke")
        assert messages_in(broker) == before + 1
        assert producer.statistics().closed_at is not None

    def test_leaving_the_context_twice_is_no_error(self, any_broker: EmbeddedBroker) -> None:
        producer = opened(any_broker)
        with producer:
            pass
        closed_at = producer.statistics().closed_at
        with producer:
            pass
        assert producer.statistics().closed_at == closed_at is not None

    def test_closing_inside_the_context_is_no_error(self, any_broker: EmbeddedBroker) -> None:
        with opened(any_broker) as producer:
            producer.close()
            closed_at = producer.statistics().closed_at
        assert producer.statistics().closed_at == closed_at is not None


class TestClose:
    def test_close_delivers_what_is_queued_and_says_that_nothing_remains(self, broker: EmbeddedBroker) -> None:
        before = messages_in(broker)
        producer = opened(broker)
        send(producer, *trades(1, 20))
        assert producer.close() == 0
        assert messages_in(broker) == before + 20
        assert producer.statistics().records_sent == 20

    def test_close_keeps_its_time_limit_and_reports_what_remains(self, gone: EmbeddedBroker) -> None:
        metrics = Metrics()
        producer = hurried(gone, metrics=metrics)
        send(producer, *trades(1, 5))
        started = time.monotonic()
        with capture_logs() as logs:
            assert producer.close() == 5
        assert SHORT_SECONDS - CLOCK_STEP_SECONDS <= time.monotonic() - started < PATIENCE_SECONDS
        assert [entry["remaining"] for entry in logs if entry["event"] == "flush timed out"] == [5]
        after = producer.statistics()
        assert (after.flush_timeouts, after.queued, after.errors_by_reason) == (1, 0, {"_PURGE_QUEUE": 5})
        assert metrics.value("k2_producer_errors_total", {**TRADES, "reason": "_PURGE_QUEUE"}) == 5
        assert metrics.value("k2_producer_retries_exhausted_total", TRADES) == 0

    def test_the_time_limit_of_close_can_be_given(self, gone: EmbeddedBroker) -> None:
        producer = opened(gone, flush_timeout_seconds=600.0, delivery_timeout_ms=60_000)
        send(producer, trade(1))
        started = time.monotonic()
        assert producer.close(SHORT_SECONDS) == 1
        assert time.monotonic() - started < PATIENCE_SECONDS

    def test_what_was_under_way_when_close_gave_up_is_counted_as_such(self, broker: EmbeddedBroker) -> None:
        producer = opened(broker)
        send(producer, trade(1))
        producer.flush()
        broker.answer_late(1_000)
        try:
            send(producer, trade(2))
            assert producer.close(SHORT_SECONDS) == 1
        finally:
            broker.answer_late(0)
        assert producer.statistics().errors_by_reason == {"_PURGE_INFLIGHT": 1}

    def test_closing_again_does_nothing(self, any_broker: EmbeddedBroker) -> None:
        producer = hurried(any_broker)
        producer.close()
        before = producer.statistics()
        assert producer.close() == producer.close() == 0
        assert producer.statistics() == before

    def test_an_error_while_closing_does_not_keep_it_open(self, broker: EmbeddedBroker) -> None:
        delivered: list[int] = []

        def on_delivery(number: int) -> None:
            delivered.append(number)
            if number == 1:
                raise ValueError("the callback broke")

        producer = opened(broker)
        for number in (1, 2, 3):
            record = trade(number)
            producer.produce_trade("crypto", "BINANCE", record, lambda _, number=number: on_delivery(number))  # type: ignore[misc]
        with capture_logs() as logs:
            assert producer.close() == 0
        assert delivered == [1, 2, 3]
        assert [(entry["event"], entry["log_level"]) for entry in logs] == [("error in a delivery callback", "error")]
        assert (producer.statistics().records_sent, producer.statistics().callback_errors) == (3, 1)
        with pytest.raises(RuntimeError, match="closed"):
            send(producer, trade(4))

    def test_a_fatal_error_of_the_client_while_closing_does_not_keep_it_open(self, broker: EmbeddedBroker) -> None:
        producer = opened(broker)
        send(producer, trade(1))
        producer.flush()
        broker.fail_requests(PRODUCE_API_KEY, [OUT_OF_ORDER_SEQUENCE_NUMBER])
        send(producer, *trades(2, 6))
        with capture_logs() as logs:
            assert producer.close() == 0
        assert "the client met a fatal error" in [entry["event"] for entry in logs]
        after = producer.statistics()
        assert (after.records_sent, after.errors_by_reason) == (1, {"OUT_OF_ORDER_SEQUENCE_NUMBER": 5})
        assert is_balanced([producer])


class TestAfterClose:
    @pytest.mark.parametrize("kind", RECORDS, ids=lambda kind: kind.data_type)
    def test_produce_raises(self, any_broker: EmbeddedBroker, kind: RecordType) -> None:
        producer = opened(any_broker)
        producer.close()
        with pytest.raises(RuntimeError, match="the producer is closed"):
            produce_methods(producer)[kind]("crypto", "BINANCE", RECORDS[kind](1))
        assert producer.statistics().records_given == 0

    def test_produce_batch_raises(self, broker: EmbeddedBroker) -> None:
        producer = opened(broker)
        producer.close()
        with pytest.raises(RuntimeError, match="the producer is closed"):
            producer.produce_batch(TRADE, "crypto", trades(1, 3))

    def test_flush_returns_nothing_and_warns_and_poll_does_nothing(self, any_broker: EmbeddedBroker) -> None:
        producer = opened(any_broker)
        producer.close()
        with capture_logs() as logs:
            assert producer.flush() == 0
            producer.poll()
        assert [(entry["event"], entry["log_level"]) for entry in logs] == [("flush after close", "warning")]

    def test_the_statistics_can_be_read_and_stand_still(self, broker: EmbeddedBroker) -> None:
        producer = opened(broker)
        send(producer, trade(1))
        before = producer.statistics()
        assert (before.closed_at, before.queued) == (None, 1)
        assert producer.statistics().lifetime > before.lifetime
        producer.close()
        after = producer.statistics()
        assert (after.records_sent, after.errors, after.queued) == (1, 0, 0)
        assert after.closed_at is not None
        assert after.closed_at >= after.created_at == before.created_at
        assert after.lifetime == (after.closed_at - after.created_at) / 1e9
        assert producer.statistics() == after


class TestResources:
    def test_threads_and_connections_end_with_close(self, any_broker: EmbeddedBroker) -> None:
        gc.collect()
        before = (threads(), open_sockets())
        producer = opened(any_broker)
        send(producer, trade(1))
        producer.flush(SHORT_SECONDS)
        assert threads() > before[0]
        producer.close(SHORT_SECONDS)
        give_up_at = time.monotonic() + PATIENCE_SECONDS
        # The broker, which lives in this process too, may take a moment longer to close its end.
        while (threads(), open_sockets()) > before and time.monotonic() < give_up_at:
            time.sleep(0.01)
        assert (threads(), open_sockets()) <= before

    def test_schema_ids_are_kept(self, any_broker: EmbeddedBroker) -> None:
        producer = hurried(any_broker)
        send(producer, trade(1))
        known = producer.schema_ids
        producer.close()
        assert producer.schema_ids == known == {("crypto", "trades"): REGISTRY.schema_id("crypto", TRADE)}

    def test_statistics_are_kept(self, any_broker: EmbeddedBroker) -> None:
        producer = hurried(any_broker)
        for kind in (TRADE, QUOTE, REFERENCE_DATA):
            produce_methods(producer)[kind]("crypto", "BINANCE", RECORDS[kind](1))
        producer.close()
        kept = producer.statistics()
        assert (kept.records_given, kept.records_sent + kept.errors, kept.queued) == (3, 3, 0)


class TestExceptions:
    def test_the_bodys_exception_comes_out_as_it_was(self, any_broker: EmbeddedBroker) -> None:
        broken = ValueError("the feed broke")
        with pytest.raises(ValueError, match="the feed broke") as raised, hurried(any_broker) as producer:  # noqa: PT012
            send(producer, trade(1))
            raise broken
        assert raised.value is broken
        assert raised.value.__context__ is None

    def test_an_error_while_closing_does_not_hide_the_bodys(self, broker: EmbeddedBroker) -> None:
        def on_delivery(_: object) -> None:
            raise KeyError("the callback broke")

        with pytest.raises(ValueError, match="the feed broke"), opened(broker) as producer:  # noqa: PT012
            producer.produce_trade("crypto", "BINANCE", trade(1), on_delivery)
            raise ValueError("the feed broke")
        assert (producer.statistics().records_sent, producer.statistics().callback_errors) == (1, 1)


class TestSeveralProducers:
    def test_each_counts_its_own(self, any_broker: EmbeddedBroker) -> None:
        producers = [hurried(any_broker) for _ in range(3)]
        for number, producer in enumerate(producers, start=1):
            send(producer, *trades(1, number))
        for producer in producers:
            producer.close()
        given = [producer.statistics().records_given for producer in producers]
        assert given == [1, 2, 3]
        assert is_balanced(producers)
        assert [producer.statistics().queued for producer in producers] == [0, 0, 0]

    def test_nested_ones_do_not_touch_each_other(self, broker: EmbeddedBroker) -> None:
        before = messages_in(broker)
        with opened(broker) as outer:
            with opened(broker) as inner:
                send(outer, trade(1))
                send(inner, trade(2))
            send(outer, trade(3))
        assert (outer.statistics().records_sent, inner.statistics().records_sent) == (2, 1)
        assert messages_in(broker) == before + 3


def threads() -> int:
    """Threads of this process, those of libraries too."""
    return len(list(Path("/proc/self/task").iterdir()))


def open_sockets() -> int:
    """Sockets this process has open."""
    found = 0
    for descriptor in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(OSError):
            found += os.readlink(descriptor).startswith("socket:")
    return found
