"""Dependencies of the embedded stack that are away for a while, each in the way it really goes away."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager

from conformance.history import HistoryWriter
from conformance.stacks.embedded import EmbeddedStack

_PATIENCE_SECONDS = 10.0
SHORT_BUSY_TIMEOUT_SECONDS = 0.05


def impatient_catalog(stack: EmbeddedStack) -> dict[str, str]:
    """Environment of a process that does not wait for a locked catalog."""
    return {"K2_STORAGE__CATALOG_URI": f"{stack.settings.storage.catalog_uri}?timeout={SHORT_BUSY_TIMEOUT_SECONDS}"}


@contextmanager
def locked_catalog(stack: EmbeddedStack, history: HistoryWriter) -> Iterator[None]:
    """Another process holds the catalog's only lock, so nobody reads or writes it for as long as the body runs."""
    path = stack.settings.storage.catalog_uri.removeprefix("sqlite:///")
    with (
        history.invoke("harness", "fault", {"fault": "locked_catalog"}),
        closing(sqlite3.connect(path, timeout=_PATIENCE_SECONDS, isolation_level=None)) as connection,
    ):
        connection.execute("BEGIN EXCLUSIVE")
        try:
            yield
        finally:
            connection.execute("ROLLBACK")


@contextmanager
def broker_down(stack: EmbeddedStack, history: HistoryWriter) -> Iterator[None]:
    """The broker closes its connections and accepts none for as long as the body runs; it forgets nothing."""
    with history.invoke("harness", "fault", {"fault": "broker_down"}):
        stack.command_broker("go_down")
        try:
            yield
        finally:
            stack.command_broker("come_up")
