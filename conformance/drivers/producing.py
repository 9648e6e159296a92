"""Gives records to K2's own producer, remembers what became of each, and looks for them in the log by itself."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from conformance.drivers.log_tap import TappedMessage, decode_independently
from conformance.stacks.base import Stack
from k2.clock import SystemClock
from k2.errors import K2Error
from k2.feeds.feed import FeedRecord
from k2.ingestion.producer import Delivery, MarketDataProducer
from k2.ingestion.registry import open_registry
from k2.observability.metrics import Metrics
from k2.records.definition import RECORD_TYPES
from k2.resilience.circuit_breaker import CircuitBreaker
from k2.settings import ProducerSettings

ACKNOWLEDGED = "acknowledged"
RAISED = "raised"
NEVER_QUEUED = ("queue_full", "circuit_open")
"""Reasons that say the record never came near the broker."""


class Producing:
    """A producer over a stack's broker, and the fate of every record it was given.

    Args:
        stack: whose broker.
        breaker: see MarketDataProducer.
        delivery_timeout_ms: after which a record is given up.
        **settings: of ProducerSettings.
    """

    def __init__(
        self,
        stack: Stack,
        breaker: CircuitBreaker | None = None,
        delivery_timeout_ms: int = 30_000,
        **settings: Any,
    ) -> None:
        self.metrics = Metrics()
        kafka = stack.settings.kafka.model_copy(update={"delivery_timeout_ms": delivery_timeout_ms})
        self._topic_prefix = kafka.topic_prefix
        registry = open_registry(kafka)
        # A registry gives equal schemas one id, whatever they are for.
        self._schemas: dict[int, set[tuple[str, str]]] = {}
        for record_type in RECORD_TYPES.values():
            for asset_class in ("crypto", "equities"):
                number = registry.schema_id(asset_class, record_type)
                self._schemas.setdefault(number, set()).add((asset_class, record_type.data_type))
        self._writer_schemas = {number: registry.writer_schema(number) for number in self._schemas}
        self.producer = MarketDataProducer(
            kafka, registry, self.metrics, SystemClock(), ProducerSettings(**settings), breaker
        )
        self._given: list[FeedRecord] = []
        self._fates: dict[int, list[Delivery | str]] = {}

    def send(self, items: Iterable[FeedRecord]) -> None:
        """Give records one by one; an error that is raised is a fate too."""
        for item in items:
            number = self._number(item)
            try:
                self.producer.produce(
                    RECORD_TYPES[item.data_type],
                    item.asset_class,
                    item.exchange,
                    item.record,
                    lambda delivery, number=number: self._fates[number].append(delivery),  # type: ignore[misc]
                )
            except K2Error as error:
                self._fates[number].append(f"{RAISED}: {type(error).__name__}")

    def send_batch(self, items: Sequence[FeedRecord]) -> None:
        """Give records of one topic at once."""
        numbers = [self._number(item) for item in items]
        try:
            result = self.producer.produce_batch(
                RECORD_TYPES[items[0].data_type],
                items[0].asset_class,
                [item.record for item in items],
                lambda index, delivery: self._fates[numbers[index]].append(delivery),
            )
        except K2Error:
            # Each record of a batch that is turned away has been told so.
            return
        for refusal in result.refused:
            self._fates[numbers[refusal.index]].append(f"{RAISED}: {type(refusal.error).__name__}")

    def outcomes(self) -> Mapping[str, int]:
        """How many records ended how: acknowledged, raised, or the reason that was told."""
        return dict(Counter(self._outcome(fate) for fates in self._fates.values() for fate in fates))

    def without_one_fate(self) -> list[int]:
        """Numbers of the records that have no fate, or several."""
        return [number for number, fates in self._fates.items() if len(fates) != 1]

    def not_at_their_place(self, messages: Iterable[TappedMessage]) -> list[str]:
        """Acknowledged records that the log does not hold where it was said, under their key and a schema of theirs."""
        log = {(message.topic, message.partition, message.offset): message for message in messages}
        wrong = []
        for number, delivery in self._deliveries():
            item = self._given[number]
            message = log.get((delivery.topic, delivery.partition or 0, delivery.offset or 0))
            problem = "is not there" if message is None else self._difference(item, message)
            if problem:
                wrong.append(f"record {number} {problem}")
        return wrong

    def in_the_log_though_turned_away(self, messages: Iterable[TappedMessage]) -> list[int]:
        """Numbers of the records that were shed, or raised for, and lie in the log all the same."""
        found = {_identity(record) for message in messages if (record := self._record(message)) is not None}
        return [
            number
            for number, fates in self._fates.items()
            if any(self._outcome(fate).startswith((RAISED, *NEVER_QUEUED)) for fate in fates)
            and _identity(self._given[number].record) in found
        ]

    def differences_of_the_books(self) -> list[str]:
        """Where the statistics or the metrics say something else than the fates."""
        counted, outcomes = self.producer.statistics(), self.outcomes()
        acknowledged = outcomes.get(ACKNOWLEDGED, 0)
        data_types = {item.data_type for item in self._given}
        sent = sum(self.metrics.value("k2_producer_records_sent_total", {"data_type": name}) for name in data_types)
        errors = sum(
            self.metrics.value("k2_producer_errors_total", {"data_type": name, "reason": reason})
            for name in data_types
            for reason in counted.errors_by_reason
        )
        pairs = {
            "records given": (counted.records_given, len(self._given)),
            "records sent": (counted.records_sent, acknowledged),
            "records sent, by the metric": (sent, acknowledged),
            "errors": (counted.errors, len(self._given) - acknowledged),
            "errors by reason": (sum(counted.errors_by_reason.values()), counted.errors),
            "errors, by the metric": (errors, counted.errors),
            "records open": (counted.queued, 0),
        }
        return [f"{name}: {said}, not {must}" for name, (said, must) in pairs.items() if said != must]

    def retries_exhausted(self) -> float:
        """The counter of exhausted retries, over all data types."""
        data_types = {item.data_type for item in self._given}
        counter = "k2_producer_retries_exhausted_total"
        return sum(self.metrics.value(counter, {"data_type": name}) for name in data_types)

    def _number(self, item: FeedRecord) -> int:
        self._given.append(item)
        self._fates[len(self._given) - 1] = []
        return len(self._given) - 1

    def _outcome(self, fate: Delivery | str) -> str:
        if isinstance(fate, str):
            return fate
        return ACKNOWLEDGED if fate.error is None else fate.error

    def _deliveries(self) -> Iterable[tuple[int, Delivery]]:
        for number, fates in self._fates.items():
            for fate in fates:
                if isinstance(fate, Delivery) and fate.error is None:
                    yield number, fate

    def _record(self, message: TappedMessage) -> Mapping[str, Any] | None:
        return decode_independently(message, self._writer_schemas)[1]

    def _difference(self, item: FeedRecord, message: TappedMessage) -> str:
        schema_id, record = decode_independently(message, self._writer_schemas)
        if schema_id is None or record is None:
            return "is no record of a registered schema"
        if (item.asset_class, item.data_type) not in self._schemas[schema_id]:
            return f"has the schema of {sorted(self._schemas[schema_id])}"
        if message.topic != f"{self._topic_prefix}market.{item.asset_class}.{item.data_type}":
            return f"lies in {message.topic}"
        if message.key != f"{item.exchange}:{item.record['symbol']}".encode():
            return f"has the key {message.key!r}"
        if _identity(record) != _identity(item.record):
            return f"is another: {_identity(record)}"
        return ""


def _identity(record: Mapping[str, Any]) -> tuple[Any, ...]:
    names = ("session", "session_sequence", "exchange", "symbol", "event_time_ns")
    return tuple(record.get(name) for name in names)
