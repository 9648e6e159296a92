"""The queue between a producer and the broker: bounded, waited for no longer than allowed, and always given back."""

from collections.abc import Callable, Sequence
from typing import Any

import structlog
from confluent_kafka import KafkaError, KafkaException, Message, Producer

from k2.clock import Clock
from k2.ingestion.kafka import producer_configuration
from k2.settings import KafkaSettings, ProducerSettings

OnReport = Callable[[KafkaError | None, Message], None]
_WAIT_SECONDS = 0.05
_PURGE_TIMEOUT_SECONDS = 1.0
_log = structlog.get_logger("k2.producer")


class ProducerQueue:
    """Owns the Kafka client of one producer.

    The client is referred to from here alone, so that `release` ends its threads and connections at once.

    Args:
        kafka: how to reach the broker.
        settings: the bounds of the queue, and how long a full one is waited for.
        clock: measures the waits.
    """

    def __init__(self, kafka: KafkaSettings, settings: ProducerSettings, clock: Clock) -> None:
        self._clock = clock
        self._patience_ns = int(settings.queue_full_timeout_seconds * 1e9)
        self._full_since_ns: int | None = None
        self._client: Producer | None = Producer(
            {
                **producer_configuration(kafka),
                "queue.buffering.max.messages": settings.queue_max_messages,
                "queue.buffering.max.kbytes": settings.queue_max_kbytes,
            }
        )

    def put(self, topic: str, key: bytes, value: bytes, on_report: OnReport) -> bool:
        """Queue a message; False once the queue has been full for longer than is waited for.

        Raises:
            KafkaException: the client refuses it.
        """
        while True:
            try:
                self._open().produce(topic, value, key, on_delivery=on_report)
            except BufferError:
                if not self._wait():
                    return False
                continue
            self._full_since_ns = None
            return True

    def put_all(self, topic: str, messages: list[dict[str, Any]], on_report: OnReport) -> Sequence[dict[str, Any]]:
        """Queue messages in their order, and return those that are not queued, each with its `_error`.

        The last of them are those for which the queue was full for too long (_QUEUE_FULL); the others are refused.

        Args:
            topic: where to.
            messages: with `key`, `value` and, where one of its own is called, `callback`.
            on_report: called for each message without one.
        """
        refused: list[dict[str, Any]] = []
        while messages:
            queued = self._open().produce_batch(topic, messages, on_delivery=on_report)
            if queued:
                self._full_since_ns = None
            # From the first message the queue has no room for, none is taken: the order is kept.
            failed = [message for message in messages if "_error" in message] if queued < len(messages) else []
            full = [message for message in failed if message["_error"].code() == KafkaError._QUEUE_FULL]
            refused += [message for message in failed if message["_error"].code() != KafkaError._QUEUE_FULL]
            if full and not self._wait():
                return [*refused, *full]
            for message in full:
                del message["_error"]
            messages = full
        return refused

    def full_seconds(self) -> float:
        """For how long no record has got in because the queue was full; 0 if the last one did."""
        full_since_ns = self._full_since_ns
        return 0.0 if full_since_ns is None else (self._clock.monotonic_ns() - full_since_ns) / 1e9

    def poll(self, timeout_seconds: float = 0.0) -> None:
        """Run the callbacks that are due, waiting for the first of them."""
        try:
            self._open().poll(timeout_seconds)
        except (KafkaException, SystemError) as error:
            _note(error)

    def flush(self, timeout_seconds: float) -> None:
        """Wait until the fate of every message is known, or the time is over."""
        give_up_at_ns = self._clock.monotonic_ns() + int(timeout_seconds * 1e9)
        while True:
            left_seconds = max(0.0, (give_up_at_ns - self._clock.monotonic_ns()) / 1e9)
            try:
                self._open().flush(left_seconds)
            except (KafkaException, SystemError) as error:
                _note(error)
                if left_seconds > 0.0:
                    continue
            return

    def release(self) -> None:
        """Give up what is left, report it as given up, and end the client."""
        if len(self._open()):
            self._open().purge()
            self.flush(_PURGE_TIMEOUT_SECONDS)
        self._client = None

    def _open(self) -> Producer:
        if self._client is None:
            raise RuntimeError("the producer is closed")
        return self._client

    def _wait(self) -> bool:
        """Wait a moment for room; False if the queue has been full for too long."""
        now_ns = self._clock.monotonic_ns()
        if self._full_since_ns is None:
            self._full_since_ns = now_ns
        left_ns = self._patience_ns - (now_ns - self._full_since_ns)
        if left_ns <= 0:
            return False
        self.poll(min(_WAIT_SECONDS, left_ns / 1e9))
        return True


def _note(error: KafkaException | SystemError) -> None:
    """Log what the client threw; it then reports the same for every message, so nothing else needs to be done.

    It throws a fatal error once, into whatever runs; out of a callback that comes as a SystemError.
    """
    _log.error("the client met a fatal error", error=str(error.__cause__ or error))
