"""Every record a producer is given ends acknowledged or counted as an error by its reason, whatever goes wrong."""

from collections.abc import Iterator

import pytest
from structlog.testing import capture_logs

from k2.clock import SystemClock
from k2.embedded.broker import EmbeddedBroker
from k2.errors import DeliveryError, RecordError, SchemaError, UnavailableError
from k2.ingestion.producer import Delivery, MarketDataProducer
from k2.ingestion.remote_registry import RemoteRegistry
from k2.observability.metrics import Metrics
from k2.records.definition import TRADE
from tests.ingestion.market_records import CRYPTO_TRADES, trade, trades
from tests.ingestion.producing import ALL_TOPICS, TRADES, is_balanced, producer_over, send
from tests.ingestion.stage import CLOSED_PORT, PARTITIONS, kafka_settings

PRODUCE_API_KEY = 0
CLOSED_CONNECTION = -195
MSG_SIZE_TOO_LARGE, OUT_OF_ORDER_SEQUENCE_NUMBER, NOT_ENOUGH_REPLICAS = 10, 45, 19
TOPIC_AUTHORIZATION_FAILED = 29
MANY = 10_000


@pytest.fixture
def metrics() -> Metrics:
    return Metrics()


@pytest.fixture(scope="module")
def shared() -> Iterator[EmbeddedBroker]:
    with EmbeddedBroker(ALL_TOPICS, PARTITIONS) as broker:
        yield broker


@pytest.fixture
def broker(shared: EmbeddedBroker) -> Iterator[EmbeddedBroker]:
    yield shared
    shared.come_up()


@pytest.fixture
def producer(broker: EmbeddedBroker, metrics: Metrics) -> Iterator[MarketDataProducer]:
    """A producer that has had its first record acknowledged, and gives one up after three seconds."""
    with short_of_time(broker, metrics) as producer:
        send(producer, trade(1))
        assert producer.flush() == 0
        assert producer.statistics().records_sent == 1
        yield producer
        producer.flush()
        assert is_balanced([producer])


def short_of_time(broker: EmbeddedBroker, metrics: Metrics) -> MarketDataProducer:
    return producer_over(broker.bootstrap_servers, metrics, delivery_timeout_ms=3_000)


def errors(metrics: Metrics, reason: str) -> float:
    return metrics.value("k2_producer_errors_total", {**TRADES, "reason": reason})


def exhausted(metrics: Metrics) -> float:
    return metrics.value("k2_producer_retries_exhausted_total", TRADES)


def test_a_record_the_broker_never_takes_exhausts_its_retries(metrics: Metrics) -> None:
    with EmbeddedBroker(ALL_TOPICS, PARTITIONS) as broker, short_of_time(broker, metrics) as producer:
        send(producer, trade(1))
        assert producer.flush() == 0
        broker.fail_requests(PRODUCE_API_KEY, [NOT_ENOUGH_REPLICAS] * MANY)
        send(producer, *trades(2, 4))
        assert producer.flush() == 0
    assert producer.statistics().errors_by_reason == {"_MSG_TIMED_OUT": 3}
    assert (producer.statistics().retries_exhausted, exhausted(metrics)) == (3, 3)
    assert errors(metrics, "_MSG_TIMED_OUT") == 3


def test_a_broker_that_went_away_exhausts_the_retries_of_what_comes_after(
    producer: MarketDataProducer, broker: EmbeddedBroker, metrics: Metrics
) -> None:
    broker.go_down()
    send(producer, *trades(2, 6))
    assert producer.flush() == 0
    assert (producer.statistics().records_sent, producer.statistics().errors) == (1, 5)
    assert exhausted(metrics) == 5


def test_a_failure_that_passes_is_repeated_and_counted_nowhere(
    producer: MarketDataProducer, broker: EmbeddedBroker, metrics: Metrics
) -> None:
    broker.fail_requests(PRODUCE_API_KEY, [NOT_ENOUGH_REPLICAS, CLOSED_CONNECTION])
    send(producer, *trades(2, 4))
    assert producer.flush() == 0
    assert (producer.statistics().records_sent, producer.statistics().errors) == (4, 0)
    assert exhausted(metrics) == 0


@pytest.mark.parametrize(
    ("code", "reason", "said"),
    [
        (MSG_SIZE_TOO_LARGE, "MSG_SIZE_TOO_LARGE", "size too large"),
        (TOPIC_AUTHORIZATION_FAILED, "TOPIC_AUTHORIZATION_FAILED", "authorization failed"),
    ],
)
def test_a_refused_record_is_an_error_but_exhausts_nothing(
    producer: MarketDataProducer, broker: EmbeddedBroker, metrics: Metrics, code: int, reason: str, said: str
) -> None:
    deliveries: list[Delivery] = []
    broker.fail_requests(PRODUCE_API_KEY, [code])
    producer.produce_trade("crypto", "BINANCE", trade(2), deliveries.append)
    assert producer.flush() == 0
    assert producer.statistics().errors_by_reason == {reason: 1}
    assert (exhausted(metrics), errors(metrics, reason)) == (0, 1)
    assert [(d.topic, d.partition, d.offset) for d in deliveries] == [(CRYPTO_TRADES, None, None)]
    assert said in (deliveries[0].error or "")


def test_a_record_larger_than_a_message_may_be_is_refused_and_counted(
    producer: MarketDataProducer, metrics: Metrics
) -> None:
    with pytest.raises(RecordError, match=f"sending to {CRYPTO_TRADES}: .*larger"):
        send(producer, trade(2, conditions="x" * 2_000_000))
    assert errors(metrics, "MSG_SIZE_TOO_LARGE") == 1
    send(producer, trade(3))
    assert producer.flush() == 0
    assert producer.statistics().records_sent == 2


def test_an_asset_class_without_schema_is_counted(producer: MarketDataProducer) -> None:
    with pytest.raises(SchemaError, match="asset class 'bonds'"):
        producer.produce_trade("bonds", "BINANCE", trade(1, asset_class="bonds"))
    with pytest.raises(SchemaError, match="asset class 'bonds'"):
        producer.produce_batch(TRADE, "bonds", [trade(1), trade(2)])
    assert producer.statistics().errors_by_reason == {"unfit": 3}


def test_a_registry_that_does_not_answer_is_counted(broker: EmbeddedBroker) -> None:
    settings = kafka_settings(broker.bootstrap_servers)
    away = RemoteRegistry(f"http://{CLOSED_PORT}")
    with MarketDataProducer(settings, away, Metrics(), SystemClock()) as producer:
        with pytest.raises(UnavailableError):
            send(producer, trade(1))
        with pytest.raises(UnavailableError):
            producer.produce_batch(TRADE, "crypto", trades(2, 4))
    assert producer.statistics().errors_by_reason == {"no_schema": 4}


def test_after_a_fatal_error_every_record_is_an_error_and_the_caller_is_told(
    producer: MarketDataProducer, broker: EmbeddedBroker
) -> None:
    broker.fail_requests(PRODUCE_API_KEY, [OUT_OF_ORDER_SEQUENCE_NUMBER])
    send(producer, *trades(2, 6))
    assert producer.flush() == 0
    with pytest.raises(DeliveryError, match="close this producer and open another"):
        send(producer, trade(7))
    with pytest.raises(DeliveryError, match="close this producer and open another"):
        producer.produce_batch(TRADE, "crypto", trades(8, 9))
    found = producer.statistics()
    assert found.records_sent == 1
    assert found.errors_by_reason == {"OUT_OF_ORDER_SEQUENCE_NUMBER": 5, "_FATAL": 3}


def test_a_fatal_error_met_while_polling_is_no_exception(producer: MarketDataProducer, broker: EmbeddedBroker) -> None:
    fates: list[str | None] = []
    broker.fail_requests(PRODUCE_API_KEY, [OUT_OF_ORDER_SEQUENCE_NUMBER])
    for number in range(2, 7):
        producer.produce_trade("crypto", "BINANCE", trade(number), lambda delivery: fates.append(delivery.error))
    with capture_logs() as logs:
        while producer.statistics().queued:
            producer.poll()
    assert len(fates) == 5
    assert None not in fates
    assert [entry["event"] for entry in logs].count("the client met a fatal error") == 1


def test_each_reason_is_logged_once(metrics: Metrics) -> None:
    with (
        capture_logs() as logs,
        producer_over(CLOSED_PORT, metrics, delivery_timeout_ms=200) as producer,
    ):
        send(producer, *trades(1, 50))
        producer.flush()
    said = [entry for entry in logs if entry["event"] == "records not acknowledged"]
    assert [(entry["data_type"], entry["reason"]) for entry in said] == [("trades", "_MSG_TIMED_OUT")]


def test_an_error_in_a_callback_waits_for_the_next_flush_and_stops_nothing(producer: MarketDataProducer) -> None:
    called: list[int] = []

    def on_delivery(number: int) -> None:
        called.append(number)
        raise ValueError(f"callback {number} broke")

    for number in (2, 3):
        producer.produce_trade("crypto", "BINANCE", trade(number), lambda _, number=number: on_delivery(number))  # type: ignore[misc]
    with pytest.raises(ValueError, match="callback 2 broke"):
        producer.flush()
    assert called == [2, 3]
    assert producer.flush() == 0
    assert (producer.statistics().records_sent, producer.statistics().callback_errors) == (3, 2)


def test_the_accounts_of_two_data_types_are_kept_apart(metrics: Metrics, broker: EmbeddedBroker) -> None:
    with producer_over(broker.bootstrap_servers, metrics) as producer:
        send(producer, *trades(1, 3))
        with pytest.raises(RecordError, match=r"Quote.*trade_id"):
            producer.produce_quote("crypto", "BINANCE", trade(1))
        producer.flush()
    assert metrics.value("k2_producer_records_sent_total", TRADES) == 3
    quotes = {"data_type": "quotes", "reason": "unfit"}
    assert metrics.value("k2_producer_errors_total", quotes) == 1
    assert errors(metrics, "unfit") == 0
