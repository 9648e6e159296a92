"""The process that answers: query engine and HTTP API."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from k2.api.app import create_app
from k2.api.server import serve
from k2.assembly.tables import create_tables, open_catalog
from k2.clock import SystemClock
from k2.observability.metrics import Metrics
from k2.query.connection import DuckDBDatabase
from k2.query.engine import QueryEngine
from k2.query.pool import DuckDBConnectionPool
from k2.settings import Settings
from k2.storage.reader import TableReader, local_path


@contextmanager
def query_engine(settings: Settings, metrics: Metrics) -> Iterator[QueryEngine]:
    """An engine over the tables, closed at the end."""
    catalog = open_catalog(settings)
    clock = SystemClock()
    pool = DuckDBConnectionPool(
        DuckDBDatabase(Path(local_path(catalog.warehouse)), settings.query),
        pool_size=settings.query.pool_size,
        acquire_timeout_seconds=settings.query.acquire_timeout_seconds,
        metrics=metrics,
        clock=clock,
    )
    try:
        with pool:
            yield QueryEngine(TableReader(catalog), pool, settings.query, metrics, clock)
    finally:
        catalog.close()


def serve_api(settings: Settings, metrics: Metrics, on_listening: Callable[[str], None]) -> None:
    """Serve the API until told to stop; `on_listening` gets its address."""
    create_tables(settings)
    with query_engine(settings, metrics) as engine:
        serve(create_app(engine, settings.api, metrics, SystemClock()), settings.api, metrics, on_listening)
