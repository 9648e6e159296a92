"""Records plain facts: what was seen, beside what must be seen."""

from collections.abc import Callable
from typing import Any

from conformance.history import HistoryWriter


def record_fact(
    history: HistoryWriter, name: str, expected: Any, observe: Callable[..., Any], *arguments: Any, samples: int = 1
) -> None:
    """Look at something and record it; an observation that raises is recorded as one that could not be made.

    Args:
        history: where to.
        name: what is looked at; each name once.
        expected: what must be seen, a JSON value.
        observe: called with the arguments, returns what is seen.
        *arguments: of `observe`.
        samples: how many things this fact speaks of.
    """
    with history.invoke("harness", "fact", {"name": name, "expected": expected, "samples": samples}) as invocation:
        invocation.attributes["observed"] = observe(*arguments)
