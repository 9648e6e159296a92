"""What Prometheus fires, looked at again and again for as long as a run lasts."""

import threading
import time
from types import TracebackType
from typing import Self

import pyarrow as pa

from conformance.drivers import prometheus

LOOK_SECONDS = 0.5
FIRING = "firing"
_STATES = pa.schema([("wall_ns", pa.int64()), ("alert", pa.string()), ("state", pa.string())])


class AlertWatch:
    """Looks in a thread of its own; a context manager.

    Args:
        url: of Prometheus, past everything that faults are put in.
    """

    def __init__(self, url: str) -> None:
        self._url = url
        self._looks: list[int] = []
        self._rows: list[tuple[int, str, str]] = []
        self._now: frozenset[tuple[str, str]] = frozenset()
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="alerts", daemon=True)

    def active(self) -> set[str]:
        """Names of the alerts that are pending or firing as of the last look."""
        return {name for name, _ in self._now}

    def firing(self) -> set[str]:
        """Names of the alerts that are firing as of the last look."""
        return {name for name, state in self._now if state == FIRING}

    def looks(self) -> pa.Table:
        """Stage `looks`: wall_ns of each that was answered."""
        return pa.table({"wall_ns": pa.array(self._looks, pa.int64())})

    def states(self) -> pa.Table:
        """Stage `alert_states`: wall_ns, alert, state; a row for each alert that was not at rest at a look."""
        columns = zip(*self._rows, strict=True) if self._rows else ([] for _ in _STATES)
        return pa.table(dict(zip(_STATES.names, map(list, columns), strict=True)), schema=_STATES)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._ending.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._ending.is_set():
            wall_ns = time.time_ns()
            try:
                self._now = frozenset(prometheus.active_alerts(self._url))
            except OSError:
                # A look that is missing is seen by the checker.
                self._ending.wait(LOOK_SECONDS)
                continue
            self._looks.append(wall_ns)
            self._rows += [(wall_ns, name, state) for name, state in sorted(self._now)]
            self._ending.wait(LOOK_SECONDS)
