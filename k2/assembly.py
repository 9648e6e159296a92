"""Puts the platform's parts together from settings: the one place that knows how they fit."""

import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager

from k2.api.app import create_app
from k2.api.server import serve
from k2.clock import SystemClock
from k2.feeds.feed import FeedRecord
from k2.ingestion.consumer import MarketDataConsumer, OnStep, ignore_step
from k2.ingestion.dead_letters import DeadLetterQueue
from k2.ingestion.feed_runner import CommittedOffsets, Credits, FeedResult, run_feed
from k2.ingestion.log_reader import Place
from k2.ingestion.producer import MarketDataProducer
from k2.ingestion.registry import open_registry
from k2.observability.metrics import Metrics
from k2.query.engine import QueryEngine
from k2.query.pool import DuckDBConnectionPool
from k2.records.definition import RECORD_TYPES
from k2.settings import Settings
from k2.storage.audit import TransactionAuditLog
from k2.storage.catalog import IcebergCatalog
from k2.storage.reader import TableReader
from k2.storage.writer import TableWriter


def create_tables(settings: Settings) -> None:
    """Create the catalog and the tables that are missing."""
    catalog = IcebergCatalog(settings.storage)
    try:
        catalog.create_tables()
    finally:
        catalog.close()


def build_consumer(settings: Settings, metrics: Metrics, on_step: OnStep = ignore_step) -> MarketDataConsumer:
    """The consumer of settings.consumer.data_type; its tables must exist."""
    clock = SystemClock()
    writer = TableWriter(
        RECORD_TYPES[settings.consumer.data_type],
        IcebergCatalog(settings.storage),
        TransactionAuditLog(settings.storage.audit_log),
        metrics,
        clock,
        lambda: str(uuid.uuid4()),
    )
    dead_letters = DeadLetterQueue(settings.kafka, clock)
    return MarketDataConsumer(settings, open_registry(settings.kafka), writer, dead_letters, metrics, clock, on_step)


def build_producer(settings: Settings, metrics: Metrics) -> MarketDataProducer:
    """The producer for settings.kafka."""
    return MarketDataProducer(settings.kafka, open_registry(settings.kafka), metrics, SystemClock())


def feed(
    settings: Settings, records: Iterable[FeedRecord], window: int, stopping: Callable[[], bool]
) -> FeedResult:
    """Send a feed's records, at most `window` messages a partition ahead of the tables (0: no limit)."""
    credits = Credits(window, committed_offsets(settings)) if window else None
    with build_producer(settings, Metrics()) as producer:
        return run_feed(records, producer, credits, stopping=stopping)


def committed_offsets(settings: Settings) -> CommittedOffsets:
    """A function that asks the tables how far each partition has been taken in."""
    reader = TableReader(IcebergCatalog(settings.storage))

    def ask() -> Mapping[Place, int]:
        return {place: offset for table in reader.tables() for place, offset in reader.next_offsets(table).items()}

    return ask


@contextmanager
def query_engine(settings: Settings, metrics: Metrics) -> Iterator[QueryEngine]:
    """An engine over the tables, closed at the end."""
    catalog = IcebergCatalog(settings.storage)
    reader = TableReader(catalog)
    with DuckDBConnectionPool(settings.query, reader.warehouse_directory, metrics) as pool:
        yield QueryEngine(reader, pool, settings.query, metrics, SystemClock())
    catalog.close()


def serve_api(settings: Settings, metrics: Metrics, on_listening: Callable[[str], None]) -> None:
    """Serve the API until told to stop; `on_listening` gets its address."""
    create_tables(settings)
    with query_engine(settings, metrics) as engine:
        serve(create_app(engine, settings.api, metrics, SystemClock()), settings.api, on_listening)
