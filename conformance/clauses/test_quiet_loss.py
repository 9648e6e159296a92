"""A feed that falls silent is noticed, whichever process stopped.

While the API goes on answering, /health MUST call an exchange stale when no row of it came for longer than the limit
and a second, as long as the silence lasts, and MUST NOT call it so while rows come; it MUST stop within a second when
they come again. The exported age and silence MUST grow with the clock meanwhile, in the API and in a consumer that
lives (CON-4). Feed hanging with its connection open, feed killed, consumer killed.
"""

import signal
import time
from collections.abc import Callable

import pytest

from conformance.clause import ClauseRun
from conformance.drivers.silence import (
    METRICS,
    Watch,
    effect_of_freeze,
    effect_of_kill,
    metrics_url,
    wait_for_rows,
    wait_for_silence,
    watching,
)
from conformance.history import HistoryWriter
from conformance.stacks.base import Stack

pytestmark = pytest.mark.alone

LIMIT_SECONDS = 1.2
DELAY_SECONDS = 1.0
CONTROL_SECONDS = 1.5
LOOKS_IN_CONTROL, TRIED_LOOKS = 8, 3
SILENCE_SECONDS = LIMIT_SECONDS + DELAY_SECONDS + 0.4
RECORDS_PER_SECOND = 300.0
DATA_TYPE, EXCHANGE = "quotes", "BINANCE"
FAULTS = ("feed_frozen", "feed_killed", "consumer_killed")


@pytest.mark.clause(
    name="quiet_loss",
    claims=("CON-4c",),
    checker="freshness",
    title="A feed that falls silent is noticed, whichever process stopped, and one that is alive is not reported",
    minimum_samples=60,
    remedy="see k2/api/freshness.py, and k2/storage/freshness.py for what a commit leaves behind",
)
def test_a_silent_feed_is_noticed_whichever_process_stopped(stack: Stack, clause: ClauseRun) -> None:
    watch = start(stack)
    look_seconds = seconds_of_a_look(watch)
    control_seconds = max(CONTROL_SECONDS, LOOKS_IN_CONTROL * look_seconds)
    with (
        clause.history(
            limit_seconds=LIMIT_SECONDS,
            delay_seconds=DELAY_SECONDS,
            control_seconds=control_seconds,
            required_faults=list(FAULTS),
        ) as history,
        watching(watch, history),
    ):
        wait_for_rows(watch)
        silence(history, watch, control_seconds, "feed_frozen", freeze_feed, thaw_feed)
        silence(history, watch, control_seconds, "feed_killed", kill_feed, start_feed)
        silence(history, watch, control_seconds, "consumer_killed", kill_consumer, start_consumer)
        time.sleep(2 * (DELAY_SECONDS + look_seconds))
    clause.judge()


def seconds_of_a_look(watch: Watch) -> float:
    """What looking takes here; what is to be seen must last long enough to be looked at."""
    started = time.monotonic()
    for _ in range(TRIED_LOOKS):
        watch.look()
    return (time.monotonic() - started) / TRIED_LOOKS


def start(stack: Stack) -> Watch:
    """Feed, consumer and API, the feed's rows on their way."""
    stack.start_feed(RECORDS_PER_SECOND, seed=1)
    consumer = stack.start_consumer(DATA_TYPE, environment=METRICS)
    api_url = stack.start_api({"K2_API__FRESHNESS_LIMIT_SECONDS": str(LIMIT_SECONDS)})
    return Watch(stack, api_url, metrics_url(consumer), DATA_TYPE, EXCHANGE)


def silence(
    history: HistoryWriter,
    watch: Watch,
    control_seconds: float,
    name: str,
    inject: Callable[[Watch], str],
    heal: Callable[[Watch], None],
) -> None:
    """A while of rows, the fault, a while of silence, the end of the fault, and rows again."""
    time.sleep(control_seconds)
    with history.invoke("harness", "fault", {"name": name, "effect": None}) as invocation:
        invocation.attributes["effect"] = inject(watch)
    wait_for_silence(watch, SILENCE_SECONDS)
    with history.invoke("harness", "heal", {"name": name}):
        heal(watch)
        wait_for_rows(watch)


def freeze_feed(watch: Watch) -> str:
    """SIGSTOP: its connection to the broker stays open."""
    feed = watch.stack.process("feed")
    feed.signal(signal.SIGSTOP)
    return effect_of_freeze(feed)


def thaw_feed(watch: Watch) -> None:
    """Let the frozen feed go on."""
    watch.stack.process("feed").signal(signal.SIGCONT)


def kill_feed(watch: Watch) -> str:
    """Kill the feed; answers what was done."""
    feed = watch.stack.process("feed")
    feed.signal(signal.SIGKILL)
    return effect_of_kill(feed)


def start_feed(watch: Watch) -> None:
    """Start another feed."""
    watch.stack.start_feed(RECORDS_PER_SECOND, seed=2)


def kill_consumer(watch: Watch) -> str:
    """Kill the consumer; answers what was done."""
    consumer = watch.stack.process(f"consumer-{DATA_TYPE}")
    watch.consumer_metrics_url = None
    consumer.signal(signal.SIGKILL)
    return effect_of_kill(consumer)


def start_consumer(watch: Watch) -> None:
    """Start another consumer."""
    watch.consumer_metrics_url = metrics_url(watch.stack.start_consumer(DATA_TYPE, environment=METRICS))
