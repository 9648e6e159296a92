"""The kinds of stacks a run can be on."""

import contextlib
from collections.abc import Iterator
from pathlib import Path

from conformance.stacks.base import NewStack
from conformance.stacks.embedded import EmbeddedStack

KINDS = ("embedded", "containers")


@contextlib.contextmanager
def stacks_of(kind: str, directory: Path) -> Iterator[NewStack]:
    """Makes stacks of a kind; what they share is started here, and gone at the end.

    Args:
        kind: one of KINDS.
        directory: gets the logs of what is shared.
    """
    if kind == "embedded":
        yield EmbeddedStack
    elif kind == "containers":
        # Not needed, nor always there, on a machine without an engine.
        from conformance.stacks.containers.services import open_services

        with open_services(directory) as services:
            yield services.stack
    else:
        raise ValueError(f"{kind} is no kind of stack: choose one of {', '.join(KINDS)}")
