"""Drives a K2 that is one version ahead: sends its records, runs its processes, looks at the table it leaves."""

from collections.abc import Iterable
from functools import partial
from types import TracebackType
from typing import Any, Self, cast

from confluent_kafka import KafkaError, Message, Producer

from conformance.drivers.log_tap import read_all
from conformance.drivers.table_view import open_table, view_table
from conformance.stacks.base import Stack
from conformance.stacks.later_version import LATER_TRADE, TAPE
from conformance.stacks.warm_start import process_starter
from k2.embedded.processes import ChildProcess
from k2.feeds.feed import FeedRecord
from k2.ingestion.registry import PackagedRegistry, SchemaRegistry, open_registry
from k2.records.definition import TRADE, dead_letter_topic
from k2.records.encode import RecordEncoder
from k2.settings import PACKAGED_REGISTRY, KafkaSettings

LATER_TAPE = "A"
Place = tuple[str, int, int]
"""Topic, partition and offset."""
_FLUSH_SECONDS = 30.0


class LaterProducer:
    """Sends trades of the later version; a context manager that flushes.

    Raises (on exit):
        RuntimeError: the broker did not acknowledge one.
    """

    def __init__(self, stack: Stack) -> None:
        self._topic = stack.topic("crypto", "trades")
        servers = stack.settings.kafka.bootstrap_servers
        # The partitioner of K2's own producer: the records of a key lie in one partition, whoever sent them.
        self._client = Producer({"bootstrap.servers": servers, "partitioner": "murmur2_random", "log_level": 2})
        self._encoder = RecordEncoder(LATER_TRADE, _registry(stack.settings.kafka).schema_id("crypto", LATER_TRADE))
        self._sent = 0
        self._places: dict[int, Place] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._client.flush(_FLUSH_SECONDS)
        if len(self._places) < self._sent and error is None:
            raise RuntimeError(f"{self._sent - len(self._places)} messages of the later version were not acknowledged")

    def send(self, item: FeedRecord) -> None:
        """Queue one trade."""
        self._client.produce(
            self._topic,
            key=f"{item.exchange}:{item.record['symbol']}".encode(),
            value=self._encoder.encode({**item.record, TAPE.name: LATER_TAPE}),
            on_delivery=partial(self._delivered, self._sent),
        )
        self._sent += 1
        self._client.poll(0)

    def places(self) -> list[Place]:
        """Where they came to lie, after the exit."""
        return list(self._places.values())

    def _delivered(self, number: int, error: KafkaError | None, message: Message) -> None:
        if error is None:
            self._places[number] = (self._topic, cast("int", message.partition()), cast("int", message.offset()))


def _registry(kafka: KafkaSettings) -> SchemaRegistry:
    return PackagedRegistry([LATER_TRADE]) if kafka.schema_registry_url == PACKAGED_REGISTRY else open_registry(kafka)


def ends_of(places: Iterable[Place]) -> dict[tuple[str, int], int]:
    """For each partition the offset after the last of these messages."""
    ends: dict[tuple[str, int], int] = {}
    for name, partition, offset in places:
        ends[name, partition] = max(ends.get((name, partition), 0), offset + 1)
    return ends


def start_later_consumer(stack: Stack) -> ChildProcess:
    """The later version's consumer of trades."""
    command = ["conformance.stacks.later_version", "--data-dir", str(stack.directory), "consume"]
    log = stack.directory.parent / "logs" / "later-consumer.log"
    quick = {"K2_CONSUMER__BATCH_SECONDS": "0.3"}
    return ChildProcess("later-consumer", command, log, quick, process_starter())


def tapes(stack: Stack) -> dict[Place, str | None]:
    """The new column of each row; None in all of them where the table has no such column."""
    rows = view_table(stack.settings.storage, TRADE.table).rows
    values: list[Any] = rows["tape"].to_pylist() if "tape" in rows.column_names else [None] * rows.num_rows
    places = zip(*(rows[name].to_pylist() for name in ("topic", "kafka_partition", "kafka_offset")), strict=True)
    return dict(zip(places, values, strict=True))


def column_id(stack: Stack, name: str) -> int:
    """Iceberg's id of a column."""
    storage = stack.settings.storage
    return open_table(storage, TRADE.table).schema().find_field(name).field_id


def count_dead_letters(stack: Stack) -> int:
    """Messages in the dead letter topic of the trades."""
    return len(read_all(stack.settings.kafka.bootstrap_servers, [dead_letter_topic(stack.topic("crypto", "trades"))]))
