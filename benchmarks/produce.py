"""Speed of the producer: batches beside single records, beside the bare client that sends finished messages.

Run from the checkout: python -m benchmarks.produce [--rows 200000] [--symbols 1000] [--rounds 3] [--json FILE]

Every figure is from the first record given to the last one acknowledged, with acks=all and idempotence, over an
embedded broker in a process of its own, a new one each time; a first record has gone through before, so connecting does
not count. A round runs each way once, so that what else the machine does falls on all alike. The processor time is that
of the producing process with the client's own threads. The codecs are compared over the bare client; the bytes are what
went over the wire, requests included.
"""

import argparse
import gc
import json
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
from confluent_kafka import Producer
from rich.console import Console
from rich.table import Table

from benchmarks.decode import generate
from k2.clock import SystemClock
from k2.embedded.processes import ChildProcess
from k2.ingestion.kafka import producer_configuration
from k2.ingestion.producer import MarketDataProducer
from k2.ingestion.registry import PackagedRegistry
from k2.observability.metrics import Metrics
from k2.records.decode import BatchDecoder
from k2.records.definition import TRADE, topic
from k2.records.encode_batch import BatchEncoder
from k2.settings import KafkaSettings

TOPIC = topic("crypto", "trades")
PARTITIONS = 4
BATCH_RECORDS = (500, 2_000, 10_000)
GOAL_PER_SECOND = 150_000
CODECS = ("none", "snappy", "lz4", "zstd")
FLUSH_SECONDS = 60.0
REGISTRY = PackagedRegistry()
STATISTICS_MS = 200


@dataclass(frozen=True, slots=True)
class Messages:
    """The same trades as records, as columns, and as finished keys and values."""

    records: list[dict[str, Any]]
    columns: pa.RecordBatch
    keys: list[bytes]
    values: list[bytes]

    @classmethod
    def of(cls, records: list[dict[str, Any]]) -> "Messages":
        """All three of some records."""
        schema_id = REGISTRY.schema_id("crypto", TRADE)
        encoded = BatchEncoder(TRADE, "crypto", schema_id).encode(records)
        columns = BatchDecoder(TRADE, REGISTRY.writer_schema).decode(list(encoded.values)).columns
        return cls(records, columns, list(encoded.keys), list(encoded.values))


@dataclass(frozen=True, slots=True)
class Measurement:
    """Records a second of one way over the rounds, and its median processor time for a record."""

    way: str
    minimum: float
    median: float
    maximum: float
    processor_us_per_record: float


@dataclass(frozen=True, slots=True)
class Codec:
    """What a compression costs and saves."""

    name: str
    processor_us_per_record: float
    bytes_per_record: float


class Stopwatch:
    """Wall and processor time of this process from `start`, which is called once the connection stands."""

    def start(self) -> None:
        """Begin to count."""
        self._began = time.perf_counter(), time.process_time()

    def seconds(self) -> tuple[float, float]:
        """Wall and processor seconds since the start."""
        return time.perf_counter() - self._began[0], time.process_time() - self._began[1]


Way = Callable[[KafkaSettings, Messages, Stopwatch], None]


@contextmanager
def broker() -> Iterator[KafkaSettings]:
    """An embedded broker in a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        arguments = ["k2.embedded.broker", "--partitions", str(PARTITIONS), "--topic", TOPIC]
        child = ChildProcess("broker", arguments, Path(folder) / "broker.log")
        try:
            yield KafkaSettings(bootstrap_servers=json.loads(child.next_line())["bootstrap_servers"])
        finally:
            child.stop()


@contextmanager
def opened(settings: KafkaSettings, messages: Messages, watch: Stopwatch) -> Iterator[MarketDataProducer]:
    """K2's producer; everything it was given must have been acknowledged in the end."""
    with MarketDataProducer(settings, REGISTRY, Metrics(), SystemClock()) as producer:
        producer.produce_batch(TRADE, "crypto", messages.records[:1])
        producer.flush()
        watch.start()
        yield producer
    counted = producer.statistics()
    assert (counted.records_sent, counted.errors) == (counted.records_given, 0)


def single(settings: KafkaSettings, messages: Messages, watch: Stopwatch) -> None:
    """One call a record."""
    with opened(settings, messages, watch) as producer:
        for record in messages.records:
            producer.produce(TRADE, "crypto", "BINANCE", record)


def batches(settings: KafkaSettings, messages: Messages, watch: Stopwatch, size: int) -> None:
    """One call for many records."""
    with opened(settings, messages, watch) as producer:
        for first in range(0, len(messages.records), size):
            producer.produce_batch(TRADE, "crypto", messages.records[first : first + size])


def column_batches(settings: KafkaSettings, messages: Messages, watch: Stopwatch, size: int) -> None:
    """One call for many rows of columns."""
    with opened(settings, messages, watch) as producer:
        for first in range(0, messages.columns.num_rows, size):
            producer.produce_batch(TRADE, "crypto", messages.columns.slice(first, size))


def told_batches(settings: KafkaSettings, messages: Messages, watch: Stopwatch, size: int) -> None:
    """One call for many records, and a callback that is told where each lies."""
    told: list[int] = []
    with opened(settings, messages, watch) as producer:
        for first in range(0, len(messages.records), size):
            part = messages.records[first : first + size]
            producer.produce_batch(TRADE, "crypto", part, lambda _, delivery: told.append(delivery.offset or 0))
    assert len(told) == len(messages.records)


def batch_encoder_single_calls(settings: KafkaSettings, messages: Messages, watch: Stopwatch, size: int) -> None:
    """Encoded in batches, handed to the client one by one."""
    encoder = BatchEncoder(TRADE, "crypto", REGISTRY.schema_id("crypto", TRADE))
    client = Producer(producer_configuration(settings))
    acknowledged = _Acknowledged(client, messages, watch)
    for first in range(0, len(messages.records), size):
        encoded = encoder.encode(messages.records[first : first + size])
        _send_one_by_one(client, encoded.keys, encoded.values, acknowledged)
    acknowledged.check()


def bare_client(settings: KafkaSettings, messages: Messages, watch: Stopwatch) -> None:
    """The client's own speed: finished messages, one by one."""
    client = Producer(producer_configuration(settings))
    acknowledged = _Acknowledged(client, messages, watch)
    _send_one_by_one(client, messages.keys, messages.values, acknowledged)
    acknowledged.check()


def bare_client_batches(settings: KafkaSettings, messages: Messages, watch: Stopwatch, size: int) -> None:
    """The client's own speed: finished messages in batches."""
    client = Producer(producer_configuration(settings))
    acknowledged = _Acknowledged(client, messages, watch)
    for first in range(0, len(messages.values), size):
        part = slice(first, first + size)
        waiting = [{"key": k, "value": v} for k, v in zip(messages.keys[part], messages.values[part], strict=True)]
        while waiting:
            client.produce_batch(TOPIC, waiting, on_delivery=acknowledged)
            waiting = [{"key": one["key"], "value": one["value"]} for one in waiting if "_error" in one]
            client.poll(0.01 if waiting else 0)
    acknowledged.check()


class _Acknowledged:
    """Counts acknowledgements, as every way must; begins with one message, and the watch after it."""

    def __init__(self, client: Producer, messages: Messages, watch: Stopwatch) -> None:
        self._client = client
        self._count = -1
        self._expected = len(messages.values)
        client.produce(TOPIC, messages.values[0], messages.keys[0], on_delivery=self)
        client.flush(FLUSH_SECONDS)
        watch.start()

    def __call__(self, error: object, message: object) -> None:
        assert error is None
        self._count += 1

    def check(self) -> None:
        """Wait for the rest."""
        self._client.flush(FLUSH_SECONDS)
        assert self._count == self._expected


def _send_one_by_one(
    client: Producer, keys: Sequence[bytes], values: Sequence[bytes], acknowledged: _Acknowledged
) -> None:
    for key, value in zip(keys, values, strict=True):
        while True:
            try:
                client.produce(TOPIC, value, key, on_delivery=acknowledged)
                break
            except BufferError:
                client.poll(0.01)
        client.poll(0)


def timed(way: Way, messages: Messages) -> tuple[float, float]:
    """Seconds and processor seconds of one way."""
    watch = Stopwatch()
    with broker() as settings:
        way(settings, messages, watch)
        return watch.seconds()


def measure(ways: dict[str, Way], messages: Messages, rounds: int) -> list[Measurement]:
    """Run every way once a round, after one that is not counted."""
    seconds: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
    for round_number in range(rounds + 1):
        for name, way in ways.items():
            taken = timed(way, messages)
            if round_number:
                seconds[name].append(taken)
    rows = len(messages.records)
    return [
        Measurement(
            name,
            rows / max(wall for wall, _ in taken),
            rows / statistics.median(wall for wall, _ in taken),
            rows / min(wall for wall, _ in taken),
            statistics.median(processor for _, processor in taken) / rows * 1e6,
        )
        for name, taken in seconds.items()
    ]


def with_codec(
    settings: KafkaSettings, messages: Messages, watch: Stopwatch, codec: str, sent_bytes: list[int]
) -> None:
    """The bare client with one compression; `sent_bytes` gets what the client says it has sent so far."""
    client = Producer(
        {
            **producer_configuration(settings),
            "compression.type": codec,
            "statistics.interval.ms": STATISTICS_MS,
            "stats_cb": lambda text: sent_bytes.append(int(json.loads(text)["tx_bytes"])),
        }
    )
    acknowledged = _Acknowledged(client, messages, watch)
    _send_one_by_one(client, messages.keys, messages.values, acknowledged)
    acknowledged.check()
    client.poll(2 * STATISTICS_MS / 1e3)


def compare_codecs(messages: Messages) -> list[Codec]:
    """The bare client with each compression."""
    rows, found = len(messages.values), []
    for name in CODECS:
        sent_bytes: list[int] = []
        _, processor = timed(partial(with_codec, codec=name, sent_bytes=sent_bytes), messages)
        found.append(Codec(name, processor / rows * 1e6, max(sent_bytes) / rows))
    return found


def show(title: str, measurements: Sequence[Measurement], codecs: Sequence[Codec]) -> None:
    """Two tables for a person."""
    table = Table("thousand records/s", "min", "median", "max", "processor us/record", title=title)
    for one in measurements:
        rates = [f"{rate / 1e3:,.0f}" for rate in (one.minimum, one.median, one.maximum)]
        table.add_row(one.way, *rates, f"{one.processor_us_per_record:.1f}")
    of_codecs = Table("compression", "processor us/record", "bytes/record", title="the bare client")
    for codec in codecs:
        of_codecs.add_row(codec.name, f"{codec.processor_us_per_record:.1f}", f"{codec.bytes_per_record:.0f}")
    console = Console()
    console.print(table)
    console.print(f"goal: {GOAL_PER_SECOND:,} records/s")
    console.print(of_codecs)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="Speed of the producer.")
    parser.add_argument("--rows", type=int, default=200_000)
    parser.add_argument("--symbols", type=int, default=1_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path, help="also write the figures here")
    options = parser.parse_args()
    messages = Messages.of(generate(options.rows, options.symbols, random_seed=1))
    # Hundreds of thousands of dicts kept alive would be walked by every garbage collection.
    gc.freeze()
    ways: dict[str, Way] = {
        "bare client, finished messages, one by one": bare_client,
        "bare client, finished messages, batches of 2,000": partial(bare_client_batches, size=2_000),
        "K2, batches of 2,000 rows of columns": partial(column_batches, size=2_000),
        **{f"K2, batches of {size:,} records": partial(batches, size=size) for size in BATCH_RECORDS},
        "K2, batches of 2,000 records, each told": partial(told_batches, size=2_000),
        "batch encoder, then one by one": partial(batch_encoder_single_calls, size=2_000),
        "K2, single records": single,
    }
    measurements = measure(ways, messages, options.rounds)
    codecs = compare_codecs(messages)
    if options.json is not None:
        figures = {
            "rows": options.rows,
            "symbols": options.symbols,
            "rounds": options.rounds,
            "bytes_per_message": sum(map(len, messages.values)) / len(messages.values),
            "measurements": [asdict(measurement) for measurement in measurements],
            "codecs": [asdict(codec) for codec in codecs],
        }
        options.json.write_text(json.dumps(figures, indent=2) + "\n")
    show(f"{options.rows:,} trades of {options.symbols:,} symbols", measurements, codecs)


if __name__ == "__main__":
    main()
