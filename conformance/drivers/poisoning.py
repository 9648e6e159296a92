"""Bad messages: makes them, sends them between good ones, and reads the dead letters they must become."""

import hashlib
import itertools
import struct
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from types import TracebackType
from typing import Any, Self

import pyarrow as pa
from confluent_kafka import KafkaError, Message, Producer

from conformance.drivers.log_tap import LogTap, TappedMessage
from conformance.drivers.registered import under_registered_id
from conformance.stacks.base import Stack
from k2.feeds.feed import FeedRecord
from k2.feeds.synthetic import SyntheticExchange, SyntheticSettings
from k2.ingestion.registry import PackagedRegistry
from k2.records.definition import TRADE, dead_letter_topic
from k2.records.encode import RecordEncoder

KEY = b"BINANCE:BTCUSDT"
COPIES = 5
LETTERS_TIMEOUT_SECONDS = 20.0
_FLUSH_SECONDS = 30.0
REPLAYED_HEADER = "k2.replayed"
_ANY_PARTITION = -1
_HEADERS = pa.map_(pa.string(), pa.string())
_PLACE_FIELDS = [("topic", pa.string()), ("kafka_partition", pa.int32()), ("kafka_offset", pa.int64())]
Place = tuple[int, int]
"""Partition and offset."""


@dataclass(frozen=True, slots=True)
class Poison:
    """A message that must not become a row."""

    kind: str
    value: bytes | None


def poisons() -> Iterator[Poison]:
    """Twelve kinds of bad message, several of each, around one good one."""
    schema_id = PackagedRegistry().schema_id("crypto", TRADE)
    record = next(iter(SyntheticExchange(SyntheticSettings(seed=1, records=1, trade_share=1.0)))).record
    encoder = RecordEncoder(TRADE, schema_id)
    good = encoder.encode(record)
    for number in range(COPIES):
        yield Poison("tombstone", None)
        yield Poison("empty", b"")
        yield Poison("no_frame", b"not avro %d" % number)
        yield Poison("short_frame", good[: 1 + number % 4])
        yield Poison("unknown_schema_id", b"\0" + struct.pack(">I", 900 + number) + good[5:])
        yield Poison("truncated", good[: len(good) // 2 + number])
        yield Poison("surplus_byte", good + b"\0" * (number + 1))
        yield Poison("garbage", good[:5] + bytes((17 * place + number) % 256 for place in range(80)))
        yield Poison("negative_length", good[:5] + b"\x01" + good[6:])
        yield Poison("huge_length", good[:5] + b"\xfe\xff\xff\xff\xff\xff\xff\xff\xff\x01")
        yield Poison("negative_price", encoder.encode({**record, "price": "-1"}))
        yield Poison("event_time_in_1970", encoder.encode({**record, "event_time_ns": number}))


class Poisoner:
    """Sends bad messages and remembers where each came to lie; a context manager that flushes.

    Raises (on exit):
        RuntimeError: the broker did not acknowledge one.
    """

    def __init__(self, stack: Stack) -> None:
        self._stack = stack
        self._topic = trades_topic(stack)
        servers = stack.settings.kafka.bootstrap_servers
        self._client = Producer({"bootstrap.servers": servers, "acks": "all", "log_level": 2})
        self._queued: list[Poison] = []
        self._places: dict[int, Place] = {}
        self._errors: list[str] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._client.flush(_FLUSH_SECONDS)
        missing = len(self._queued) - len(self._places)
        if missing and error is None:
            reason = self._errors[0] if self._errors else "no answer"
            raise RuntimeError(f"{missing} poison messages were not acknowledged: {reason}")

    @property
    def sent(self) -> int:
        """How many were queued."""
        return len(self._queued)

    def send(self, poison: Poison, partition: int | None = None) -> None:
        """Queue one; without a partition, its key decides."""
        number = len(self._queued)
        poison = Poison(poison.kind, under_registered_id(self._stack, poison.value))
        self._queued.append(poison)
        self._client.produce(
            self._topic,
            key=KEY,
            value=poison.value,
            headers=list(headers_of(number, poison).items()),
            on_delivery=partial(self._remember, number),
            partition=_ANY_PARTITION if partition is None else partition,
        )
        self._client.poll(0)

    def among(self, records: Iterable[FeedRecord], every: int, partitions: int) -> Iterator[FeedRecord]:
        """The records, with one bad message sent after each `every` of them, to each partition in turn."""
        planned = itertools.cycle(poisons())
        for count, record in enumerate(records, start=1):
            yield record
            if count % every == 0:
                self.send(next(planned), partition=count // every % partitions)

    def places(self) -> dict[Place, Poison]:
        """What lies where, after the exit."""
        return {self._places[number]: poison for number, poison in enumerate(self._queued)}

    def ends(self) -> dict[tuple[str, int], int]:
        """For each partition the offset after the last bad message."""
        ends: dict[tuple[str, int], int] = {}
        for partition, offset in self._places.values():
            ends[self._topic, partition] = max(ends.get((self._topic, partition), 0), offset + 1)
        return ends

    def table(self) -> pa.Table:
        """Stage `poison`."""
        rows = [
            {
                "topic": self._topic,
                "kafka_partition": self._places[number][0],
                "kafka_offset": self._places[number][1],
                "sha256": digest(poison.value),
                "kind": poison.kind,
                "headers": list(headers_of(number, poison).items()),
            }
            for number, poison in enumerate(self._queued)
        ]
        fields = [*_PLACE_FIELDS, ("sha256", pa.string()), ("kind", pa.string()), ("headers", _HEADERS)]
        return pa.Table.from_pylist(rows, schema=pa.schema(fields))

    def _remember(self, number: int, error: KafkaError | None, message: Message) -> None:
        if error is not None:
            self._errors.append(error.str())
            return
        partition, offset = message.partition(), message.offset()
        assert partition is not None
        assert offset is not None
        self._places[number] = (partition, offset)


def trades_topic(stack: Stack) -> str:
    """The topic that bad messages are sent to."""
    return stack.topic("crypto", "trades")


def headers_of(number: int, poison: Poison) -> dict[str, str]:
    """The headers one bad message is sent with."""
    return {"origin": poison.kind, "trace": f"message {number}"}


def read_letters(stack: Stack, places: Iterable[Place]) -> list[TappedMessage]:
    """The dead letter topic's messages, read until each place has one, or for twenty seconds."""
    topic = trades_topic(stack)
    wanted = {(topic, str(partition), str(offset)) for partition, offset in places}
    give_up_at = time.monotonic() + LETTERS_TIMEOUT_SECONDS
    with LogTap(stack.settings.kafka.bootstrap_servers, [dead_letter_topic(topic)]) as tap:
        while True:
            letters = tap.wait_for(0, timeout_seconds=1)
            if wanted <= {_source(letter) for letter in letters} or time.monotonic() > give_up_at:
                # What comes after the last one wanted is a repetition, or must be found to be wrong.
                time.sleep(0.5)
                return tap.wait_for(0, timeout_seconds=1)
            time.sleep(0.2)


def letter_table(letters: Sequence[TappedMessage]) -> pa.Table:
    """Stage `dead_letters`, coordinates taken from the headers; the marks that a replay leaves are no letters."""
    rows: list[dict[str, Any]] = []
    for letter in letters:
        headers = _decoded(letter)
        if REPLAYED_HEADER in headers:
            continue
        rows.append(
            {
                "topic": headers.get("k2.source.topic"),
                "kafka_partition": int(headers.get("k2.source.partition", -1)),
                "kafka_offset": int(headers.get("k2.source.offset", -1)),
                "sha256": digest(letter.value),
                "headers": list(headers.items()),
            }
        )
    fields = [*_PLACE_FIELDS, ("sha256", pa.string()), ("headers", _HEADERS)]
    return pa.Table.from_pylist(rows, schema=pa.schema(fields))


def digest(value: bytes | None) -> str:
    """SHA-256 of the bytes; a tombstone is told apart from an empty message."""
    return "none" if value is None else hashlib.sha256(value).hexdigest()


def _decoded(letter: TappedMessage) -> dict[str, str]:
    return {name: (value or b"").decode(errors="replace") for name, value in letter.headers}


def _source(letter: TappedMessage) -> tuple[str | None, ...]:
    headers = _decoded(letter)
    return tuple(headers.get(f"k2.source.{name}") for name in ("topic", "partition", "offset"))
