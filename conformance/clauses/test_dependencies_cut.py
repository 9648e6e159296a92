"""Each dependency is cut in turn: callers fail fast, say which one it is, and go on by themselves when it is back.

While a dependency's connections are closed and none is accepted, its circuit breaker MUST open within the stated time,
and a caller MUST then be refused within the stated time instead of waiting; when it is back, breaker and caller MUST
recover within the stated time, in the same process (RES-1). Brokers, registry, catalog and object store are cut.
"""

import json
import time
from collections.abc import Callable
from dataclasses import dataclass

import pytest

from conformance.clause import ClauseRun
from conformance.drivers import http
from conformance.drivers.facts import record_fact
from conformance.drivers.feeding import feed_records, wait_until_drained
from conformance.drivers.outages import outage
from conformance.drivers.producing import ACKNOWLEDGED, Producing
from conformance.drivers.silence import METRICS, comes_true, metrics_url
from conformance.history import HistoryWriter
from conformance.stacks.base import Outage, Stack
from k2.clock import SystemClock
from k2.errors import K2Error
from k2.feeds.synthetic import SyntheticExchange, SyntheticSettings
from k2.ingestion.registry import open_registry
from k2.observability.metrics import Metrics
from k2.records.definition import TRADE
from k2.resilience.breakers import CircuitBreakers, Dependency
from k2.settings import BreakerSettings

OPENS_WITHIN_SECONDS = 30.0
REFUSED_WITHIN_SECONDS = 1.0
BACK_WITHIN_SECONDS = 60.0
GIVE_UP_MS = 2_000
RECORDS = 400
CLOSED, OPEN = 0.0, 2.0
FEW_FAILURES = BreakerSettings(failures_to_open=2, open_seconds=1.0, successes_to_close=2)
BREAKER = {"K2_BREAKER__FAILURES_TO_OPEN": "2", "K2_BREAKER__OPEN_SECONDS": "1"}
# Levels have clauses of their own.
NO_LEVELS = {"K2_DEGRADATION__DEPENDENCY_AWAY_SECONDS": json.dumps({}), "K2_DEGRADATION__LOOK_SECONDS": "0.2"}
PATIENT = {"K2_RETRY__ATTEMPTS": "1000", "K2_RETRY__LONGEST_WAIT_SECONDS": "1"}


@dataclass(frozen=True, slots=True)
class Caller:
    """Whoever calls a dependency.

    Attributes:
        state: of its breaker.
        call: calls; whether that went well.
    """

    state: Callable[[], float]
    call: Callable[[], bool]


@pytest.mark.clause(
    name="dependencies_cut",
    claims=("RES-1b",),
    checker="facts",
    title="With a dependency cut its callers are refused at once, and go on without a restart when it is back",
    minimum_samples=7,
    remedy="see k2/resilience/circuit_breaker.py, and docs/degradation.md for who calls what",
)
@pytest.mark.parametrize(
    ("breaker", "kind"),
    [
        pytest.param(Dependency.BROKER, Outage.BROKER_DOWN, id="broker"),
        pytest.param(Dependency.SCHEMA_REGISTRY, Outage.REGISTRY_DOWN, id="schema_registry"),
        pytest.param(Dependency.CATALOG, Outage.CATALOG_DOWN, id="catalog"),
        pytest.param(Dependency.OBJECT_STORE, Outage.WAREHOUSE_AWAY, id="object_store"),
    ],
)
@pytest.mark.timeout(300)
def test_callers_of_a_dependency_that_is_cut_fail_fast_and_recover(
    stack: Stack, clause: ClauseRun, breaker: Dependency, kind: Outage
) -> None:
    with clause.history(seed=121, opens_within_seconds=OPENS_WITHIN_SECONDS) as history:
        consumer = stack.start_consumer("trades", environment={**METRICS, **BREAKER, **NO_LEVELS, **PATIENT})
        consumer_url = metrics_url(consumer)
        fill(stack, history, 121)
        caller = CALLERS[breaker](stack)
        record_fact(history, "the call before", True, caller.call)
        # New files, for those that it has read an API may keep.
        fill(stack, history, 124)
        with outage(stack, history, kind):
            record_fact(history, "the breaker opens in time", True, opens, caller)
            record_fact(history, "then a call is refused at once", True, refused_at_once, caller)
        record_fact(history, "the call goes well again", True, comes_true, caller.call, BACK_WITHIN_SECONDS)
        record_fact(history, "the breaker closes", True, closes, caller)
        # The consumer lives through it, whatever was cut, and takes in what comes afterwards.
        fill(stack, history, 122)
        record_fact(history, "the consumer's breakers", [], breakers_not_closed, consumer_url)
        record_fact(history, "the consumer that met it lives", True, lambda: consumer.returncode() is None)
    clause.judge()


def of_broker(stack: Stack) -> Caller:
    """A producer."""
    metrics = Metrics()
    breaker = CircuitBreakers(FEW_FAILURES, metrics, SystemClock())[Dependency.BROKER]
    producing = Producing(stack, breaker, delivery_timeout_ms=GIVE_UP_MS)
    records = iter(SyntheticExchange(SyntheticSettings(seed=123, records=None, trade_share=1.0, duplicate_rate=0.0)))

    def send() -> bool:
        before = producing.outcomes().get(ACKNOWLEDGED, 0)
        producing.send([next(records)])
        if breaker.state != OPEN:
            producing.producer.flush(2 * GIVE_UP_MS / 1e3)
        return producing.outcomes().get(ACKNOWLEDGED, 0) > before

    return Caller(lambda: metrics.value("k2_circuit_breaker_state", {"breaker": Dependency.BROKER}), send)


def of_registry(stack: Stack) -> Caller:
    """Somebody who asks for a schema's id, anew each time."""
    metrics = Metrics()
    breakers = CircuitBreakers(FEW_FAILURES, metrics, SystemClock())

    def ask() -> bool:
        try:
            open_registry(stack.settings.kafka, breakers).schema_id("crypto", TRADE)
        except K2Error:
            return False
        return True

    return Caller(lambda: metrics.value("k2_circuit_breaker_state", {"breaker": Dependency.SCHEMA_REGISTRY}), ask)


def of_storage(name: Dependency) -> Callable[[Stack], Caller]:
    """An API, which is asked for what it has not read yet."""

    def made(stack: Stack) -> Caller:
        api = stack.start_api({**BREAKER, **NO_LEVELS})
        labels = {"breaker": str(name)}

        def ask() -> bool:
            return http.get(f"{api}/v1/trades", {"symbol": "BTCUSDT", "limit": 1}).status == 200

        def state() -> float:
            return http.metric(http.get(f"{api}/metrics").body, "k2_circuit_breaker_state", labels)

        return Caller(state, ask)

    return made


CALLERS: dict[Dependency, Callable[[Stack], Caller]] = {
    Dependency.BROKER: of_broker,
    Dependency.SCHEMA_REGISTRY: of_registry,
    Dependency.CATALOG: of_storage(Dependency.CATALOG),
    Dependency.OBJECT_STORE: of_storage(Dependency.OBJECT_STORE),
}


def opens(caller: Caller) -> bool:
    """Whether the breaker opens in time, while calls go on."""

    def is_open() -> bool:
        caller.call()
        return caller.state() == OPEN

    return comes_true(is_open, OPENS_WITHIN_SECONDS)


def refused_at_once(caller: Caller) -> bool:
    """Whether a call soon meets the open breaker, and fails without waiting; a probe is let through now and then."""

    def is_refused() -> bool:
        began = time.monotonic()
        well = caller.call()
        return not well and time.monotonic() - began < REFUSED_WITHIN_SECONDS and caller.state() == OPEN

    return comes_true(is_refused, OPENS_WITHIN_SECONDS)


def closes(caller: Caller) -> bool:
    """Whether the breaker closes, while calls go on."""

    def is_closed() -> bool:
        caller.call()
        return caller.state() == CLOSED

    return comes_true(is_closed, BACK_WITHIN_SECONDS)


def breakers_not_closed(consumer_url: str) -> list[str]:
    """Breakers of a consumer that do not close soon."""

    def found() -> list[str]:
        lines = http.get(consumer_url).body.splitlines()
        return [one for one in lines if one.startswith("k2_circuit_breaker_state{") and not one.endswith(" 0.0")]

    comes_true(lambda: not found(), BACK_WITHIN_SECONDS)
    return found()


def fill(stack: Stack, history: HistoryWriter, seed: int) -> None:
    """Have some trades taken into the table."""
    records = SyntheticExchange(SyntheticSettings(seed=seed, records=RECORDS, trade_share=1.0))
    ends = feed_records(stack, records).acknowledged_ends()
    wait_until_drained(stack, history, ends)
