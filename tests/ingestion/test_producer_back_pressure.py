"""A full queue is waited for as long as allowed; then the policy decides: an error, or dropped and counted."""

import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from k2.embedded.broker import EmbeddedBroker
from k2.errors import DeliveryError
from k2.ingestion.producer import Delivery, MarketDataProducer
from k2.observability.metrics import Metrics
from k2.records.definition import TRADE
from k2.settings import ProducerSettings
from tests.ingestion.market_records import CRYPTO_TRADES, decoded, trade, trades
from tests.ingestion.producing import ALL_TOPICS, TRADES, is_balanced, messages_in, producer_over, send
from tests.ingestion.stage import CLOSED_PORT, PARTITIONS, read_all

ROOM = 10
LIMIT_SECONDS = 0.3
PATIENCE_SECONDS = 5.0
QUEUE_FULL = {**TRADES, "reason": "queue_full"}
Open = Callable[..., MarketDataProducer]


@pytest.fixture
def metrics() -> Metrics:
    return Metrics()


@pytest.fixture
def open_producer(metrics: Metrics) -> Iterator[Open]:
    """Opens producers whose broker is away, with room for ten records, and checks their books at the end."""
    opened = []

    def open_one(bootstrap_servers: str = CLOSED_PORT, **changes: Any) -> MarketDataProducer:
        settings: dict[str, Any] = {
            "queue_max_messages": ROOM,
            "queue_full_timeout_seconds": LIMIT_SECONDS,
            "flush_timeout_seconds": 0.01,
            "delivery_timeout_ms": 60_000,
            **changes,
        }
        producer = producer_over(bootstrap_servers, metrics, **settings)
        opened.append(producer)
        return producer

    yield open_one
    for producer in opened:
        producer.close()
    assert is_balanced(opened)


def seconds_of(call: Callable[[], object]) -> float:
    started = time.monotonic()
    call()
    return time.monotonic() - started


def test_the_settings_state_the_defaults() -> None:
    settings = ProducerSettings()
    assert (settings.queue_full_timeout_seconds, settings.overload_policy) == (30.0, "raise")
    assert (settings.queue_max_messages, settings.queue_max_kbytes) == (200_000, 262_144)


def test_a_full_queue_blocks_up_to_the_limit_and_then_raises(open_producer: Open, metrics: Metrics) -> None:
    producer = open_producer()
    send(producer, *trades(1, ROOM))
    told: list[Delivery] = []
    started = time.monotonic()
    with pytest.raises(DeliveryError, match=rf"the queue to {CRYPTO_TRADES} stayed full for 0\.3 s, .*sent: 1; .*away"):
        producer.produce_trade("crypto", "BINANCE", trade(ROOM + 1), told.append)
    assert told == []
    assert LIMIT_SECONDS <= time.monotonic() - started < PATIENCE_SECONDS
    assert producer.statistics().errors_by_reason == {"queue_full": 1}
    assert metrics.value("k2_producer_errors_total", QUEUE_FULL) == 1
    assert metrics.value("k2_producer_retries_exhausted_total", TRADES) == 0
    assert producer.statistics().queued == ROOM


def test_a_full_queue_blocks_up_to_the_limit_and_then_sheds(open_producer: Open, metrics: Metrics) -> None:
    producer = open_producer(overload_policy="shed")
    send(producer, *trades(1, ROOM))
    fates: list[Delivery] = []
    taken = seconds_of(lambda: producer.produce_trade("crypto", "BINANCE", trade(ROOM + 1), fates.append))
    assert LIMIT_SECONDS <= taken < PATIENCE_SECONDS
    assert fates == [Delivery(CRYPTO_TRADES, None, None, "queue_full")]
    assert metrics.value("k2_producer_errors_total", QUEUE_FULL) == 1
    assert (producer.statistics().shed, producer.statistics().queued) == (1, ROOM)


@pytest.mark.parametrize("policy", ["raise", "shed"])
def test_a_queue_that_stays_full_is_not_waited_for_again(open_producer: Open, policy: str) -> None:
    producer = open_producer(overload_policy=policy)

    def send_one_more() -> None:
        try:
            send(producer, trade(1))
        except DeliveryError:
            assert policy == "raise"

    send(producer, *trades(1, ROOM))
    send_one_more()
    started = time.monotonic()
    for _ in range(50):
        send_one_more()
    assert time.monotonic() - started < PATIENCE_SECONDS
    assert producer.statistics().errors_by_reason == {"queue_full": 51}


def test_a_limit_of_zero_does_not_wait_at_all(open_producer: Open) -> None:
    producer = open_producer(queue_full_timeout_seconds=0.0, overload_policy="shed")
    send(producer, *trades(1, ROOM))
    assert seconds_of(lambda: send(producer, *trades(ROOM + 1, ROOM + 20))) < PATIENCE_SECONDS
    assert producer.statistics().errors_by_reason == {"queue_full": 20}


def test_a_queue_is_full_by_size_too(open_producer: Open) -> None:
    producer = open_producer(queue_max_messages=1_000_000, queue_max_kbytes=64, overload_policy="shed")
    large = [trade(number, conditions="x" * 10_000) for number in range(1, 12)]
    send(producer, *large)
    found = producer.statistics()
    assert found.queued == 6
    assert found.errors_by_reason == {"queue_full": 5}


def test_a_queue_that_gets_room_in_time_loses_nothing(open_producer: Open) -> None:
    with EmbeddedBroker(ALL_TOPICS, PARTITIONS) as broker:
        broker.answer_late(50)
        producer = open_producer(broker.bootstrap_servers, queue_full_timeout_seconds=60.0, flush_timeout_seconds=60.0)
        send(producer, *trades(1, 5 * ROOM))
        assert producer.flush() == 0
        assert producer.statistics().records_sent == 5 * ROOM
        messages = read_all(broker.bootstrap_servers, CRYPTO_TRADES)
    numbers = decoded([message.value() for message in messages]).columns.column("session_sequence").to_pylist()
    assert numbers == list(range(1, 5 * ROOM + 1))


def test_a_broker_that_comes_back_gets_what_was_queued_and_what_comes_then(open_producer: Open) -> None:
    with EmbeddedBroker(ALL_TOPICS, PARTITIONS) as broker:
        producer = open_producer(broker.bootstrap_servers, overload_policy="shed", flush_timeout_seconds=60.0)
        send(producer, trade(1))
        assert producer.flush() == 0
        broker.go_down()
        send(producer, *trades(2, ROOM + 21))
        assert producer.statistics().errors_by_reason == {"queue_full": 20}
        broker.come_up()
        assert producer.flush() == 0
        send(producer, trade(100))
        assert producer.flush() == 0
        assert producer.statistics().records_sent == ROOM + 2
        assert messages_in(broker) == ROOM + 2


def test_a_batch_is_cut_at_the_end_of_the_queue(open_producer: Open) -> None:
    producer = open_producer(overload_policy="shed")
    fates: dict[int, str | None] = {}
    result = producer.produce_batch(
        TRADE, "crypto", trades(1, 25), lambda index, delivery: fates.update({index: delivery.error})
    )
    assert (result.queued, result.shed, result.refused) == (ROOM, 15, ())
    assert fates == dict.fromkeys(range(ROOM, 25), "queue_full")
    assert producer.statistics().errors_by_reason == {"queue_full": 15}


def test_a_batch_that_does_not_fit_raises_by_policy_and_tells_which_records(open_producer: Open) -> None:
    producer = open_producer()
    fates: dict[int, str | None] = {}
    with pytest.raises(DeliveryError, match="records not sent: 15; the broker does not keep up"):
        producer.produce_batch(
            TRADE, "crypto", trades(1, 25), lambda index, delivery: fates.update({index: delivery.error})
        )
    assert sorted(fates) == list(range(ROOM, 25))
    assert producer.statistics().queued == ROOM
