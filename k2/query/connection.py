"""The hardened DuckDB and the connections to it.

What a connection can do is bounded twice. DuckDB itself is configured to reach no file outside the warehouse, no
network and no extension, and that configuration is locked. It would still let SQL write *inside* the warehouse, so a
connection runs SELECT statements only and refuses every other kind before DuckDB sees it.
"""

import re
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from k2.errors import K2Error, QueryTimeoutError, UnavailableError, UsageError
from k2.settings import QuerySettings

# Local files have to stay readable; everything else that DuckDB could open by name is shut.
_DISABLED_FILESYSTEMS = "PipeFileSystem,GZipFileSystem,ZStdFileSystem,HTTPFileSystem,S3FileSystem,HuggingFaceFileSystem"

_PATTERN_CHARACTERS = re.compile(r"[*?\[]")

# After these the connection, or the whole instance, cannot be used again.
_BREAKING = (duckdb.FatalException, duckdb.InternalException, duckdb.ConnectionException)


class UnreadableFileError(UnavailableError):
    """A data file of the warehouse cannot be read."""


def literal_pattern(path: str) -> str:
    """A pattern that matches this path alone: DuckDB takes every file name for a pattern."""
    return _PATTERN_CHARACTERS.sub(r"[\g<0>]", path)


class QueryConnection:
    """One connection; used by one thread at a time, except `interrupt`, which any thread may call."""

    def __init__(self, cursor: duckdb.DuckDBPyConnection) -> None:
        self._cursor = cursor
        self._is_open = True

    def fetch(self, sql: str, parameters: Sequence[object] = ()) -> pa.Table:
        """Run one SELECT with bound parameters and return all its rows.

        Raises:
            UsageError: not exactly one statement, or not a SELECT.
            QueryTimeoutError: interrupted.
            UnavailableError: out of memory.
            UnreadableFileError: a file of the snapshot cannot be read.
            K2Error: anything else DuckDB refuses, such as a file outside the warehouse.
        """
        try:
            statements = self._cursor.extract_statements(sql)
            if [statement.type for statement in statements] != [duckdb.StatementType.SELECT]:
                raise UsageError("only a single SELECT statement can be run on the tables")
            return self._cursor.sql(statements[0], params=list(parameters)).to_arrow_table()
        except duckdb.Error as error:
            if isinstance(error, _BREAKING):
                self._is_open = False
            raise _wrapped(error) from error

    def interrupt(self) -> None:
        """Stop what this connection runs, if anything; nothing happens to other connections, nor to a later query.

        A query that is about to begin is missed, so whoever must be sure repeats the call.
        """
        try:
            self._cursor.interrupt()
        except duckdb.Error:
            self._is_open = False

    def is_usable(self) -> bool:
        """Whether it still answers, found out by asking."""
        if self._is_open:
            try:
                self._cursor.execute("SELECT 1").fetchall()
            except duckdb.Error:
                self._is_open = False
        return self._is_open

    @property
    def is_open(self) -> bool:
        """Whether nothing that breaks a connection has been seen yet."""
        return self._is_open

    def close(self) -> None:
        """Give up the connection; closing twice is harmless."""
        self._is_open = False
        self._cursor.close()


class DuckDBDatabase:
    """One in-memory DuckDB, opened at the first connection; all connections share its memory limit and threads.

    Args:
        warehouse_directory: the only place files can be read from.
        settings: memory limit and threads.
    """

    def __init__(self, warehouse_directory: Path, settings: QuerySettings) -> None:
        self._warehouse_directory = warehouse_directory
        self._settings = settings
        self._lock = threading.Lock()
        self._instance: duckdb.DuckDBPyConnection | None = None

    def connect(self) -> QueryConnection:
        """A new connection; an instance that a fatal error has invalidated is replaced first.

        Raises:
            UsageError: DuckDB does not accept the settings.
            UnavailableError: DuckDB cannot be opened.
        """
        with self._lock:
            if self._instance is not None:
                connection = self._connection_to(self._instance)
                if connection is not None:
                    return connection
            self._instance = _open_hardened(self._warehouse_directory, self._settings)
            connection = self._connection_to(self._instance)
        if connection is None:
            raise UnavailableError("a newly opened DuckDB does not answer; start the process again")
        return connection

    def close(self) -> None:
        """Release the instance and everything that is still connected to it."""
        with self._lock:
            if self._instance is not None:
                self._instance.close()
                self._instance = None

    @staticmethod
    def _connection_to(instance: duckdb.DuckDBPyConnection) -> QueryConnection | None:
        try:
            connection = QueryConnection(instance.cursor())
        except duckdb.Error:
            return None
        return connection if connection.is_usable() else None


def _open_hardened(warehouse_directory: Path, settings: QuerySettings) -> duckdb.DuckDBPyConnection:
    config: dict[str, Any] = {
        "threads": settings.threads,
        "memory_limit": settings.memory_limit,
        "temp_directory": "",
        "autoinstall_known_extensions": False,
        "autoload_known_extensions": False,
        "allow_community_extensions": False,
        "allow_extension_repositories": "forbidden",
        "allow_persistent_secrets": False,
        "python_enable_replacements": False,
    }
    try:
        instance = duckdb.connect(":memory:", config=config)
    except (duckdb.ParserException, duckdb.SyntaxException, duckdb.InvalidInputException) as error:
        raise UsageError(
            f"DuckDB does not accept the query settings {settings.memory_limit!r} and {settings.threads} threads: "
            f"{_first_line(error)}"
        ) from error
    except duckdb.Error as error:
        raise UnavailableError(f"DuckDB cannot be opened: {_first_line(error)}") from error
    instance.execute("SET GLOBAL TimeZone = 'UTC'")
    # Data files never change once written, so what was read of their footers stays true.
    instance.execute("SET GLOBAL parquet_metadata_cache = true")
    directory = str(warehouse_directory.absolute())
    # Patterns are compared as they are written, before they are matched.
    instance.execute("SET allowed_directories = ?", [[directory, literal_pattern(directory)]])
    instance.execute("SET enable_external_access = false")
    instance.execute("SET disabled_filesystems = ?", [_DISABLED_FILESYSTEMS])
    instance.execute("SET lock_configuration = true")
    return instance


def _wrapped(error: duckdb.Error) -> K2Error:
    match error:
        case duckdb.InterruptException():
            return QueryTimeoutError("the query was interrupted")
        case duckdb.OutOfMemoryException():
            return UnavailableError(
                "the query needs more memory than K2_QUERY__MEMORY_LIMIT leaves; ask for less or raise it"
            )
        case duckdb.IOException():
            return UnreadableFileError(f"a data file cannot be read: {_first_line(error)}; ask again")
        case _:
            return K2Error(f"DuckDB refused the query: {_first_line(error)}")


def _first_line(error: duckdb.Error) -> str:
    return str(error).partition("\n")[0]
