"""The process that takes a topic into its table."""

import uuid

from k2.assembly.tables import open_catalog
from k2.clock import SystemClock
from k2.ingestion.consumer import MarketDataConsumer, OnStep, ignore_step
from k2.ingestion.dead_letters import DeadLetterQueue
from k2.ingestion.kafka import check_broker
from k2.ingestion.registry import open_registry
from k2.observability.metrics import Metrics
from k2.records import decode
from k2.records.definition import RECORD_TYPES
from k2.settings import Settings
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
    dead_letters = DeadLetterQueue(settings.kafka, clock)
    return MarketDataConsumer(settings, open_registry(settings.kafka), writer, dead_letters, metrics, clock, on_step)
