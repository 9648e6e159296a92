"""A circuit breaker between producer and broker: it opens while the broker is away and closes when it is back."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from k2.clock import SystemClock
from k2.embedded.broker import EmbeddedBroker
from k2.errors import CircuitOpenError
from k2.ingestion.producer import Delivery, MarketDataProducer
from k2.ingestion.producer_gate import STANDSTILL_SECONDS
from k2.observability.metrics import Metrics
from k2.records.definition import TRADE
from k2.resilience.circuit_breaker import BreakerState, CircuitBreaker
from k2.settings import BreakerSettings
from tests.ingestion.market_records import CRYPTO_TRADES, trade, trades
from tests.ingestion.producing import ALL_TOPICS, TRADES, is_balanced, producer_over, send
from tests.ingestion.stage import CLOSED_PORT, PARTITIONS, wait_until

PRODUCE_API_KEY, MSG_SIZE_TOO_LARGE = 0, 10
CIRCUIT_OPEN = {**TRADES, "reason": "circuit_open"}
FAILURES_TO_OPEN = 3
Open = Callable[..., MarketDataProducer]


@pytest.fixture
def metrics() -> Metrics:
    return Metrics()


@pytest.fixture
def breaker(metrics: Metrics) -> CircuitBreaker:
    return breaker_of(metrics, open_seconds=0.1)


@pytest.fixture
def open_producer(metrics: Metrics, breaker: CircuitBreaker) -> Iterator[Open]:
    opened = []

    def open_one(bootstrap_servers: str, **changes: Any) -> MarketDataProducer:
        producer = producer_over(bootstrap_servers, metrics, **{"breaker": breaker, **changes})
        opened.append(producer)
        return producer

    yield open_one
    for producer in opened:
        producer.close()
    assert is_balanced(opened)


def breaker_of(metrics: Metrics, open_seconds: float) -> CircuitBreaker:
    settings = BreakerSettings(failures_to_open=FAILURES_TO_OPEN, open_seconds=open_seconds, successes_to_close=2)
    return CircuitBreaker("broker", settings, metrics, SystemClock())


def opened_breaker(metrics: Metrics) -> CircuitBreaker:
    """One that stays open for longer than any test runs."""
    breaker = breaker_of(metrics, open_seconds=3_600.0)
    for _ in range(FAILURES_TO_OPEN):
        breaker.failed(TimeoutError())
    assert breaker.state is BreakerState.OPEN
    return breaker


def test_it_opens_while_the_broker_is_away_and_closes_when_it_is_back(
    open_producer: Open, breaker: CircuitBreaker
) -> None:
    with EmbeddedBroker(ALL_TOPICS, PARTITIONS) as broker:
        producer = open_producer(broker.bootstrap_servers, delivery_timeout_ms=1_500, overload_policy="shed")
        send(producer, trade(1))
        producer.flush()
        states = [breaker.state]
        broker.go_down()
        send(producer, *trades(2, 1 + FAILURES_TO_OPEN))
        producer.flush()
        states.append(breaker.state)
        assert states == [BreakerState.CLOSED, BreakerState.OPEN]
        assert producer.statistics().errors_by_reason["_MSG_TIMED_OUT"] == FAILURES_TO_OPEN
        broker.come_up()
        before = producer.statistics().records_sent

        def sends_and_closes() -> bool:
            send(producer, trade(100))
            producer.flush()
            return breaker.state is BreakerState.CLOSED

        wait_until(sends_and_closes)
        assert producer.statistics().records_sent > before


def test_an_open_breaker_raises_by_policy_without_queueing(open_producer: Open, metrics: Metrics) -> None:
    producer = open_producer(CLOSED_PORT, breaker=opened_breaker(metrics))
    with pytest.raises(CircuitOpenError, match="broker has failed several times in a row"):
        send(producer, trade(1))
    with pytest.raises(CircuitOpenError):
        producer.produce_batch(TRADE, "crypto", trades(2, 5))
    assert producer.statistics().queued == 0
    assert producer.statistics().errors_by_reason == {"circuit_open": 5}
    assert metrics.value("k2_producer_errors_total", CIRCUIT_OPEN) == 5


def test_an_open_breaker_sheds_by_policy_and_tells_each_record(open_producer: Open, metrics: Metrics) -> None:
    producer = open_producer(CLOSED_PORT, breaker=opened_breaker(metrics), overload_policy="shed")
    fates: list[Delivery] = []
    producer.produce_trade("crypto", "BINANCE", trade(1), fates.append)
    result = producer.produce_batch(TRADE, "crypto", trades(2, 5), lambda _, delivery: fates.append(delivery))
    assert fates == [Delivery(CRYPTO_TRADES, None, None, "circuit_open")] * 5
    assert (result.queued, result.shed) == (0, 4)
    assert (producer.statistics().shed, producer.statistics().queued) == (5, 0)


def test_a_refusal_of_the_broker_is_an_answer_and_opens_nothing(open_producer: Open, breaker: CircuitBreaker) -> None:
    with EmbeddedBroker(ALL_TOPICS, PARTITIONS) as broker:
        producer = open_producer(broker.bootstrap_servers)
        broker.fail_requests(PRODUCE_API_KEY, [MSG_SIZE_TOO_LARGE] * 20)
        send(producer, *trades(1, 2 * FAILURES_TO_OPEN))
        assert producer.flush() == 0
        assert producer.statistics().errors == 2 * FAILURES_TO_OPEN
    assert breaker.state is BreakerState.CLOSED


def test_a_queue_that_lets_nobody_in_for_a_second_counts_as_a_failure(
    open_producer: Open, breaker: CircuitBreaker
) -> None:
    producer = open_producer(
        CLOSED_PORT,
        delivery_timeout_ms=60_000,
        queue_max_messages=1,
        queue_full_timeout_seconds=STANDSTILL_SECONDS,
        flush_timeout_seconds=0.01,
        overload_policy="shed",
    )
    send(producer, *trades(1, 1 + FAILURES_TO_OPEN))
    assert breaker.state is BreakerState.OPEN
    assert producer.statistics().errors_by_reason == {"queue_full": FAILURES_TO_OPEN}


def test_a_queue_that_was_only_just_full_says_nothing_of_the_broker(
    open_producer: Open, breaker: CircuitBreaker
) -> None:
    producer = open_producer(
        CLOSED_PORT,
        delivery_timeout_ms=60_000,
        queue_max_messages=1,
        queue_full_timeout_seconds=0.0,
        flush_timeout_seconds=0.01,
        overload_policy="shed",
    )
    send(producer, *trades(1, 1 + 2 * FAILURES_TO_OPEN))
    assert producer.statistics().errors_by_reason == {"queue_full": 2 * FAILURES_TO_OPEN}
    assert breaker.state is BreakerState.CLOSED


def test_what_the_producer_gives_up_when_closing_says_nothing_of_the_broker(
    open_producer: Open, breaker: CircuitBreaker
) -> None:
    producer = open_producer(CLOSED_PORT, delivery_timeout_ms=60_000)
    send(producer, *trades(1, 2 * FAILURES_TO_OPEN))
    assert producer.close(0.01) == 2 * FAILURES_TO_OPEN
    assert breaker.state is BreakerState.CLOSED


def test_a_record_that_does_not_fit_takes_no_probe(open_producer: Open, metrics: Metrics) -> None:
    waiting = breaker_of(metrics, open_seconds=0.001)
    with EmbeddedBroker(ALL_TOPICS, PARTITIONS) as broker:
        producer = open_producer(broker.bootstrap_servers, breaker=waiting)
        for _ in range(FAILURES_TO_OPEN):
            waiting.failed(TimeoutError())
        result = producer.produce_batch(TRADE, "crypto", [trade(1, price=1.5)])
        assert len(result.refused) == 1
        assert waiting.state is BreakerState.OPEN
