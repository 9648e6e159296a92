"""Callers of the schema registry and of the API: each asks again and again, and every call is kept with its outcome."""

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import pyarrow as pa

from conformance.drivers import http
from conformance.stacks.base import Stack
from k2.clock import SystemClock
from k2.errors import K2Error
from k2.ingestion.registry import SchemaRegistry, open_registry
from k2.observability.metrics import Metrics
from k2.records.definition import TRADE
from k2.resilience.breakers import CircuitBreakers

REGISTER, QUERY = "register", "query"
_BETWEEN_SECONDS = 0.25
_SCHEMA = pa.schema(
    [
        ("caller", pa.string()),
        ("wall_ns", pa.int64()),
        ("seconds", pa.float64()),
        ("is_well", pa.bool_()),
        ("outcome", pa.string()),
    ]
)


@dataclass(slots=True)
class Callers:
    """Threads that call until they are told to end."""

    _rows: list[tuple[str, int, float, bool, str]] = field(default_factory=list)
    _ending: threading.Event = field(default_factory=threading.Event)
    _threads: list[threading.Thread] = field(default_factory=list)

    def start(self, name: str, call: Callable[[], tuple[bool, str]]) -> None:
        """Call something again and again; it says whether it went well, and how it ended."""
        thread = threading.Thread(target=self._run, args=(name, call), name=f"caller {name}", daemon=True)
        self._threads.append(thread)
        thread.start()

    def stop(self) -> None:
        """Let every caller finish its call."""
        self._ending.set()
        for thread in self._threads:
            thread.join()

    def well_since(self, wall_ns: int) -> bool:
        """Whether every caller has had a good answer to a call made since then."""
        well = {row[0] for row in tuple(self._rows) if row[1] >= wall_ns and row[3]}
        return {thread.name.removeprefix("caller ") for thread in self._threads} <= well

    def table(self) -> pa.Table:
        """Stage `calls`: caller, wall_ns, seconds, is_well, outcome; in the order they were made."""
        rows = sorted(self._rows, key=lambda row: row[1])
        columns = zip(*rows, strict=True) if rows else ([] for _ in _SCHEMA)
        return pa.table(dict(zip(_SCHEMA.names, map(list, columns), strict=True)), schema=_SCHEMA)

    def _run(self, name: str, call: Callable[[], tuple[bool, str]]) -> None:
        while not self._ending.is_set():
            wall_ns, began = time.time_ns(), time.perf_counter()
            is_well, outcome = call()
            self._rows.append((name, wall_ns, time.perf_counter() - began, is_well, outcome))
            self._ending.wait(_BETWEEN_SECONDS)


def registering(stack: Stack) -> Callable[[], tuple[bool, str]]:
    """Has the registry give a schema's id, as every producer does when it starts."""
    breakers = CircuitBreakers(stack.settings.breaker, Metrics(), SystemClock())

    def call() -> tuple[bool, str]:
        # A new one each time: it keeps what it was told.
        registry: SchemaRegistry = open_registry(stack.settings.kafka, breakers)
        try:
            return True, f"id {registry.schema_id('crypto', TRADE)}"
        except K2Error as error:
            return False, type(error).__name__

    return call


def querying(stack: Stack, environment: Mapping[str, str]) -> Callable[[], tuple[bool, str]]:
    """Has the API answer a query; the API is started here."""
    url = f"{stack.start_api(environment)}/v1/trades?limit=1"

    def call() -> tuple[bool, str]:
        try:
            status = http.get(url).status
        except OSError as error:
            return False, type(error).__name__
        return status == 200, str(status)

    return call
