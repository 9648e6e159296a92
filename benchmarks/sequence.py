"""Speed of the sequence check, the scalar model beside the vectorised tracker, and what 10,000 keys hold and write.

Run from the checkout: python -m benchmarks.sequence [--rows 1000000] [--symbols 1000] [--rounds 5] [--json FILE]

Symbols arrive at random, each with its own numbering, and a few in ten thousand rows are missing, late or repeated.
Beyond the bound means that the tracker knows only half of the symbols, so that every other row has a key forgotten.
Times are of the check alone, without building the columns; the best and the median of the rounds are shown, after one
round that is not counted, and the least that a round took of a core, which others on the machine hardly change.
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from rich.console import Console
from rich.table import Table

from k2.ingestion.sequence_batch import SequenceBatchTracker
from k2.ingestion.sequence_tracker import SequenceTracker
from k2.settings import SequenceSettings

EXCHANGE = "BINANCE"
MISSING_PER_ROW = 0.0005
LATE_PER_ROW = 0.0005
REPEATED_PER_ROW = 0.0005
MEMORY_KEYS = 10_000
MEMORY_GAPS_PER_KEY = 8


@dataclass(frozen=True, slots=True)
class Traffic:
    """Rows to check: `symbol_codes` and `numbers` are [rows], `symbols` the names behind the codes."""

    symbols: list[str]
    symbol_codes: npt.NDArray[np.int32]
    numbers: npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Measurement:
    """Figures of one implementation."""

    implementation: str
    best_seconds: float
    median_seconds: float
    core_seconds: float
    million_rows_per_second: float


def generate(rows: int, symbols: int, random_seed: int) -> Traffic:
    """Traffic in which most numbers are in sequence; the same for the same arguments."""
    chance = np.random.default_rng(random_seed)
    codes = chance.integers(0, symbols, rows).astype(np.int32)
    by_symbol = np.argsort(codes, kind="stable")
    steps = 1 + (chance.random(rows) < MISSING_PER_ROW)
    steps = np.where(chance.random(rows) < REPEATED_PER_ROW, 0, steps)
    sorted_numbers = np.cumsum(steps)
    late = np.flatnonzero(chance.random(rows - 1) < LATE_PER_ROW)
    sorted_numbers[late], sorted_numbers[late + 1] = sorted_numbers[late + 1].copy(), sorted_numbers[late].copy()
    numbers = np.empty(rows, np.int64)
    numbers[by_symbol] = sorted_numbers
    return Traffic([f"SYMBOL-{code:05}" for code in range(symbols)], codes, numbers)


def scalar_round(traffic: Traffic) -> Callable[[], None]:
    """One timed round of the reference model."""
    tracker = SequenceTracker(SequenceSettings(max_keys=len(traffic.symbols)))
    symbols = [traffic.symbols[code] for code in traffic.symbol_codes.tolist()]
    numbers = traffic.numbers.tolist()

    def check() -> None:
        for symbol, number in zip(symbols, numbers, strict=True):
            tracker.check_sequence(EXCHANGE, symbol, number)

    return check


@dataclass(frozen=True, slots=True)
class State:
    """What the state of MEMORY_KEYS keys with MEMORY_GAPS_PER_KEY open gaps each takes."""

    keys: int
    gaps_per_key: int
    megabytes: float
    checkpoint_megabytes: float
    to_arrow_seconds: float
    from_arrow_seconds: float


def beyond_the_bound_round(traffic: Traffic) -> Callable[[], None]:
    """One timed round of a batch tracker that knows half of the symbols."""
    return vectorised_round(traffic, max_keys=max(1, len(traffic.symbols) // 2))


def vectorised_round(traffic: Traffic, max_keys: int | None = None) -> Callable[[], None]:
    """One timed round of the batch tracker: all rows in one batch."""
    tracker = SequenceBatchTracker(SequenceSettings(max_keys=max_keys or len(traffic.symbols)))
    keys, numbers = columns(traffic), pa.array(traffic.numbers)

    def check() -> None:
        tracker.check(keys, numbers)

    return check


def columns(traffic: Traffic) -> list[pa.DictionaryArray]:
    """The key columns as the consumer decodes them."""
    exchange_codes = pa.array(np.zeros(len(traffic.numbers), np.int32))
    return [
        pa.DictionaryArray.from_arrays(exchange_codes, pa.array([EXCHANGE])),
        pa.DictionaryArray.from_arrays(pa.array(traffic.symbol_codes), pa.array(traffic.symbols)),
    ]


def measure(
    implementation: str, prepare: Callable[[Traffic], Callable[[], None]], traffic: Traffic, rounds: int
) -> Measurement:
    """Time fresh rounds, after one that is not counted."""
    prepare(traffic)()
    seconds, core_seconds = [], []
    for _ in range(rounds):
        check = prepare(traffic)
        started, core_started = time.perf_counter(), time.process_time()
        check()
        seconds.append(time.perf_counter() - started)
        core_seconds.append(time.process_time() - core_started)
    median_seconds = statistics.median(seconds)
    rate = len(traffic.numbers) / median_seconds / 1e6
    return Measurement(implementation, min(seconds), median_seconds, min(core_seconds), rate)


def measure_state(rounds: int) -> State:
    """Numeric state in memory, its checkpoint as a file, and the median times to make and to read one."""
    tracker = SequenceBatchTracker()
    codes = np.tile(np.arange(MEMORY_KEYS, dtype=np.int32), MEMORY_GAPS_PER_KEY + 1)
    numbers = np.repeat(1 + 2 * np.arange(MEMORY_GAPS_PER_KEY + 1), MEMORY_KEYS)
    traffic = Traffic([f"SYMBOL-{code:05}" for code in range(MEMORY_KEYS)], codes, numbers)
    tracker.check(columns(traffic), pa.array(numbers))
    table = tracker.to_arrow()
    sink = pa.BufferOutputStream()
    with pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)
    return State(
        MEMORY_KEYS,
        MEMORY_GAPS_PER_KEY,
        tracker.state_bytes / 2**20,
        sink.getvalue().size / 2**20,
        median_seconds(tracker.to_arrow, rounds),
        median_seconds(lambda: SequenceBatchTracker.from_arrow(table), rounds),
    )


def median_seconds(work: Callable[[], object], rounds: int) -> float:
    """The median time of some work, after one round that is not counted."""
    work()
    seconds = []
    for _ in range(rounds):
        started = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - started)
    return statistics.median(seconds)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="Speed of the sequence check.")
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--symbols", type=int, default=1_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", type=Path, help="also write the figures here")
    options = parser.parse_args()
    traffic = generate(options.rows, options.symbols, random_seed=1)
    measurements = [
        measure("scalar model", scalar_round, traffic, options.rounds),
        measure("vectorised", vectorised_round, traffic, options.rounds),
        measure("vectorised, beyond the bound", beyond_the_bound_round, traffic, options.rounds),
    ]
    state = measure_state(options.rounds)
    if options.json is not None:
        figures = {
            "rows": options.rows,
            "symbols": options.symbols,
            "rounds": options.rounds,
            "measurements": [asdict(measurement) for measurement in measurements],
            "state": asdict(state),
        }
        options.json.write_text(json.dumps(figures, indent=2) + "\n")
    title = f"{options.rows:,} rows, {options.symbols:,} symbols"
    table = Table("implementation", "best s", "median s", "of a core s", "M rows/s", title=title)
    for measurement in measurements:
        table.add_row(
            measurement.implementation,
            f"{measurement.best_seconds:.3f}",
            f"{measurement.median_seconds:.3f}",
            f"{measurement.core_seconds:.3f}",
            f"{measurement.million_rows_per_second:.1f}",
        )
    console = Console()
    console.print(table)
    console.print(
        f"state of {state.keys:,} keys with {state.gaps_per_key} open gaps each: {state.megabytes:.1f} MiB; "
        f"checkpoint {state.checkpoint_megabytes:.1f} MiB, made in {state.to_arrow_seconds * 1e3:.0f} ms, "
        f"read in {state.from_arrow_seconds * 1e3:.0f} ms"
    )


if __name__ == "__main__":
    main()
