"""Reads every message of some topics: as it arrives, on a thread of its own, or all that is there now."""

import io
import struct
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self, cast

import fastavro
from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, Message, TopicPartition

ANSWER_TIMEOUT_SECONDS = 10
READ_TIMEOUT_SECONDS = 30
_FRAME = struct.Struct(">bI")


class EvictedError(RuntimeError):
    """The broker forgot messages before the tap read them: an error of the harness, not of the system."""


@dataclass(frozen=True, slots=True)
class TappedMessage:
    """One message as it lies in the log."""

    topic: str
    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes | None], ...]


class LogTap:
    """Collects messages from the beginning of each partition, before the broker forgets them; a context manager."""

    def __init__(self, bootstrap_servers: str, topics: Sequence[str]) -> None:
        self._client = Consumer(
            {
                "bootstrap.servers": bootstrap_servers,
                "group.id": "harness-tap",
                "enable.auto.commit": False,
                "auto.offset.reset": "error",
                "fetch.queue.backoff.ms": 5,
                "log_level": 2,
            }
        )
        self._topics = topics
        self._messages: list[TappedMessage] = []
        self._error: Exception | None = None
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._read, name="log-tap", daemon=True)

    def __enter__(self) -> Self:
        self._client.assign(_beginnings(self._client, self._topics))
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()
        self._client.close()

    def wait_for(self, count: int, timeout_seconds: float) -> list[TappedMessage]:
        """Everything read, once at least `count` messages were.

        Raises:
            EvictedError: the broker forgot some.
            TimeoutError: fewer came in time.
        """
        give_up_at = time.monotonic() + timeout_seconds
        while len(self._messages) < count:
            if self._error is not None:
                raise self._error
            if time.monotonic() > give_up_at:
                raise TimeoutError(f"the tap read {len(self._messages)} of {count} messages")
            time.sleep(0.02)
        return list(self._messages)

    def _read(self) -> None:
        while not self._stop.is_set():
            for message in self._client.consume(2_000, 0.1):
                error = message.error()
                if error is not None:
                    if error.code() == KafkaError._AUTO_OFFSET_RESET:
                        self._error = EvictedError(error.str())
                        return
                    continue
                self._messages.append(_tapped(message))


def read_all(bootstrap_servers: str, topics: Sequence[str]) -> list[TappedMessage]:
    """Every committed message of some topics, from the first to where each partition ends now.

    Offsets would not tell when that is: the end of a transaction takes one too, and is no message.

    Raises:
        TimeoutError: not all of it came in time.
    """
    client = Consumer(
        {
            "bootstrap.servers": bootstrap_servers,
            "group.id": "harness-reader",
            "enable.auto.commit": False,
            "enable.partition.eof": True,
            "log_level": 2,
        }
    )
    messages: list[TappedMessage] = []
    give_up_at = time.monotonic() + READ_TIMEOUT_SECONDS
    try:
        places = _beginnings(client, topics)
        unread = {(place.topic, place.partition) for place in places}
        client.assign(places)
        while unread:
            if time.monotonic() > give_up_at:
                raise TimeoutError(f"{len(messages)} messages came, and {len(unread)} partitions did not end")
            for message in client.consume(2_000, 0.1):
                error = message.error()
                if error is None:
                    messages.append(_tapped(message))
                elif error.code() == KafkaError._PARTITION_EOF:
                    unread.discard((str(message.topic()), cast("int", message.partition())))
    finally:
        client.close()
    return messages


def _beginnings(client: Consumer, topics: Sequence[str]) -> list[TopicPartition]:
    return [
        TopicPartition(name, partition, OFFSET_BEGINNING)
        for name in topics
        for partition in client.list_topics(name, timeout=ANSWER_TIMEOUT_SECONDS).topics[name].partitions
    ]


def _tapped(message: Message) -> TappedMessage:
    topic, partition, offset = message.topic(), message.partition(), message.offset()
    assert topic is not None
    assert partition is not None
    assert offset is not None
    headers = cast("tuple[tuple[str, bytes | None], ...]", tuple(message.headers() or ()))
    return TappedMessage(topic, partition, offset, message.key(), message.value(), headers)


def decode_independently(
    message: TappedMessage, schemas: Mapping[int, Any]
) -> tuple[int | None, dict[str, Any] | None]:
    """Schema id and record of a message by fastavro; None where it is not one whole record of a known schema."""
    value = message.value or b""
    if len(value) < _FRAME.size:
        return None, None
    magic, schema_id = _FRAME.unpack_from(value)
    if magic != 0 or schema_id not in schemas:
        return None, None
    body = io.BytesIO(value[_FRAME.size :])
    try:
        record = fastavro.schemaless_reader(body, schemas[schema_id], None)
    except Exception:  # noqa: BLE001 - whatever fastavro raises on garbage means the same: not a record
        return schema_id, None
    if body.read(1) or not isinstance(record, dict):
        return schema_id, None
    return schema_id, record
