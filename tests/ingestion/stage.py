"""A stage for the ingestion tests: an embedded broker, empty tables, and consumers that run in threads."""

import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from confluent_kafka import Consumer, Message, Producer, TopicPartition

from k2.clock import SystemClock
from k2.embedded.broker import EmbeddedBroker
from k2.ingestion.consumer import MarketDataConsumer, OnStep, consumer_group, ignore_step
from k2.ingestion.dead_letters import DeadLetterQueue
from k2.ingestion.judging import PartitionState
from k2.observability.metrics import Metrics
from k2.records.definition import TRADE, dead_letter_topic
from k2.settings import ConsumerSettings, KafkaSettings, RetrySettings, SequenceSettings, Settings, StorageSettings
from k2.storage.audit import TransactionAuditLog
from k2.storage.catalog import IcebergCatalog
from k2.storage.progress import PartitionKey, Progress, TopicIdentity
from k2.storage.writer import NO_FILES, Advance, TableWriter
from tests.ingestion.market_records import CRYPTO_TRADES, REGISTRY, encoded

PATIENCE_SECONDS = 20.0
PARTITIONS = 2
TOPICS = (CRYPTO_TRADES, dead_letter_topic(CRYPTO_TRADES))
CLOSED_PORT = "127.0.0.1:9"
QUIET = {"log_level": 0}


def wait_until(holds: Callable[[], bool]) -> None:
    """Wait for something that must come true."""
    give_up_at = time.monotonic() + PATIENCE_SECONDS
    while not holds():
        assert time.monotonic() < give_up_at, "it did not come true"
        time.sleep(0.02)


def kafka_settings(bootstrap_servers: str, **changes: Any) -> KafkaSettings:
    """Settings that suit the embedded broker and a test's patience."""
    return KafkaSettings(
        bootstrap_servers=bootstrap_servers,
        **{"session_timeout_ms": 2_000, "heartbeat_interval_ms": 300, "delivery_timeout_ms": 5_000, **changes},
    )


class Run:
    """A consumer running in a thread."""

    def __init__(self, consumer: MarketDataConsumer) -> None:
        self._consumer = consumer
        self._failure: Exception | None = None
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def wait_until(self, holds: Callable[[], bool]) -> None:
        """Wait for something this run must bring about; raises what the run raised, if it did."""
        wait_until(lambda: holds() or not self._thread.is_alive())
        if self._failure is not None:
            raise self._failure
        assert holds()

    def stop(self) -> None:
        """Stop and wait for the end."""
        self._consumer.stop()
        self._thread.join(PATIENCE_SECONDS)
        assert not self._thread.is_alive()

    def _run(self) -> None:
        try:
            self._consumer.run()
        except Exception as error:  # noqa: BLE001 - handed over to the test's thread
            self._failure = error


class Stage:
    """One broker, one warehouse, the topic of crypto trades."""

    def __init__(self, folder: Path, broker: EmbeddedBroker) -> None:
        self.broker = broker
        self.settings = Settings(
            kafka=kafka_settings(broker.bootstrap_servers),
            storage=StorageSettings(
                catalog_uri=f"sqlite:///{folder}/catalog.db",
                warehouse=str(folder / "warehouse"),
                audit_log=folder / "audit.jsonl",
            ),
            consumer=ConsumerSettings(asset_classes=("crypto",), batch_seconds=0.2),
            retry=RetrySettings(attempts=3, first_wait_seconds=0.01, longest_wait_seconds=0.05),
        )
        self.catalog = IcebergCatalog(self.settings.storage)
        self.catalog.create_tables()
        self.metrics = Metrics()
        self._producer = Producer({"bootstrap.servers": broker.bootstrap_servers, **QUIET})

    @property
    def cluster_id(self) -> str:
        return str(self._producer.list_topics(timeout=PATIENCE_SECONDS).cluster_id)

    def key(self, partition: int = 0) -> PartitionKey:
        return PartitionKey(self.cluster_id, CRYPTO_TRADES, partition)

    def produce(self, *records: Mapping[str, Any] | bytes, partition: int = 0, **options: Any) -> None:
        """Put records, or raw values, into a partition of the topic and wait for the acknowledgement."""
        for record in records:
            value = record if isinstance(record, bytes) else encoded(record)
            self._producer.produce(CRYPTO_TRADES, value, partition=partition, **options)
        assert self._producer.flush(PATIENCE_SECONDS) == 0

    def writer(self, kind: type[TableWriter] = TableWriter) -> TableWriter:
        audit = TransactionAuditLog(self.settings.storage.audit_log)
        return kind(TRADE, self.catalog, audit, self.metrics, SystemClock(), lambda: uuid.uuid4().hex)

    def consumer(
        self,
        writer: TableWriter | None = None,
        on_step: OnStep = ignore_step,
        dead_letters: DeadLetterQueue | None = None,
        **consumer_changes: Any,
    ) -> MarketDataConsumer:
        changed = self.settings.consumer.model_copy(update=consumer_changes)
        return MarketDataConsumer(
            self.settings.model_copy(update={"consumer": changed}),
            REGISTRY,
            writer or self.writer(),
            dead_letters or DeadLetterQueue(self.settings.kafka, SystemClock()),
            self.metrics,
            SystemClock(),
            on_step,
        )

    @contextmanager
    def running(self, consumer: MarketDataConsumer) -> Iterator[Run]:
        run = Run(consumer)
        try:
            yield run
        finally:
            run.stop()

    def take_in(self, *next_offsets: int, consumer: MarketDataConsumer | None = None) -> None:
        """Run a consumer until the table stands at these offsets, by partition, and stop it."""
        expected = dict(enumerate(next_offsets))
        with self.running(consumer or self.consumer()) as run:
            run.wait_until(lambda: self.next_offsets() == expected)

    def progress(self) -> Progress:
        return self.writer().progress()

    def next_offsets(self) -> dict[int, int]:
        """How far the table has come in each partition, whatever the cluster."""
        return {key.partition: place.next_offset for key, place in self.progress().partitions.items()}

    def rows(self) -> list[dict[str, Any]]:
        """The table's rows, in the order of the log."""
        rows: list[dict[str, Any]] = self.catalog.load(TRADE.table).scan().to_arrow().to_pylist()
        return sorted(rows, key=lambda row: (row["kafka_partition"], row["kafka_offset"]))

    def session_numbers(self) -> list[int]:
        return [row["session_sequence"] for row in self.rows()]

    def pretend(self, next_offset: int, *, partition: int = 0, cluster_id: str = "", partition_counts: int = 0) -> None:
        """Move the table's progress without taking anything in."""
        writer = self.writer()
        key = PartitionKey(cluster_id or self.cluster_id, CRYPTO_TRADES, partition)
        state = writer.write_state(PartitionState.empty(SequenceSettings()).to_arrow(), key, next_offset)
        known = writer.progress().partitions.get(key)
        advance = Advance(known.next_offset if known else None, next_offset, state)
        topics = {f"{key.cluster_id}/{CRYPTO_TRADES}": TopicIdentity(partition_counts or PARTITIONS)}
        writer.commit(NO_FILES, {key: advance}, topics, "made up")

    def messages(self, topic_name: str) -> list[Message]:
        """Everything in a topic."""
        return read_all(self.broker.bootstrap_servers, topic_name)

    @contextmanager
    def group_member(self) -> Iterator[Consumer]:
        """A client that may read and write the consumer group's offsets."""
        client = Consumer(
            {"bootstrap.servers": self.broker.bootstrap_servers, "group.id": consumer_group(self.settings), **QUIET}
        )
        try:
            yield client
        finally:
            client.close()

    def reported_offset(self, partition: int = 0) -> int:
        """What Kafka has been told for a partition; negative for nothing."""
        with self.group_member() as client:
            (place,) = client.committed([TopicPartition(CRYPTO_TRADES, partition)], timeout=PATIENCE_SECONDS)
        return int(place.offset)


def read_all(bootstrap_servers: str, topic_name: str) -> list[Message]:
    """Everything in a topic, in order within each partition."""
    client = Consumer(
        {"bootstrap.servers": bootstrap_servers, "group.id": "readers", "auto.offset.reset": "earliest", **QUIET}
    )
    try:
        partitions = client.list_topics(topic_name, timeout=PATIENCE_SECONDS).topics[topic_name].partitions
        ranges = {p: client.get_watermark_offsets(TopicPartition(topic_name, p)) for p in partitions}
        expected = sum(high - low for low, high in ranges.values())
        client.assign([TopicPartition(topic_name, p, low) for p, (low, _) in ranges.items()])
        found: list[Message] = []
        give_up_at = time.monotonic() + PATIENCE_SECONDS
        while len(found) < expected:
            assert time.monotonic() < give_up_at, f"{len(found)} of {expected} messages came"
            found.extend(client.consume(expected, 0.05))
        return found
    finally:
        client.close()
