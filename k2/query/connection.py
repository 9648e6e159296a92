"""The connections to a hardened DuckDB.

What a connection can do is bounded twice. DuckDB itself is configured to reach no file outside the warehouse, no
network and no extension, and that configuration is locked (k2/query/hardening.py). It would still let SQL write
*inside* the warehouse, so a connection runs SELECT statements only and refuses every other kind before DuckDB sees it.
"""

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import duckdb
import pyarrow as pa

from k2.errors import K2Error, QueryTimeoutError, UnavailableError, UsageError
from k2.query.hardening import first_line, open_hardened
from k2.settings import QuerySettings

# After these the connection, or the whole instance, cannot be used again.
_BREAKING = (duckdb.FatalException, duckdb.InternalException, duckdb.ConnectionException)
_TOO_LITTLE_MEMORY = "the query needs more memory than K2_QUERY__MEMORY_LIMIT leaves; ask for less or raise it"


class UnreadableFileError(UnavailableError):
    """A data file of the warehouse cannot be read."""


class RefusedQueryError(K2Error):
    """DuckDB refuses what it was asked: wrong SQL, or something the sandbox does not allow."""


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
            RefusedQueryError: anything else DuckDB refuses, such as a file outside the warehouse.
        """
        with self._wrapping():
            return self._relation(sql, parameters).to_arrow_table()

    def stream(self, sql: str, batch_rows: int) -> tuple[pa.Schema, Iterator[pa.RecordBatch]]:
        """Run one SELECT and return its columns, and its rows piece by piece as they are made; raises as `fetch`.

        The memory it takes does not grow with the answer, unless the SQL sorts or groups it.
        """
        with self._wrapping():
            reader = self._relation(sql, ()).to_arrow_reader(batch_rows)
        return reader.schema, self._read(reader)

    def explain(self, sql: str, parameters: Sequence[object] = (), *, as_json: bool = False) -> str:
        """Run one SELECT, and return how it was done instead of its rows: EXPLAIN ANALYZE; raises as `fetch`."""
        form = "(ANALYZE, FORMAT json)" if as_json else "ANALYZE"
        with self._wrapping():
            query = self._single_select(sql).query
            rows = self._cursor.execute(f"EXPLAIN {form} {query}", list(parameters)).fetchall()
        return "\n".join(str(row[-1]) for row in rows)

    def _relation(self, sql: str, parameters: Sequence[object]) -> duckdb.DuckDBPyRelation:
        return self._cursor.sql(self._single_select(sql), params=list(parameters))

    def _single_select(self, sql: str) -> duckdb.Statement:
        statements = self._cursor.extract_statements(sql)
        if [statement.type for statement in statements] != [duckdb.StatementType.SELECT]:
            raise UsageError("only a single SELECT statement can be run on the tables")
        return statements[0]

    def _read(self, reader: pa.RecordBatchReader) -> Iterator[pa.RecordBatch]:
        while True:
            try:
                batch = reader.read_next_batch()
            except StopIteration:
                return
            except OSError as error:  # what DuckDB raises while rows are being made comes out of Arrow as text
                raise _wrapped_text(str(error)) from error
            yield batch

    @contextmanager
    def _wrapping(self) -> Iterator[None]:
        try:
            yield
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
            self._instance = open_hardened(self._settings, directories=[self._warehouse_directory])
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


def _wrapped(error: duckdb.Error) -> K2Error:
    match error:
        case duckdb.InterruptException():
            return QueryTimeoutError("the query was interrupted")
        case duckdb.OutOfMemoryException():
            return UnavailableError(_TOO_LITTLE_MEMORY)
        case duckdb.IOException():
            return UnreadableFileError(f"a data file cannot be read: {first_line(error)}; ask again")
        case _:
            return RefusedQueryError(f"DuckDB refused the query: {first_line(error)}")


def _wrapped_text(text: str) -> K2Error:
    line = text.partition("\n")[0]
    match line.partition(" Error:")[0]:
        case "INTERRUPT":
            return QueryTimeoutError("the query was interrupted")
        case "Out of Memory":
            return UnavailableError(_TOO_LITTLE_MEMORY)
        case "IO":
            return UnreadableFileError(f"a data file cannot be read: {line}; ask again")
        case _:
            return RefusedQueryError(f"DuckDB refused the query: {line}")
