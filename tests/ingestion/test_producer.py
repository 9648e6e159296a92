"""The producer over an embedded broker: what lies in the log, and a life cycle without surprises."""

import time
from collections.abc import Iterator
from typing import Any

import pytest
from confluent_kafka import KafkaException
from structlog.testing import capture_logs

from k2.clock import SystemClock
from k2.embedded.broker import EmbeddedBroker
from k2.errors import RecordError
from k2.ingestion.producer import Delivery, MarketDataProducer
from k2.observability.metrics import Metrics
from k2.records.definition import QUOTE, TRADE, topic
from tests.ingestion.market_records import CRYPTO_TRADES, REGISTRY, decoded, quote, trade, trades
from tests.ingestion.stage import CLOSED_PORT, kafka_settings, read_all

TRADES = {"data_type": "trades"}


@pytest.fixture
def metrics() -> Metrics:
    return Metrics()


@pytest.fixture
def producer(broker: EmbeddedBroker, metrics: Metrics) -> Iterator[MarketDataProducer]:
    with open_producer(broker, metrics) as producer:
        yield producer


@pytest.fixture
def cut_off(metrics: Metrics) -> MarketDataProducer:
    """A producer whose broker is not there and which gives a record up after 200 ms."""
    settings = kafka_settings(CLOSED_PORT, delivery_timeout_ms=200)
    return MarketDataProducer(settings, REGISTRY, metrics, SystemClock())


def open_producer(broker: EmbeddedBroker, metrics: Metrics | None = None) -> MarketDataProducer:
    return MarketDataProducer(kafka_settings(broker.bootstrap_servers), REGISTRY, metrics or Metrics(), SystemClock())


def send(producer: MarketDataProducer, record: dict[str, Any], *given: Any) -> None:
    producer.produce_trade(record["asset_class"], record["exchange"], record, *given)


def test_a_trade_lies_in_its_topic_under_its_key_in_registered_avro(
    producer: MarketDataProducer, broker: EmbeddedBroker
) -> None:
    send(producer, trade(1, 7))
    assert producer.flush() == 0
    (message,) = read_all(broker.bootstrap_servers, CRYPTO_TRADES)
    assert message.key() == b"BINANCE:BTCUSDT"
    value = message.value() or b""
    assert value[:5] == b"\x00" + REGISTRY.schema_id("crypto", TRADE).to_bytes(4, "big")
    (row,) = decoded([value]).columns.to_pylist()
    assert (row["session_sequence"], row["source_sequence"], str(row["price"])) == (1, 7, "97123.4500000000")


def test_a_quote_goes_to_the_topic_of_quotes(producer: MarketDataProducer, broker: EmbeddedBroker) -> None:
    producer.produce_quote("crypto", "BINANCE", quote(1))
    producer.flush()
    (message,) = read_all(broker.bootstrap_servers, topic("crypto", "quotes"))
    assert decoded([message.value()], QUOTE).columns.column("session_sequence").to_pylist() == [1]


def test_the_records_of_a_key_keep_their_order_in_one_partition(
    producer: MarketDataProducer, broker: EmbeddedBroker
) -> None:
    for record in trades(1, 200):
        send(producer, record)
    producer.flush()
    messages = read_all(broker.bootstrap_servers, CRYPTO_TRADES)
    assert len({message.partition() for message in messages}) == 1
    columns = decoded([message.value() for message in messages]).columns
    assert columns.column("session_sequence").to_pylist() == list(range(1, 201))


def test_a_delivery_says_where_the_record_lies(producer: MarketDataProducer, broker: EmbeddedBroker) -> None:
    deliveries: list[Delivery] = []
    for record in trades(1, 3):
        send(producer, record, deliveries.append)
    producer.flush()
    found = [(message.partition(), message.offset()) for message in read_all(broker.bootstrap_servers, CRYPTO_TRADES)]
    assert [(delivery.partition, delivery.offset) for delivery in deliveries] == found
    assert {(delivery.topic, delivery.error) for delivery in deliveries} == {(CRYPTO_TRADES, None)}


def test_acknowledged_records_are_counted(producer: MarketDataProducer, metrics: Metrics) -> None:
    for record in trades(1, 5):
        send(producer, record)
    producer.flush()
    assert producer.statistics()["records_sent"] == 5
    assert metrics.value("k2_producer_records_sent_total", TRADES) == 5


@pytest.mark.parametrize(("asset_class", "exchange"), [("equities", "BINANCE"), ("crypto", "ASX")])
def test_a_record_of_another_exchange_or_asset_class_is_refused(
    producer: MarketDataProducer, broker: EmbeddedBroker, asset_class: str, exchange: str
) -> None:
    with pytest.raises(RecordError, match=f"the record says crypto/BINANCE, the call {asset_class}/{exchange}"):
        producer.produce_trade(asset_class, exchange, trade(1))
    producer.flush()
    assert read_all(broker.bootstrap_servers, CRYPTO_TRADES) == []


def test_a_record_that_does_not_fit_its_schema_is_refused_and_the_next_one_goes_through(
    producer: MarketDataProducer,
) -> None:
    with pytest.raises(RecordError, match=r"Trade\.price"):
        send(producer, trade(1, price=97123.45))
    send(producer, trade(1))
    producer.flush()
    assert producer.statistics()["records_sent"] == 1


def test_a_broker_that_is_not_there_is_an_error_for_each_record(cut_off: MarketDataProducer, metrics: Metrics) -> None:
    deliveries: list[Delivery] = []
    for record in trades(1, 3):
        send(cut_off, record, deliveries.append)
    assert cut_off.flush() == 0
    assert [(d.partition, d.offset, d.error is None) for d in deliveries] == [(None, None, False)] * 3
    assert cut_off.statistics()["errors"] == 3
    assert metrics.value("k2_producer_errors_total", {**TRADES, "reason": "_MSG_TIMED_OUT"}) == 3
    assert metrics.value("k2_producer_records_sent_total", TRADES) == 0
    cut_off.close()


def test_a_broker_that_went_away_is_an_error_for_what_comes_after() -> None:
    with EmbeddedBroker((CRYPTO_TRADES,)) as broker:
        settings = kafka_settings(broker.bootstrap_servers, delivery_timeout_ms=2_000)
        producer = MarketDataProducer(settings, REGISTRY, Metrics(), SystemClock())
        send(producer, trade(1))
        assert producer.flush() == 0
    send(producer, trade(2))
    producer.close()
    assert (producer.statistics()["records_sent"], producer.statistics()["errors"]) == (1, 1)


def test_a_flush_that_runs_out_of_time_says_how_many_remain(cut_off: MarketDataProducer) -> None:
    send(cut_off, trade(1))
    send(cut_off, trade(2))
    assert cut_off.flush(0.01) == 2
    assert cut_off.statistics()["flush_timeouts"] == 1
    assert cut_off.statistics()["queued"] == 2
    cut_off.close()


def test_close_delivers_what_is_queued_and_says_that_nothing_remains(broker: EmbeddedBroker) -> None:
    producer = open_producer(broker)
    for record in trades(1, 20):
        send(producer, record)
    assert producer.close() == 0
    assert len(read_all(broker.bootstrap_servers, CRYPTO_TRADES)) == 20


def test_closing_again_does_nothing(broker: EmbeddedBroker) -> None:
    producer = open_producer(broker)
    producer.close()
    closed_at = producer.statistics()["closed_at"]
    assert producer.close() == producer.close() == 0
    assert producer.statistics()["closed_at"] == closed_at


def test_close_says_how_many_remain(cut_off: MarketDataProducer, monkeypatch: pytest.MonkeyPatch) -> None:
    flush = cut_off.flush
    monkeypatch.setattr(cut_off, "flush", lambda: flush(0.01))
    send(cut_off, trade(1))
    assert cut_off.close() == 1


def test_an_error_of_the_last_flush_does_not_keep_it_open(
    broker: EmbeddedBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken_flush() -> int:
        raise KafkaException("the client is broken")

    producer = open_producer(broker)
    monkeypatch.setattr(producer, "flush", broken_flush)
    with capture_logs() as logs:
        assert producer.close() == 0
    assert [entry["event"] for entry in logs] == ["flush failed while closing"]
    assert producer.statistics()["errors"] == 1
    with pytest.raises(RuntimeError, match="closed"):
        send(producer, trade(1))


def test_after_close_nothing_can_be_produced(broker: EmbeddedBroker) -> None:
    producer = open_producer(broker)
    producer.close()
    with pytest.raises(RuntimeError, match="the producer is closed"):
        producer.produce_trade("crypto", "BINANCE", trade(1))
    with pytest.raises(RuntimeError, match="the producer is closed"):
        producer.produce_quote("crypto", "BINANCE", quote(1))


def test_after_close_flush_returns_nothing_and_warns_and_poll_does_nothing(broker: EmbeddedBroker) -> None:
    producer = open_producer(broker)
    producer.close()
    with capture_logs() as logs:
        assert producer.flush() == 0
        producer.poll()
    assert [(entry["event"], entry["log_level"]) for entry in logs] == [("flush after close", "warning")]


def test_after_close_the_statistics_can_be_read_and_stand_still(broker: EmbeddedBroker) -> None:
    producer = open_producer(broker)
    send(producer, trade(1))
    before = producer.statistics()
    assert before["closed_at"] is None
    producer.close()
    after = producer.statistics()
    assert (after["records_sent"], after["errors"], after["queued"]) == (1, 0, 0)
    assert after["closed_at"] >= after["created_at"] == before["created_at"]
    time.sleep(0.01)
    assert producer.statistics() == after
    assert after["lifetime_seconds"] == (after["closed_at"] - after["created_at"]) / 1e9


def test_leaving_the_context_delivers_and_closes(broker: EmbeddedBroker) -> None:
    with open_producer(broker) as producer:
        send(producer, trade(1))
    assert len(read_all(broker.bootstrap_servers, CRYPTO_TRADES)) == 1
    with pytest.raises(RuntimeError, match="closed"):
        send(producer, trade(2))


def test_an_exception_leaves_the_context_as_it_is_after_what_was_queued_is_delivered(broker: EmbeddedBroker) -> None:
    def broken_feed() -> Iterator[dict[str, Any]]:
        yield trade(1)
        raise ValueError("the feed broke")

    with pytest.raises(ValueError, match="the feed broke"), open_producer(broker) as producer:  # noqa: PT012
        for record in broken_feed():
            send(producer, record)
    assert producer.statistics()["closed_at"] is not None
    assert len(read_all(broker.bootstrap_servers, CRYPTO_TRADES)) == 1


def test_closing_inside_the_context_is_no_error(broker: EmbeddedBroker) -> None:
    with open_producer(broker) as producer:
        producer.close()
        closed_at = producer.statistics()["closed_at"]
    assert producer.statistics()["closed_at"] == closed_at


def test_nested_producers_do_not_touch_each_other(broker: EmbeddedBroker) -> None:
    with open_producer(broker) as outer:
        with open_producer(broker) as inner:
            send(outer, trade(1))
            send(inner, trade(2))
        send(outer, trade(3))
    assert (outer.statistics()["records_sent"], inner.statistics()["records_sent"]) == (2, 1)
    assert len(read_all(broker.bootstrap_servers, CRYPTO_TRADES)) == 3


def test_producers_one_after_another_each_count_their_own(broker: EmbeddedBroker) -> None:
    counts = []
    for number in range(1, 4):
        with open_producer(broker) as producer:
            for record in trades(1, number):
                send(producer, record)
        counts.append(producer.statistics()["records_sent"])
    assert counts == [1, 2, 3]
