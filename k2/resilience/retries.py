"""Trying again: how often, after what wait, and who is told."""

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import stamina
from stamina.instrumentation import set_on_retry_hooks

from k2.errors import CircuitOpenError, K2Error
from k2.resilience.failures import classify, is_transient
from k2.settings import RetrySettings

JITTER = 0.5
"""A wait is lengthened by up to this share of itself, so that processes that failed together do not return together."""

# Ours are told per consumer; the library's would log and count each retry again, for the whole process.
set_on_retry_hooks([])


@dataclass(frozen=True, slots=True)
class Retry:
    """An attempt that failed and will be repeated.

    Attributes:
        attempt: which one failed, from 1.
        attempts: how many there are in all.
        wait_seconds: how long until the next.
        reason: short stable name of what failed beneath, for logs and metrics.
        error: what was raised.
    """

    attempt: int
    attempts: int
    wait_seconds: float
    reason: str
    error: Exception


class Retries:
    """Attempts at one piece of work: `for attempt in Retries(...): with attempt: work()`.

    Only transient failures (k2.resilience.failures) are repeated; the last attempt's error, and every other, is raised.
    After a call that an open circuit breaker refused, the wait lasts at least until the breaker lets one through: an
    attempt that is refused again would be wasted.

    Args:
        settings: attempts in all; first wait, which doubles with each attempt, and the longest.
        on_retry: told before each wait.
        generator: source of the jitter.
    """

    def __init__(
        self, settings: RetrySettings, on_retry: Callable[[Retry], None], generator: random.Random | None = None
    ) -> None:
        self._settings = settings
        self._on_retry = on_retry
        self._generator = generator or random.Random()
        self._failed = 0

    def __iter__(self) -> Iterator[stamina.Attempt]:
        self._failed = 0
        return iter(stamina.retry_context(on=self._wait, attempts=self._settings.attempts, timeout=None))

    def _wait(self, error: Exception) -> bool | float:
        self._failed += 1
        if not is_transient(error):
            return False
        if self._failed == self._settings.attempts:
            return True
        lower, upper = wait_bounds_seconds(self._settings, self._failed)
        wait_seconds = self._generator.uniform(lower, upper)
        if isinstance(error, CircuitOpenError):
            wait_seconds = max(wait_seconds, error.retry_after_seconds)
        self._on_retry(Retry(self._failed, self._settings.attempts, wait_seconds, root_reason(error), error))
        return wait_seconds


def wait_bounds_seconds(settings: RetrySettings, attempt: int) -> tuple[float, float]:
    """Shortest and longest wait after a failed attempt, counted from 1."""
    shortest = settings.first_wait_seconds * 2 ** (attempt - 1)
    longest = settings.longest_wait_seconds
    return min(longest, shortest), min(longest, shortest * (1 + JITTER))


def root_reason(error: BaseException) -> str:
    """The name of what failed beneath our own errors."""
    while isinstance(error, K2Error) and error.__cause__ is not None:
        error = error.__cause__
    return classify(error).reason
