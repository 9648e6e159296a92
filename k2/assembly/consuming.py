"""The process that takes a topic into its table."""

import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from k2.assembly.tables import open_catalog
from k2.clock import Clock, SystemClock
from k2.ingestion.consumer import MarketDataConsumer, OnStep, ignore_step
from k2.ingestion.dead_letter_files import DeadLetterFiles
from k2.ingestion.dead_letters import DeadLetterQueue
from k2.ingestion.kafka import check_broker
from k2.ingestion.registry import open_registry
from k2.observability.exposition import served_metrics
from k2.observability.metrics import Metrics
from k2.records import decode
from k2.records.definition import RECORD_TYPES
from k2.settings import ConsumerSettings, Settings
from k2.storage.audit import TransactionAuditLog
from k2.storage.writer import TableWriter


def build_consumer(settings: Settings, metrics: Metrics, on_step: OnStep = ignore_step) -> MarketDataConsumer:
    """The consumer of settings.consumer.data_type.

    Raises:
        UsageError: its table does not exist.
        UnavailableError: the catalog or the broker does not answer.
    """
    # Before the group is joined: compiling takes seconds the first time, and no other member should wait for it.
    decode.warm_up()
    clock = SystemClock()
    writer = TableWriter(
        RECORD_TYPES[settings.consumer.data_type],
        open_catalog(settings),
        TransactionAuditLog(settings.storage.audit_log),
        metrics,
        clock,
        lambda: str(uuid.uuid4()),
    )
    check_broker(settings.kafka)
    dead_letters = open_dead_letter_queue(settings, metrics, clock)
    return MarketDataConsumer(settings, open_registry(settings.kafka), writer, dead_letters, metrics, clock, on_step)


def open_dead_letter_queue(settings: Settings, metrics: Metrics, clock: Clock) -> DeadLetterQueue:
    """The queue to the dead letter topics, with files to fall back on."""
    chosen = settings.dead_letters
    files = DeadLetterFiles(chosen.directory, chosen.max_size_mb, uuid.uuid4().hex, clock)
    return DeadLetterQueue(settings.kafka, clock, files, metrics, chosen.delivery_timeout_ms)


@contextmanager
def exported_metrics(settings: ConsumerSettings, metrics: Metrics, on_serving: Callable[[str], None]) -> Iterator[None]:
    """Serve the metrics on settings.metrics_port, if it is set; `on_serving` gets the address.

    Raises:
        AddressInUseError: something else listens there.
    """
    if settings.metrics_port is None:
        yield
        return
    with served_metrics(metrics, settings.metrics_port) as url:
        on_serving(url)
        yield
