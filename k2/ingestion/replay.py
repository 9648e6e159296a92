"""Sending dead letters back to the topic they came from, each once.

One transaction takes a chunk of letters: the original messages to the source topic, and for each a marker to the dead
letter topic. A broker commits both or neither, so a replay that was cut off goes on where it stopped, and a second one
finds nothing to do. The transactional id is the dead letter topic's: a replay that begins ends every other of that
topic, and only then reads what is left to send.

A message goes back to its own partition, whose consumer knows its sequence.
"""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import groupby

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from k2.clock import Clock
from k2.errors import DeliveryError, UnavailableError
from k2.ingestion.dead_letter_inventory import KeptLetter, LetterKey
from k2.ingestion.dead_letter_log import OnProgress, ignore_progress, marker_headers
from k2.ingestion.dead_letters import HEADER_REPLAY_OF, DeadLetter
from k2.ingestion.kafka import ANSWER_TIMEOUT_SECONDS, producer_configuration, unavailable
from k2.records.definition import dead_letter_topic
from k2.settings import KafkaSettings

CHUNK_LETTERS = 500
_PATIENCE_SECONDS = 1.0
_SHORTEST_TRANSACTION_TIMEOUT_MS = 60_000
# What the consumer can fetch; whether the broker takes so large a message is for the broker to say.
_LARGEST_MESSAGE_BYTES = 10_000_000
_FENCED = (KafkaError._FENCED, KafkaError.PRODUCER_FENCED, KafkaError.INVALID_PRODUCER_EPOCH)
_REFUSED_FOR_GOOD = (KafkaError.MSG_SIZE_TOO_LARGE, KafkaError.INVALID_MSG, KafkaError.INVALID_RECORD)
Headers = list[tuple[str, str | bytes | None]]
OnDelivered = Callable[[KafkaError | None, Message], None]


@dataclass(frozen=True, slots=True)
class Refusal:
    """A letter the broker does not take back, and why; it stays a dead letter."""

    source: str
    reason: str


@dataclass(frozen=True, slots=True)
class ReplayResult:
    """What a replay did.

    Attributes:
        sent: letters whose message is in the source topic again.
        refused: letters the broker does not take back.
        unsent: letters left because the replay was stopped.
    """

    sent: int
    refused: tuple[Refusal, ...]
    unsent: int


class ReplaySession:
    """The right to replay the letters of some topics, taken from whoever had it; a context manager.

    Args:
        kafka: how to reach the broker.
        source_topics: each with its number of partitions.
        clock: the time a marker tells.

    Raises:
        UnavailableError: the broker does not answer.
        RefusedError: it allows no transactions.
    """

    def __init__(self, kafka: KafkaSettings, source_topics: Mapping[str, int], clock: Clock) -> None:
        self._producers = {
            topic: _TransactionalProducer(kafka, topic, partitions, clock)
            for topic, partitions in source_topics.items()
        }

    def __enter__(self) -> "ReplaySession":
        return self

    def __exit__(self, *_: object) -> None:
        self._producers.clear()

    def send(
        self,
        letters: Sequence[KeptLetter],
        stopping: Callable[[], bool] = lambda: False,
        on_progress: OnProgress = ignore_progress,
    ) -> ReplayResult:
        """Send letters back in their order, a transaction for each chunk, until told to stop.

        Raises:
            UnavailableError: a letter's topic is not in this session.
            DeliveryError: the broker does not acknowledge, or another replay took over; chunks before this one are
                sent and marked.
        """
        missing = sorted({kept.letter.topic for kept in letters} - set(self._producers))
        if missing:
            raise UnavailableError(f"the broker has no topic {missing[0]} or none for its dead letters: create them")
        sent, refused = 0, list[Refusal]()
        for topic, chunk in _chunks(letters):
            if stopping():
                break
            refusals = self._producers[topic].send(chunk)
            refused += refusals
            sent += len(chunk) - len(refusals)
            on_progress(sent + len(refused), len(letters))
        return ReplayResult(sent, tuple(refused), len(letters) - sent - len(refused))


class _TransactionalProducer:
    """Replays the letters of one source topic."""

    def __init__(self, kafka: KafkaSettings, topic: str, partitions: int, clock: Clock) -> None:
        self._topic = topic
        self._partitions = partitions
        self._clock = clock
        self._timeout_seconds = kafka.delivery_timeout_ms / 1e3 + _PATIENCE_SECONDS
        self._client = Producer(
            {
                **producer_configuration(kafka),
                "transactional.id": f"{kafka.group_id}-replay-{dead_letter_topic(topic)}",
                "transaction.timeout.ms": max(_SHORTEST_TRANSACTION_TIMEOUT_MS, kafka.delivery_timeout_ms),
                "message.max.bytes": _LARGEST_MESSAGE_BYTES,
            }
        )
        try:
            self._client.init_transactions(ANSWER_TIMEOUT_SECONDS)
        except KafkaException as error:
            raise unavailable(error, f"beginning a replay of {topic}") from error

    def send(self, chunk: Sequence[KeptLetter]) -> list[Refusal]:
        """Send one chunk in a transaction of its own, without those the broker refuses for good."""
        refused: dict[LetterKey, Refusal] = {}
        while left := [kept for kept in chunk if kept.key not in refused]:
            known = len(refused)
            try:
                self._client.begin_transaction()
                self._send_messages(left, refused)
                self._send_markers([kept for kept in left if kept.key not in refused])
                self._commit()
                break
            except (KafkaException, SystemError) as raised:
                error = _thrown_by_client(raised)
                # The broker refuses a message only once it has seen it: then the rest is sent without it.
                if not self._abort(error) or len(refused) == known:
                    raise self._failure(error) from error
        return list(refused.values())

    def _send_messages(self, letters: Sequence[KeptLetter], refused: dict[LetterKey, Refusal]) -> None:
        """Send the original messages and wait for them, noting those that are refused."""
        failures: list[KafkaError] = []

        def delivered(kept: KeptLetter, error: KafkaError | None, _: Message) -> None:
            if error is not None:
                failures.append(error)
                if error.code() in _REFUSED_FOR_GOOD:
                    refused[kept.key] = Refusal(kept.letter.source, error.str())

        for kept in letters:
            letter = kept.letter
            partition = letter.partition if letter.partition < self._partitions else -1
            try:
                self._enqueue(
                    self._topic, letter.key, letter.value, partition, replay_headers(letter), partial(delivered, kept)
                )
            except KafkaException as error:
                if error.args[0].code() not in _REFUSED_FOR_GOOD:
                    raise
                refused[kept.key] = Refusal(letter.source, error.args[0].str())
        self._client.flush(self._timeout_seconds)
        if failures:
            raise KafkaException(failures[0])

    def _send_markers(self, letters: Sequence[KeptLetter]) -> None:
        # Only now: where a broker keeps part of what is taken back, as the embedded one does, a message is there twice
        # rather than marked and missing.
        for kept in letters:
            headers = marker_headers(kept.key, self._clock.wall_ns())
            self._enqueue(dead_letter_topic(self._topic), kept.letter.key, None, -1, headers, _ignore_delivery)

    def _enqueue(
        self,
        topic: str,
        key: bytes | None,
        value: bytes | None,
        partition: int,
        headers: Headers,
        delivered: OnDelivered,
    ) -> None:
        while True:
            try:
                self._client.produce(topic, value, key, partition, delivered, headers=headers)
                self._client.poll(0)
                return
            except BufferError:
                self._client.poll(0.1)

    def _commit(self) -> None:
        give_up_at = time.monotonic() + self._timeout_seconds
        while True:
            try:
                self._client.commit_transaction(ANSWER_TIMEOUT_SECONDS)
                return
            except KafkaException as error:
                if not error.args[0].retriable() or time.monotonic() > give_up_at:
                    raise

    def _abort(self, error: KafkaException) -> bool:
        """Take the transaction back, so that readers need not wait for its end; False if it cannot be."""
        if error.args[0].fatal():
            return False
        try:
            self._client.abort_transaction(ANSWER_TIMEOUT_SECONDS)
        except KafkaException:
            return False
        return True

    def _failure(self, error: KafkaException) -> DeliveryError:
        kafka_error = error.args[0]
        if kafka_error.code() in _FENCED:
            return DeliveryError(f"another replay of {self._topic} has taken over: wait until it is done")
        return DeliveryError(
            f"the replay of {self._topic} stopped, what is not marked was not sent: {kafka_error.str()}; run it again"
        )


def _thrown_by_client(raised: KafkaException | SystemError) -> KafkaException:
    """The client throws a fatal error into whatever runs; out of a callback it comes as the cause of a SystemError."""
    error = raised.__cause__ if isinstance(raised, SystemError) else raised
    if not isinstance(error, KafkaException):
        raise raised
    return error


def _ignore_delivery(error: KafkaError | None, message: Message) -> None:
    """The commit fails with whatever failed before it."""


def replay_headers(letter: DeadLetter) -> Headers:
    """The original headers and the source that is replayed; an earlier replay's mark is replaced."""
    original = [(name, value) for name, value in letter.headers if name != HEADER_REPLAY_OF]
    return [*original, (HEADER_REPLAY_OF, letter.source.encode())]


def _chunks(letters: Sequence[KeptLetter]) -> Iterator[tuple[str, Sequence[KeptLetter]]]:
    for topic, of_topic in groupby(letters, key=lambda kept: kept.letter.topic):
        whole = list(of_topic)
        for first in range(0, len(whole), CHUNK_LETTERS):
            yield topic, whole[first : first + CHUNK_LETTERS]
