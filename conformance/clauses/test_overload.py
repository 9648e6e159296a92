"""More than the platform can take, for a while: it bends, says so, and comes back by itself.

While records come three times as fast as the sink takes them in, or as the broker acknowledges them, memory MUST stay
bounded, nothing acknowledged MUST be lost, what is shed MUST be counted and listed record by record, and the level MUST
rise and be NOMINAL again within 30 s after (RES-3).

How the sink is throttled is Outage.SINK_SLOW; what it takes in then is measured in the same run. The broker is made to
answer late, and the producer's queue is short: QUEUED records in LATE_MS are what it can acknowledge.
"""

import json
import time
from pathlib import Path

import pytest

from conformance.clause import ClauseRun, by_profile
from conformance.drivers.feeding import wait_until_drained
from conformance.drivers.observing import observe_tables
from conformance.drivers.outages import outage
from conformance.drivers.overload import RatedFeeder, Watcher, finish, overload
from conformance.drivers.silence import METRICS, metrics_url, wait_until
from conformance.stacks.base import NewStack, Outage

pytestmark = pytest.mark.alone
OVERLOAD_SECONDS = by_profile(smoke=12, full=60)
NOMINAL_SECONDS = by_profile(smoke=15, full=30)
NOMINAL_RATE = 100
START_SECONDS = 90.0
RATE = 2_000
BATCH_ROWS = 1_000
MEMORY_LIMIT_BYTES = 160 << 20
QUEUED, LATE_MS = 200, 400
SHEDDING = {
    "K2_PRODUCER__OVERLOAD_POLICY": "shed",
    "K2_PRODUCER__QUEUE_MAX_MESSAGES": str(QUEUED),
    "K2_PRODUCER__QUEUE_FULL_TIMEOUT_SECONDS": "0",
}
# In a smoke run the backlog is a fifth of that of a full one, and so are the bands; the times are shorter, too.
QUICK_LEVELS = {
    "K2_DEGRADATION__LAG_MESSAGES": json.dumps({"degraded": [2_000, 300], "critical": [20_000, 2_000]}),
    "K2_DEGRADATION__HOLD_SECONDS": "2",
    "K2_DEGRADATION__WINDOW_SECONDS": "2",
}
CONSUMER = {**METRICS, **(QUICK_LEVELS if by_profile(smoke=1, full=0) else {})}


@pytest.mark.timeout(600)
@pytest.mark.clause(
    name="overload/sink",
    claims=("RES-3a",),
    checker="overload",
    title="A throttled sink under three times its rate: bounded memory, a level that rises and falls, nothing lost",
    minimum_samples=5_000,
    remedy="see k2/resilience/signals.py for the lag signal, queued.* in consumer_configuration for what is held",
)
def test_a_throttled_sink_bends_and_comes_back(clause: ClauseRun, tmp_path: Path, new_stack: NewStack) -> None:
    run_overload(clause, tmp_path, new_stack, sheds=False)


@pytest.mark.timeout(600)
@pytest.mark.clause(
    name="overload/broker",
    claims=("RES-3a",),
    checker="overload",
    title="A slow broker under three times its rate: bounded memory, each shed record counted and listed, nothing lost",
    minimum_samples=5_000,
    remedy="see k2/ingestion/producer_gate.py and docs/producer.md",
)
def test_a_slow_broker_makes_the_producer_shed_by_the_book(
    clause: ClauseRun, tmp_path: Path, new_stack: NewStack
) -> None:
    run_overload(clause, tmp_path, new_stack, sheds=True)


def run_overload(clause: ClauseRun, tmp_path: Path, new_stack: NewStack, *, sheds: bool) -> None:
    """A calm moment, the overload, and half a minute after it."""
    seed = 112 if sheds else 111
    delivery = clause.part(
        f"{clause.name}_delivery",
        ("RES-3a",),
        "delivery",
        "Nothing acknowledged under overload is lost or twice",
        1_000,
    )
    plan = {
        "memory_limit_bytes": MEMORY_LIMIT_BYTES,
        "nominal_within_seconds": NOMINAL_SECONDS,
        "shortest_seconds": 0.9 * OVERLOAD_SECONDS,
        "sheds": sheds,
        "level_rises": not sheds,
    }
    with (
        new_stack(tmp_path, batch_rows=BATCH_ROWS) as stack,
        clause.history(seed=seed, **plan) as history,
        delivery.history(seed=seed) as followed,
        RatedFeeder(stack, tmp_path, seed, SHEDDING if sheds else {}) as feeder,
    ):
        consumer = stack.start_consumer("trades", environment=CONSUMER)
        watcher = Watcher(history, metrics_url(consumer), {"consumer": consumer.pid, "producer": feeder.pid})
        feeder.set_rate(NOMINAL_RATE)
        wait_until(lambda: watcher.look()["taken"] > 0, START_SECONDS, "the consumer takes nothing in")
        with watcher.watching():
            if sheds:
                stack.command_broker("answer_late", milliseconds=LATE_MS)
                with overload(history, feeder, RATE, watcher):
                    time.sleep(OVERLOAD_SECONDS)
                stack.command_broker("answer_late", milliseconds=0)
            else:
                with outage(stack, history, Outage.SINK_SLOW), overload(history, feeder, RATE, watcher):
                    time.sleep(OVERLOAD_SECONDS)
            feeder.set_rate(NOMINAL_RATE)
            # Some more, so that there are looks after the limit.
            time.sleep(NOMINAL_SECONDS + 2.0)
        ends = finish(history, feeder)
        wait_until_drained(stack, followed, ends, lambda: consumer.returncode() is None)
        followed.observe("fed", feeder.fed(), "trades")
        observe_tables(followed, stack, ["trades"])
    delivery.judge()
    clause.judge()
