"""Speed of the decoder beside fastavro reading the same messages into dicts, of the encoder, and of the first batch.

Run from the checkout: python -m benchmarks.decode [--rows 500000] [--symbols 1000] [--rounds 5] [--json FILE]

Everything counts that turns messages into columns: parsing the frames, joining the bodies, the walk, dictionaries,
Arrow arrays. K2 decodes the rows in batches of several sizes; a round runs each of them once and then fastavro, so that
what else the machine does falls on all alike. The first batch is timed in fresh processes: once with an empty compiler
cache and once with a full one.
"""

import argparse
import io
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any

import fastavro
from rich.console import Console
from rich.table import Table

from k2.records.decode import FRAME_BYTES, BatchDecoder
from k2.records.definition import TRADE
from k2.records.encode import RecordEncoder
from k2.records.schemas import avro_schema

SCHEMA_ID = 7
BATCH_ROWS = (500, 5_000, 100_000, 500_000)
ENCODED_ROWS = 50_000
GOAL_RATIO = 25

FIRST_BATCH = """
import time
started = time.perf_counter()
from k2.records.decode import warm_up
imported = time.perf_counter()
warm_up()
print(imported - started, time.perf_counter() - imported)
"""


@dataclass(frozen=True, slots=True)
class Measurement:
    """Rows a second of one implementation over the rounds, and how many times fastavro's median its median is."""

    implementation: str
    minimum: float
    median: float
    maximum: float
    ratio: float


@dataclass(frozen=True, slots=True)
class FirstBatch:
    """Seconds of a fresh process until it can decode: importing, then loading or compiling the kernel."""

    compiler_cache: str
    import_seconds: float
    kernel_seconds: float


def generate(rows: int, symbols: int, random_seed: int) -> list[dict[str, Any]]:
    """Trades as the crypto feed makes them; the same for the same arguments."""
    chance = random.Random(random_seed)
    names = [f"{chance.choice('ABCDEFGHIJ')}{number}USDT" for number in range(symbols)]
    sequences = dict.fromkeys(names, 0)
    event_time_ns = 1_763_000_000_000_000_000
    trades = []
    for number in range(rows):
        symbol = chance.choice(names)
        sequences[symbol] += 1
        event_time_ns += chance.randrange(1, 100_000)
        trades.append(
            {
                "session": "7f3a9c2e51d84b06",
                "session_sequence": sequences[symbol],
                "exchange": "BINANCE",
                "symbol": symbol,
                "asset_class": "crypto",
                "event_time_ns": event_time_ns,
                "receive_time_ns": event_time_ns + chance.randrange(1_000_000, 9_000_000),
                "source_sequence": 4_000_000_000 + number,
                "trade_id": str(4_000_000_000 + number),
                "price": Decimal(chance.randrange(1, 10**12)).scaleb(-6),
                "quantity": Decimal(chance.randrange(1, 10**10)).scaleb(-5),
                "side": chance.choice(("BUY", "SELL")),
                "venue": None,
                "conditions": None,
                "vendor_data": {"buyer_maker": "true"} if number % 2 else {},
            }
        )
    return trades


def read_to_dicts(messages: Sequence[bytes]) -> None:
    """What a plain consumer does."""
    schema = fastavro.parse_schema(avro_schema(TRADE))
    read = [fastavro.schemaless_reader(io.BytesIO(message[FRAME_BYTES:]), schema, None) for message in messages]
    assert len(read) == len(messages)


def decode_in_batches(messages: Sequence[bytes], batch_rows: int) -> None:
    """What K2's consumer does."""
    decoder = BatchDecoder(TRADE, {SCHEMA_ID: avro_schema(TRADE)})
    decoded = 0
    for start in range(0, len(messages), batch_rows):
        decoded += decoder.decode(messages[start : start + batch_rows]).columns.num_rows
    assert decoded == len(messages)


def encode_all(encoder: RecordEncoder, trades: Sequence[dict[str, Any]]) -> None:
    """What K2's producer does before it hands over."""
    for trade in trades:
        encoder.encode(trade)


def measure(rounds: int, tasks: dict[str, tuple[Callable[[], None], int]], baseline: str) -> list[Measurement]:
    """Time every task once a round, after one that is not counted; a task is a function and the rows it handles."""
    rates: dict[str, list[float]] = {name: [] for name in tasks}
    for round_number in range(rounds + 1):
        for name, (task, rows) in tasks.items():
            started = time.perf_counter()
            task()
            if round_number:
                rates[name].append(rows / (time.perf_counter() - started))
    base = statistics.median(rates[baseline])
    return [
        Measurement(name, min(rate), statistics.median(rate), max(rate), statistics.median(rate) / base)
        for name, rate in rates.items()
    ]


def first_batches() -> list[FirstBatch]:
    """A process that must compile, and one that finds what the first compiled."""
    with tempfile.TemporaryDirectory() as folder:
        environment = {**os.environ, "NUMBA_CACHE_DIR": folder}
        figures = []
        for cache in ("empty", "full"):
            finished = subprocess.run(
                [sys.executable, "-c", FIRST_BATCH], env=environment, check=True, capture_output=True, text=True
            )
            import_seconds, kernel_seconds = map(float, finished.stdout.split())
            figures.append(FirstBatch(cache, import_seconds, kernel_seconds))
        return figures


def show(title: str, measurements: Sequence[Measurement], batches: Sequence[FirstBatch]) -> None:
    """Two tables for a person."""
    table = Table("thousand rows/s", "min", "median", "max", "x fastavro", title=title)
    for row in measurements:
        rates = [f"{rate / 1e3:,.0f}" for rate in (row.minimum, row.median, row.maximum)]
        table.add_row(row.implementation, *rates, f"{row.ratio:.1f}")
    first = Table("compiler cache", "import s", "kernel s", title="first batch of a process")
    for batch in batches:
        first.add_row(batch.compiler_cache, f"{batch.import_seconds:.2f}", f"{batch.kernel_seconds:.2f}")
    console = Console()
    console.print(table)
    console.print(f"goal: {GOAL_RATIO} x fastavro")
    console.print(first)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="Speed of the decoder.")
    parser.add_argument("--rows", type=int, default=500_000)
    parser.add_argument("--symbols", type=int, default=1_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", type=Path, help="also write the figures here")
    options = parser.parse_args()
    batches = first_batches()
    trades = generate(options.rows, options.symbols, random_seed=1)
    encoder = RecordEncoder(TRADE, SCHEMA_ID)
    messages = [encoder.encode(trade) for trade in trades]
    sample = trades[:ENCODED_ROWS]
    # Half a million dicts kept alive would be walked by every garbage collection that fastavro's dicts cause.
    del trades
    tasks: dict[str, tuple[Callable[[], None], int]] = {
        f"K2, batches of {size:,}": (partial(decode_in_batches, messages, size), len(messages))
        for size in sorted({min(size, options.rows) for size in BATCH_ROWS})
    }
    tasks["fastavro to dicts"] = (partial(read_to_dicts, messages), len(messages))
    tasks["K2 encoder"] = (partial(encode_all, encoder, sample), len(sample))
    measurements = measure(options.rounds, tasks, "fastavro to dicts")
    if options.json is not None:
        figures = {
            "rows": options.rows,
            "symbols": options.symbols,
            "rounds": options.rounds,
            "bytes_per_message": sum(map(len, messages)) / len(messages),
            "measurements": [asdict(measurement) for measurement in measurements],
            "first_batch": [asdict(batch) for batch in batches],
        }
        options.json.write_text(json.dumps(figures, indent=2) + "\n")
    show(f"{options.rows:,} trades of {options.symbols:,} symbols", measurements, batches)


if __name__ == "__main__":
    main()
