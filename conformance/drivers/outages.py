"""Outages of a stack's dependencies, recorded as the operation `fault`."""

from collections.abc import Iterator
from contextlib import contextmanager

from conformance.history import HistoryWriter
from conformance.stacks.base import Outage, Stack


@contextmanager
def outage(stack: Stack, history: HistoryWriter, kind: Outage) -> Iterator[None]:
    """Have a dependency gone for as long as the body runs."""
    with history.invoke("harness", "fault", {"fault": kind.value}), stack.outage(kind):
        yield
