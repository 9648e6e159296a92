"""Records into Kafka: acknowledged by all replicas, keyed by exchange and symbol, in registered Avro."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any

import structlog
from confluent_kafka import KafkaError, KafkaException, Message, Producer

from k2.clock import Clock
from k2.errors import DeliveryError, RecordError
from k2.ingestion.kafka import producer_configuration
from k2.ingestion.registry import SchemaRegistry
from k2.observability.metrics import Metrics
from k2.records.definition import QUOTE, TRADE, RecordType, topic
from k2.records.encode import RecordEncoder
from k2.settings import KafkaSettings

FLUSH_TIMEOUT_SECONDS = 30.0
QUEUE_FULL_TIMEOUT_SECONDS = 30.0
_log = structlog.get_logger("k2.producer")


@dataclass(frozen=True, slots=True)
class Delivery:
    """What became of one record: where it lies in the log, or why it does not."""

    topic: str
    partition: int | None
    offset: int | None
    error: str | None


OnDelivery = Callable[[Delivery], None]


class MarketDataProducer:
    """Produces records; a context manager that flushes and releases on exit.

    Not safe to share between threads. After `close` every produce raises RuntimeError, `flush` returns 0, and
    the statistics stay readable.
    """

    def __init__(self, settings: KafkaSettings, registry: SchemaRegistry, metrics: Metrics, clock: Clock) -> None:
        self._registry = registry
        self._metrics = metrics
        self._clock = clock
        self._encoders: dict[tuple[str, str], RecordEncoder] = {}
        self._reasons_logged: set[str] = set()
        self._client: Producer | None = Producer(producer_configuration(settings))
        self._statistics: dict[str, Any] = {
            "records_sent": 0,
            "errors": 0,
            "flush_timeouts": 0,
            "created_at": clock.wall_ns(),
            "closed_at": None,
        }

    def produce_trade(
        self, asset_class: str, exchange: str, record: Mapping[str, Any], on_delivery: OnDelivery | None = None
    ) -> None:
        """Queue a trade (see `produce`)."""
        self.produce(TRADE, asset_class, exchange, record, on_delivery)

    def produce_quote(
        self, asset_class: str, exchange: str, record: Mapping[str, Any], on_delivery: OnDelivery | None = None
    ) -> None:
        """Queue a quote (see `produce`)."""
        self.produce(QUOTE, asset_class, exchange, record, on_delivery)

    def produce(
        self,
        record_type: RecordType,
        asset_class: str,
        exchange: str,
        record: Mapping[str, Any],
        on_delivery: OnDelivery | None = None,
    ) -> None:
        """Queue one record; `on_delivery` is called from a later produce, poll or flush.

        Args:
            record_type: TRADE or QUOTE.
            asset_class: topic part; must equal the record's own.
            exchange: key part; must equal the record's own.
            record: every field of the record type.
            on_delivery: told what became of it.

        Raises:
            RuntimeError: after close.
            RecordError: the record does not fit its schema exactly.
            DeliveryError: the queue stayed full for 30 s.
        """
        client = self._open_client()
        if record.get("asset_class") != asset_class or record.get("exchange") != exchange:
            raise RecordError(
                f"the record says {record.get('asset_class')}/{record.get('exchange')}, "
                f"the call {asset_class}/{exchange}"
            )
        value = self._encoder(record_type, asset_class).encode(record)
        key = f"{exchange}:{record['symbol']}".encode()
        self._enqueue(client, record_type.data_type, topic(asset_class, record_type.data_type), key, value, on_delivery)

    def poll(self) -> None:
        """Run the delivery callbacks that are due."""
        if self._client is not None:
            self._client.poll(0)

    def flush(self, timeout_seconds: float = FLUSH_TIMEOUT_SECONDS) -> int:
        """Wait for outstanding deliveries; returns how many remain. 0 with a warning after close."""
        if self._client is None:
            _log.warning("flush after close")
            return 0
        remaining = int(self._client.flush(timeout_seconds))
        if remaining:
            self._statistics["flush_timeouts"] += 1
            _log.warning("flush timed out", remaining=remaining, timeout_seconds=timeout_seconds)
        return remaining

    def close(self) -> int:
        """Flush, release, and return how many records were still unacknowledged. Calling again does nothing."""
        if self._client is None:
            return 0
        remaining = 0
        try:
            remaining = self.flush()
        except KafkaException as error:
            self._statistics["errors"] += 1
            _log.error("flush failed while closing", error=str(error))
        finally:
            self._client = None
            self._statistics["closed_at"] = self._clock.wall_ns()
        return remaining

    def statistics(self) -> dict[str, Any]:
        """records_sent, errors, flush_timeouts, created_at and closed_at (ns), lifetime_seconds, queued."""
        end_ns = self._statistics["closed_at"] or self._clock.wall_ns()
        return {
            **self._statistics,
            "lifetime_seconds": (end_ns - self._statistics["created_at"]) / 1e9,
            "queued": len(self._client) if self._client is not None else 0,
        }

    def __enter__(self) -> "MarketDataProducer":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _open_client(self) -> Producer:
        if self._client is None:
            raise RuntimeError("the producer is closed")
        return self._client

    def _encoder(self, record_type: RecordType, asset_class: str) -> RecordEncoder:
        known = self._encoders.get((asset_class, record_type.data_type))
        if known is None:
            known = RecordEncoder(record_type, self._registry.schema_id(asset_class, record_type))
            self._encoders[asset_class, record_type.data_type] = known
        return known

    def _enqueue(
        self, client: Producer, data_type: str, to: str, key: bytes, value: bytes, on_delivery: OnDelivery | None
    ) -> None:
        def delivered(error: KafkaError | None, message: Message) -> None:
            self._count(data_type, error)
            if on_delivery is not None:
                known = error is None
                on_delivery(
                    Delivery(
                        to,
                        message.partition() if known else None,
                        message.offset() if known else None,
                        None if error is None else error.str(),
                    )
                )

        give_up_at = time.monotonic() + QUEUE_FULL_TIMEOUT_SECONDS
        while True:
            try:
                client.produce(to, key=key, value=value, on_delivery=delivered)
                client.poll(0)
                return
            except BufferError:
                if time.monotonic() > give_up_at:
                    self._metrics.increment("k2_producer_retries_exhausted_total", {"data_type": data_type})
                    raise DeliveryError(
                        f"the queue to {to} stayed full for {QUEUE_FULL_TIMEOUT_SECONDS:.0f} s: "
                        "the broker does not keep up"
                    ) from None
                client.poll(0.1)

    def _count(self, data_type: str, error: KafkaError | None) -> None:
        if error is None:
            self._statistics["records_sent"] += 1
            self._metrics.increment("k2_producer_records_sent_total", {"data_type": data_type})
            return
        self._statistics["errors"] += 1
        self._metrics.increment("k2_producer_errors_total", {"data_type": data_type, "reason": error.name()})
        # Once for each reason: a broker that is gone fails every record in the queue with the same one.
        if error.name() not in self._reasons_logged:
            self._reasons_logged.add(error.name())
            _log.error("records not acknowledged", data_type=data_type, reason=error.str())
