"""Broker and registry pass their breakers: a consumer's questions, its dead letters, its schemas."""

import time
from pathlib import Path

import pytest

from k2.embedded.broker import EmbeddedBroker
from k2.errors import CircuitOpenError, DeliveryError, SchemaError, UnavailableError
from k2.ingestion.dead_letters import DeadLetterQueue
from k2.ingestion.kafka import administrative_client, check_broker, log_ranges
from k2.ingestion.log_reader import LogReader
from k2.ingestion.registry import PackagedRegistry, open_registry
from k2.ingestion.remote_registry import RemoteRegistry
from k2.observability.metrics import Metrics
from k2.records.definition import TRADE
from k2.resilience.breakers import CircuitBreakers, Dependency
from k2.resilience.circuit_breaker import BreakerState, CircuitBreaker
from k2.settings import BreakerSettings, ConsumerSettings, KafkaSettings
from tests.ingestion.dead_letter_samples import kept, letter_files, letters
from tests.ingestion.market_records import CRYPTO_TRADES
from tests.ingestion.registry_server import answering
from tests.ingestion.stage import CLOSED_PORT, kafka_settings
from tests.resilience.manual_clock import ManualClock

CLOSED, HALF_OPEN, OPEN = BreakerState
UNKNOWN_SCHEMA = {"error_code": 40403, "message": "Schema not found"}


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def breaker(clock: ManualClock) -> CircuitBreaker:
    settings = BreakerSettings(failures_to_open=2, open_seconds=10, successes_to_close=1)
    return CircuitBreaker("broker", settings, Metrics(), clock)


def test_questions_to_a_broker_that_is_away_open_the_breaker(breaker: CircuitBreaker) -> None:
    settings = kafka_settings(CLOSED_PORT)
    for _ in range(2):
        with pytest.raises(UnavailableError, match="no answer from"):
            check_broker(settings, answer_timeout_seconds=0.1, breaker=breaker)
    with pytest.raises(CircuitOpenError, match="broker"):
        check_broker(settings, answer_timeout_seconds=0.1, breaker=breaker)
    with pytest.raises(CircuitOpenError):
        log_ranges(administrative_client(settings), [(CRYPTO_TRADES, 0)], breaker)


def test_dead_letters_go_to_the_files_at_once_while_the_breaker_is_open(
    breaker: CircuitBreaker, broker: EmbeddedBroker, clock: ManualClock, tmp_path: Path
) -> None:
    files, settings = letter_files(tmp_path), kafka_settings(broker.bootstrap_servers)
    queue = DeadLetterQueue(settings, clock, files, Metrics(), 20_000, breaker)
    for _ in range(2):
        breaker.failed(UnavailableError("no answer"))
    started = time.monotonic()
    queue.send(letters(1, 2))
    assert time.monotonic() - started < 2
    assert kept(tmp_path) == letters(1, 2)
    clock.advance(10)
    queue.send(letters(3))
    assert breaker.state is CLOSED
    assert kept(tmp_path) == letters(1, 2)
    queue.close()


def test_letters_the_broker_does_not_take_are_its_failures(breaker: CircuitBreaker) -> None:
    queue = DeadLetterQueue(kafka_settings(CLOSED_PORT), ManualClock(), None, Metrics(), 100, breaker)
    for _ in range(2):
        with pytest.raises(DeliveryError, match="timed out"):
            queue.send(letters(1))
    assert breaker.state is OPEN
    with pytest.raises(DeliveryError, match="1 dead letters were not acknowledged: broker has failed"):
        queue.send(letters(1))
    queue.close()


def test_a_consumer_with_nothing_to_read_hears_that_the_broker_went_and_came(
    breaker: CircuitBreaker, clock: ManualClock
) -> None:
    with EmbeddedBroker((CRYPTO_TRADES,), 1) as broker:
        reader = LogReader(
            kafka_settings(broker.bootstrap_servers),
            ConsumerSettings(batch_seconds=0.1),
            [CRYPTO_TRADES],
            lambda places: dict.fromkeys(places, 0),
            lambda _: None,
            breaker,
        )
        try:
            reader.poll(lambda: False)
            broker.go_down()
            _poll_until(reader, breaker, OPEN)
            broker.come_up()
            clock.advance(10)
            _poll_until(reader, breaker, CLOSED, clock)
        finally:
            reader.close()


def test_a_registry_that_is_away_opens_its_breaker_and_an_unknown_schema_does_not(breaker: CircuitBreaker) -> None:
    with answering(404, UNKNOWN_SCHEMA) as server:
        registry = RemoteRegistry(server.url, breaker)
        for number in range(3):
            with pytest.raises(SchemaError):
                registry.writer_schema(number)
    assert breaker.state is CLOSED
    for _ in range(2):
        with pytest.raises(UnavailableError):
            registry.schema_id("crypto", TRADE)
    for ask in (registry.look, lambda: registry.writer_schema(1)):
        with pytest.raises(CircuitOpenError):
            ask()


def test_a_look_at_the_registry_closes_the_breaker_again(breaker: CircuitBreaker, clock: ManualClock) -> None:
    for _ in range(2):
        breaker.failed(UnavailableError("no answer"))
    clock.advance(10)
    with answering(200, {"compatibilityLevel": "BACKWARD"}) as server:
        RemoteRegistry(server.url, breaker).look()
    assert breaker.state is CLOSED


def test_only_a_registry_that_is_a_server_has_a_breaker(clock: ManualClock) -> None:
    breakers = CircuitBreakers(BreakerSettings(), Metrics(), clock)
    packaged = open_registry(KafkaSettings(), breakers)
    assert isinstance(packaged, PackagedRegistry)
    packaged.look()
    assert breakers.away_seconds() == {}
    open_registry(KafkaSettings(schema_registry_url="http://127.0.0.1:9"), breakers)
    assert list(breakers.away_seconds()) == [Dependency.SCHEMA_REGISTRY]


def _poll_until(
    reader: LogReader, breaker: CircuitBreaker, state: BreakerState, clock: ManualClock | None = None
) -> None:
    give_up_at = time.monotonic() + 30
    while breaker.state is not state:
        assert time.monotonic() < give_up_at, f"the breaker is {breaker.state.name}"
        if clock is not None:
            clock.advance(10)
        reader.poll(lambda: False)
