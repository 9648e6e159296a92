"""Messages whose cause goes away: records of a producer that is a version ahead of the schema registry."""

import io
from collections.abc import Iterable, Iterator
from functools import partial
from types import TracebackType
from typing import Self, cast

import fastavro
import pyarrow as pa
from confluent_kafka import KafkaError, Message, Producer

from conformance.drivers.feeding import Fed
from conformance.drivers.log_tap import TappedMessage
from conformance.drivers.poisoning import digest
from conformance.stacks.schema_registry import NEWER_ID, newer_schema
from k2.feeds.feed import FeedRecord
from k2.ingestion.producer import Delivery
from k2.records.definition import TRADE, topic
from k2.records.encode import RecordEncoder
from k2.settings import KafkaSettings

REPLAY_OF_HEADER = "k2.replay.of"
_FLUSH_SECONDS = 30.0
_TAPE = "A"
_HEADERS = pa.map_(pa.string(), pa.string())
_REPLAYED_SCHEMA = pa.schema(
    [
        ("topic", pa.string()),
        ("kafka_partition", pa.int32()),
        ("kafka_offset", pa.int64()),
        ("replay_of", pa.string()),
        ("sha256", pa.string()),
        ("headers", _HEADERS),
    ]
)


class NewerProducer:
    """Sends trades under a schema that is not registered yet; a context manager that flushes.

    Raises (on exit):
        RuntimeError: the broker did not acknowledge one.
    """

    def __init__(self, kafka: KafkaSettings) -> None:
        self._topic = topic("crypto", "trades", kafka.topic_prefix)
        self._client = Producer(
            {
                "bootstrap.servers": kafka.bootstrap_servers,
                "acks": "all",
                "log_level": 2,
                # As K2's own: the records of a key lie in one partition, whichever producer sent them.
                "partitioner": "murmur2_random",
            }
        )
        self._encoder = RecordEncoder(TRADE, NEWER_ID)
        self._newest_field = _newest_field()
        self._sent: list[tuple[FeedRecord, bytes]] = []
        self._deliveries: dict[int, Delivery] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._client.flush(_FLUSH_SECONDS)
        failed = len(self._sent) - sum(delivery.error is None for delivery in self._deliveries.values())
        if failed and error is None:
            raise RuntimeError(f"{failed} messages of the newer producer were not acknowledged")

    @property
    def sent(self) -> int:
        """How many were queued."""
        return len(self._sent)

    def among(self, records: Iterable[FeedRecord], every: int) -> Iterator[FeedRecord]:
        """The records but for the first of every so many, which are sent here."""
        for position, record in enumerate(records):
            if position % every == 0:
                self.send(record)
            else:
                yield record

    def send(self, item: FeedRecord) -> None:
        """Queue one trade."""
        number = len(self._sent)
        value = self._encoder.encode(item.record) + self._newest_field
        self._sent.append((item, value))
        self._client.produce(
            self._topic,
            key=f"{item.exchange}:{item.record['symbol']}".encode(),
            value=value,
            headers=list(_headers_of(number).items()),
            on_delivery=partial(self._delivered, number),
        )
        self._client.poll(0)

    def fed(self) -> Fed:
        """What was sent and where it came to lie, after the exit."""
        return Fed([(item, self._deliveries[number]) for number, (item, _) in enumerate(self._sent)])

    def table(self) -> pa.Table:
        """Stage `curable`: as `fed`, with the hash and the headers of each message."""
        hashes = pa.array([digest(value) for _, value in self._sent], pa.string())
        headers = pa.array([list(_headers_of(number).items()) for number in range(self.sent)], _HEADERS)
        return self.fed().table("trades").append_column("sha256", hashes).append_column("headers", headers)

    def _delivered(self, number: int, error: KafkaError | None, message: Message) -> None:
        reason = None if error is None else error.str()
        partition, offset = cast("int", message.partition()), cast("int", message.offset())
        self._deliveries[number] = Delivery(self._topic, partition, offset, reason)


def replayed_table(messages: Iterable[TappedMessage]) -> pa.Table:
    """Stage `replayed`: the messages among these that name the letter they repeat."""
    rows = []
    for message in messages:
        headers = {name: (value or b"").decode(errors="replace") for name, value in message.headers}
        if REPLAY_OF_HEADER in headers:
            rows.append(
                {
                    "topic": message.topic,
                    "kafka_partition": message.partition,
                    "kafka_offset": message.offset,
                    "replay_of": headers[REPLAY_OF_HEADER],
                    "sha256": digest(message.value),
                    "headers": list(headers.items()),
                }
            )
    return pa.Table.from_pylist(rows, schema=_REPLAYED_SCHEMA)


def ends_of(messages: Iterable[TappedMessage]) -> dict[tuple[str, int], int]:
    """For each partition the offset after the last of these messages."""
    ends: dict[tuple[str, int], int] = {}
    for message in messages:
        place = (message.topic, message.partition)
        ends[place] = max(ends.get(place, 0), message.offset + 1)
    return ends


def _headers_of(number: int) -> dict[str, str]:
    return {"origin": "a newer producer", "trace": f"trade {number}"}


def _newest_field() -> bytes:
    """What the newer schema's last field adds to a body."""
    buffer = io.BytesIO()
    fastavro.schemaless_writer(buffer, fastavro.parse_schema(newer_schema()["fields"][-1]["type"]), _TAPE)
    return buffer.getvalue()
