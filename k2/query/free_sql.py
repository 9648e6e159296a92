"""Free SQL, in a process that can be killed.

DuckDB stops most work when it is interrupted, but a single call of some functions runs on for minutes and takes memory
its limit does not count. So statements that people write run in a process of their own: it interrupts itself at the
time limit, and is killed when it has not answered a moment later. The tables are views; what a statement sees is one
snapshot of each, planned when the process starts.
"""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from types import TracebackType
from typing import IO, Self

import pyarrow as pa

from k2 import errors
from k2.clock import Clock
from k2.errors import K2Error, QueryTimeoutError, UnavailableError, UsageError
from k2.observability.metrics import Metrics
from k2.query.deadline import Deadline
from k2.query.frames import Frame, read_frame, write_frame
from k2.query.result import check_int64, check_text
from k2.records.definition import RECORD_TYPES
from k2.settings import QuerySettings
from k2.storage.plan import TableSource

GRACE_SECONDS = 1.0
"""How long a process has to stop by itself once the limit has passed."""
START_SECONDS = 60.0
_KEPT_VARIABLES = ("PATH", "PYTHONPATH", "LD_LIBRARY_PATH", "LANG", "LC_ALL")
_QUERY = "sql"


class SqlAnswer:
    """The answer to one statement: its columns, and its rows piece by piece. To be read once."""

    def __init__(self, schema: pa.Schema, batches: Iterator[pa.RecordBatch]) -> None:
        self.schema = schema
        self._batches = batches

    def __iter__(self) -> Iterator[pa.RecordBatch]:
        return self._batches

    def read_all(self) -> pa.Table:
        """All rows at once."""
        return pa.Table.from_batches(self._batches, self.schema)


class SqlProcess:
    """A process that runs free SQL on one snapshot of each table; a context manager. For one thread at a time.

    It is started by the first statement, and started again after one that had to be killed.

    Args:
        source: where the tables are.
        settings: time limit, memory limit and threads.
        metrics: receives k2_query_seconds and k2_query_timeouts_total.
        clock: measures durations and deadlines.
        as_of_time_ns: read the tables as they were at this time, ns since epoch UTC; None reads them as they are.
    """

    def __init__(
        self,
        source: TableSource,
        settings: QuerySettings,
        metrics: Metrics,
        clock: Clock,
        *,
        as_of_time_ns: int | None = None,
    ) -> None:
        check_int64("as_of_time_ns", as_of_time_ns)
        self._source = source
        self._settings = settings
        self._metrics = metrics
        self._clock = clock
        self._as_of_time_ns = as_of_time_ns
        self._held = ExitStack()
        self._setup: bytes | None = None
        self._process: subprocess.Popen[bytes] | None = None

    @contextmanager
    def run(self, sql: str, *, time_limit_seconds: float | None = None, explain: bool = False) -> Iterator[SqlAnswer]:
        """Run one SELECT; the answer is read within the block, and leaving it early gives the rest up.

        Args:
            sql: a single SELECT on the tables trades, quotes and reference_data.
            time_limit_seconds: for all of it, reading the answer included; None takes the one of the settings.
            explain: answer one row with DuckDB's plan after the fact instead.

        Raises:
            UsageError: no single SELECT, or DuckDB refuses it.
            QueryTimeoutError: stopped at the time limit, if need be with its process.
            UnavailableError: catalog or warehouse do not answer, the query ran out of memory, or its process died.
        """
        check_text("sql", sql)
        limit_seconds = self._settings.time_limit_seconds if time_limit_seconds is None else time_limit_seconds
        if limit_seconds <= 0:
            raise UsageError(f"time_limit_seconds must be above zero, not {limit_seconds:g}")
        started_ns = self._clock.monotonic_ns()
        asked = {"sql": sql, "time_limit_seconds": limit_seconds, "explain": explain}
        try:
            with _Conversation(self._started(), limit_seconds) as conversation:
                yield conversation.ask(Frame.ASK, json.dumps(asked).encode())
        except QueryTimeoutError as error:
            self._metrics.increment("k2_query_timeouts_total", {"query": _QUERY})
            how = "and was killed with its process, because it ignored its interrupt" if not self._is_running() else ""
            raise QueryTimeoutError(
                f"the query was stopped at its limit of {limit_seconds:g} s {how}".rstrip()
                + "; ask for less, or raise --time-limit"
            ) from error
        finally:
            seconds = (self._clock.monotonic_ns() - started_ns) / 1e9
            self._metrics.observe("k2_query_seconds", seconds, {"query": _QUERY})

    def close(self) -> None:
        """End the process and let go of its files."""
        if self._process is not None:
            _end(self._process)
            self._process = None
        self._held.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _is_running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def _started(self) -> "subprocess.Popen[bytes]":
        if self._process is not None and self._process.poll() is None:
            return self._process
        process = self._process = _start()
        try:
            # Planning takes as long as the process needs to come up.
            setup = self._plan()
            with _Conversation(process, START_SECONDS) as conversation:
                conversation.ask(Frame.SETUP, setup)
        except BaseException:
            _end(process)
            raise
        return process

    def _plan(self) -> bytes:
        if self._setup is None:
            deadline = Deadline.after(self._settings.time_limit_seconds, self._clock)
            plans = [
                self._source.plan(record_type.table, as_of_time_ns=self._as_of_time_ns)
                for record_type in RECORD_TYPES.values()
            ]
            paths = self._held.enter_context(self._source.local_files(plans, deadline.check))
            limits = {"memory_limit": self._settings.memory_limit, "threads": self._settings.threads}
            self._setup = json.dumps({**limits, "tables": dict(zip(RECORD_TYPES, paths, strict=True))}).encode()
        return self._setup


class _Conversation:
    """One question and its answer, within a time limit; kills the process that does not keep to it."""

    def __init__(self, process: "subprocess.Popen[bytes]", limit_seconds: float) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        self._process = process
        self._to: IO[bytes] = process.stdin
        self._from: IO[bytes] = process.stdout
        self._late = False
        self._whole = False
        self._timer = threading.Timer(limit_seconds + GRACE_SECONDS, self._kill)
        self._timer.daemon = True

    def __enter__(self) -> Self:
        self._timer.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._timer.cancel()
        if not self._whole:
            # What it still has to say belongs to nobody, so the next statement gets another process.
            _end(self._process)

    def ask(self, kind: Frame, payload: bytes) -> SqlAnswer:
        """Send a frame; the answer to it, which for a set-up has no columns."""
        try:
            write_frame(self._to, kind, payload)
        except BrokenPipeError:
            raise self._died() from None
        found = self._next()
        if found is None:
            return SqlAnswer(pa.schema([]), iter(()))
        schema = pa.ipc.read_schema(pa.py_buffer(found[1]))
        return SqlAnswer(schema, self._batches(schema))

    def _batches(self, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
        while (found := self._next()) is not None:
            yield pa.ipc.read_record_batch(pa.py_buffer(found[1]), schema)

    def _next(self) -> tuple[Frame, bytes] | None:
        """The next frame; None at the end of the answer."""
        found = read_frame(self._from)
        if found is None:
            raise self._died()
        self._whole = found[0] in (Frame.DONE, Frame.ERROR)
        if found[0] is Frame.ERROR:
            error = json.loads(found[1])
            kind: type[K2Error] = getattr(errors, error["kind"])
            raise kind(error["message"])
        return None if self._whole else found

    def _died(self) -> K2Error:
        status = self._process.wait()
        if self._late:
            return QueryTimeoutError("the time limit has passed")
        how = f"signal {-status}" if status < 0 else f"status {status}"
        return UnavailableError(f"the process that ran the query ended with {how}; ask for less, or ask again")

    def _kill(self) -> None:
        self._late = True
        self._process.kill()


def _start() -> "subprocess.Popen[bytes]":
    # Nothing of what this process was told in variables, such as credentials, is passed on.
    environment = {name: os.environ[name] for name in _KEPT_VARIABLES if name in os.environ}
    return subprocess.Popen(
        [sys.executable, "-P", "-m", "k2.query.sql_process"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=environment,
        start_new_session=True,
    )


def _end(process: "subprocess.Popen[bytes]") -> None:
    process.kill()
    process.wait()
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            try:
                pipe.close()
            except BrokenPipeError:
                continue
