"""Dependencies of the embedded stack that are gone for a while, each in the way it really goes."""

import signal
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from k2.embedded.processes import ChildProcess

_PATIENCE_SECONDS = 10.0
_HELD_SECONDS, _LONGEST_FREE_SECONDS, _LOOK_SECONDS = 2.3, 1.0, 0.005


@contextmanager
def hung(process: ChildProcess) -> Iterator[None]:
    """A process stands still, its connections open."""
    process.signal(signal.SIGSTOP)
    try:
        yield
    finally:
        process.signal(signal.SIGCONT)


@contextmanager
def locked(catalog: Path, patience_seconds: float = _PATIENCE_SECONDS) -> Iterator[None]:
    """Another process holds the catalog's only lock.

    Raises:
        OperationalError: somebody else held it for so long.
    """
    with closing(sqlite3.connect(catalog, timeout=patience_seconds, isolation_level=None)) as connection:
        connection.execute("BEGIN EXCLUSIVE")
        try:
            yield
        finally:
            connection.execute("ROLLBACK")


@contextmanager
def slow(catalog: Path) -> Iterator[None]:
    """Another process holds the catalog's only lock, and lets go of it for one commit every few seconds.

    What a sink takes in then is its largest batch in `_HELD_SECONDS`, however fast the machine is.
    """
    over = threading.Event()
    thread = threading.Thread(target=_let_through_one_by_one, args=(catalog, over), name="slow catalog")
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def _let_through_one_by_one(catalog: Path, over: threading.Event) -> None:
    with closing(sqlite3.connect(catalog, timeout=_PATIENCE_SECONDS, isolation_level=None)) as connection:
        while not over.is_set():
            connection.execute("BEGIN EXCLUSIVE")
            over.wait(_HELD_SECONDS)
            before = _tables(connection)
            connection.execute("ROLLBACK")
            take_back_at = time.monotonic() + _LONGEST_FREE_SECONDS
            while time.monotonic() < take_back_at and _tables(connection) == before and not over.is_set():
                time.sleep(_LOOK_SECONDS)


def _tables(connection: sqlite3.Connection) -> list[tuple[str, ...]]:
    """Where the metadata of every table is, which each commit changes."""
    return connection.execute("SELECT table_name, metadata_location FROM iceberg_tables ORDER BY 1").fetchall()


@contextmanager
def absent(folder: Path) -> Iterator[None]:
    """A folder under another name, and a file in its place, which stops root too."""
    away = folder.with_name(f"{folder.name}.away")
    folder.rename(away)
    folder.write_text("a file where a folder was\n")
    try:
        yield
    finally:
        folder.unlink()
        away.rename(folder)
