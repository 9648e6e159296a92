"""Reading dead letter topics: from their beginning to where they end now, outside any group.

Only committed messages are seen, so of a replay that was cut off neither its messages nor its markers count. A marker
says that a letter was replayed: no value, the header k2.replayed, and the headers that name the letter.
"""

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import cast

from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from k2.errors import UnavailableError
from k2.ingestion.dead_letter_inventory import KeptLetter, LetterKey, ReplayMarker
from k2.ingestion.dead_letters import (
    HEADER_OFFSET,
    HEADER_PARTITION,
    HEADER_TOPIC,
    Headers,
    decoded_headers,
    letter_from_topic,
)
from k2.ingestion.kafka import ANSWER_TIMEOUT_SECONDS, asking_broker, consumer_configuration, unavailable
from k2.records.definition import dead_letter_topic
from k2.settings import KafkaSettings

HEADER_REPLAYED = "k2.replayed"
"""In a marker: when the letter was replayed, ns since the epoch."""
HEADER_DIGEST = "k2.source.sha256"
"""In a marker: SHA-256 of the letter's bytes, "none" for a tombstone."""
_MARKER_HEADERS = (HEADER_REPLAYED, HEADER_TOPIC, HEADER_PARTITION, HEADER_OFFSET, HEADER_DIGEST)
OnProgress = Callable[[int, int], None]
"""Called with how much is done and how much there is."""
_MESSAGES_A_CALL = 500
_LONGEST_CALL_SECONDS = 0.1
_SILENCE_SECONDS = 15.0
_Place = tuple[str, int]


def ignore_progress(done: int, total: int) -> None:
    """Nobody watches."""


@dataclass(slots=True)
class TopicFinds:
    """What dead letter topics hold: letters and markers as they came, and one line for each message that is neither."""

    letters: list[KeptLetter] = field(default_factory=list)
    markers: list[ReplayMarker] = field(default_factory=list)
    unreadable: list[str] = field(default_factory=list)


def partition_counts(kafka: KafkaSettings) -> Mapping[str, int]:
    """Every topic of the cluster with its number of partitions.

    Raises:
        UnavailableError: no broker answers.
        RefusedError: it refuses.
    """
    client = Consumer(consumer_configuration(kafka))
    try:
        metadata = asking_broker(
            lambda: client.list_topics(timeout=ANSWER_TIMEOUT_SECONDS), f"no answer from {kafka.bootstrap_servers}"
        )
        return {name: len(topic.partitions) for name, topic in metadata.topics.items()}
    finally:
        client.close()


def read_dead_letter_topics(
    kafka: KafkaSettings, source_topics: Collection[str], on_progress: OnProgress = ignore_progress
) -> TopicFinds:
    """All that the dead letter topics of these source topics hold now; one that does not exist holds nothing.

    Raises:
        UnavailableError: the broker does not answer, or a topic was shortened while it was read.
        RefusedError: the broker refuses.
    """
    counts = partition_counts(kafka)
    names = [name for name in map(dead_letter_topic, source_topics) if name in counts]
    client = Consumer({**consumer_configuration(kafka), "enable.partition.eof": True})
    try:
        places = [(name, partition) for name in names for partition in range(counts[name])]
        return _Reading(client, places).run(on_progress)
    finally:
        client.close()


def marker_headers(key: LetterKey, replayed_at_ns: int) -> list[tuple[str, str | bytes | None]]:
    """The headers of the marker of a letter."""
    texts = (str(replayed_at_ns), *map(str, key))
    return [(name, text.encode()) for name, text in zip(_MARKER_HEADERS, texts, strict=True)]


class _Reading:
    """One pass over some partitions."""

    def __init__(self, client: Consumer, places: Sequence[_Place]) -> None:
        self._client = client
        ranges = {place: self._range(place) for place in places}
        self._ends = {place: end for place, (first, end) in ranges.items() if first < end}
        self._positions = {place: ranges[place][0] for place in self._ends}
        self._total = sum(end - self._positions[place] for place, end in self._ends.items())
        self._finds = TopicFinds()
        self._last_error = "no answer"

    def run(self, on_progress: OnProgress) -> TopicFinds:
        self._client.assign([TopicPartition(*place, first) for place, first in self._positions.items()])
        give_up_at = time.monotonic() + _SILENCE_SECONDS
        while any(self._positions[place] < end for place, end in self._ends.items()):
            if time.monotonic() > give_up_at:
                raise UnavailableError(
                    f"nothing came from the dead letter topics for {_SILENCE_SECONDS:.0f} s: {self._last_error}"
                )
            try:
                messages = self._client.consume(_MESSAGES_A_CALL, _LONGEST_CALL_SECONDS)
            except KafkaException as error:
                raise unavailable(error, "reading dead letters") from error
            for message in messages:
                self._take(message)
            if messages:
                give_up_at = time.monotonic() + _SILENCE_SECONDS
                left = sum(max(0, end - self._positions[place]) for place, end in self._ends.items())
                on_progress(self._total - left, self._total)
        return self._finds

    def _range(self, place: _Place) -> tuple[int, int]:
        first, end = asking_broker(
            lambda: self._client.get_watermark_offsets(TopicPartition(*place), timeout=ANSWER_TIMEOUT_SECONDS),
            f"asking for the offsets of {place[0]}/{place[1]}",
        )
        return int(first), int(end)

    def _take(self, message: Message) -> None:
        error = message.error()
        if error is None:
            place, offset = _coordinates(message)
            self._positions[place] = offset + 1
            # What came after the reading began belongs to the next one.
            if offset < self._ends[place]:
                self._sort(message, f"topic {place[0]}/{place[1]}/{offset}")
        elif error.code() == KafkaError._PARTITION_EOF:
            # The end of a transaction takes an offset too, and no message says so.
            place, offset = _coordinates(message)
            self._positions[place] = max(self._ends[place], offset)
        elif error.code() == KafkaError._AUTO_OFFSET_RESET:
            raise UnavailableError(
                f"{message.topic()}/{message.partition()} was shortened by its retention while it was read: "
                "run the command again"
            )
        elif error.fatal():
            raise unavailable(error, "reading dead letters")
        else:
            self._last_error = error.str()

    def _sort(self, message: Message, where: str) -> None:
        headers = cast("Headers", tuple(message.headers() or ()))
        # First of all a letter: a source's own headers may say anything, ours come after them.
        found = letter_from_topic(message.key(), message.value(), headers)
        if found is not None:
            self._finds.letters.append(KeptLetter(*found, (where,)))
            return
        marker = _marker(headers)
        if marker is not None:
            self._finds.markers.append(marker)
        else:
            self._finds.unreadable.append(f"{where}: neither dead letter nor marker")


def _coordinates(message: Message) -> tuple[_Place, int]:
    return (str(message.topic()), cast("int", message.partition())), cast("int", message.offset())


def _marker(headers: Headers) -> ReplayMarker | None:
    if tuple(name for name, _ in headers) != _MARKER_HEADERS:
        return None
    texts = decoded_headers(headers)
    try:
        key = (texts[HEADER_TOPIC], int(texts[HEADER_PARTITION]), int(texts[HEADER_OFFSET]), texts[HEADER_DIGEST])
        return ReplayMarker(key, int(texts[HEADER_REPLAYED]))
    except ValueError:
        return None
