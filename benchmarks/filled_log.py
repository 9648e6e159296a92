"""A topic full of trades: the same records for whoever is measured against whom, on one broker.

The embedded broker keeps about 5 MB of every partition, as they were sent, so a compressed topic of many partitions
holds enough; whether it still holds all of them is asked before anything is measured.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from confluent_kafka import Consumer, TopicPartition

from k2.clock import SystemClock
from k2.embedded.processes import ChildProcess
from k2.ingestion.kafka import client_configuration
from k2.ingestion.producer import MarketDataProducer
from k2.ingestion.registry import PackagedRegistry
from k2.observability.metrics import Metrics
from k2.records.definition import TRADE, all_topics, topic
from k2.records.schemas import arrow_schema
from k2.settings import KafkaSettings

TOPIC = topic("crypto", "trades")
PARTITIONS = 16
SYMBOLS = 1_000
FIRST_TIME_NS = 1_763_000_000 * 10**9
_SEND_ROWS = 5_000


@dataclass(frozen=True, slots=True)
class FilledLog:
    """Where the topic is.

    Attributes:
        kafka: how to reach it.
        messages: how many it holds.
        broker_pid: process of an embedded broker; None of another.
    """

    kafka: KafkaSettings
    messages: int
    broker_pid: int | None = None


def trade_records(first: int, rows: int, symbols: int = SYMBOLS, total_before: int = 0) -> pa.RecordBatch:
    """Trades as a feed makes them, in order of arrival: every symbol counts on by itself, without a gap.

    Args:
        first: number of the first; records take their symbols in turn, so that any part is the same in any division.
        rows: how many.
        symbols: how many take turns.
        total_before: added to every number, for a log that goes on where another ended.
    """
    numbers = np.arange(first, first + rows, dtype=np.int64) + total_before
    chance = np.random.default_rng(first)
    codes = (numbers * 7_919) % symbols
    counted = numbers // symbols + 1
    times_ns = FIRST_TIME_NS + numbers * 50_000
    prices = chance.integers(1_000_000, 10**10, rows)
    quantities = chance.integers(1_000, 10**9, rows)
    names = pa.array([f"SYM{code:05}USDT" for code in range(symbols)])
    values = {
        "session": _repeated("7f3a9c2e51d84b06", rows),
        "session_sequence": pa.array(counted),
        "exchange": _repeated("BINANCE", rows),
        "symbol": pa.DictionaryArray.from_arrays(pa.array(codes.astype(np.int32)), names),
        "asset_class": _repeated("crypto", rows),
        "event_time_ns": pa.array(times_ns),
        "receive_time_ns": pa.array(times_ns + 1_500_000),
        "source_sequence": pa.array(counted + 4_000_000_000),
        "trade_id": pa.array((counted + 4_000_000_000).astype(str)),
        "price": _decimals(prices, 6),
        "quantity": _decimals(quantities, 5),
        "side": pa.DictionaryArray.from_arrays(pa.array((numbers % 2).astype(np.int32)), pa.array(["BUY", "SELL"])),
        "venue": pa.nulls(rows, pa.string()),
        "conditions": pa.nulls(rows, pa.string()),
        "vendor_data": pa.array([[("buyer_maker", "true")]] * rows, pa.map_(pa.string(), pa.string())),
    }
    schema = arrow_schema(TRADE)
    return pa.RecordBatch.from_arrays([values[field.name].cast(field.type) for field in schema], schema=schema)


@contextmanager
def embedded_log(folder: Path, messages: int, partitions: int = PARTITIONS) -> Iterator[FilledLog]:
    """An embedded broker in a process of its own with so many trades.

    Raises:
        RuntimeError: it does not keep that many.
    """
    topics = [part for name in all_topics() for part in ("--topic", name)]
    arguments = ["k2.embedded.broker", "--partitions", str(partitions), *topics]
    child = ChildProcess("broker", arguments, folder / "broker.log")
    try:
        kafka = KafkaSettings(bootstrap_servers=json.loads(child.next_line())["bootstrap_servers"])
        fill(kafka, messages)
        ends = log_ends(kafka)
        if sum(ends.values()) != messages or any(first_offsets(kafka)[place] for place in ends):
            raise RuntimeError(f"the embedded broker keeps fewer than {messages:,} messages: ask for fewer")
        yield FilledLog(kafka, messages, child.pid)
    finally:
        child.stop()


def fill(kafka: KafkaSettings, messages: int, total_before: int = 0) -> None:
    """Send so many trades; all must have been acknowledged."""
    with MarketDataProducer(kafka, PackagedRegistry(), Metrics(), SystemClock()) as producer:
        for first in range(0, messages, _SEND_ROWS):
            rows = min(_SEND_ROWS, messages - first)
            producer.produce_batch(TRADE, "crypto", trade_records(first, rows, total_before=total_before))
        producer.flush()
        sent = producer.statistics().records_sent
    if sent != messages:
        raise RuntimeError(f"{sent} of {messages} trades were acknowledged")


def log_ends(kafka: KafkaSettings) -> dict[int, int]:
    """The offset after the last message of each partition."""
    return {partition: high for partition, (_, high) in _ranges(kafka).items()}


def first_offsets(kafka: KafkaSettings) -> dict[int, int]:
    """The offset of the first message of each partition."""
    return {partition: low for partition, (low, _) in _ranges(kafka).items()}


def _ranges(kafka: KafkaSettings) -> dict[int, tuple[int, int]]:
    consumer = Consumer({**client_configuration(kafka), "group.id": "benchmark-ends"})
    try:
        partitions = consumer.list_topics(TOPIC, timeout=10).topics[TOPIC].partitions
        return {
            number: consumer.get_watermark_offsets(TopicPartition(TOPIC, number), timeout=10)
            for number in sorted(partitions)
        }
    finally:
        consumer.close()


def _repeated(text: str, rows: int) -> pa.DictionaryArray:
    return pa.DictionaryArray.from_arrays(pa.array(np.zeros(rows, np.int32)), pa.array([text]))


def _decimals(units: np.ndarray, digits: int) -> pa.Array:
    return pc.multiply(pa.array(units).cast(pa.decimal128(19, 0)), pa.scalar(Decimal(1).scaleb(-digits)))
