"""What became of every record a producer was given: acknowledged, or an error with its reason; nothing in between."""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeVar

import structlog
from confluent_kafka import KafkaError, KafkaException, Message

from k2.observability.metrics import Metrics
from k2.resilience.circuit_breaker import CircuitBreaker
from k2.resilience.failures import is_transient

UNFIT = "unfit"
"""The record does not fit its schema."""
NO_SCHEMA = "no_schema"
"""The schema registry does not answer."""
QUEUE_FULL = "queue_full"
"""The queue had been full for too long."""
CIRCUIT_OPEN = "circuit_open"
"""The broker is left alone for a while."""
TURNED_AWAY = (QUEUE_FULL, CIRCUIT_OPEN)

_PURGED = (KafkaError._PURGE_QUEUE, KafkaError._PURGE_INFLIGHT)
_log = structlog.get_logger("k2.producer")
_Answer = TypeVar("_Answer")


@dataclass(frozen=True, slots=True)
class Delivery:
    """What became of one record: where it lies in the log, or why it does not."""

    topic: str
    partition: int | None
    offset: int | None
    error: str | None


OnBatchDelivery = Callable[[int, Delivery], None]
"""Told the place in its batch of each record, and what became of it."""


@dataclass(frozen=True, slots=True)
class ProducerStatistics:
    """Counts of one producer since it was opened. At any time records_given = records_sent + errors + queued.

    Attributes:
        records_given: records that were handed to a produce method.
        records_sent: those the broker acknowledged.
        errors: those that ended otherwise, whatever the reason.
        errors_by_reason: `unfit`, `no_schema`, `queue_full`, `circuit_open`, or the client's or broker's name for it.
        shed: those of the errors that were turned away because of a full queue or an open breaker.
        retries_exhausted: those of the errors that the client gave up after every retry.
        queued: records whose fate is still open.
        flush_timeouts: flushes that ended before everything was acknowledged.
        callback_errors: delivery callbacks that raised.
        created_at: when the producer was opened, ns since epoch UTC.
        closed_at: when it was closed; None while it is open.
        lifetime: seconds from then to then, or until now.
    """

    records_given: int
    records_sent: int
    errors: int
    errors_by_reason: Mapping[str, int]
    shed: int
    retries_exhausted: int
    queued: int
    flush_timeouts: int
    callback_errors: int
    created_at: int
    closed_at: int | None
    lifetime: float


class DeliveryCallbacks:
    """Calls the delivery callbacks; what one raises is kept until `raise_first`, so that it stops no other."""

    def __init__(self) -> None:
        self.errors = 0
        self._first: Exception | None = None

    def tell(self, on_delivery: OnBatchDelivery, index: int, delivery: Delivery) -> None:
        """Call one."""
        try:
            on_delivery(index, delivery)
        except Exception as error:  # noqa: BLE001 - a callback can raise anything
            self.errors += 1
            self._first = self._first or error

    def raise_first(self) -> None:
        """Raise the first error since the last time, if there was one."""
        error, self._first = self._first, None
        if error is not None:
            raise error


class ProducerAccount:
    """Counts the records of one data type, here and in the metrics, and tells the breaker of the broker's answers.

    Args:
        data_type: label of the metrics.
        metrics: receives the three k2_producer_* counters.
        breaker: told of every delivery report but those the producer itself brought about.
    """

    def __init__(self, data_type: str, metrics: Metrics, breaker: CircuitBreaker | None) -> None:
        self.given = 0
        self.acknowledged = 0
        self.errors: Counter[str] = Counter()
        self.retries_exhausted = 0
        self._labels = {"data_type": data_type}
        self._metrics = metrics
        self._breaker = breaker
        self._settled_acknowledged = 0
        self._logged: set[str] = set()

    @property
    def open_records(self) -> int:
        """Records whose fate is not known yet."""
        return self.given - self.acknowledged - self.errors.total()

    def delivered(self, error: KafkaError | None, message: Message) -> None:
        """A delivery report came. The hot path: metrics and breaker hear of successes in `settle`."""
        if error is None:
            self.acknowledged += 1
        else:
            self._not_delivered(without_pending(error.code), error)

    def failed(self, reason: str, explanation: str, records: int = 1) -> None:
        """Records ended unacknowledged."""
        self.errors[reason] += records
        self._metrics.increment("k2_producer_errors_total", {**self._labels, "reason": reason}, records)
        # Once for each reason: a broker that is gone fails every record in the queue with the same one.
        if reason not in self._logged:
            self._logged.add(reason)
            _log.error("records not acknowledged", **self._labels, reason=reason, error=explanation)

    def settle(self) -> None:
        """Pass on the successes since the last time."""
        newly = self.acknowledged - self._settled_acknowledged
        if newly:
            self._settled_acknowledged = self.acknowledged
            self._metrics.increment("k2_producer_records_sent_total", self._labels, newly)
            if self._breaker is not None:
                self._breaker.succeeded(newly)

    def _not_delivered(self, code: int, error: KafkaError) -> None:
        # Successes first: the breaker counts failures in a row.
        self.settle()
        if code not in _PURGED:
            exception = KafkaException(error)
            # The client repeats for as long as it may whatever is transient.
            if is_transient(exception):
                self.retries_exhausted += 1
                self._metrics.increment("k2_producer_retries_exhausted_total", self._labels)
            if self._breaker is not None:
                self._breaker.failed(exception)
        self.failed(error.name(), error.str())


def reporter(
    account: ProducerAccount, callbacks: DeliveryCallbacks, topic: str, index: int, tell: OnBatchDelivery | None
) -> Callable[[KafkaError | None, Message], None]:
    """What the client calls with the delivery report of one record, or without `tell` of any number of them."""
    if tell is None:
        return account.delivered

    def delivered(error: KafkaError | None, message: Message) -> None:
        account.delivered(error, message)
        if error is None:
            delivery = Delivery(topic, without_pending(message.partition), message.offset(), None)
        else:
            delivery = Delivery(topic, None, None, error.str())
        callbacks.tell(tell, index, delivery)

    return delivered


def without_pending(ask: Callable[[], _Answer]) -> _Answer:
    """The first answer of the client inside one of its callbacks, in which a fatal error may be waiting.

    The client throws a fatal error into whatever runs. Inside a callback the first call it answers fails because of it,
    and takes it out; asked again, the client answers.
    """
    try:
        return ask()
    except SystemError:
        return ask()
