"""The process that answers: query engine and HTTP API."""

from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from k2.api.app import create_app
from k2.api.draining import Draining
from k2.api.server import serve
from k2.assembly.safeguards import api_monitor, storage_probes, watching
from k2.assembly.surroundings import exported_markets_and_compaction, exported_surroundings
from k2.assembly.tables import create_tables, open_catalog
from k2.clock import Clock, SystemClock
from k2.errors import UsageError
from k2.observability.metrics import Metrics
from k2.query.connection import DuckDBDatabase
from k2.query.engine import QueryEngine
from k2.query.free_sql import SqlProcess
from k2.query.pool import DuckDBConnectionPool
from k2.resilience.breakers import CircuitBreakers
from k2.settings import QuerySettings, Settings
from k2.storage.catalog import IcebergCatalog
from k2.storage.file_cache import FileCache
from k2.storage.reader import TableReader, is_local, local_path


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


@contextmanager
def sql_process(settings: Settings, metrics: Metrics, *, as_of_time_ns: int | None = None) -> Iterator[SqlProcess]:
    """A process for free SQL over the tables, ended with the block."""
    clock = SystemClock()
    breakers = CircuitBreakers(settings.breaker, metrics, clock)
    with closing(open_catalog(settings, breakers)) as catalog:
        reader = table_reader(catalog, settings.query)
        with SqlProcess(reader, settings.query, metrics, clock, as_of_time_ns=as_of_time_ns) as process:
            yield process


def serve_api(settings: Settings, metrics: Metrics, on_listening: Callable[[str], None]) -> None:
    """Serve the API until told to stop; `on_listening` gets its address."""
    clock = SystemClock()
    draining = Draining()
    breakers = CircuitBreakers(settings.breaker, metrics, clock)
    create_tables(settings, breakers)
    monitor = api_monitor(settings, breakers, metrics, clock)
    with (
        closing(open_catalog(settings, breakers)) as catalog,
        _engine(catalog, settings, metrics, clock, breakers) as engine,
        watching(settings, monitor, breakers, storage_probes(catalog)),
        exported_surroundings(settings, catalog, metrics),
        exported_markets_and_compaction(catalog, metrics, clock),
    ):
        app = create_app(
            engine,
            settings.api,
            metrics,
            clock,
            degradation=monitor.report,
            level_hold_seconds=settings.degradation.hold_seconds,
            draining=draining,
        )
        serve(app, settings.api, metrics, on_listening, draining)


def table_reader(catalog: IcebergCatalog, settings: QuerySettings) -> TableReader:
    """A reader of the tables, with a cache for files that are not on this machine."""
    if is_local(catalog.warehouse):
        return TableReader(catalog)
    cache = FileCache(readable_directory(catalog, settings), settings.cache_limit_bytes)
    return TableReader(catalog, cache)


def readable_directory(catalog: IcebergCatalog, settings: QuerySettings) -> Path:
    """The only folder DuckDB may read from: the warehouse, or where its files are kept once fetched.

    Raises:
        UsageError: the warehouse is elsewhere and no folder for its files is named.
    """
    if is_local(catalog.warehouse):
        return Path(local_path(catalog.warehouse))
    if settings.cache_directory is None:
        raise UsageError(f"the warehouse {catalog.warehouse} is not on this machine: set K2_QUERY__CACHE_DIRECTORY")
    return settings.cache_directory.absolute()


@contextmanager
def _engine(
    catalog: IcebergCatalog, settings: Settings, metrics: Metrics, clock: Clock, breakers: CircuitBreakers
) -> Iterator[QueryEngine]:
    reader = table_reader(catalog, settings.query)
    pool = DuckDBConnectionPool(
        DuckDBDatabase(readable_directory(catalog, settings.query), settings.query),
        pool_size=settings.query.pool_size,
        acquire_timeout_seconds=settings.query.acquire_timeout_seconds,
        metrics=metrics,
        clock=clock,
    )
    with pool:
        yield QueryEngine(reader, pool, settings.query, metrics, clock, breakers)
