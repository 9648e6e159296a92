"""The retries that a process logged, read back from its log."""

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from conformance.stacks.base import Stack

LOG_TIMEOUT_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class LoggedRetry:
    """One retry: which attempt failed of how many, why, what wait was announced, and how long it really was.

    `waited_seconds` is the time to the log's next line, which the next attempt wrote; None where there is none yet.
    """

    attempt: int
    attempts: int
    reason: str
    wait_seconds: float
    waited_seconds: float | None

    def is_within(self, first_wait_seconds: float, longest_wait_seconds: float, jitter: float) -> bool:
        """Whether the wait is what the bounds allow after this attempt, and was really waited."""
        shortest = first_wait_seconds * 2 ** (self.attempt - 1)
        # Logged to the millisecond.
        announced = (
            min(shortest, longest_wait_seconds) - 0.001
            <= self.wait_seconds
            <= min(shortest * (1 + jitter), longest_wait_seconds) + 0.001
        )
        return announced and self.waited_seconds is not None and self.waited_seconds >= self.wait_seconds - 0.05


def logged_retries(stack: Stack, role: str) -> list[LoggedRetry]:
    """Every retry that the processes of a role logged, in order."""
    return [retry for name, text in stack.logs().items() if name.endswith(role) for retry in _retries(text)]


def wait_for_retries(stack: Stack, role: str, count: int) -> None:
    """Wait until so many retries were logged.

    Raises:
        TimeoutError: they were not, within a minute.
    """
    give_up_at = time.monotonic() + LOG_TIMEOUT_SECONDS
    while len(logged_retries(stack, role)) < count:
        if time.monotonic() > give_up_at:
            raise TimeoutError(f"{role} did not log {count} retries")
        time.sleep(0.02)


def _retries(text: str) -> Iterator[LoggedRetry]:
    lines = [json.loads(line) for line in text.splitlines() if line.startswith("{") and line.endswith("}")]
    for number, line in enumerate(lines):
        if line["event"] != "retrying":
            continue
        waited = None
        if number + 1 < len(lines):
            times = (datetime.fromisoformat(lines[place]["timestamp"]) for place in (number, number + 1))
            started, ended = times
            waited = (ended - started).total_seconds()
        yield LoggedRetry(line["attempt"], line["attempts"], line["reason"], line["wait_seconds"], waited)
