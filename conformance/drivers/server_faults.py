"""Faults of whole servers, recorded as the operation `fault`."""

from collections.abc import Iterator
from contextlib import contextmanager

from conformance.history import HistoryWriter
from conformance.stacks.base import Stack


def kill(stack: Stack, history: HistoryWriter, service: str) -> None:
    """End a server as a power cut does."""
    with history.invoke("harness", "fault", {"fault": "kill", "service": service}):
        stack.servers().kill(service)


def start(stack: Stack, history: HistoryWriter, service: str) -> None:
    """Start a server that has ended, and wait until it is well."""
    with history.invoke("harness", "heal", {"fault": "kill", "service": service}):
        stack.servers().start(service)


@contextmanager
def paused(stack: Stack, history: HistoryWriter, *services: str) -> Iterator[None]:
    """Servers are frozen for as long as the body runs."""
    attributes = {"fault": "pause", "service": ", ".join(services)}
    with history.invoke("harness", "fault", attributes), stack.servers().paused(*services):
        yield
