"""Dependencies of the embedded stack that are gone for a while, each in the way it really goes."""

import signal
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from k2.embedded.processes import ChildProcess

_PATIENCE_SECONDS = 10.0
_HELD_SECONDS, _FREE_SECONDS = 2.3, 0.2


@contextmanager
def hung(process: ChildProcess) -> Iterator[None]:
    """A process stands still, its connections open."""
    process.signal(signal.SIGSTOP)
    try:
        yield
    finally:
        process.signal(signal.SIGCONT)


@contextmanager
def locked(catalog: Path) -> Iterator[None]:
    """Another process holds the catalog's only lock."""
    with closing(sqlite3.connect(catalog, timeout=_PATIENCE_SECONDS, isolation_level=None)) as connection:
        connection.execute("BEGIN EXCLUSIVE")
        try:
            yield
        finally:
            connection.execute("ROLLBACK")


@contextmanager
def slow(catalog: Path) -> Iterator[None]:
    """Another process holds the catalog's only lock again and again, and lets others have it for a moment."""
    over = threading.Event()

    def go_on() -> None:
        while not over.is_set():
            with locked(catalog):
                over.wait(_HELD_SECONDS)
            over.wait(_FREE_SECONDS)

    thread = threading.Thread(target=go_on, name="slow catalog")
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


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
