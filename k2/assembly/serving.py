"""The process that answers: query engine and HTTP API."""

from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from k2.api.app import create_app
from k2.api.server import serve
from k2.assembly.safeguards import api_monitor, storage_probes, watching
from k2.assembly.tables import create_tables, open_catalog
from k2.clock import Clock, SystemClock
from k2.observability.metrics import Metrics
from k2.query.connection import DuckDBDatabase
from k2.query.engine import QueryEngine
from k2.query.pool import DuckDBConnectionPool
from k2.resilience.breakers import CircuitBreakers
from k2.settings import Settings
from k2.storage.catalog import IcebergCatalog
from k2.storage.reader import TableReader, local_path


@contextmanager
def query_engine(settings: Settings, metrics: Metrics) -> Iterator[QueryEngine]:
    """An engine over the tables, closed at the end."""
    clock = SystemClock()
    breakers = CircuitBreakers(settings.breaker, metrics, clock)
    with (
        closing(open_catalog(settings, breakers)) as catalog,
        _engine(catalog, settings, metrics, clock, breakers) as engine,
    ):
        yield engine


def serve_api(settings: Settings, metrics: Metrics, on_listening: Callable[[str], None]) -> None:
    """Serve the API until told to stop; `on_listening` gets its address."""
    clock = SystemClock()
    breakers = CircuitBreakers(settings.breaker, metrics, clock)
    create_tables(settings, breakers)
    monitor = api_monitor(settings, breakers, metrics, clock)
    with (
        closing(open_catalog(settings, breakers)) as catalog,
        _engine(catalog, settings, metrics, clock, breakers) as engine,
        watching(settings, monitor, breakers, storage_probes(catalog)),
    ):
        app = create_app(
            engine,
            settings.api,
            metrics,
            clock,
            degradation=monitor.report,
            level_hold_seconds=settings.degradation.hold_seconds,
        )
        serve(app, settings.api, metrics, on_listening)


@contextmanager
def _engine(
    catalog: IcebergCatalog, settings: Settings, metrics: Metrics, clock: Clock, breakers: CircuitBreakers
) -> Iterator[QueryEngine]:
    pool = DuckDBConnectionPool(
        DuckDBDatabase(Path(local_path(catalog.warehouse)), settings.query),
        pool_size=settings.query.pool_size,
        acquire_timeout_seconds=settings.query.acquire_timeout_seconds,
        metrics=metrics,
        clock=clock,
    )
    with pool:
        yield QueryEngine(TableReader(catalog), pool, settings.query, metrics, clock, breakers)
