"""What recognising ids costs: the judging of quotes with and without the window, and the filter beside rbloom.

Run from the checkout: python -m benchmarks.deduplication [--rows 100000] [--batches 8] [--rounds 5] [--json FILE]

Quotes of 200 symbols with an id each and no number, as a consumer decodes them, in batches of so many rows. One round
judges all batches with a fresh state; the rounds of the cases take turns. Given are a row's nanoseconds of one core:
the least of the rounds, which others on the machine hardly change, and the median. `window off` is what it cost before
there was one. Of `second feed` every record came before, from another session, 8,000 records earlier. What the state's
checkpoint takes is given beside it, since it is written with every commit.
"""

import argparse
import json
import operator
import statistics
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import rbloom
from rich.console import Console
from rich.table import Table

from k2.feeds.synthetic import SyntheticExchange, SyntheticSettings
from k2.ingestion.bloom_filter import RollingBloomFilter
from k2.ingestion.identifier_window import FULL_SEGMENTS
from k2.ingestion.judging import BatchJudge, PartitionState
from k2.ingestion.log_reader import PolledBatch
from k2.ingestion.registry import PackagedRegistry
from k2.records.decode import BatchDecoder, DecodedBatch
from k2.records.definition import QUOTE
from k2.records.encode import RecordEncoder
from k2.settings import DeduplicationSettings, SequenceSettings
from k2.storage.checkpoints import to_bytes

PLACE = ("market.crypto.quotes", 0)
SYMBOLS = 200
BEHIND_ROWS = 8_000
Batch = tuple[PolledBatch, DecodedBatch]


@dataclass(frozen=True, slots=True)
class Cost:
    """Nanoseconds of one core for a row."""

    case: str
    least_ns: float
    median_ns: float
    million_rows_per_core_second: float


def quotes(rows: int, first: int, session: str) -> Batch:
    """Distinct quotes from number `first` on, decoded, as one feed delivers them."""
    settings = SyntheticSettings(seed=1, records=1, symbols=("BTCUSDT",), trade_share=0.0)
    (item,) = list(SyntheticExchange(settings))
    registry = PackagedRegistry()
    body = RecordEncoder(QUOTE, registry.schema_id("crypto", QUOTE)).encode({**item.record, "session": session})
    decoded = BatchDecoder(QUOTE, registry.writer_schema).decode([body])
    columns = decoded.columns.take(pa.array(np.zeros(rows, np.int64)))
    numbers = np.arange(first, first + rows)
    symbols = pa.DictionaryArray.from_arrays(
        pa.array((numbers % SYMBOLS).astype(np.int32)), pa.array([f"SYMBOL-{code:05}" for code in range(SYMBOLS)])
    )
    times = columns.column("event_time_ns").to_numpy() + numbers * 1_000
    for name, values in {
        "symbol": symbols,
        "session_sequence": pa.array(numbers // SYMBOLS + 1),
        "quote_id": pa.array([str(40_000_000_000 + 7 * number) for number in numbers.tolist()]),
        "event_time_ns": pa.array(times),
        "receive_time_ns": pa.array(times + 1),
    }.items():
        columns = columns.set_column(columns.schema.get_field_index(name), columns.schema.field(name), values)
    everything = np.arange(rows, dtype=np.int64)
    zeros = np.zeros(rows, np.int32)
    polled = PolledBatch((), [b""] * rows, zeros, zeros, everything, (PLACE[0],), {PLACE: rows})
    return polled, DecodedBatch(columns, everything, np.full(rows, 1, np.int32), ())


def judged(batches: list[Batch], window_ids: int) -> PartitionState:
    """The state after judging all batches."""
    settings = DeduplicationSettings(window_ids=window_ids)
    states = {PLACE: PartitionState.empty(SequenceSettings(), settings)}
    judge = BatchJudge(QUOTE)
    for polled, decoded in batches:
        judge.judge(polled, decoded, states)
    return states[PLACE]


def costs(cases: dict[str, Callable[[], object]], rows: int, rounds: int) -> list[Cost]:
    """Time the cases in turns, after one round that is not counted."""
    seconds: dict[str, list[float]] = {case: [] for case in cases}
    for number in range(rounds + 1):
        for case, work in cases.items():
            started = time.process_time()
            work()
            if number:
                seconds[case].append(time.process_time() - started)
    return [
        Cost(case, min(taken) / rows * 1e9, statistics.median(taken) / rows * 1e9, rows / min(taken) / 1e6)
        for case, taken in seconds.items()
    ]


def filter_cases(rows: int) -> dict[str, Callable[[], object]]:
    """The same hashes through our filter of five parts and through five of rbloom, asked and then added."""
    settings = DeduplicationSettings()
    capacity = settings.window_ids // FULL_SEGMENTS
    hashes = np.random.default_rng(1).integers(0, 2**63, rows, np.uint64)

    def ours() -> None:
        kept = RollingBloomFilter(FULL_SEGMENTS + 1, capacity, settings.filter_error_rate)
        for start in range(0, rows, capacity):
            kept.seen_or_add(hashes[start : start + capacity])
            kept.roll()

    def theirs() -> None:
        made = [rbloom.Bloom(capacity, settings.filter_error_rate, operator.index) for _ in range(FULL_SEGMENTS + 1)]
        for start in range(0, rows, capacity):
            for value in hashes[start : start + capacity].tolist():
                if not any(value in one for one in made):
                    made[-1].add(value)
            made = [*made[1:], rbloom.Bloom(capacity, settings.filter_error_rate, operator.index)]

    return {"filter: ours": ours, "filter: rbloom": theirs}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="Cost of recognising records by their ids.")
    parser.add_argument("--rows", type=int, default=100_000, help="of a batch")
    parser.add_argument("--batches", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", type=Path, help="also write the figures here")
    options = parser.parse_args()
    window_ids, rows = DeduplicationSettings().window_ids, options.rows * options.batches
    first = [quotes(options.rows, number * options.rows, "one") for number in range(options.batches)]
    pieces = [
        quotes(BEHIND_ROWS, start, session) for start in range(0, rows, BEHIND_ROWS) for session in ("one", "another")
    ]
    measured = [
        *costs(
            {
                "judging, window off": lambda: judged(first, 0),
                "judging, window on": lambda: judged(first, window_ids),
            },
            rows,
            options.rounds,
        ),
        *costs(
            {
                "judging in pieces with a second feed, window off": lambda: judged(pieces, 0),
                "judging in pieces with a second feed, window on": lambda: judged(pieces, window_ids),
            },
            len(pieces) * BEHIND_ROWS,
            options.rounds,
        ),
        *costs(filter_cases(options.rows), options.rows, options.rounds),
    ]
    sizes = {name: len(to_bytes(judged(first, size).to_arrow())) for name, size in (("off", 0), ("on", window_ids))}
    state = judged(first, window_ids)
    making = costs({"made": state.to_arrow}, 1, options.rounds)[0].median_ns / 1e6
    if options.json is not None:
        figures = {"window_ids": window_ids, "costs": [asdict(cost) for cost in measured], "checkpoint_bytes": sizes}
        options.json.write_text(json.dumps({**figures, "to_arrow_ms": making}, indent=2) + "\n")
    table = Table(
        "case", "least ns", "median ns", "M rows per core second", title=f"{rows:,} quotes, {window_ids:,} ids"
    )
    for cost in measured:
        table.add_row(
            cost.case, f"{cost.least_ns:.0f}", f"{cost.median_ns:.0f}", f"{cost.million_rows_per_core_second:.2f}"
        )
    console = Console()
    console.print(table)
    console.print(
        f"checkpoint {sizes['off']:,} bytes with the window off, {sizes['on']:,} with it on; made in {making:.1f} ms; "
        f"window in memory {state.identifiers.memory_bytes:,} bytes"
    )


if __name__ == "__main__":
    main()
