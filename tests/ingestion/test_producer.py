"""The producer over an embedded broker: what lies in the log, and what is told of it."""

from collections.abc import Iterator
from typing import Any

import pytest

from k2.embedded.broker import EmbeddedBroker
from k2.errors import RecordError
from k2.ingestion.producer import Delivery, MarketDataProducer
from k2.observability.metrics import Metrics
from k2.records.definition import QUOTE, REFERENCE_DATA, TRADE, topic
from tests.ingestion.market_records import CRYPTO_TRADES, REGISTRY, decoded, quote, trade, trades
from tests.ingestion.producing import TRADES, producer_over, reference
from tests.ingestion.stage import CLOSED_PORT, PARTITIONS, read_all

CRYPTO_REFERENCE_DATA = topic("crypto", "reference_data")


@pytest.fixture
def metrics() -> Metrics:
    return Metrics()


@pytest.fixture
def producer(broker: EmbeddedBroker, metrics: Metrics) -> Iterator[MarketDataProducer]:
    with producer_over(broker.bootstrap_servers, metrics) as producer:
        yield producer


@pytest.fixture
def cut_off(metrics: Metrics) -> MarketDataProducer:
    """A producer whose broker is not there and which gives a record up after 200 ms."""
    return producer_over(CLOSED_PORT, metrics, delivery_timeout_ms=200)


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


def test_reference_data_goes_to_its_topic(producer: MarketDataProducer, broker: EmbeddedBroker) -> None:
    broker.create_topic(CRYPTO_REFERENCE_DATA, PARTITIONS)
    producer.produce_reference_data("crypto", "BINANCE", reference(1))
    producer.flush()
    (message,) = read_all(broker.bootstrap_servers, CRYPTO_REFERENCE_DATA)
    assert message.key() == b"BINANCE:BTCUSDT"
    (row,) = decoded([message.value()], REFERENCE_DATA).columns.to_pylist()
    assert (row["name"], row["currency"], row["listing_status"]) == ("Bitcoin in Tether", "USDT", "ACTIVE")


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
    assert producer.statistics().records_sent == 5
    assert metrics.value("k2_producer_records_sent_total", TRADES) == 5


@pytest.mark.parametrize(("asset_class", "exchange"), [("equities", "BINANCE"), ("crypto", "ASX")])
def test_a_record_of_another_exchange_or_asset_class_is_refused(
    producer: MarketDataProducer, broker: EmbeddedBroker, asset_class: str, exchange: str
) -> None:
    with pytest.raises(RecordError, match=f"the record says crypto/BINANCE, the call {asset_class}/{exchange}"):
        producer.produce_trade(asset_class, exchange, trade(1))
    producer.flush()
    assert read_all(broker.bootstrap_servers, CRYPTO_TRADES) == []
    assert producer.statistics().errors_by_reason == {"unfit": 1}


def test_a_record_that_does_not_fit_its_schema_is_refused_and_the_next_one_goes_through(
    producer: MarketDataProducer,
) -> None:
    with pytest.raises(RecordError, match=r"Trade\.price"):
        send(producer, trade(1, price=97123.45))
    send(producer, trade(1))
    producer.flush()
    assert producer.statistics().records_sent == 1


def test_a_broker_that_is_not_there_is_an_error_for_each_record(cut_off: MarketDataProducer, metrics: Metrics) -> None:
    deliveries: list[Delivery] = []
    for record in trades(1, 3):
        send(cut_off, record, deliveries.append)
    assert cut_off.flush() == 0
    assert [(d.partition, d.offset, d.error is None) for d in deliveries] == [(None, None, False)] * 3
    assert cut_off.statistics().errors == 3
    assert metrics.value("k2_producer_errors_total", {**TRADES, "reason": "_MSG_TIMED_OUT"}) == 3
    assert metrics.value("k2_producer_records_sent_total", TRADES) == 0
    cut_off.close()


def test_a_broker_that_went_away_is_an_error_for_what_comes_after() -> None:
    with EmbeddedBroker((CRYPTO_TRADES,)) as broker:
        producer = producer_over(broker.bootstrap_servers, delivery_timeout_ms=3_000)
        send(producer, trade(1))
        assert producer.flush() == 0
    send(producer, trade(2))
    producer.close()
    assert (producer.statistics().records_sent, producer.statistics().errors) == (1, 1)


def test_a_flush_that_runs_out_of_time_says_how_many_remain(cut_off: MarketDataProducer) -> None:
    send(cut_off, trade(1))
    send(cut_off, trade(2))
    assert cut_off.flush(0.01) == 2
    assert cut_off.statistics().flush_timeouts == 1
    assert cut_off.statistics().queued == 2
    cut_off.close()
