"""The consuming side of the Kafka client: assignment, polling by size and time, positions. It judges no data."""

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import inf
from typing import cast

import numpy as np
import numpy.typing as npt
import structlog
from confluent_kafka import (
    Consumer,
    KafkaError,
    KafkaException,
    Message,
    TopicCollection,
    TopicPartition,
    Uuid,
)

from k2.errors import K2Error, OffsetOutsideLogError, UnavailableError
from k2.ingestion.kafka import (
    ANSWER_TIMEOUT_SECONDS,
    administrative_client,
    asking_broker,
    consumer_configuration,
    log_ranges,
    unavailable,
)
from k2.ingestion.place_codes import place_codes, place_of
from k2.resilience.circuit_breaker import BreakerState, CircuitBreaker
from k2.settings import ConsumerSettings, KafkaSettings
from k2.storage.progress import TopicIdentity

MESSAGES_A_CALL = 500
LONGEST_CALL_SECONDS = 0.1
ENDS_INTERVAL_SECONDS = 0.5
# A probe is asked between two polls, which must not be far apart.
PROBE_TIMEOUT_SECONDS = 1.0
# What brokers that know no topic ids answer: all zeros, in base64.
_NO_TOPIC_ID = "A" * 22
_log = structlog.get_logger("k2.consumer")

Place = tuple[str, int]
"""Topic and partition."""


@dataclass(frozen=True, slots=True)
class PolledBatch:
    """Messages in arrival order with their coordinates as columns, and the range each partition covers.

    Attributes:
        messages: as the client gave them.
        values: their bodies; None for a tombstone.
        topics: index into `topic_names` for each message, int32.
        partitions: int32.
        offsets: int64.
        topic_names: the distinct topics.
        next_offsets: where each partition stands after the batch, from the client's position.
    """

    messages: Sequence[Message]
    values: Sequence[bytes | None]
    topics: npt.NDArray[np.int32]
    partitions: npt.NDArray[np.int32]
    offsets: npt.NDArray[np.int64]
    topic_names: tuple[str, ...]
    next_offsets: Mapping[Place, int]


OnAssigned = Callable[[Sequence[Place]], Mapping[Place, int]]
"""Called with newly assigned partitions; answers the offset each must start at."""


class LogReader:
    """Reads the topics of one group member.

    Raises (from `poll`):
        UnavailableError: the brokers do not answer.
        RefusedError: they refuse us, or the client cannot go on.
        RecordError: a message in the log cannot be read.
        OffsetOutsideLogError: a position is not in the log.
        K2Error: whatever `on_assigned` raised.
    """

    def __init__(
        self,
        kafka: KafkaSettings,
        consumer: ConsumerSettings,
        topics: Sequence[str],
        on_assigned: OnAssigned,
        on_lost: Callable[[Sequence[Place]], None],
        breaker: CircuitBreaker | None = None,
    ) -> None:
        self._breaker = breaker
        reports = {} if breaker is None else {"error_cb": self._client_reports}
        self._client = Consumer({**consumer_configuration(kafka), **reports})
        # Only the administrative client tells a topic's id.
        self._admin = administrative_client(kafka)
        self._settings = consumer
        self._on_assigned = on_assigned
        self._on_lost = on_lost
        self._failure: K2Error | None = None
        self._unstarted: list[Place] = []
        self._in_hand: list[Message] = []
        # Kept here and replaced as a whole: a thread that asks the client while another polls stops both for good.
        self._ends: Mapping[Place, int] = {}
        self._ends_noted_at = -inf
        self._missing_topics: set[str] = set()
        # The client tells of an outage as often as it happens to, which may be once.
        self._suspects_outage = False
        self._client.subscribe(list(topics), on_assign=self._assign, on_revoke=self._revoke, on_lost=self._revoke)

    def cluster_id(self) -> str:
        """Id of the cluster the client is connected to."""
        return self._ask_for_cluster(ANSWER_TIMEOUT_SECONDS)

    def topic_identity(self, topic: str) -> TopicIdentity:
        """Number of partitions and id of a topic now."""
        asked = self._admin.describe_topics(TopicCollection([topic]), request_timeout=ANSWER_TIMEOUT_SECONDS)
        described = asking_broker(asked[topic].result, f"asking for topic {topic}", self._breaker)
        return TopicIdentity(len(described.partitions), _topic_id(described.topic_id))

    def offset_ranges(self, places: Sequence[Place]) -> dict[Place, tuple[int, int]]:
        """First offset in the log of each partition, and the one after the last."""
        return log_ranges(self._admin, places, self._breaker)

    def end_offset(self, place: Place) -> int | None:
        """The offset after the last one, as of the last call of `poll`; None if unknown. For any thread."""
        return self._ends.get(place)

    def poll(self, stopping: Callable[[], bool]) -> PolledBatch | None:
        """One batch: up to `batch_rows` messages, or what came within `batch_seconds` of asking; None if nothing did.

        Messages of partitions that were taken away meanwhile are left out; their new owner reads them again.
        """
        if self._unstarted:
            self._start(self._unstarted)
        self._probe()
        give_up_at = time.monotonic() + self._settings.batch_seconds
        self._in_hand = []
        while len(self._in_hand) < self._settings.batch_rows and not stopping():
            left_seconds = give_up_at - time.monotonic()
            if left_seconds <= 0:
                break
            try:
                wanted = min(MESSAGES_A_CALL, self._settings.batch_rows - len(self._in_hand))
                fetched = self._client.consume(wanted, min(left_seconds, LONGEST_CALL_SECONDS))
            except KafkaException as error:
                raise unavailable(error, "polling") from error
            if self._failure is not None:
                failure, self._failure = self._failure, None
                raise failure
            # Hardly ever does a message carry an error, and asking each one of several hundred thousand takes its time.
            if any(map(Message.error, fetched)):
                fetched = [message for message in fetched if self._is_usable(message)]
            self._in_hand.extend(fetched)
            if time.monotonic() - self._ends_noted_at > ENDS_INTERVAL_SECONDS:
                self._note_ends()
        messages, self._in_hand = self._in_hand, []
        if messages:
            self._note_ends()
        return self._batch(messages)

    def restart(self, offsets: Mapping[Place, int]) -> None:
        """Go on reading assigned partitions from other offsets; those not started yet are left to the next poll."""
        started = {place: offset for place, offset in offsets.items() if place not in self._unstarted}
        self._client.incremental_unassign([TopicPartition(*place) for place in started])
        self._client.incremental_assign([TopicPartition(*place, offset) for place, offset in started.items()])

    def report(self, offsets: Mapping[Place, int]) -> None:
        """Tell Kafka the offsets the table holds, for lag displays; never read back."""
        positions = [TopicPartition(topic, partition, offset) for (topic, partition), offset in offsets.items()]
        try:
            self._client.commit(offsets=positions, asynchronous=True)
        except KafkaException as error:
            _log.warning("offsets not reported", error=str(error))

    def close(self) -> None:
        """Leave the group."""
        self._client.close()

    def _ask_for_cluster(self, timeout_seconds: float) -> str:
        metadata = asking_broker(
            lambda: self._admin.list_topics(timeout=timeout_seconds), "asking for metadata", self._breaker
        )
        return str(metadata.cluster_id)

    def _client_reports(self, error: KafkaError) -> None:
        # One of several brokers may go and come; the client asks another. Called from within a poll.
        self._suspects_outage = True
        if self._breaker is not None and error.code() == KafkaError._ALL_BROKERS_DOWN:
            self._breaker.failed(KafkaException(error))

    def _probe(self) -> None:
        """Find out whether brokers that were lost are still away, or back: a quiet topic would never tell."""
        if self._breaker is None or (self._breaker.state is BreakerState.CLOSED and not self._suspects_outage):
            return
        with contextlib.suppress(UnavailableError):
            self._ask_for_cluster(PROBE_TIMEOUT_SECONDS)
            self._suspects_outage = False

    def _note_ends(self) -> None:
        self._ends_noted_at = time.monotonic()
        ends: dict[Place, int] = {}
        for assigned in self._client.assignment():
            try:
                _, high = self._client.get_watermark_offsets(assigned, cached=True)
            except KafkaException:
                continue
            if high >= 0:
                ends[(assigned.topic, assigned.partition)] = int(high)
        self._ends = ends

    def _batch(self, messages: Sequence[Message]) -> PolledBatch | None:
        if not messages:
            return None
        # Coordinates are missing only in messages that carry an error, and those were dropped.
        count = len(messages)
        topics = cast("list[str]", list(map(Message.topic, messages)))
        names = sorted(set(topics))
        index = {name: number for number, name in enumerate(names)}
        codes = np.fromiter(map(index.__getitem__, topics), np.int32, count)
        partitions = np.fromiter(cast("Iterator[int]", map(Message.partition, messages)), np.int32, count)
        places = map(place_of, np.unique(place_codes(codes, partitions)).tolist())
        positions = self._client.position([TopicPartition(names[topic], partition) for topic, partition in places])
        return PolledBatch(
            messages=messages,
            values=list(map(Message.value, messages)),
            topics=codes,
            partitions=partitions,
            offsets=np.fromiter(cast("Iterator[int]", map(Message.offset, messages)), np.int64, count),
            topic_names=tuple(names),
            next_offsets={(p.topic, p.partition): p.offset for p in positions},
        )

    def _is_usable(self, message: Message) -> bool:
        error = message.error()
        if error is None:
            return True
        if error.code() == KafkaError._AUTO_OFFSET_RESET:
            raise OffsetOutsideLogError(
                f"{message.topic()}/{message.partition()}: the offset the table asks for is not in the log "
                f"({error.str()}); see docs/operations for how to go on"
            )
        if error.code() in (KafkaError.UNKNOWN_TOPIC_OR_PART, KafkaError._UNKNOWN_TOPIC):
            if message.topic() not in self._missing_topics:
                self._missing_topics.add(str(message.topic()))
                _log.info("topic does not exist yet", topic=message.topic())
            return False
        ours = unavailable(error, "polling")
        # A message that the client cannot read has no bytes to keep as a dead letter, so going on would lose it.
        if not isinstance(ours, UnavailableError):
            raise ours
        # The client goes on trying by itself, and what it gets then is read like anything else.
        _log.warning("client reports", error=error.str())
        return False

    def _assign(self, client: Consumer, partitions: list[TopicPartition]) -> None:
        try:
            self._start([(p.topic, p.partition) for p in partitions])
        except K2Error as error:
            # Raised again from poll: an exception in a callback would leave the client in between.
            self._failure = error
            # Left without an answer, the client would start them itself, at the offsets Kafka was told.
            client.incremental_assign([])

    def _start(self, places: Sequence[Place]) -> None:
        self._unstarted = [*self._unstarted, *(place for place in places if place not in self._unstarted)]
        starts = self._on_assigned(self._unstarted)
        self._client.incremental_assign([TopicPartition(*place, starts[place]) for place in self._unstarted])
        self._unstarted = []

    def _revoke(self, client: Consumer, partitions: list[TopicPartition]) -> None:
        gone = {(p.topic, p.partition) for p in partitions}
        started = [p for p in partitions if (p.topic, p.partition) not in self._unstarted]
        self._unstarted = [place for place in self._unstarted if place not in gone]
        # Their new owner reads them again, from the table's offset.
        self._in_hand = [m for m in self._in_hand if (m.topic(), m.partition()) not in gone]
        self._on_lost(sorted(gone))
        client.incremental_unassign(started)


def _topic_id(given: Uuid) -> str | None:
    text = str(given)
    return None if text == _NO_TOPIC_ID else text
