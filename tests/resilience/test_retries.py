"""Retries: as many as the settings say, with waits that grow and differ, told before each, and only where they help."""

import random
import time

import pytest

from k2.errors import CircuitOpenError, DeliveryError, K2Error, RefusedError, StaleWriterError, UnavailableError
from k2.resilience.retries import Retries, Retry, root_reason, wait_bounds_seconds
from k2.settings import RetrySettings

QUICK = RetrySettings(attempts=3, first_wait_seconds=0.01, longest_wait_seconds=0.05)


class Work:
    """Fails as often as told, then succeeds."""

    def __init__(self, *failures: Exception) -> None:
        self._failures = list(failures)
        self.attempts = 0

    def __call__(self) -> None:
        self.attempts += 1
        if self._failures:
            raise self._failures.pop(0)


def run(work: Work, settings: RetrySettings = QUICK, told: list[Retry] | None = None) -> list[Retry]:
    """Do the work with retries; what was told."""
    told = [] if told is None else told
    for attempt in Retries(settings, told.append, random.Random(1)):
        with attempt:
            work()
    return told


def test_work_that_succeeds_is_done_once_and_nothing_is_told() -> None:
    work = Work()
    assert run(work) == []
    assert work.attempts == 1


def test_a_transient_failure_is_repeated_until_it_is_over() -> None:
    first, second = UnavailableError("no answer"), DeliveryError("not acknowledged")
    work = Work(first, second)
    told = run(work)
    assert work.attempts == 3
    assert [(retry.attempt, retry.attempts, retry.reason, retry.error) for retry in told] == [
        (1, 3, "UnavailableError", first),
        (2, 3, "DeliveryError", second),
    ]


def test_the_last_attempt_s_error_is_raised_and_not_told() -> None:
    work, told = Work(*(UnavailableError(str(number)) for number in range(5))), list[Retry]()
    with pytest.raises(UnavailableError, match="2"):
        run(work, told=told)
    assert (work.attempts, len(told)) == (3, 2)


@pytest.mark.parametrize("failure", [RefusedError("no right"), ZeroDivisionError("a mistake")])
def test_what_retrying_cannot_help_is_raised_at_once(failure: Exception) -> None:
    work = Work(failure)
    with pytest.raises(type(failure)):
        run(work)
    assert work.attempts == 1


def test_a_fatal_failure_ends_the_retries_of_a_transient_one() -> None:
    work = Work(UnavailableError("no answer"), RefusedError("no right"))
    with pytest.raises(RefusedError):
        run(work)
    assert work.attempts == 2


def test_each_piece_of_work_has_all_its_attempts() -> None:
    retries, told = Retries(QUICK, lambda retry: told.append(retry)), list[Retry]()
    for _ in range(3):
        work = Work(UnavailableError("one"), StaleWriterError("two"))
        for attempt in retries:
            with attempt:
                work()
        assert work.attempts == 3
    assert [retry.attempt for retry in told] == [1, 2, 1, 2, 1, 2]


def test_one_attempt_in_all_means_no_retry() -> None:
    work = Work(UnavailableError("no answer"))
    with pytest.raises(UnavailableError):
        run(work, QUICK.model_copy(update={"attempts": 1}))
    assert work.attempts == 1


def test_what_is_told_is_what_is_waited() -> None:
    settings = RetrySettings(attempts=2, first_wait_seconds=0.2, longest_wait_seconds=1.0)
    started = time.monotonic()
    (retry,) = run(Work(UnavailableError("no answer")), settings)
    assert time.monotonic() - started >= retry.wait_seconds


def test_the_ruling_s_waits_double_from_half_a_second_to_ten() -> None:
    assert [wait_bounds_seconds(RetrySettings(), attempt) for attempt in range(1, 8)] == [
        (0.5, 0.75),
        (1.0, 1.5),
        (2.0, 3.0),
        (4.0, 6.0),
        (8.0, 10.0),
        (10.0, 10.0),
        (10.0, 10.0),
    ]


def test_waits_stay_within_their_bounds_and_differ() -> None:
    settings = RetrySettings(attempts=7, first_wait_seconds=0.001, longest_wait_seconds=0.01)
    waits: dict[int, set[float]] = {}
    for seed in range(20):
        told: list[Retry] = []
        work = Work(*[UnavailableError("no answer")] * 6)
        for attempt in Retries(settings, told.append, random.Random(seed)):
            with attempt:
                work()
        for retry in told:
            shortest, longest = wait_bounds_seconds(settings, retry.attempt)
            assert shortest <= retry.wait_seconds <= longest
            waits.setdefault(retry.attempt, set()).add(retry.wait_seconds)
    assert {attempt: len(different) for attempt, different in waits.items()} == {1: 20, 2: 20, 3: 20, 4: 20, 5: 1, 6: 1}


def wrapped(outer: K2Error, cause: BaseException | None) -> K2Error:
    outer.__cause__ = cause
    return outer


def test_the_reason_is_that_of_what_failed_beneath() -> None:
    beneath = NotADirectoryError(20, "not a directory")
    assert root_reason(wrapped(UnavailableError("warehouse"), beneath)) == "ENOTDIR"
    assert root_reason(wrapped(DeliveryError("twice"), wrapped(UnavailableError("wrapped"), beneath))) == "ENOTDIR"
    assert root_reason(UnavailableError("alone")) == "UnavailableError"
    assert root_reason(beneath) == "ENOTDIR"


def test_after_a_refusal_the_wait_lasts_until_the_breaker_lets_a_call_through() -> None:
    told = run(Work(CircuitOpenError("catalog", 0.08), CircuitOpenError("catalog", 0.0)))
    assert told[0].wait_seconds == 0.08
    assert 0.02 <= told[1].wait_seconds <= 0.03
