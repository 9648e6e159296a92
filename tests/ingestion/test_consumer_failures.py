"""What a consumer does about a failure: it goes on by itself where that can help, and stops at once where it cannot."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from confluent_kafka import KafkaError
from structlog.testing import capture_logs

from k2.clock import SystemClock
from k2.errors import RefusedError, RetriesExhaustedError, UnavailableError
from k2.ingestion.consumer import MarketDataConsumer, OnStep, Step
from k2.ingestion.dead_letters import DeadLetterQueue
from k2.ingestion.kafka import check_broker
from k2.ingestion.remote_registry import RemoteRegistry
from k2.records.definition import TRADE, dead_letter_topic
from k2.settings import RetrySettings
from tests.ingestion.market_records import CRYPTO_TRADES, trades
from tests.ingestion.registry_server import answering
from tests.ingestion.stage import CLOSED_PORT, Stage, kafka_settings

FETCH, METADATA, JOIN_GROUP = 1, 3, 11


class Warehouse:
    """The folder of one table, which can be away for a while, with a file in its place."""

    def __init__(self, stage: Stage) -> None:
        self._folder = Path(stage.settings.storage.warehouse) / TRADE.table.replace(".", "/")
        self._away = self._folder.with_name("away")

    def go_away(self) -> None:
        self._folder.rename(self._away)
        self._folder.write_text("a file where a folder was")

    def come_back(self) -> None:
        self._folder.unlink()
        self._away.rename(self._folder)


@contextmanager
def remote_consumer(stage: Stage, url: str) -> Iterator[MarketDataConsumer]:
    """A consumer that asks a schema registry at this address."""
    stage.produce(*trades(1, 3))
    yield MarketDataConsumer(
        stage.settings,
        RemoteRegistry(url),
        stage.writer(),
        DeadLetterQueue(stage.settings.kafka, SystemClock()),
        stage.metrics,
        SystemClock(),
    )


def once_judged(act: Callable[[], None]) -> OnStep:
    """An observer that does something when the first batch is about to be written."""
    done: list[int] = []

    def on_step(step: Step, batch: int) -> None:
        if step is Step.JUDGE and not done:
            done.append(batch)
            act()

    return on_step


def retries(stage: Stage, reason: str) -> float:
    return stage.metrics.value("k2_retries_total", {"data_type": "trades", "reason": reason})


def test_a_warehouse_that_is_away_for_one_attempt_costs_a_retry_and_no_record(stage: Stage) -> None:
    settings = RetrySettings(attempts=5, first_wait_seconds=0.5, longest_wait_seconds=1.0)
    stage.settings = stage.settings.model_copy(update={"retry": settings})
    stage.produce(*trades(1, 5))
    warehouse = Warehouse(stage)
    on_step = once_judged(warehouse.go_away)
    consumer = stage.consumer(on_step=on_step)
    with capture_logs() as lines, stage.running(consumer) as run:
        run.wait_until(lambda: retries(stage, "ENOTDIR") >= 1)
        warehouse.come_back()
        run.wait_until(lambda: stage.next_offsets() == {0: 5})
    assert stage.session_numbers() == [1, 2, 3, 4, 5]
    told = [line for line in lines if line["event"] == "retrying"]
    assert [line["attempt"] for line in told] == list(range(1, len(told) + 1))
    assert {(line["attempts"], line["reason"], line["log_level"]) for line in told} == {(5, "ENOTDIR", "warning")}
    assert 0.5 <= told[0]["wait_seconds"] <= 0.75
    assert len(told) == retries(stage, "ENOTDIR")


def test_a_warehouse_that_stays_away_ends_the_consumer_with_nothing_committed(stage: Stage) -> None:
    stage.produce(*trades(1, 5))
    warehouse = Warehouse(stage)
    on_step = once_judged(warehouse.go_away)
    consumer = stage.consumer(on_step=on_step)
    with capture_logs() as lines, pytest.raises(RetriesExhaustedError, match="gave up after 3 attempts"):
        consumer.run()
    warehouse.come_back()
    assert [line["attempt"] for line in lines if line["event"] == "retrying"] == [1, 2]
    assert retries(stage, "ENOTDIR") == 2
    assert stage.next_offsets() == {}
    assert stage.rows() == []
    stage.take_in(5)
    assert stage.session_numbers() == [1, 2, 3, 4, 5]


@pytest.mark.parametrize(
    ("api_key", "code"),
    [
        (FETCH, "TOPIC_AUTHORIZATION_FAILED"),
        (JOIN_GROUP, "GROUP_AUTHORIZATION_FAILED"),
        (JOIN_GROUP, "INVALID_GROUP_ID"),
    ],
)
def test_a_broker_that_refuses_stops_the_consumer_at_once(stage: Stage, api_key: int, code: str) -> None:
    stage.produce(*trades(1, 5))
    # As a real one does, it refuses every request; the mock forgets a refusal that meets a fetch of an empty partition.
    stage.broker.fail_requests(api_key, [getattr(KafkaError, code)] * 20)
    consumer = stage.consumer()
    with capture_logs() as lines, pytest.raises(RefusedError, match="polling: "):
        consumer.run()
    assert [line for line in lines if line["event"] == "retrying"] == []
    assert stage.next_offsets() == {}


@pytest.mark.parametrize(
    ("api_key", "code"),
    [
        (FETCH, "NOT_LEADER_FOR_PARTITION"),
        (FETCH, "KAFKA_STORAGE_ERROR"),
        (JOIN_GROUP, "COORDINATOR_LOAD_IN_PROGRESS"),
    ],
)
def test_what_passes_in_the_cluster_is_left_to_the_client(stage: Stage, api_key: int, code: str) -> None:
    stage.produce(*trades(1, 5))
    stage.broker.fail_requests(api_key, [getattr(KafkaError, code)] * 2)
    stage.take_in(5)
    assert stage.session_numbers() == [1, 2, 3, 4, 5]


@pytest.mark.parametrize(("status", "kind"), [(401, RefusedError), (503, RetriesExhaustedError)])
def test_a_registry_in_trouble_turns_no_message_into_a_dead_letter(
    stage: Stage, status: int, kind: type[Exception]
) -> None:
    with (
        answering(status, {"error_code": status, "message": "not now"}) as server,
        remote_consumer(stage, server.url) as consumer,
        pytest.raises(kind, match="asking the schema registry"),
    ):
        consumer.run()
    assert server.requests == (1 if kind is RefusedError else 3)
    assert stage.messages(dead_letter_topic(CRYPTO_TRADES)) == []
    assert stage.next_offsets() == {}


def test_an_id_the_registry_does_not_have_makes_dead_letters_and_the_rest_goes_on(stage: Stage) -> None:
    with (
        answering(404, {"error_code": 40403, "message": "Schema not found"}) as server,
        remote_consumer(stage, server.url) as consumer,
    ):
        stage.take_in(3, consumer=consumer)
    assert len(stage.messages(dead_letter_topic(CRYPTO_TRADES))) == 3
    assert stage.rows() == []


def test_a_start_without_a_broker_says_what_to_check() -> None:
    with pytest.raises(UnavailableError, match=r"no answer from .*Check that the broker runs") as caught:
        check_broker(kafka_settings(CLOSED_PORT), answer_timeout_seconds=0.3)
    assert "\n" not in str(caught.value)


def test_a_start_at_a_broker_that_refuses_says_why(stage: Stage) -> None:
    stage.broker.fail_requests(METADATA, [KafkaError.CLUSTER_AUTHORIZATION_FAILED] * 5)
    with pytest.raises(RefusedError, match=r"Cluster authorization failed\. The right is missing"):
        check_broker(stage.settings.kafka)
