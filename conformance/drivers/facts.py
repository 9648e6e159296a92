"""Records plain facts: what was seen, beside what must be seen."""

from collections.abc import Callable
from typing import Any

from conformance.history import HistoryWriter


def record_fact(history: HistoryWriter, name: str, expected: Any, observe: Callable[[], Any], samples: int = 1) -> None:
    """Look at something and record it; an observation that raises is recorded as one that could not be made."""
    with history.invoke("harness", "fact", {"name": name, "expected": expected, "samples": samples}) as invocation:
        invocation.attributes["observed"] = observe()
