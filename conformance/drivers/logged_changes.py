"""Changes of breakers and levels as a process logged them, each with its time."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise

from conformance.stacks.base import Stack

BREAKER_EVENT, LEVEL_EVENT = "circuit breaker", "degradation level"
# Two clocks are compared, the log's and the one that measures waits, and the log is written after the fact.
TOLERANCE_SECONDS = 0.02


@dataclass(frozen=True, slots=True)
class Change:
    """One change, from one state to another, and when it was logged (seconds since the epoch)."""

    before: str
    after: str
    at_seconds: float


def breaker_changes(stack: Stack, role: str, breaker: str) -> list[Change]:
    """The changes of one breaker of the newest process of a role."""
    return [_change(line) for line in _lines(stack, role, BREAKER_EVENT) if line["breaker"] == breaker]


def level_changes(stack: Stack, role: str) -> list[Change]:
    """The changes of level of the newest process of a role."""
    return [_change(line) for line in _lines(stack, role, LEVEL_EVENT)]


def broken_chain(changes: Sequence[Change], first: str) -> list[str]:
    """Changes that do not begin where the one before ended."""
    states = [first, *(change.after for change in changes)]
    return [str(change) for before, change in zip(states, changes, strict=False) if change.before != before]


def too_close(changes: Sequence[Change], least_seconds: float) -> list[str]:
    """Changes that came sooner after the one before than they may."""
    return [
        f"{later} after {earlier}"
        for earlier, later in pairwise(changes)
        if later.at_seconds - earlier.at_seconds < least_seconds - TOLERANCE_SECONDS
    ]


def _lines(stack: Stack, role: str, event: str) -> list[dict[str, str]]:
    newest = max(name for name in stack.logs() if name.endswith(f"-{role}"))
    texts = (line for line in stack.logs()[newest].splitlines() if line.startswith("{") and line.endswith("}"))
    return [line for line in map(json.loads, texts) if line.get("event") == event]


def _change(line: dict[str, str]) -> Change:
    return Change(line["before"], line["after"], datetime.fromisoformat(line["timestamp"]).timestamp())
