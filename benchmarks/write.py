"""Writing and committing a batch beside the least it could take: one tuned pq.write_table of the same rows.

Run from the checkout: python -m benchmarks.write [--rows 500000] [--rounds 9] [--json FILE]

    bare           pq.write_table of the rows to a local file, with K2's encodings and row groups, nothing else
    K2             the same rows through `TableWriter`: data file, statistics for the manifest, state checkpoint, commit
    untuned        pq.write_table with Arrow's defaults

The variants take turns within a round. The target: K2 has at least 90 % of the rate of bare.
"""

import argparse
import json
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from rich.console import Console
from rich.table import Table

from benchmarks.tables import BenchmarkTable
from benchmarks.trade_rows import trade_rows
from k2.observability.logs import configure_logs
from k2.storage.parquet import write_options

BARE, K2, UNTUNED = "bare", "K2", "untuned"
TARGET_SHARE = 0.9


@dataclass(frozen=True, slots=True)
class Measurement:
    """Times of one variant, s, and the size of a file."""

    variant: str
    minimum_seconds: float
    median_seconds: float
    maximum_seconds: float
    million_rows_per_second: float
    file_megabytes: float


def variants(rows: pa.Table, folder: Path) -> dict[str, Callable[[], Path]]:
    """What is timed, by name; each answers with the file it wrote."""
    table = BenchmarkTable(folder)

    def bare() -> Path:
        pq.write_table(rows, folder / "bare.parquet", **write_options(rows.schema))
        return folder / "bare.parquet"

    def untuned() -> Path:
        pq.write_table(rows, folder / "untuned.parquet")
        return folder / "untuned.parquet"

    def through_k2() -> Path:
        written, advance = table.write(rows)
        table.commit(written, advance)
        return Path(written.files[0].file_path.removeprefix("file://"))

    return {BARE: bare, K2: through_k2, UNTUNED: untuned}


def measure(rows: pa.Table, rounds: int, folder: Path) -> tuple[list[Measurement], list[float]]:
    """Times of each variant, after one round that is not counted, and K2's share of bare in each round."""
    timed = variants(rows, folder)
    times: dict[str, list[float]] = {name: [] for name in timed}
    sizes: dict[str, int] = {}
    for number in range(rounds + 1):
        for name, work in timed.items():
            started = time.perf_counter()
            path = work()
            if number:
                times[name].append(time.perf_counter() - started)
            sizes[name] = path.stat().st_size
    shares = [bare / own for bare, own in zip(times[BARE], times[K2], strict=True)]
    measurements = [
        Measurement(
            name,
            min(seconds),
            statistics.median(seconds),
            max(seconds),
            rows.num_rows / statistics.median(seconds) / 1e6,
            sizes[name] / 2**20,
        )
        for name, seconds in times.items()
    ]
    return measurements, shares


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="Write and commit beside a bare Parquet write.")
    parser.add_argument("--rows", type=int, default=500_000)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--json", type=Path, help="also write the figures here")
    options = parser.parse_args()
    configure_logs("WARNING")
    rows = trade_rows(options.rows)
    with tempfile.TemporaryDirectory(prefix="k2-benchmark-") as folder:
        measurements, shares = measure(rows, options.rounds, Path(folder))
    load = os.getloadavg()[0]
    title = f"{options.rows:,} rows, load {load:.1f}"
    table = Table("variant", "min s", "p50 s", "max s", "M rows/s", "file MiB", title=title)
    for each in measurements:
        seconds = (f"{value:.3f}" for value in (each.minimum_seconds, each.median_seconds, each.maximum_seconds))
        table.add_row(each.variant, *seconds, f"{each.million_rows_per_second:.2f}", f"{each.file_megabytes:.1f}")
    console = Console()
    console.print(table)
    share = statistics.median(shares)
    console.print(f"K2 has {share:.1%} of bare's rate (rounds: {min(shares):.1%} to {max(shares):.1%})")
    console.print(f"target {TARGET_SHARE:.0%}: {'reached' if share >= TARGET_SHARE else 'missed'}")
    if options.json is not None:
        figures = {"load": load, "rows": options.rows, "measurements": [asdict(each) for each in measurements]}
        options.json.write_text(json.dumps({**figures, "shares": shares}, indent=2) + "\n")


if __name__ == "__main__":
    main()
