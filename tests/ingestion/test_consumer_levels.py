"""What a consumer sheds at each level, and what its level follows from."""

from contextlib import nullcontext

import pytest

from k2.clock import SystemClock
from k2.errors import OverloadedError
from k2.ingestion.consumer import MarketDataConsumer
from k2.ingestion.dead_letters import DeadLetterQueue
from k2.resilience.breakers import CircuitBreakers
from k2.resilience.degradation import Level, LevelReport
from k2.resilience.safeguards import Safeguards
from k2.resilience.shedding import Shedding
from k2.resilience.signals import Component
from k2.settings import BreakerSettings
from tests.ingestion.market_records import REGISTRY, trade
from tests.ingestion.stage import Stage


class Levelled:
    """A consumer at a level that is set by hand."""

    def __init__(self, stage: Stage) -> None:
        self.level = Level.NOMINAL
        self.stage = stage
        metrics, clock = stage.metrics, SystemClock()
        shedding = Shedding(Component.CONSUMER, lambda: LevelReport(self.level), metrics)
        self.consumer = MarketDataConsumer(
            stage.settings,
            REGISTRY,
            stage.writer(),
            DeadLetterQueue(stage.settings.kafka, clock),
            metrics,
            clock,
            safeguards=Safeguards(CircuitBreakers(BreakerSettings(), metrics, clock), shedding, nullcontext),
        )

    def exports_age(self) -> bool:
        return b"k2_consumer_lag_seconds{" in self.stage.metrics.exposition()

    def shed(self, what: str) -> float:
        return self.stage.metrics.value("k2_shed_total", {"what": what, "level": self.level.name})


def test_the_age_of_the_newest_record_is_left_out_from_critical_on_and_counted(stage: Stage) -> None:
    stage.produce(trade(1))
    stage.take_in(1)
    levelled = Levelled(stage)
    for level in (Level.NOMINAL, Level.DEGRADED):
        levelled.level = level
        assert levelled.exports_age()
    levelled.level = Level.CRITICAL
    assert not levelled.exports_age()
    assert levelled.shed("record_age") == 1


def test_records_are_taken_in_up_to_critical_and_at_shutdown_no_batch_is_begun(stage: Stage) -> None:
    levelled = Levelled(stage)
    levelled.level = Level.CRITICAL
    stage.produce(trade(1), trade(2))
    stage.take_in(2, consumer=levelled.consumer)
    stopped = Levelled(stage)
    stopped.level = Level.SHUTDOWN
    stage.produce(trade(3))
    with pytest.raises(OverloadedError, match="stopped between two batches") as raised:
        stopped.consumer.run()
    assert raised.value.exit_code == 75
    assert stopped.shed("batches") == 1
    assert stage.next_offsets() == {0: 2}
    stage.take_in(3)


def test_progress_says_how_far_the_table_is_and_how_much_waits(stage: Stage) -> None:
    consumer = stage.consumer()
    assert consumer.progress() == (0, 0)
    stage.produce(*(trade(number) for number in range(1, 6)))
    with stage.running(consumer) as run:
        run.wait_until(lambda: stage.next_offsets() == {0: 5})
        run.wait_until(lambda: consumer.progress() == (5, 0))
