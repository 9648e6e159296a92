"""What a consumer exports of its lag is true when it is asked for, also while no batch comes."""

import threading
import time
from collections.abc import Mapping
from typing import Any

from k2.ingestion.consumer import Step
from tests.ingestion.market_records import CRYPTO_TRADES, trade
from tests.ingestion.stage import Stage, wait_until

AGE = "k2_consumer_lag_seconds"


def samples(stage: Stage, name: str) -> dict[Mapping[str, str], float]:
    """Every exported sample of a metric, by its labels."""
    return {
        frozenset(sample.labels.items()): sample.value  # type: ignore[misc]
        for family in stage.metrics.registry.collect()
        for sample in family.samples
        if sample.name == name
    }


def lag(stage: Stage) -> dict[int, float]:
    """Exported lag in messages, by partition."""
    found = samples(stage, "k2_consumer_lag_messages")
    return {int(dict(labels)["partition"].removeprefix(f"{CRYPTO_TRADES}/")): value for labels, value in found.items()}


def age_seconds(stage: Stage) -> float:
    (age,) = samples(stage, AGE).values()
    return age


def recent(number: int, **changed: Any) -> dict[str, Any]:
    return trade(number, receive_time_ns=time.time_ns(), **changed)


def test_the_age_of_the_newest_record_grows_while_nothing_comes(stage: Stage) -> None:
    consumer = stage.consumer()
    assert samples(stage, AGE) == {}
    received_ns = time.time_ns()
    stage.produce(trade(1, receive_time_ns=received_ns), trade(2, receive_time_ns=received_ns - 10**9))
    with stage.running(consumer) as run:
        run.wait_until(lambda: stage.next_offsets() == {0: 2})
        first = age_seconds(stage)
        time.sleep(0.3)
        second = age_seconds(stage)
        assert first > 0
        assert first + 0.3 <= second <= (time.time_ns() - received_ns) / 1e9


def test_a_consumer_that_starts_in_a_silence_tells_its_whole_length(stage: Stage) -> None:
    stage.produce(trade(1, receive_time_ns=time.time_ns() - 3_600 * 10**9))
    stage.take_in(1)
    stage.consumer()
    assert 3_600 <= age_seconds(stage) < 3_700


def test_the_lag_counts_what_is_polled_and_not_yet_committed(stage: Stage) -> None:
    held, released = threading.Event(), threading.Event()

    def hold_the_second_batch(step: Step, batch: int) -> None:
        if (step, batch) == (Step.JUDGE, 2):
            held.set()
            assert released.wait(20)

    stage.produce(*(recent(number) for number in range(1, 8)))
    with stage.running(stage.consumer(on_step=hold_the_second_batch, batch_rows=3)) as run:
        try:
            assert held.wait(20)
            assert stage.next_offsets() == {0: 3}
            # What the empty partition holds may not have been answered yet.
            assert {1: 0, **lag(stage)} == {0: 4, 1: 0}
        finally:
            released.set()
        run.wait_until(lambda: stage.next_offsets() == {0: 7} and lag(stage) == {0: 0, 1: 0})


def test_a_partition_that_was_given_up_is_not_exported_any_more(stage: Stage) -> None:
    stage.produce(recent(1))
    with stage.running(stage.consumer()) as run:
        run.wait_until(lambda: lag(stage) == {0: 0, 1: 0})
    assert lag(stage) == {}


def test_asking_for_the_lag_again_and_again_stops_nothing(stage: Stage) -> None:
    stopping = threading.Event()

    def ask() -> None:
        while not stopping.is_set():
            stage.metrics.exposition()

    asking = threading.Thread(target=ask)
    with stage.running(stage.consumer()):
        asking.start()
        try:
            for number in range(1, 6):
                stage.produce(recent(number))
                wait_until(lambda number=number: stage.next_offsets() == {0: number})  # type: ignore[misc]
        finally:
            stopping.set()
            asking.join(20)
    assert not asking.is_alive()
