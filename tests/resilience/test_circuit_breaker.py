"""The circuit breaker: opens on failures in a row, lets one probe through after its wait, closes on successes."""

import threading
from contextlib import suppress

import pytest
from confluent_kafka import KafkaError, KafkaException
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from k2.errors import (
    CircuitOpenError,
    DeliveryError,
    RecordError,
    RefusedError,
    StateLostError,
    UnavailableError,
    UsageError,
)
from k2.observability.metrics import Metrics
from k2.resilience.circuit_breaker import CALLS, STATE, TRANSITIONS, BreakerState, CircuitBreaker
from k2.settings import BreakerSettings
from tests.resilience.manual_clock import ManualClock

SETTINGS = BreakerSettings(failures_to_open=3, open_seconds=10.0, successes_to_close=2)
CLOSED, HALF_OPEN, OPEN = BreakerState
NO_ANSWER = UnavailableError("no answer")


class Stage:
    """A breaker with its clock and its metrics."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.metrics = Metrics()
        self.breaker = CircuitBreaker("catalog", SETTINGS, self.metrics, self.clock)

    def call(self, error: BaseException | None = None) -> None:
        """One call that ends so; its own error is swallowed, a refusal is not."""
        with suppress(*([] if error is None else [type(error)])), self.breaker.guard():
            if error is not None:
                raise error

    def open(self) -> None:
        for _ in range(SETTINGS.failures_to_open):
            self.call(NO_ANSWER)
        assert self.breaker.state is OPEN

    def calls(self, outcome: str) -> float:
        return self.metrics.value(CALLS, {"breaker": "catalog", "outcome": outcome})

    def transitions(self) -> dict[str, float]:
        return {
            state.label: self.metrics.value(TRANSITIONS, {"breaker": "catalog", "to": state.label})
            for state in BreakerState
        }

    def gauge(self) -> float:
        return self.metrics.value(STATE, {"breaker": "catalog"})


@pytest.fixture
def stage() -> Stage:
    return Stage()


def test_it_opens_after_failures_in_a_row_and_refuses_at_once(stage: Stage) -> None:
    stage.call(NO_ANSWER)
    stage.call(NO_ANSWER)
    assert stage.breaker.state is CLOSED
    stage.call(NO_ANSWER)
    assert stage.breaker.state is OPEN
    called = []
    with pytest.raises(CircuitOpenError), stage.breaker.guard():
        called.append(1)
    assert not called


def test_a_success_in_between_starts_the_count_anew(stage: Stage) -> None:
    for _ in range(4):
        stage.call(NO_ANSWER)
        stage.call(NO_ANSWER)
        stage.call()
    assert stage.breaker.state is CLOSED


def test_a_refusal_names_the_dependency_and_when_it_is_tried_again(stage: Stage) -> None:
    stage.open()
    stage.clock.advance(7.5)
    with pytest.raises(CircuitOpenError) as refused:
        stage.call()
    error = refused.value
    assert isinstance(error, UnavailableError)
    assert (error.dependency, error.retry_after_seconds) == ("catalog", 2.5)
    assert str(error) == ("catalog has failed several times in a row and is left alone: it is tried again in 2.5 s")


def test_after_the_wait_one_probe_is_let_through_and_no_other_call(stage: Stage) -> None:
    stage.open()
    stage.clock.advance(10)
    with stage.breaker.guard():
        assert stage.breaker.state is HALF_OPEN
        with pytest.raises(CircuitOpenError):
            stage.call()
        assert not stage.breaker.admits()
    stage.call()
    assert stage.breaker.state is CLOSED


def test_a_failed_probe_opens_it_for_another_wait(stage: Stage) -> None:
    stage.open()
    stage.clock.advance(10)
    stage.call()
    stage.call(NO_ANSWER)
    assert stage.breaker.state is OPEN
    stage.clock.advance(9.9)
    assert not stage.breaker.admits()
    stage.clock.advance(0.1)
    assert stage.breaker.admits()


def test_a_probe_nobody_reports_on_is_taken_for_lost_after_a_wait(stage: Stage) -> None:
    stage.open()
    stage.clock.advance(10)
    assert stage.breaker.admits()
    stage.clock.advance(9.9)
    assert not stage.breaker.admits()
    stage.clock.advance(0.1)
    assert stage.breaker.admits()
    assert stage.breaker.state is HALF_OPEN


@pytest.mark.parametrize(
    "error",
    [
        RefusedError("wrong password"),
        RecordError("one record"),
        UsageError("no such table"),
        StateLostError("gone"),
        KafkaException(KafkaError(KafkaError.MSG_SIZE_TOO_LARGE)),
    ],
)
def test_an_answer_that_is_an_error_is_a_success_of_the_dependency(stage: Stage, error: Exception) -> None:
    stage.call(NO_ANSWER)
    stage.call(NO_ANSWER)
    stage.call(error)
    stage.call(NO_ANSWER)
    stage.call(NO_ANSWER)
    assert stage.breaker.state is CLOSED
    assert stage.calls("success") == 1


@pytest.mark.parametrize(
    "error",
    [
        DeliveryError("not acknowledged"),
        ConnectionRefusedError(111, "refused"),
        KafkaException(KafkaError(KafkaError._ALL_BROKERS_DOWN)),
    ],
)
def test_what_is_transient_is_a_failure(stage: Stage, error: Exception) -> None:
    for _ in range(3):
        stage.call(error)
    assert stage.breaker.state is OPEN
    assert stage.calls("failure") == 3


@pytest.mark.parametrize("error", [ZeroDivisionError("a mistake"), KeyboardInterrupt(), CircuitOpenError("broker", 1)])
def test_what_says_nothing_of_the_dependency_changes_nothing(stage: Stage, error: BaseException) -> None:
    stage.call(NO_ANSWER)
    stage.call(NO_ANSWER)
    stage.call(error)
    assert (stage.calls("success"), stage.calls("failure")) == (0, 2)
    stage.call(NO_ANSWER)
    assert stage.breaker.state is OPEN


def test_a_probe_that_ends_in_a_mistake_gives_its_place_to_the_next(stage: Stage) -> None:
    stage.open()
    stage.clock.advance(10)
    stage.call(ZeroDivisionError())
    assert stage.breaker.state is HALF_OPEN
    assert stage.breaker.admits()


def test_only_the_errors_it_is_told_of_concern_it(stage: Stage) -> None:
    for _ in range(3):
        with pytest.raises(UnavailableError), stage.breaker.guard(OSError):
            raise NO_ANSWER
    assert stage.breaker.state is CLOSED
    for _ in range(3):
        with pytest.raises(TimeoutError), stage.breaker.guard(OSError):
            raise TimeoutError
    assert stage.breaker.state is OPEN


def test_reports_without_a_guard_open_and_close_it_too(stage: Stage) -> None:
    for _ in range(3):
        stage.breaker.failed(NO_ANSWER)
    assert stage.breaker.state is OPEN
    stage.clock.advance(10)
    assert stage.breaker.admits()
    stage.breaker.succeeded()
    assert stage.breaker.state is HALF_OPEN
    assert stage.breaker.admits()
    stage.breaker.succeeded()
    assert stage.breaker.state is CLOSED


def test_many_answers_may_be_reported_at_once(stage: Stage) -> None:
    stage.breaker.succeeded(250)
    assert stage.calls("success") == 250


def test_reports_that_come_while_it_is_open_speak_of_the_time_before(stage: Stage) -> None:
    stage.open()
    stage.breaker.succeeded(5)
    stage.clock.advance(9)
    stage.breaker.failed(NO_ANSWER)
    assert stage.breaker.state is OPEN
    stage.clock.advance(1)
    assert stage.breaker.admits()


def test_a_call_that_began_before_it_opened_says_nothing_of_the_probe(stage: Stage) -> None:
    slow = stage.breaker.guard()
    slow.__enter__()
    stage.open()
    stage.clock.advance(10)
    assert stage.breaker.admits()
    slow.__exit__(UnavailableError, UnavailableError("late"), None)
    assert stage.breaker.state is HALF_OPEN


def test_states_calls_and_transitions_are_exported(stage: Stage) -> None:
    exposition = stage.metrics.exposition().decode()
    for outcome in ("success", "failure", "refused"):
        assert f'k2_circuit_breaker_calls_total{{breaker="catalog",outcome="{outcome}"}} 0.0' in exposition
    seen = [stage.gauge()]
    stage.open()
    seen.append(stage.gauge())
    assert not stage.breaker.admits()
    stage.clock.advance(10)
    assert stage.breaker.admits()
    seen.append(stage.gauge())
    stage.breaker.succeeded()
    stage.call()
    seen.append(stage.gauge())
    assert seen == [0, 2, 1, 0]
    assert (stage.calls("success"), stage.calls("failure"), stage.calls("refused")) == (2, 3, 1)
    assert stage.transitions() == {"open": 1, "half_open": 1, "closed": 1}


def test_how_long_a_dependency_has_been_away_counts_from_the_first_opening(stage: Stage) -> None:
    assert stage.breaker.away_seconds() == 0
    stage.open()
    stage.clock.advance(10)
    stage.call(NO_ANSWER)
    stage.clock.advance(10)
    assert stage.breaker.away_seconds() == 20
    stage.call()
    stage.call()
    assert stage.breaker.away_seconds() == 0


def test_of_many_threads_one_is_the_probe(stage: Stage) -> None:
    stage.open()
    stage.clock.advance(10)
    start, admitted = threading.Barrier(8), []

    def ask() -> None:
        start.wait()
        admitted.append(stage.breaker.admits())

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(admitted) == [False] * 7 + [True]


class AgainstModel(RuleBasedStateMachine):
    """The breaker beside a model that keeps the whole story and works out the state from it each time."""

    def __init__(self) -> None:
        super().__init__()
        self.stage = Stage()
        # Every report with its time, and every admission of a probe.
        self.story: list[tuple[str, int]] = []

    @rule(error=st.sampled_from([None, NO_ANSWER, RefusedError("no"), ZeroDivisionError()]))
    def call(self, error: Exception | None) -> None:
        self._ask()
        if self.admitted:
            self._report(error)

    @rule()
    def ask_and_never_report(self) -> None:
        self._ask()

    @rule(error=st.sampled_from([None, NO_ANSWER]))
    def report_late(self, error: Exception | None) -> None:
        self._report(error)

    @rule(seconds=st.sampled_from([0.5, 3.0, 9.5, 10.0, 25.0]))
    def wait(self, seconds: float) -> None:
        self.stage.clock.advance(seconds)

    @invariant()
    def the_states_agree(self) -> None:
        state, _ = self._model()
        assert self.stage.breaker.state is state
        assert self.stage.gauge() == state

    def _ask(self) -> None:
        _, expected = self._model()
        self.admitted = self.stage.breaker.admits()
        assert self.admitted is expected
        if self.admitted:
            self.story.append(("admitted", self.stage.clock.now_ns))

    def _report(self, error: Exception | None) -> None:
        if error is None:
            self.stage.breaker.succeeded()
        else:
            self.stage.breaker.failed(error)
        kind = {type(None): "answer", RefusedError: "answer", UnavailableError: "failure"}.get(type(error), "nothing")
        self.story.append((kind, self.stage.clock.now_ns))

    def _model(self) -> tuple[BreakerState, bool]:
        """State after the story, and whether a call is let through now."""
        state, count, blocked_until, wait_ns = CLOSED, 0, 0, 10 * 10**9
        for kind, at in self.story:
            if kind == "admitted" and state is not CLOSED:
                state, count = (HALF_OPEN, 0) if state is OPEN else (state, count)
                blocked_until = at + wait_ns
            elif state is CLOSED and kind in ("answer", "failure"):
                count = 0 if kind == "answer" else count + 1
                if count == 3:
                    state, count, blocked_until = OPEN, 0, at + wait_ns
            elif state is HALF_OPEN and kind == "failure":
                state, count, blocked_until = OPEN, 0, at + wait_ns
            elif state is HALF_OPEN and kind in ("answer", "nothing"):
                blocked_until = 0
                count += kind == "answer"
                if count == 2:
                    state, count = CLOSED, 0
        return state, state is CLOSED or self.stage.clock.now_ns >= blocked_until


AgainstModel.TestCase.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
TestAgainstModel = AgainstModel.TestCase
