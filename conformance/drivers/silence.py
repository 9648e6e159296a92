"""Looks at a running stack from outside, again and again, and records whether it says that rows stopped coming."""

import json
import time
import urllib.error
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import psutil

from conformance.drivers import http
from conformance.drivers.repeating import repeating
from conformance.drivers.table_view import open_table
from conformance.history import HistoryWriter
from conformance.stacks.base import Stack
from k2.embedded.processes import ChildProcess
from k2.records.definition import RECORD_TYPES

METRICS = {"K2_CONSUMER__METRICS_PORT": "0"}
"""Has a consumer serve its metrics on a free port."""
LOOK_INTERVAL_SECONDS = 0.15
WAIT_TIMEOUT_SECONDS = 60.0
EFFECT_TIMEOUT_SECONDS = 10.0


@dataclass(slots=True)
class Watch:
    """What is looked at, and what was seen last.

    Attributes:
        api_url: address of the API.
        consumer_metrics_url: of the consumer that runs now; None while there is none.
        data_type, exchange: whose rows.
        rows: rows of the table at the last look.
        rows_changed_at: when a look saw other rows than the one before, on the monotonic clock, in seconds.
    """

    stack: Stack
    api_url: str
    consumer_metrics_url: str | None
    data_type: str
    exchange: str
    rows: int = 0
    rows_changed_at: float = 0.0

    def look(self) -> dict[str, Any]:
        """One look at table, /health and both metrics, in this order."""
        rows = self._row_count()
        if rows != self.rows:
            self.rows, self.rows_changed_at = rows, time.monotonic()
        health = http.get(f"{self.api_url}/health")
        exposition = http.get(f"{self.api_url}/metrics").body
        table = {"data_type": self.data_type, "exchange": self.exchange}
        return {
            "rows": self.rows,
            "reported": self._is_reported(health) if health.status == 200 else None,
            "silence_seconds": gauge(exposition, "k2_table_silence_seconds", table),
            "age_seconds": gauge(exposition, "k2_table_freshness_seconds", table),
            "consumer_age_seconds": self._consumer_age(),
        }

    def _is_reported(self, health: http.Answer) -> bool:
        shown = health.body["freshness"]["tables"][self.data_type].get(self.exchange, {})
        return bool(health.body["status"] == "stale" and shown.get("status") == "stale")

    def _consumer_age(self) -> float | None:
        if self.consumer_metrics_url is None:
            return None
        try:
            exposition = http.get(self.consumer_metrics_url).body
        except (urllib.error.URLError, OSError):
            return None
        return gauge(exposition, "k2_consumer_lag_seconds", {"data_type": self.data_type})

    def _row_count(self) -> int:
        storage = self.stack.settings.storage
        table = open_table(storage, RECORD_TYPES[self.data_type].table)
        snapshot = table.metadata.current_snapshot()
        if snapshot is None or snapshot.summary is None:
            return 0
        return int(snapshot.summary.additional_properties["total-records"])


@contextmanager
def watching(watch: Watch, history: HistoryWriter) -> Iterator[None]:
    """Record a look every 150 ms as the operation `look` while the body runs.

    Raises:
        Exception: what a look raised, at the end.
    """

    def look() -> None:
        began = time.monotonic_ns()
        seen = watch.look()
        history.operation("harness", "look", "ok", invoked_monotonic_ns=began, attributes=seen)

    with repeating(LOOK_INTERVAL_SECONDS, look):
        yield


def wait_for_rows(watch: Watch) -> None:
    """Wait until a look sees more rows than now.

    Raises:
        TimeoutError: none came for a minute.
    """
    before = watch.rows
    wait_until(lambda: watch.rows > before, WAIT_TIMEOUT_SECONDS, "no further row came")


def wait_for_silence(watch: Watch, seconds: float) -> None:
    """Wait until no look has seen further rows for so long.

    Raises:
        TimeoutError: rows went on coming for a minute.
    """
    wait_until(lambda: time.monotonic() - watch.rows_changed_at > seconds, WAIT_TIMEOUT_SECONDS, "rows went on coming")


def wait_until(holds: Callable[[], bool], timeout_seconds: float, failure: str) -> None:
    """Wait for something; TimeoutError with this message if it does not come true."""
    give_up_at = time.monotonic() + timeout_seconds
    while not holds():
        if time.monotonic() > give_up_at:
            raise TimeoutError(failure)
        time.sleep(0.02)


def comes_true(holds: Callable[[], bool], timeout_seconds: float = EFFECT_TIMEOUT_SECONDS) -> bool:
    """Whether something comes true in time."""
    try:
        wait_until(holds, timeout_seconds, "")
    except TimeoutError:
        return False
    return True


def metrics_url(consumer: ChildProcess) -> str:
    """Where a consumer started with METRICS says that it serves them."""
    return str(json.loads(consumer.next_line())["metrics_url"])


def gauge(exposition: str, name: str, labels: Mapping[str, str]) -> float | None:
    """The one sample of a gauge; None if it is not exported."""
    found = http.samples(exposition, name, labels)
    return found[0] if found else None


def effect_of_kill(process: ChildProcess) -> str:
    """What is seen of SIGKILL on a process."""
    return f"exit status {process.wait(EFFECT_TIMEOUT_SECONDS)}"


def effect_of_freeze(process: ChildProcess) -> str:
    """What is seen of SIGSTOP on a process."""
    state = psutil.Process(process.pid).status
    wait_until(lambda: state() == psutil.STATUS_STOPPED, EFFECT_TIMEOUT_SECONDS, "the process did not freeze")
    return f"state {state()}"
