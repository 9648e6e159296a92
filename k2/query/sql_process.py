"""The process that runs free SQL: `python -m k2.query.sql_process`, started and ended by k2/query/free_sql.py.

It is told on standard input what it may read, then one statement after the other, and answers on standard output. Its
DuckDB reaches the files of one snapshot of each table and nothing else. DuckDB's own memory limit does not count
everything a function allocates, so the kernel bounds this process as well. It ends with the process that started it.
"""

import json
import os
import re
import resource
import sys
import threading
from collections.abc import Callable, Mapping
from typing import IO, Any

import pyarrow as pa

from k2.clock import SystemClock
from k2.errors import K2Error, UsageError
from k2.query.connection import QueryConnection, RefusedQueryError
from k2.query.deadline import Deadline, Watchdog
from k2.query.frames import Frame, read_frame, write_frame
from k2.query.hardening import open_hardened
from k2.query.statements import select_all
from k2.records.definition import RECORD_TYPES
from k2.settings import QuerySettings

BATCH_ROWS = 20_000
MEMORY_BESIDE_DUCKDB_BYTES = 512 * 2**20
"""What the process may allocate above DuckDB's limit: libraries, threads, and the rows it is sending."""
_UNITS = {"bytes": 1, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "TiB": 2**40}
_MEMORY_SIZE = re.compile(r"([0-9.]+) (bytes|[KMGT]iB)")


def serve(source: IO[bytes], target: IO[bytes]) -> None:
    """Answer statements until the source ends."""
    watchdog = Watchdog(SystemClock())
    connection: QueryConnection | None = None
    while (frame := read_frame(source)) is not None:
        kind, payload = frame
        asked = json.loads(payload)
        try:
            if kind is Frame.SETUP:
                connection = _open(asked)
            elif connection is not None:
                _answer(connection, asked, target, watchdog)
            write_frame(target, Frame.DONE)
        except K2Error as error:
            write_frame(target, Frame.ERROR, _as_json(error))
            if connection is None:
                return


def _open(setup: Mapping[str, Any]) -> QueryConnection:
    """A connection on which each table is a view of the files it was given."""
    settings = QuerySettings(memory_limit=setup["memory_limit"], threads=setup["threads"])
    tables = {name: tuple(paths) for name, paths in setup["tables"].items()}
    views = {name: select_all(RECORD_TYPES[name], paths) for name, paths in tables.items()}
    files = [path for paths in tables.values() for path in paths]
    connection = QueryConnection(open_hardened(settings, files=files, views=views))
    _bound_memory(connection)
    return connection


def _bound_memory(connection: QueryConnection) -> None:
    text = str(connection.fetch("SELECT current_setting('memory_limit') AS memory_limit")["memory_limit"][0])
    match = _MEMORY_SIZE.fullmatch(text)
    if match is None:
        raise UsageError(f"DuckDB says its memory limit is {text!r}, which cannot be understood")
    allowed = round(float(match[1]) * _UNITS[match[2]]) + MEMORY_BESIDE_DUCKDB_BYTES
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    allowed = allowed if hard == resource.RLIM_INFINITY else min(allowed, hard)
    resource.setrlimit(resource.RLIMIT_DATA, (allowed, allowed))


def _answer(connection: QueryConnection, asked: Mapping[str, Any], target: IO[bytes], watchdog: Watchdog) -> None:
    deadline = Deadline.after(asked["time_limit_seconds"], SystemClock())
    try:
        with watchdog.watching(deadline, connection.interrupt):
            if asked["explain"]:
                text = connection.explain(asked["sql"])
                rows = pa.record_batch({"plan": [text]})
                schema, batches = rows.schema, iter([rows])
            else:
                schema, batches = connection.stream(asked["sql"], BATCH_ROWS)
            write_frame(target, Frame.SCHEMA, schema.serialize())
            for batch in batches:
                deadline.check()
                write_frame(target, Frame.BATCH, memoryview(batch.serialize()))
    except RefusedQueryError as error:
        # The SQL is the user's, so what DuckDB refuses of it is wrong usage and no failure of K2.
        raise UsageError(str(error)) from error
    except MemoryError as error:
        raise UsageError(
            "the answer does not fit the memory of its process; ask for fewer or shorter columns"
        ) from error


def _as_json(error: K2Error) -> bytes:
    kind = next(each for each in type(error).__mro__ if each.__module__ == K2Error.__module__)
    return json.dumps({"kind": kind.__name__, "message": str(error)}).encode()


def _ending_with_parent(source: IO[bytes], end: Callable[[int], object] = os._exit) -> IO[bytes]:
    """The source, read ahead by a thread that ends this process when whoever started it is gone."""
    ours, theirs = os.pipe()

    def pass_on() -> None:
        while piece := source.read1(65536):  # type: ignore[attr-defined]
            os.write(theirs, piece)
        end(0)

    threading.Thread(target=pass_on, name="standard input", daemon=True).start()
    return os.fdopen(ours, "rb")


def main() -> None:
    """Serve on the standard streams."""
    target = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    try:
        serve(_ending_with_parent(sys.stdin.buffer), target)
    except BrokenPipeError:
        os._exit(0)


if __name__ == "__main__":
    main()
