"""Records into Kafka: acknowledged by all replicas, keyed by exchange and symbol, in registered Avro.

What happens when the broker does not keep up, or goes away, is told in docs/producer.md.
"""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import structlog
from confluent_kafka import KafkaError, KafkaException

from k2.clock import Clock
from k2.errors import DeliveryError, K2Error, RecordError
from k2.ingestion.kafka import unavailable
from k2.ingestion.producer_account import (
    NO_SCHEMA,
    TURNED_AWAY,
    UNFIT,
    Delivery,
    DeliveryCallbacks,
    OnBatchDelivery,
    ProducerAccount,
    ProducerStatistics,
    reporter,
)
from k2.ingestion.producer_gate import ProducerGate
from k2.ingestion.producer_queue import ProducerQueue
from k2.ingestion.registry import SchemaRegistry
from k2.observability.metrics import Metrics
from k2.records.definition import QUOTE, REFERENCE_DATA, TRADE, RecordType, topic
from k2.records.encode import RecordEncoder
from k2.records.encoded import Refusal, message_key
from k2.resilience.circuit_breaker import CircuitBreaker
from k2.settings import KafkaSettings, ProducerSettings

if TYPE_CHECKING:
    from k2.records.encode_batch import BatchEncoder

__all__ = ["BatchResult", "Delivery", "MarketDataProducer", "OnBatchDelivery", "OnDelivery", "ProducerStatistics"]

OnDelivery = Callable[[Delivery], None]
_log = structlog.get_logger("k2.producer")


@dataclass(frozen=True, slots=True)
class BatchResult:
    """What became of a batch: records queued, turned away by policy, and refused, with the reason of each."""

    queued: int
    shed: int
    refused: tuple[Refusal, ...]


class MarketDataProducer:
    """Produces records; a context manager that flushes and releases on exit.

    Not safe to share between threads. After `close` every produce raises RuntimeError, `flush` returns 0, and
    statistics and schema ids stay readable.

    Args:
        kafka: how to reach the broker.
        registry: ids of the schemas.
        metrics: receives the k2_producer_* counters.
        clock: wall time of the statistics, and the waits.
        settings: bounds of the queue, time limits, and what becomes of records that cannot be queued.
        breaker: keeps records back while the broker is away; told of every delivery.
    """

    def __init__(
        self,
        kafka: KafkaSettings,
        registry: SchemaRegistry,
        metrics: Metrics,
        clock: Clock,
        settings: ProducerSettings | None = None,
        breaker: CircuitBreaker | None = None,
    ) -> None:
        self._settings = settings or ProducerSettings()
        self._registry = registry
        self._metrics = metrics
        self._clock = clock
        self._breaker = breaker
        self._callbacks = DeliveryCallbacks()
        self._gate = ProducerGate(self._settings, breaker, self._callbacks)
        self._accounts: dict[str, ProducerAccount] = {}
        self._encoders: dict[tuple[str, str], RecordEncoder] = {}
        self._batch_encoders: dict[tuple[str, str], BatchEncoder] = {}
        self._schema_ids: dict[tuple[str, str], int] = {}
        self._flush_timeouts = 0
        self._topic_prefix = kafka.topic_prefix
        self._queue: ProducerQueue | None = ProducerQueue(kafka, self._settings, clock)
        self._created_at = clock.wall_ns()
        self._closed_at: int | None = None

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

    def produce_reference_data(
        self, asset_class: str, exchange: str, record: Mapping[str, Any], on_delivery: OnDelivery | None = None
    ) -> None:
        """Queue what is known of an instrument (see `produce`)."""
        self.produce(REFERENCE_DATA, asset_class, exchange, record, on_delivery)

    def produce(
        self,
        record_type: RecordType,
        asset_class: str,
        exchange: str,
        record: Mapping[str, Any],
        on_delivery: OnDelivery | None = None,
    ) -> None:
        """Queue one record; `on_delivery` is called from a later produce, poll or flush, or at once if it is shed.

        Args:
            record_type: what the record is.
            asset_class: topic part; must equal the record's own.
            exchange: key part; must equal the record's own.
            record: every field of the record type.
            on_delivery: told what became of it.

        Raises:
            RuntimeError: after close.
            RecordError: the record does not fit its schema exactly, or is larger than a message may be.
            DeliveryError: the queue stayed full, and the policy is to raise; or the client met a fatal error.
            CircuitOpenError: the broker is left alone, and the policy is to raise.
            UnavailableError: the registry does not answer, or the topic is not known.
            RefusedError: the topic may not be written to.
        """
        queue = self._open_queue()
        self._serve(queue)
        account = self._account(record_type)
        account.given += 1
        try:
            if record.get("asset_class") != asset_class or record.get("exchange") != exchange:
                raise RecordError(
                    f"the record says {record.get('asset_class')}/{record.get('exchange')}, "
                    f"the call {asset_class}/{exchange}"
                )
            value = self._encoder(record_type, asset_class).encode(record)
        except K2Error as error:
            account.failed(_reason_not_encoded(error), str(error))
            raise
        to = topic(asset_class, record_type.data_type, self._topic_prefix)
        tell = None if on_delivery is None else _alone(on_delivery)
        # Whoever gets an error is not told of it once more.
        tell_if_shed = tell if self._settings.overload_policy == "shed" else None
        if not self._gate.admits(account, to, [0], tell_if_shed):
            return
        try:
            has_room = queue.put(
                to, message_key(exchange, record["symbol"]), value, reporter(account, self._callbacks, to, 0, tell)
            )
        except KafkaException as raised:
            raise _refused_by_client(account, to, raised.args[0]) from raised
        if not has_room:
            self._gate.queue_full(account, to, [0], tell_if_shed, queue.full_seconds())

    def produce_batch(
        self,
        record_type: RecordType,
        asset_class: str,
        records: Sequence[Mapping[str, Any]] | pa.RecordBatch,
        on_delivery: OnBatchDelivery | None = None,
    ) -> BatchResult:
        """Queue many records of one topic, in their order; each goes where `produce` would have sent it.

        A record that does not fit its schema is refused, and the others are sent. Several thousand at a time are
        fastest.

        Args:
            record_type: what the records are.
            asset_class: topic part; must equal each record's own.
            records: mappings as `produce` takes them, or columns as k2.records.encode_batch takes them.
            on_delivery: told what became of each that was not refused, also of those an error is raised for.

        Raises:
            RuntimeError: after close.
            RecordError: columns that are not those of the record type; none is sent.
            DeliveryError: the queue stayed full, and the policy is to raise: the last records are not sent; or the
                client met a fatal error.
            CircuitOpenError: the broker is left alone, and the policy is to raise; none is sent.
            UnavailableError: the registry does not answer, or the topic is not known.
            RefusedError: the topic may not be written to.
        """
        queue = self._open_queue()
        self._serve(queue)
        account = self._account(record_type)
        account.given += len(records)
        try:
            batch = self._batch_encoder(record_type, asset_class).encode(records)
        except K2Error as error:
            account.failed(_reason_not_encoded(error), str(error), len(records))
            raise
        if batch.refusals:
            account.failed(UNFIT, str(batch.refusals[0].error), len(batch.refusals))
        to = topic(asset_class, record_type.data_type, self._topic_prefix)
        if not batch.values or not self._gate.admits(account, to, batch.indices, on_delivery):
            return BatchResult(0, len(batch.values), batch.refusals)
        report = reporter(account, self._callbacks, to, 0, None)
        messages: list[dict[str, Any]] = [
            {"key": key, "value": value} for key, value in zip(batch.keys, batch.values, strict=True)
        ]
        if on_delivery is not None:
            for index, message in zip(batch.indices, messages, strict=True):
                message["callback"] = reporter(account, self._callbacks, to, index, on_delivery)
        left = queue.put_all(to, messages, report)
        places = {id(message): index for index, message in zip(batch.indices, messages, strict=True)} if left else {}
        full = [places[id(message)] for message in left if message["_error"].code() == KafkaError._QUEUE_FULL]
        others = [(places[id(one)], one["_error"]) for one in left if one["_error"].code() != KafkaError._QUEUE_FULL]
        refused = self._refused(account, to, others, on_delivery)
        if full:
            self._gate.queue_full(account, to, full, on_delivery, queue.full_seconds())
        return BatchResult(len(messages) - len(left), len(full), (*batch.refusals, *refused))

    def poll(self) -> None:
        """Run the delivery callbacks that are due.

        Raises:
            Exception: the first that a delivery callback raised since the last poll or flush.
        """
        if self._queue is not None:
            self._serve(self._queue)
            self._callbacks.raise_first()

    def flush(self, timeout_seconds: float | None = None) -> int:
        """Wait for outstanding deliveries; returns how many remain. 0 with a warning after close.

        Args:
            timeout_seconds: how long; default is settings.flush_timeout_seconds.

        Raises:
            Exception: the first that a delivery callback raised since the last poll or flush.
        """
        if self._queue is None:
            _log.warning("flush after close")
            return 0
        limit_seconds = self._settings.flush_timeout_seconds if timeout_seconds is None else timeout_seconds
        self._queue.flush(limit_seconds)
        self._settle()
        remaining = self._open_records()
        if remaining:
            self._flush_timeouts += 1
            _log.warning("flush timed out", remaining=remaining, timeout_seconds=limit_seconds)
        self._callbacks.raise_first()
        return remaining

    def close(self, timeout_seconds: float | None = None) -> int:
        """Flush, release, and return how many records were still unacknowledged. Calling again does nothing.

        What remains is given up and counted as an error; whether the broker took one that was under way is not known.

        Args:
            timeout_seconds: limit of the flush; default is settings.flush_timeout_seconds.
        """
        if self._queue is None:
            return 0
        try:
            self.flush(timeout_seconds)
        except Exception as error:  # noqa: BLE001 - of a callback; nothing may keep the client open
            _log.error("error in a delivery callback", error=repr(error))
        finally:
            queue, self._queue = self._queue, None
            remaining = self._open_records()
            queue.release()
            self._settle()
            self._closed_at = self._clock.wall_ns()
        return remaining

    def statistics(self) -> ProducerStatistics:
        """Counts so far; readable after close too."""
        accounts = self._accounts.values()
        errors: Counter[str] = Counter()
        for account in accounts:
            errors.update(account.errors)
        end = self._clock.wall_ns() if self._closed_at is None else self._closed_at
        return ProducerStatistics(
            records_given=sum(account.given for account in accounts),
            records_sent=sum(account.acknowledged for account in accounts),
            errors=errors.total(),
            errors_by_reason=dict(errors),
            shed=sum(errors[reason] for reason in TURNED_AWAY),
            retries_exhausted=sum(account.retries_exhausted for account in accounts),
            queued=self._open_records(),
            flush_timeouts=self._flush_timeouts,
            callback_errors=self._callbacks.errors,
            created_at=self._created_at,
            closed_at=self._closed_at,
            lifetime=(end - self._created_at) / 1e9,
        )

    @property
    def schema_ids(self) -> Mapping[tuple[str, str], int]:
        """Ids of the schemas used so far, by asset class and data type; readable after close too."""
        return dict(self._schema_ids)

    def __enter__(self) -> "MarketDataProducer":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _open_queue(self) -> ProducerQueue:
        if self._queue is None:
            raise RuntimeError("the producer is closed")
        return self._queue

    def _open_records(self) -> int:
        # Not the length of the client's queue, which has other events in it too.
        return sum(account.open_records for account in self._accounts.values())

    def _serve(self, queue: ProducerQueue) -> None:
        queue.poll()
        self._settle()

    def _settle(self) -> None:
        for account in self._accounts.values():
            account.settle()

    def _account(self, record_type: RecordType) -> ProducerAccount:
        known = self._accounts.get(record_type.data_type)
        if known is None:
            known = ProducerAccount(record_type.data_type, self._metrics, self._breaker)
            self._accounts[record_type.data_type] = known
        return known

    def _encoder(self, record_type: RecordType, asset_class: str) -> RecordEncoder:
        known = self._encoders.get((asset_class, record_type.data_type))
        if known is None:
            known = RecordEncoder(record_type, self._schema_id(record_type, asset_class))
            self._encoders[asset_class, record_type.data_type] = known
        return known

    def _batch_encoder(self, record_type: RecordType, asset_class: str) -> "BatchEncoder":
        # Only where batches are sent: the compiler it needs takes a fifth of a second to import.
        from k2.records.encode_batch import BatchEncoder

        known = self._batch_encoders.get((asset_class, record_type.data_type))
        if known is None:
            known = BatchEncoder(record_type, asset_class, self._schema_id(record_type, asset_class))
            self._batch_encoders[asset_class, record_type.data_type] = known
        return known

    def _schema_id(self, record_type: RecordType, asset_class: str) -> int:
        subject = (asset_class, record_type.data_type)
        if subject not in self._schema_ids:
            self._schema_ids[subject] = self._registry.schema_id(asset_class, record_type)
        return self._schema_ids[subject]

    def _refused(
        self,
        account: ProducerAccount,
        to: str,
        errors: Sequence[tuple[int, KafkaError]],
        tell: OnBatchDelivery | None,
    ) -> list[Refusal]:
        """Count what the client refused of a batch; raises the first error that is not one record's fault."""
        refusals = []
        first: K2Error | None = None
        for index, kafka_error in errors:
            error = _refused_by_client(account, to, kafka_error)
            if isinstance(error, RecordError):
                refusals.append(Refusal(index, error))
                continue
            first = first or error
            if tell is not None:
                self._callbacks.tell(tell, index, Delivery(to, None, None, kafka_error.str()))
        if first is not None:
            raise first
        return refusals


def _reason_not_encoded(error: K2Error) -> str:
    return UNFIT if isinstance(error, RecordError) else NO_SCHEMA


def _refused_by_client(account: ProducerAccount, to: str, error: KafkaError) -> K2Error:
    """Count a record that the client does not even queue; returns our error for its own."""
    account.failed(error.name(), error.str())
    if error.code() == KafkaError._FATAL:
        return DeliveryError(f"the client for {to} met a fatal error: close this producer and open another")
    return unavailable(error, f"sending to {to}")


def _alone(on_delivery: OnDelivery) -> OnBatchDelivery:
    return lambda _, delivery: on_delivery(delivery)
