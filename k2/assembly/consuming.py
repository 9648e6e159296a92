"""The process that takes a topic into its table."""

import gc
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from k2.assembly.safeguards import consumer_monitor, storage_probes, watching
from k2.assembly.state import open_checkpoint_cache
from k2.assembly.surroundings import exported_surroundings
from k2.assembly.tables import open_catalog
from k2.clock import Clock, SystemClock
from k2.ingestion import sequence_batch
from k2.ingestion.consumer import MarketDataConsumer, OnStep, ignore_step
from k2.ingestion.dead_letter_files import DeadLetterFiles
from k2.ingestion.dead_letters import DeadLetterQueue
from k2.ingestion.kafka import check_broker
from k2.ingestion.registry import open_registry
from k2.observability.exposition import served_metrics
from k2.observability.metrics import Metrics
from k2.records import decode
from k2.records.definition import RECORD_TYPES
from k2.resilience.breakers import CircuitBreakers, Dependency
from k2.resilience.circuit_breaker import CircuitBreaker
from k2.resilience.safeguards import Safeguards
from k2.resilience.shedding import Shedding
from k2.resilience.signals import Component
from k2.settings import PACKAGED_REGISTRY, ConsumerSettings, Settings
from k2.storage.audit import TransactionAuditLog
from k2.storage.writer import TableWriter

_COLLECT_AFTER_OBJECTS = 200_000


def build_consumer(settings: Settings, metrics: Metrics, on_step: OnStep = ignore_step) -> MarketDataConsumer:
    """The consumer of settings.consumer.data_type.

    Raises:
        UsageError: its table does not exist.
        RefusedError: its table contradicts the definition of its records.
        UnavailableError: the catalog or the broker does not answer.
    """
    # Before the group is joined: compiling takes seconds the first time, and no other member should wait for it.
    decode.warm_up()
    sequence_batch.warm_up()
    clock = SystemClock()
    breakers = CircuitBreakers(settings.breaker, metrics, clock)
    record_type, catalog = RECORD_TYPES[settings.consumer.data_type], open_catalog(settings, breakers)
    catalog.evolve_table(record_type)
    cache, cache_probes = open_checkpoint_cache(settings.state, breakers, metrics, clock)
    writer = TableWriter(
        record_type,
        catalog,
        TransactionAuditLog(settings.storage.audit_log),
        metrics,
        clock,
        lambda: str(uuid.uuid4()),
        cache,
    )
    broker = breakers[Dependency.BROKER]
    check_broker(settings.kafka, breaker=broker)
    registry = open_registry(settings.kafka, breakers)
    probes = {**storage_probes(catalog), **cache_probes}
    if settings.kafka.schema_registry_url != PACKAGED_REGISTRY:
        probes[Dependency.SCHEMA_REGISTRY] = registry.look

    @contextmanager
    def watching_all() -> Iterator[None]:
        with watching(settings, monitor, breakers, probes), exported_surroundings(settings, catalog, metrics):
            yield

    # The consumer is made last, and the level follows from how far it has come.
    monitor = consumer_monitor(settings, breakers, lambda: consumer.progress(), metrics, clock)
    consumer = MarketDataConsumer(
        settings,
        registry,
        writer,
        open_dead_letter_queue(settings, metrics, clock, broker),
        metrics,
        clock,
        on_step,
        Safeguards(
            breakers,
            Shedding(Component.CONSUMER, monitor.report, metrics),
            watching_all,
        ),
    )
    return consumer


def collect_seldom() -> None:
    """For a process that only consumes: have the collector of cycles look seldom, and not at what was made so far.

    Every message is an object that it counts and none is part of a cycle, so by default it walks a batch over and over
    while the batch is read: a third of what a message costs.
    """
    gc.freeze()
    gc.set_threshold(_COLLECT_AFTER_OBJECTS, 20, 100)


def open_dead_letter_queue(
    settings: Settings, metrics: Metrics, clock: Clock, broker: CircuitBreaker | None = None
) -> DeadLetterQueue:
    """The queue to the dead letter topics, with files to fall back on."""
    chosen = settings.dead_letters
    files = DeadLetterFiles(chosen.directory, chosen.max_size_mb, uuid.uuid4().hex, clock)
    return DeadLetterQueue(settings.kafka, clock, files, metrics, chosen.delivery_timeout_ms, broker)


@contextmanager
def exported_metrics(settings: ConsumerSettings, metrics: Metrics, on_serving: Callable[[str], None]) -> Iterator[None]:
    """Serve the metrics on settings.metrics_port, if it is set; `on_serving` gets the address.

    Raises:
        AddressInUseError: something else listens there.
    """
    if settings.metrics_port is None:
        yield
        return
    with served_metrics(metrics, settings.metrics_port, settings.metrics_host) as url:
        on_serving(url)
        yield
