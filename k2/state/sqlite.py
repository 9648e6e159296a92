"""Values in a file of this machine, shared by its processes, up to a number of bytes; beyond it the oldest goes.

SQLite with a write-ahead log, so that readers and the writer do not wait for one another. Nothing is synced: what a
power cut takes away or spoils can be had again.
"""

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from k2.clock import Clock
from k2.errors import UnavailableError

_NS_PER_SECOND = 10**9
_BUSY_SECONDS = 1.0
_TABLE = """
CREATE TABLE IF NOT EXISTS state (
    put_number INTEGER PRIMARY KEY,
    key TEXT NOT NULL UNIQUE,
    value BLOB NOT NULL,
    expires_wall_ns INTEGER NOT NULL
)
"""
_PUT = "INSERT OR REPLACE INTO state (key, value, expires_wall_ns) VALUES (?, ?, ?)"
_SIZES = "SELECT put_number, length(value) FROM state ORDER BY put_number DESC"


class SqliteStore:
    """A state store that outlives its process.

    Args:
        path: the file; made with its folder when it is first needed.
        max_bytes: of all values together; a larger one is not kept.
        clock: the time of day tells when a value's time is over, for several processes and restarts.
    """

    name = "sqlite"

    def __init__(self, path: Path, max_bytes: int, clock: Clock) -> None:
        self._path = path
        self._max_bytes = max_bytes
        self._clock = clock
        self._lock = threading.Lock()
        self._connection: sqlite3.Connection | None = None

    def get(self, key: str) -> bytes | None:
        """The value, or None.

        Raises:
            UnavailableError: the file cannot be read.
        """
        with self._using() as connection:
            found = connection.execute(
                "SELECT value FROM state WHERE key = ? AND expires_wall_ns > ?", (key, self._clock.wall_ns())
            ).fetchone()
        return None if found is None else bytes(found[0])

    def put(self, key: str, value: bytes, ttl_seconds: float) -> None:
        """Keep a value.

        Raises:
            UnavailableError: the file cannot be written.
        """
        if len(value) > self._max_bytes:
            self.delete(key)
            return
        now_ns = self._clock.wall_ns()
        with self._using() as connection, connection:
            connection.execute(_PUT, (key, value, now_ns + int(ttl_seconds * _NS_PER_SECOND)))
            connection.execute("DELETE FROM state WHERE expires_wall_ns <= ?", (now_ns,))
            last_kept = self._last_kept(connection)
            if last_kept is not None:
                connection.execute("DELETE FROM state WHERE put_number < ?", (last_kept,))

    def delete(self, key: str) -> None:
        """Forget a value.

        Raises:
            UnavailableError: the file cannot be written.
        """
        with self._using() as connection, connection:
            connection.execute("DELETE FROM state WHERE key = ?", (key,))

    def close(self) -> None:
        """Close the file."""
        with self._lock:
            if self._connection is not None:
                self._connection.close()
                self._connection = None

    def _last_kept(self, connection: sqlite3.Connection) -> int | None:
        """The oldest value that still fits, if there are more than fit."""
        total, last_kept = 0, None
        for put_number, size in connection.execute(_SIZES):
            total += size
            if total > self._max_bytes:
                return last_kept
            last_kept = put_number
        return None

    @contextmanager
    def _using(self) -> Iterator[sqlite3.Connection]:
        with self._lock:
            try:
                if self._connection is None:
                    self._connection = _opened(self._path)
                yield self._connection
            except (sqlite3.Error, OSError) as error:
                raise UnavailableError(
                    f"the state file {self._path} cannot be used ({error}): look at its folder, or delete it; nothing "
                    "is lost with it"
                ) from error


def _opened(path: Path) -> sqlite3.Connection:
    path.parent.mkdir(parents=True, exist_ok=True)
    connection = sqlite3.connect(path, timeout=_BUSY_SECONDS, check_same_thread=False)
    try:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = OFF")
        connection.execute(_TABLE)
    except sqlite3.Error:
        connection.close()
        raise
    return connection
