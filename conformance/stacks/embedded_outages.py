"""Dependencies of the embedded stack that are gone for a while, each in the way it really goes."""

import signal
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from k2.embedded.processes import ChildProcess

_PATIENCE_SECONDS = 10.0


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
