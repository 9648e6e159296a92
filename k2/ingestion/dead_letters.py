"""What cannot become a row: sent to the dead letter topic with its original bytes and where it came from."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from k2.clock import Clock
from k2.errors import DeliveryError
from k2.ingestion.kafka import producer_configuration
from k2.records.definition import dead_letter_topic
from k2.settings import KafkaSettings

HEADER_TOPIC = "k2.source.topic"
HEADER_PARTITION = "k2.source.partition"
HEADER_OFFSET = "k2.source.offset"
HEADER_STAGE = "k2.stage"
HEADER_ERROR_CLASS = "k2.error.class"
HEADER_ERROR_MESSAGE = "k2.error.message"
HEADER_TIME = "k2.time"
_LONGEST_MESSAGE_CHARACTERS = 500
Headers = tuple[tuple[str, bytes | None], ...]
OnDelivered = Callable[[KafkaError | None, Message], None]


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


class DeadLetterQueue:
    """Writes dead letters to Kafka and waits until all of a batch are acknowledged."""

    def __init__(self, settings: KafkaSettings, clock: Clock) -> None:
        self._producer = Producer(producer_configuration(settings))
        self._timeout_seconds = settings.delivery_timeout_ms / 1e3 + 1
        self._clock = clock

    def send(self, letters: Sequence[DeadLetter]) -> None:
        """Send a batch's dead letters; returns only when every one is acknowledged.

        Raises:
            DeliveryError: at least one was not, so the source offset must not move.
        """
        failed: list[str] = []

        def delivered(error: KafkaError | None, _: Message) -> None:
            if error is not None:
                failed.append(error.str())

        sent_at = str(self._clock.wall_ns()).encode()
        for letter in letters:
            self._produce(letter, sent_at, delivered)
        remaining = self._producer.flush(self._timeout_seconds) if letters else 0
        if failed or remaining:
            reason = failed[0] if failed else f"{remaining} without an answer"
            raise DeliveryError(f"{len(failed) + remaining} dead letters were not acknowledged: {reason}")

    def close(self) -> None:
        """Release the client; nothing can be outstanding."""
        self._producer.flush(0)

    def _produce(self, letter: DeadLetter, sent_at: bytes, delivered: OnDelivered) -> None:
        headers: list[tuple[str, str | bytes | None]] = [
            *letter.headers,
            (HEADER_TOPIC, letter.topic.encode()),
            (HEADER_PARTITION, str(letter.partition).encode()),
            (HEADER_OFFSET, str(letter.offset).encode()),
            (HEADER_STAGE, letter.stage.encode()),
            (HEADER_ERROR_CLASS, letter.error_class.encode()),
            (HEADER_ERROR_MESSAGE, letter.message[:_LONGEST_MESSAGE_CHARACTERS].encode("utf-8", "replace")),
            (HEADER_TIME, sent_at),
        ]
        while True:
            try:
                self._producer.produce(
                    dead_letter_topic(letter.topic),
                    key=letter.key,
                    value=letter.value,
                    headers=headers,
                    on_delivery=delivered,
                )
                return
            except BufferError:
                self._producer.poll(0.1)
            except KafkaException as error:
                raise DeliveryError(f"a dead letter was refused by the client: {error}") from error
