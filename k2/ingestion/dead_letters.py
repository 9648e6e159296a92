"""What cannot become a row: kept with its original bytes and where it came from.

A dead letter goes to the dead letter topic of its source. One the broker does not acknowledge in time, or refuses, goes
to the files (k2.ingestion.dead_letter_files) instead, so that neither an outage nor a letter that is too large stops
the consumer for ever. A letter may be in both, or in the topic more than once; whoever reads them folds them by source.
"""

import hashlib
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Protocol

import structlog
from confluent_kafka import KafkaError, KafkaException, Message, Producer

from k2.clock import Clock
from k2.errors import DeliveryError
from k2.ingestion.kafka import producer_configuration
from k2.observability.metrics import Metrics
from k2.records.definition import dead_letter_topic
from k2.resilience.circuit_breaker import CircuitBreaker
from k2.settings import KafkaSettings

HEADER_TOPIC = "k2.source.topic"
HEADER_PARTITION = "k2.source.partition"
HEADER_OFFSET = "k2.source.offset"
HEADER_STAGE = "k2.stage"
HEADER_ERROR_CLASS = "k2.error.class"
HEADER_ERROR_MESSAGE = "k2.error.message"
HEADER_TIME = "k2.time"
ORIGIN_HEADERS = (
    HEADER_TOPIC,
    HEADER_PARTITION,
    HEADER_OFFSET,
    HEADER_STAGE,
    HEADER_ERROR_CLASS,
    HEADER_ERROR_MESSAGE,
    HEADER_TIME,
)
"""What a letter in the topic carries after its original headers, in this order."""
HEADER_REPLAY_OF = "k2.replay.of"
"""In a replayed message, and so in the letter it becomes if it is rejected again: the source it repeats."""
_LONGEST_MESSAGE_CHARACTERS = 500
_PATIENCE_SECONDS = 1.0
Headers = tuple[tuple[str, bytes | None], ...]
_log = structlog.get_logger("k2.dead_letters")


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """One message that was refused.

    Attributes:
        topic: where it was read.
        partition: where it was read.
        offset: where it was read.
        key: its original key.
        value: its original bytes; None for a tombstone.
        headers: its original headers.
        stage: the step that refused it (decode, validate).
        error_class: short stable code.
        message: one line for a person.
    """

    topic: str
    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    headers: Headers
    stage: str
    error_class: str
    message: str

    @property
    def source(self) -> str:
        """Its coordinates as one word: topic/partition/offset."""
        return f"{self.topic}/{self.partition}/{self.offset}"

    @property
    def data_type(self) -> str:
        """The last part of its topic: trades, quotes."""
        return self.topic.rpartition(".")[2]

    @property
    def digest(self) -> str:
        """SHA-256 of the bytes, "none" for a tombstone. Another cluster's message may have the same coordinates."""
        return "none" if self.value is None else hashlib.sha256(self.value).hexdigest()

    @property
    def short_message(self) -> str:
        """The message as it is kept: cut to 500 characters, and always UTF-8."""
        return self.message[:_LONGEST_MESSAGE_CHARACTERS].encode("utf-8", "replace").decode()


class DeadLetterFallback(Protocol):
    """Where letters go that the broker did not acknowledge."""

    def write(self, letters: Sequence[DeadLetter]) -> None:
        """Keep them; returns when they outlast a crash. Raises DeliveryError if they cannot be kept."""

    def close(self) -> None:
        """Release what is open."""


class DeadLetterQueue:
    """Writes dead letters to Kafka, or to the fallback, and returns only when each is kept in one of them.

    Args:
        settings: how to reach the broker.
        clock: the time a letter says it was written.
        fallback: where letters go that were not acknowledged; None makes that an error.
        metrics: k2_dead_letters_total counts letters by where they went.
        delivery_timeout_ms: how long the broker is waited for; kafka.delivery_timeout_ms if that is shorter.
        breaker: the broker's; while it is open letters go to the fallback at once. None: the broker is always asked.
    """

    def __init__(
        self,
        settings: KafkaSettings,
        clock: Clock,
        fallback: DeadLetterFallback | None = None,
        metrics: Metrics | None = None,
        delivery_timeout_ms: int | None = None,
        breaker: CircuitBreaker | None = None,
    ) -> None:
        timeout_ms = min(settings.delivery_timeout_ms, delivery_timeout_ms or settings.delivery_timeout_ms)
        # Repeated letters do no harm, and a client that is not idempotent knows no error it cannot go on after.
        self._producer = Producer(
            {**producer_configuration(settings), "enable.idempotence": False, "delivery.timeout.ms": timeout_ms}
        )
        self._timeout_seconds = timeout_ms / 1e3 + _PATIENCE_SECONDS
        self._clock = clock
        self._fallback = fallback
        self._metrics = metrics or Metrics()
        self._breaker = breaker

    def send(self, letters: Sequence[DeadLetter]) -> None:
        """Keep a batch's dead letters; returns only when every one is acknowledged by the broker or on disk.

        Raises:
            DeliveryError: at least one is not, so the source offset must not move.
        """
        if not letters:
            return
        if self._breaker is not None and not self._breaker.admits():
            self._fall_back(letters, str(self._breaker.refusal()))
            return
        attempt = _Attempt(len(letters))
        give_up_at = time.monotonic() + self._timeout_seconds
        sent_at_ns = self._clock.wall_ns()
        for index, letter in enumerate(letters):
            self._produce(letter, sent_at_ns, attempt, index, give_up_at)
        self._producer.flush(max(0.0, give_up_at - time.monotonic()))
        unacknowledged = [letter for index, letter in enumerate(letters) if index not in attempt.acknowledged]
        if self._breaker is not None:
            attempt.report_to(self._breaker)
        self._count([letters[index] for index in attempt.acknowledged], "topic")
        if unacknowledged:
            self._fall_back(unacknowledged, attempt.reason())

    def close(self) -> None:
        """Release the client and the fallback; nothing can be outstanding."""
        self._producer.flush(0)
        if self._fallback is not None:
            self._fallback.close()

    def _fall_back(self, letters: Sequence[DeadLetter], reason: str) -> None:
        refused = f"{len(letters)} dead letters were not acknowledged: {reason}"
        if self._fallback is None:
            raise DeliveryError(refused)
        try:
            self._fallback.write(letters)
        except DeliveryError as error:
            raise DeliveryError(f"{refused}; {error}") from error
        self._count(letters, "file")
        _log.warning("dead letters kept in files, not in their topic", letters=len(letters), reason=reason)

    def _produce(self, letter: DeadLetter, sent_at_ns: int, attempt: "_Attempt", index: int, give_up_at: float) -> None:
        while True:
            try:
                self._producer.produce(
                    dead_letter_topic(letter.topic),
                    key=letter.key,
                    value=letter.value,
                    headers=topic_headers(letter, sent_at_ns),
                    on_delivery=partial(attempt.delivered, index),
                )
                return
            except BufferError:
                if time.monotonic() > give_up_at:
                    attempt.reasons["the client's queue stayed full"] += 1
                    return
                self._producer.poll(0.1)
            except KafkaException as error:
                attempt.refused(error)
                return

    def _count(self, letters: Sequence[DeadLetter], destination: str) -> None:
        for data_type, number in Counter(letter.data_type for letter in letters).items():
            labels = {"data_type": data_type, "destination": destination}
            self._metrics.increment("k2_dead_letters_total", labels, number)


class _Attempt:
    """What the broker said to one batch."""

    def __init__(self, letters: int) -> None:
        self._letters = letters
        self.acknowledged: set[int] = set()
        self.reasons: Counter[str] = Counter()
        self._errors: list[KafkaException] = []

    def delivered(self, index: int, error: KafkaError | None, _: Message) -> None:
        if error is None:
            self.acknowledged.add(index)
        else:
            self.refused(KafkaException(error))

    def refused(self, error: KafkaException) -> None:
        """The client or the broker did not take a letter."""
        self.reasons[_text(error)] += 1
        self._errors.append(error)

    def report_to(self, breaker: CircuitBreaker) -> None:
        """Say what the batch tells of the broker: one letter that it took is enough to show that it is there."""
        if self.acknowledged:
            breaker.succeeded()
        else:
            breaker.failed(self._errors[0] if self._errors else DeliveryError(self.reason()))

    def reason(self) -> str:
        """The most frequent reason, and how many letters were not answered at all."""
        silent = self._letters - len(self.acknowledged) - self.reasons.total()
        if not self.reasons:
            return f"{silent} without an answer"
        return self.reasons.most_common(1)[0][0]


def topic_headers(letter: DeadLetter, written_at_ns: int) -> list[tuple[str, str | bytes | None]]:
    """A letter's headers in the topic: the original ones, then ORIGIN_HEADERS."""
    origin = (
        letter.topic,
        str(letter.partition),
        str(letter.offset),
        letter.stage,
        letter.error_class,
        letter.short_message,
        str(written_at_ns),
    )
    return [*letter.headers, *((name, text.encode()) for name, text in zip(ORIGIN_HEADERS, origin, strict=True))]


def letter_from_topic(key: bytes | None, value: bytes | None, headers: Headers) -> tuple[DeadLetter, int] | None:
    """The letter a message of a dead letter topic holds and when it was written (ns); None if it is no letter."""
    original, added = headers[: -len(ORIGIN_HEADERS)], headers[-len(ORIGIN_HEADERS) :]
    if tuple(name for name, _ in added) != ORIGIN_HEADERS:
        return None
    origin = decoded_headers(added)
    try:
        letter = DeadLetter(
            topic=origin[HEADER_TOPIC],
            partition=int(origin[HEADER_PARTITION]),
            offset=int(origin[HEADER_OFFSET]),
            key=key,
            value=value,
            headers=original,
            stage=origin[HEADER_STAGE],
            error_class=origin[HEADER_ERROR_CLASS],
            message=origin[HEADER_ERROR_MESSAGE],
        )
        return letter, int(origin[HEADER_TIME])
    except ValueError:
        return None


def decoded_headers(headers: Headers) -> Mapping[str, str]:
    """Headers as text; of one that is there more than once, the last."""
    return {name: (value or b"").decode("utf-8", "replace") for name, value in headers}


def _text(error: KafkaException) -> str:
    kafka_error = error.args[0]
    return kafka_error.str() if isinstance(kafka_error, KafkaError) else str(kafka_error)
