"""Writes a history while the run goes on; every line is handed to the operating system before the call returns."""

import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self

import orjson
import pyarrow as pa

from conformance.history.events import Header, HistoryError, Operation, OperationOutcome
from conformance.history.files import HISTORY_FILE, check_stage_name, write_table


class Clock(Protocol):
    """Source of time, both in nanoseconds."""

    def wall_ns(self) -> int:
        """Nanoseconds since the Unix epoch, UTC."""

    def monotonic_ns(self) -> int:
        """Nanoseconds on a clock that never goes backwards."""


class _MachineClock:
    def wall_ns(self) -> int:
        return time.time_ns()

    def monotonic_ns(self) -> int:
        return time.monotonic_ns()


MACHINE_CLOCK: Clock = _MachineClock()


@dataclass(slots=True)
class Invocation:
    """An operation under way; the body of `HistoryWriter.invoke` says here how it ended.

    Attributes:
        outcome: OK unless the body says otherwise.
        attributes: recorded with the operation.
    """

    outcome: OperationOutcome = OperationOutcome.OK
    attributes: dict[str, Any] = field(default_factory=dict)


class HistoryWriter:
    """Writes one history; safe to use from many threads.

    Use it as a context manager. A body that raises leaves the history without its end line, and a history without
    its end line is never judged as passed.

    Raises:
        HistoryError: the directory holds a history already, or an attribute is not JSON.
    """

    def __init__(self, path: Path, header: Header, clock: Clock = MACHINE_CLOCK) -> None:
        self.path = path
        self._clock = clock
        self._lock = threading.Lock()
        self._operations = 0
        path.mkdir(parents=True, exist_ok=True)
        try:
            self._file = (path / HISTORY_FILE).open("xb")
        except FileExistsError as error:
            raise HistoryError(f"{path}: holds a history already; write each run to its own directory") from error
        self._write(header.as_json())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, error_type: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        with self._lock:
            if error_type is None and not self._file.closed:
                self._write({"type": "end", "operations": self._operations, "wall_ns": self._clock.wall_ns()})
            self._file.close()

    def operation(
        self,
        process: str,
        action: str,
        outcome: OperationOutcome | str,
        *,
        invoked_monotonic_ns: int | None = None,
        completed_monotonic_ns: int | None = None,
        attributes: Mapping[str, Any] | None = None,
    ) -> None:
        """Record an operation that is over. Times left out are now; the wall-clock time is that of the invocation."""
        now = self._clock.monotonic_ns()
        invoked = now if invoked_monotonic_ns is None else invoked_monotonic_ns
        operation = Operation(
            process=process,
            action=action,
            outcome=OperationOutcome(outcome),
            invoked_monotonic_ns=invoked,
            completed_monotonic_ns=now if completed_monotonic_ns is None else completed_monotonic_ns,
            wall_ns=self._clock.wall_ns() - (now - invoked),
            attributes=attributes or {},
        )
        with self._lock:
            self._write(operation.as_json())
            self._operations += 1

    @contextmanager
    def invoke(self, process: str, action: str, attributes: Mapping[str, Any] | None = None) -> Iterator[Invocation]:
        """Record the operation the body performs; a body that raises is recorded as unknown, and raises."""
        invocation = Invocation(attributes=dict(attributes or {}))
        invoked = self._clock.monotonic_ns()
        try:
            yield invocation
        except BaseException as error:
            invocation.outcome = OperationOutcome.UNKNOWN
            invocation.attributes["error"] = f"{type(error).__name__}: {error}"
            raise
        finally:
            self.operation(
                process,
                action,
                invocation.outcome,
                invoked_monotonic_ns=invoked,
                attributes=invocation.attributes,
            )

    def observe(self, stage: str, table: pa.Table, data_type: str | None = None) -> None:
        """Record what can be seen at a stage. `data_type` names the record type of every row, where no column does."""
        check_stage_name(stage)
        if data_type is not None:
            check_stage_name(data_type)
        with self._lock:
            path = self._unused(stage if data_type is None else f"{stage}-{data_type}")
            sha256 = write_table(path, table)
            event = {"type": "observation", "stage": stage, "file": path.name, "rows": table.num_rows, "sha256": sha256}
            self._write(event if data_type is None else {**event, "data_type": data_type})

    def _unused(self, stem: str) -> Path:
        path = self.path / f"{stem}.arrow"
        number = 2
        while path.exists():
            path = self.path / f"{stem}-{number}.arrow"
            number += 1
        return path

    def _write(self, event: Mapping[str, Any]) -> None:
        try:
            line = orjson.dumps(event, option=orjson.OPT_APPEND_NEWLINE)
        except TypeError as error:
            raise HistoryError(f"{self.path}: {event['type']} cannot be written as JSON: {error}") from error
        self._file.write(line)
        self._file.flush()
