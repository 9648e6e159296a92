"""A dependency that fails is left alone, tried again by one call at a time, and used again when it answers.

Each circuit breaker MUST open after the stated number of failures in a row; open, it MUST let nothing through for its
wait and then one probe; it MUST close after the stated number of successes. k2_circuit_breaker_state MUST show closed
(0), half-open (1) and open (2) (RES-1). A consumer whose broker or registry is away MUST go on by itself when it is
back; an API whose catalog is away MUST say so at once, with Retry-After. Each breaker meets a real outage: the catalog
locked by another process, the warehouse's folder gone, the registry's port closed, the broker down.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import pytest

from conformance.clause import ClauseRun
from conformance.drivers import http
from conformance.drivers.facts import record_fact
from conformance.drivers.feeding import feed_records, latest, table_offsets, wait_until_drained
from conformance.drivers.logged_changes import Change, breaker_changes, broken_chain
from conformance.drivers.outages import outage
from conformance.drivers.registered import require_packaged_registry
from conformance.drivers.silence import METRICS, comes_true, metrics_url
from conformance.history import HistoryWriter
from conformance.stacks.base import Outage, Stack
from conformance.stacks.schema_registry import SchemaRegistryServer
from k2.feeds.synthetic import SyntheticExchange, SyntheticSettings

CLOSED, HALF_OPEN, OPEN = 0.0, 1.0, 2.0
OPEN_SECONDS = 0.3
FAILURES_TO_OPEN = 2
# Many enough to be seen half-open, though whoever looks at the metrics of an API calls its catalog too.
SUCCESSES_TO_CLOSE = {"api": 30, "consumer": 6}
QUICK = {
    "K2_BREAKER__FAILURES_TO_OPEN": str(FAILURES_TO_OPEN),
    "K2_BREAKER__OPEN_SECONDS": str(OPEN_SECONDS),
    "K2_DEGRADATION__LOOK_SECONDS": "0.1",
    # Levels have clauses of their own.
    "K2_DEGRADATION__DEPENDENCY_AWAY_SECONDS": json.dumps({}),
}
PATIENT_RETRIES = {
    "K2_RETRY__ATTEMPTS": "100",
    "K2_RETRY__FIRST_WAIT_SECONDS": "0.05",
    "K2_RETRY__LONGEST_WAIT_SECONDS": "0.1",
}
RECORDS = 400


@dataclass(frozen=True, slots=True)
class Watched:
    """A breaker of a running process, and where its metrics are."""

    stack: Stack
    role: str
    breaker: str
    metrics_url: str

    def state(self) -> float:
        """The exported state."""
        return self._metric("k2_circuit_breaker_state")

    def reaches(self, state: float, meanwhile: Callable[[], object] = lambda: None) -> bool:
        """Whether a state is exported sooner or later, while something is done again and again."""

        def reached() -> bool:
            meanwhile()
            return self.state() == state

        return comes_true(reached)

    def calls(self, outcome: str) -> float:
        """Counted calls."""
        return self._metric("k2_circuit_breaker_calls_total", outcome=outcome)

    def transitions(self) -> dict[str, float]:
        """Counted changes, by the state they led to."""
        return {
            state: self._metric("k2_circuit_breaker_transitions_total", to=state)
            for state in ("closed", "half_open", "open")
        }

    def changes(self) -> list[Change]:
        """Logged changes."""
        return breaker_changes(self.stack, self.role, self.breaker)

    def _metric(self, name: str, **labels: str) -> float:
        return http.metric(http.get(self.metrics_url).body, name, {"breaker": self.breaker, **labels})


@pytest.mark.clause(
    name="circuit_breakers/storage",
    claims=("RES-1a",),
    checker="facts",
    title="The breakers of catalog and object store open, probe and close with their dependency, and say so",
    minimum_samples=24,
    remedy="see k2/resilience/circuit_breaker.py, and k2/storage/catalog.py and k2/query/engine.py for what they guard",
)
def test_the_breakers_of_an_api_follow_its_dependencies(stack: Stack, clause: ClauseRun) -> None:
    with clause.history(seed=81) as history:
        fill(stack, history, seed=81)
        environment = {**QUICK, **stack.impatience(), **closing_after("api")}
        api = stack.start_api(environment)
        kinds = (("catalog", Outage.CATALOG_LOCKED, 84), ("object_store", Outage.WAREHOUSE_AWAY, 85))
        for breaker, kind, seed in kinds:
            watched = Watched(stack, "api", breaker, f"{api}/metrics")
            record_fact(history, f"{breaker}: trades before", 200, lambda: trades(api).status)
            record_fact(history, f"{breaker}: state before", CLOSED, watched.state)
            # New files, for those that it has read it may keep.
            fill(stack, history, seed)
            with outage(stack, history, kind):
                record_fact(history, f"{breaker}: shows open", True, watched.reaches, OPEN, lambda: trades(api))
                record_fact(history, f"{breaker}: an answer while it is open", REFUSAL, refusal, api, watched)
            record_recovery(history, watched)
            record_fact(history, f"{breaker}: trades afterwards", 200, lambda: trades(api).status)
            record_outcome(history, watched, "api")
    clause.judge()


@pytest.mark.clause(
    name="circuit_breakers/streaming",
    claims=("RES-1a",),
    checker="facts",
    title="The breakers of broker and registry open, probe and close with their dependency; the consumer lives on",
    minimum_samples=24,
    remedy="see k2/resilience/circuit_breaker.py; k2/ingestion/log_reader.py is how a consumer hears of the broker",
)
def test_the_breakers_of_a_consumer_follow_its_dependencies(stack: Stack, clause: ClauseRun) -> None:
    require_packaged_registry(stack)
    with clause.history(seed=82) as history, SchemaRegistryServer() as registry:
        environment = {**METRICS, **QUICK, **PATIENT_RETRIES, **registry.settings, **closing_after("consumer")}
        consumer = stack.start_consumer("trades", environment=environment)
        url = metrics_url(consumer)

        watched = Watched(stack, "consumer-trades", "schema_registry", url)
        record_fact(history, "schema_registry: state before", CLOSED, watched.state)
        with registry.stopped():
            ends = feed_records(stack, records(82)).acknowledged_ends()
            record_fact(history, "schema_registry: shows open", True, watched.reaches, OPEN)
            record_fact(history, "schema_registry: rows while it is away", {}, lambda: table_offsets(stack))
        record_recovery(history, watched)
        wait_until_drained(stack, history, ends, lambda: consumer.returncode() is None)
        record_outcome(history, watched, "consumer")

        watched = Watched(stack, "consumer-trades", "broker", url)
        record_fact(history, "broker: state before", CLOSED, watched.state)
        with outage(stack, history, Outage.BROKER_DOWN):
            record_fact(history, "broker: shows open", True, watched.reaches, OPEN)
        record_recovery(history, watched)
        ends = feed_records(stack, records(83)).acknowledged_ends()
        wait_until_drained(stack, history, ends, lambda: consumer.returncode() is None)
        record_outcome(history, watched, "consumer")
        record_fact(history, "the consumer that met both outages lives", True, lambda: consumer.returncode() is None)
    clause.judge()


@pytest.mark.clause(
    name="circuit_breakers/writing",
    claims=("RES-1a",),
    checker="facts",
    title="The breaker of the object store opens for a consumer that cannot write, and its rows come afterwards",
    minimum_samples=12,
    remedy="see k2/storage/writer.py and load in k2/storage/catalog.py: what is kept says nothing of the store",
)
def test_the_breaker_of_the_object_store_follows_a_consumer_that_only_writes(stack: Stack, clause: ClauseRun) -> None:
    with clause.history(seed=86) as history:
        environment = {**METRICS, **QUICK, **PATIENT_RETRIES, **closing_after("consumer")}
        # More than one try fails at, so that what comes between two tries counts too.
        environment |= {"K2_BREAKER__FAILURES_TO_OPEN": "5"}
        consumer = stack.start_consumer("trades", environment=environment)
        ends = feed_records(stack, records(86)).acknowledged_ends()
        wait_until_drained(stack, history, ends, lambda: consumer.returncode() is None)
        watched = Watched(stack, "consumer-trades", "object_store", metrics_url(consumer))
        record_fact(history, "object_store: state before", CLOSED, watched.state)
        with outage(stack, history, Outage.WAREHOUSE_AWAY):
            ends = latest(ends, feed_records(stack, records(87)).acknowledged_ends())
            record_fact(history, "object_store: shows open", True, watched.reaches, OPEN)
        record_recovery(history, watched)
        wait_until_drained(stack, history, ends, lambda: consumer.returncode() is None)
        record_outcome(history, watched, "consumer")
        record_fact(history, "the consumer that met the outage lives", True, lambda: consumer.returncode() is None)
    clause.judge()


REFUSAL = {"status": 503, "code": "UNAVAILABLE", "retry_after": "1"}


def record_recovery(history: HistoryWriter, watched: Watched) -> None:
    """Once its dependency is back, a breaker is half-open for a while and then closed."""
    record_fact(history, f"{watched.breaker}: shows half-open", True, watched.reaches, HALF_OPEN)
    record_fact(history, f"{watched.breaker}: shows closed", True, watched.reaches, CLOSED)


def record_outcome(history: HistoryWriter, watched: Watched, process: str) -> None:
    """What log and counters say of an outage that is over."""
    name, changes = watched.breaker, watched.changes()
    record_fact(history, f"{name}: first change", [["closed", "open"]], lambda: pairs(changes[:1]))
    record_fact(history, f"{name}: last change", [["half_open", "closed"]], lambda: pairs(changes[-1:]))
    record_fact(history, f"{name}: changes out of order", [], broken_chain, changes, "closed", samples=len(changes))
    record_fact(history, f"{name}: probes before the wait was over", [], early_probes, changes)
    record_fact(history, f"{name}: counted changes", counts(changes), watched.transitions)
    record_fact(history, f"{name}: failures enough to open", True, lambda: watched.calls("failure") >= FAILURES_TO_OPEN)
    least = SUCCESSES_TO_CLOSE[process]
    record_fact(history, f"{name}: successes enough to close", True, lambda: watched.calls("success") >= least)


def early_probes(changes: Sequence[Change]) -> list[str]:
    """Probes that were let through before the breaker's wait was over."""
    return [
        f"{probe} after {opened}"
        for opened, probe in pairwise(changes)
        if opened.after == "open" and probe.at_seconds - opened.at_seconds < OPEN_SECONDS - 0.02
    ]


def counts(changes: Sequence[Change]) -> dict[str, float]:
    """How often each state was entered."""
    reached = [change.after for change in changes]
    return {state: float(reached.count(state)) for state in ("closed", "half_open", "open")}


def pairs(changes: Sequence[Change]) -> list[list[str]]:
    """From where to where."""
    return [[change.before, change.after] for change in changes]


def closing_after(process: str) -> dict[str, str]:
    """Environment of a process whose breakers close after so many successes."""
    return {"K2_BREAKER__SUCCESSES_TO_CLOSE": str(SUCCESSES_TO_CLOSE[process])}


def refusal(api: str, watched: Watched) -> dict[str, object]:
    """What a client sees while the open breaker refuses a call, and not while a probe fails."""
    answers: list[http.Answer] = []

    def is_refused() -> bool:
        before = watched.calls("failure"), watched.calls("refused")
        answers.append(trades(api))
        return watched.calls("failure") == before[0] and watched.calls("refused") > before[1]

    if not comes_true(is_refused):
        return {"status": answers[-1].status, "refused": False}
    answer = answers[-1]
    return {
        "status": answer.status,
        "code": answer.body["error"]["code"],
        "retry_after": answer.headers.get("retry-after"),
    }


def trades(api: str) -> http.Answer:
    """One small query."""
    return http.get(f"{api}/v1/trades", {"symbol": "BTCUSDT", "limit": 1})


def records(seed: int) -> SyntheticExchange:
    """Trades without faults."""
    return SyntheticExchange(SyntheticSettings(seed=seed, records=RECORDS, trade_share=1.0))


def fill(stack: Stack, history: HistoryWriter, seed: int) -> None:
    """Put some trades into the table."""
    ends = feed_records(stack, records(seed)).acknowledged_ends()
    consumer = stack.start_consumer("trades")
    wait_until_drained(stack, history, ends, lambda: consumer.returncode() is None)
    consumer.stop()
