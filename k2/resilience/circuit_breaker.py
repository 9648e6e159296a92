"""A circuit breaker: a dependency that keeps failing is left alone, and tried again by one call at a time.

    CLOSED      Every call is let through. `failures_to_open` failures in a row open the breaker.
    OPEN        Every call is refused at once, for `open_seconds`.
    HALF_OPEN   One call at a time is let through, a probe; all others are refused. `successes_to_close` probes in a row
                close the breaker, one failure opens it again. A probe that nobody reports on within `open_seconds` is
                taken for lost, and another is let through.

A failure is what k2.resilience.failures calls transient: no answer came. Whatever is an answer counts as a success, a
refusal or a complaint about one record too, for it shows that the dependency is there. An error that nobody has
classified says nothing about it, and neither does the refusal of another breaker.

Where call and outcome are one, `with breaker.guard():` is enough. Where the outcome comes later (delivery reports), ask
`admits()` before the call and report `succeeded()` or `failed(error)`. A report that comes while the breaker is open
changes nothing: it speaks of the time before.
"""

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from enum import IntEnum
from typing import Protocol

import structlog

from k2.clock import Clock
from k2.errors import CircuitOpenError
from k2.resilience.failures import classify, text_of
from k2.resilience.rule import FailureClass
from k2.settings import BreakerSettings

STATE = "k2_circuit_breaker_state"
CALLS = "k2_circuit_breaker_calls_total"
TRANSITIONS = "k2_circuit_breaker_transitions_total"
SUCCESS, FAILURE, REFUSED = "success", "failure", "refused"

_log = structlog.get_logger("k2.circuit_breaker")


class BreakerState(IntEnum):
    """The states; the numbers are those of k2_circuit_breaker_state."""

    CLOSED = 0
    HALF_OPEN = 1
    OPEN = 2

    @property
    def label(self) -> str:
        """As it is written in metrics and logs: "half_open"."""
        return self.name.lower()


class Recorder(Protocol):
    """Where counts and gauges go: k2.observability.metrics.Metrics."""

    def increment(self, name: str, labels: Mapping[str, str] | None = None, value: float = 1) -> None:
        """Add to a counter."""

    def set(self, name: str, value: float, labels: Mapping[str, str] | None = None) -> None:
        """Set a gauge."""


class CircuitBreaker:
    """The breaker of one dependency; safe to share between threads.

    Args:
        name: the dependency, as it is called in metrics, logs and errors.
        settings: when it opens, for how long, and when it closes.
        metrics: receives the three k2_circuit_breaker_* metrics.
        clock: measures the waits.
    """

    def __init__(self, name: str, settings: BreakerSettings, metrics: Recorder, clock: Clock) -> None:
        self.name = name
        self._settings = settings
        self._metrics = metrics
        self._clock = clock
        self._wait_ns = int(settings.open_seconds * 1e9)
        self._lock = threading.Lock()
        self._state = BreakerState.CLOSED
        # Failures in a row while closed, successes in a row while half-open.
        self._in_a_row = 0
        # Counts the changes of state, so that a call's outcome can be told to belong to an earlier state.
        self._period = 0
        # While not closed: when the next call is let through.
        self._next_probe_ns = 0
        self._closed_until_ns: int | None = None
        # From the start, so that rates and ratios exist before anything has happened.
        for outcome in (SUCCESS, FAILURE, REFUSED):
            self._count(outcome, 0)
        for state in BreakerState:
            metrics.increment(TRANSITIONS, {"breaker": name, "to": state.label}, 0)
        metrics.set(STATE, self._state, {"breaker": name})

    @property
    def state(self) -> BreakerState:
        """The state now. An open breaker whose wait is over stays open until somebody calls."""
        return self._state

    def away_seconds(self) -> float:
        """How long ago the breaker was last closed; 0 while it is."""
        closed_until_ns = self._closed_until_ns
        return 0.0 if closed_until_ns is None else (self._clock.monotonic_ns() - closed_until_ns) / 1e9

    @contextmanager
    def guard(self, concerning: type[Exception] | tuple[type[Exception], ...] = Exception) -> Iterator[None]:
        """Let a call through, or refuse it; its end is its outcome.

        Args:
            concerning: the errors that tell something about this dependency; with any other the call has told nothing.

        Raises:
            CircuitOpenError: it was refused.
        """
        period = self._admitted_in()
        if period is None:
            raise self.refusal()
        try:
            yield
        except BaseException as error:
            self._report(period, _outcome(error) if isinstance(error, concerning) else None, 1, error)
            raise
        self._report(period, SUCCESS, 1)

    def admits(self) -> bool:
        """Whether a call may be made now. Whoever is told so must make it and report."""
        return self._admitted_in() is not None

    def refusal(self) -> CircuitOpenError:
        """The error for a call that is not let through."""
        left_ns = self._next_probe_ns - self._clock.monotonic_ns()
        return CircuitOpenError(self.name, max(0.0, left_ns / 1e9))

    def succeeded(self, calls: int = 1) -> None:
        """Report calls that were answered."""
        self._report(self._period, SUCCESS, calls)

    def failed(self, error: BaseException) -> None:
        """Report a call that ended in an error, whatever that says of the dependency."""
        self._report(self._period, _outcome(error), 1, error)

    def _admitted_in(self) -> int | None:
        """The period a call is let through in; None if it is not."""
        # Most calls by far, so without the lock. The period is read first: should the breaker open in between, the
        # call's outcome belongs to the time before.
        period = self._period
        if self.state is BreakerState.CLOSED:
            return period
        with self._lock:
            if self._state is not BreakerState.CLOSED:
                now_ns = self._clock.monotonic_ns()
                if now_ns < self._next_probe_ns:
                    self._count(REFUSED)
                    return None
                if self._state is BreakerState.OPEN:
                    self._change(BreakerState.HALF_OPEN)
                self._next_probe_ns = now_ns + self._wait_ns
            return self._period

    def _report(self, period: int, outcome: str | None, calls: int, error: BaseException | None = None) -> None:
        with self._lock:
            if outcome is not None:
                self._count(outcome, calls)
            if period != self._period or self._state is BreakerState.OPEN:
                return
            if self._state is BreakerState.CLOSED:
                self._report_closed(outcome, error)
            else:
                self._report_probe(outcome, calls, error)

    def _report_closed(self, outcome: str | None, error: BaseException | None) -> None:
        if outcome == SUCCESS:
            self._in_a_row = 0
        elif outcome == FAILURE:
            self._in_a_row += 1
            if self._in_a_row >= self._settings.failures_to_open:
                self._open(error)

    def _report_probe(self, outcome: str | None, calls: int, error: BaseException | None) -> None:
        if outcome == FAILURE:
            self._open(error)
            return
        self._next_probe_ns = 0
        if outcome == SUCCESS:
            self._in_a_row += calls
            if self._in_a_row >= self._settings.successes_to_close:
                self._change(BreakerState.CLOSED)

    def _open(self, error: BaseException | None) -> None:
        now_ns = self._clock.monotonic_ns()
        if self._closed_until_ns is None:
            self._closed_until_ns = now_ns
        self._next_probe_ns = now_ns + self._wait_ns
        self._change(BreakerState.OPEN, error)

    def _change(self, state: BreakerState, error: BaseException | None = None) -> None:
        before, self._state = self._state, state
        self._period += 1
        self._in_a_row = 0
        if state is BreakerState.CLOSED:
            self._closed_until_ns = None
        self._metrics.set(STATE, state, {"breaker": self.name})
        self._metrics.increment(TRANSITIONS, {"breaker": self.name, "to": state.label})
        details: dict[str, object] = {"breaker": self.name, "before": before.label, "after": state.label}
        if state is BreakerState.OPEN:
            details |= {"wait_seconds": self._settings.open_seconds, "error": _text(error)}
        tell: Callable[..., None] = _log.warning if state is BreakerState.OPEN else _log.info
        tell("circuit breaker", **details)

    def _count(self, outcome: str, calls: int = 1) -> None:
        self._metrics.increment(CALLS, {"breaker": self.name, "outcome": outcome}, calls)


def guarded(
    breaker: CircuitBreaker | None, concerning: type[Exception] | tuple[type[Exception], ...] = Exception
) -> AbstractContextManager[None]:
    """The guard of a breaker; none where there is none."""
    return nullcontext() if breaker is None else breaker.guard(concerning)


def _outcome(error: BaseException) -> str | None:
    """What an error says of the dependency; None if nothing."""
    failure = classify(error)
    if failure.rule is None or isinstance(error, CircuitOpenError):
        return None
    return FAILURE if failure.failure_class is FailureClass.TRANSIENT else SUCCESS


def _text(error: BaseException | None) -> str:
    return text_of(error) if isinstance(error, Exception) else str(error)
