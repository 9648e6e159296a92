"""How long a commit takes, by how many came before it: with the default retention, with none, and as PyIceberg has it.

Run from the checkout: python -m benchmarks.commit [--after 10 100 300 1000] [--rounds 21] [--json FILE]

A table is brought to each number of commits first. Then every round makes one commit to each table in turn, so that
what else the machine does falls on all of them alike. What is timed is `TableWriter.commit` alone: reading the table's
state again, the comparison, the swap in the SQLite catalog, the synced audit entry, expiry. "library" is the table
without retention through PyIceberg's own catalog and transaction: metadata read anew and copied. One commit in twenty
merges manifests, which is in the mean and not in the p50. The target is the ratio of the largest number with retention
to the smallest: at most 1.5.
"""

import argparse
import json
import os
import statistics
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from unittest.mock import patch

from pyiceberg.catalog.sql import SqlCatalog
from pyiceberg.table import Transaction
from rich.console import Console
from rich.table import Table

import k2.storage.catalog
import k2.storage.writer
from benchmarks.tables import BenchmarkTable
from benchmarks.trade_rows import trade_rows
from k2.observability.logs import configure_logs

WITH_RETENTION, WITHOUT, LIBRARY = "default retention", "no retention", "no retention, library"
NONE_EXPIRES = {"snapshots_kept": 1_000_000}
TARGET_RATIO = 1.5
ROWS = 1_000


@dataclass(frozen=True, slots=True)
class Measurement:
    """Commit times of one table, ms."""

    variant: str
    after_commits: int
    snapshots: int
    minimum_ms: float
    median_ms: float
    mean_ms: float
    maximum_ms: float


@contextmanager
def as_the_library_has_it(variant: str) -> Iterator[None]:
    """Within, tables are opened and changed through PyIceberg's own classes, where the variant says so."""
    if variant != LIBRARY:
        yield
        return
    with (
        patch.object(k2.storage.catalog, "KeptMetadataCatalog", SqlCatalog),
        patch.object(k2.storage.writer, "AppendTransaction", Transaction),
    ):
        yield


def commit_once(table: BenchmarkTable, variant: str) -> float:
    """One commit of ROWS rows; its time in ms."""
    rows = trade_rows(ROWS, first_offset=table.next_offset or 0)
    with as_the_library_has_it(variant):
        prepared = table.write(rows)
        started = time.perf_counter()
        table.commit(*prepared)
        return (time.perf_counter() - started) * 1e3


def prepared_table(folder: Path, variant: str, commits: int) -> BenchmarkTable:
    """A table with so many commits."""
    folder.mkdir()
    with as_the_library_has_it(variant):
        table = BenchmarkTable(folder, {} if variant == WITH_RETENTION else NONE_EXPIRES)
    # History is made the quick way; what is measured comes after it.
    empty = trade_rows(1)
    for number in range(commits):
        rows = empty.slice(0, 1) if number == 0 else empty
        table.commit(*table.write(rows))
    return table


def measure(after: Sequence[int], rounds: int, folder: Path, console: Console) -> list[Measurement]:
    """Prepare all tables, then time them round by round."""
    tables: dict[tuple[str, int], BenchmarkTable] = {}
    for variant in (WITH_RETENTION, WITHOUT, LIBRARY):
        for commits in after:
            if variant == LIBRARY and commits > 300:
                continue
            tables[variant, commits] = prepared_table(folder / f"table-{len(tables)}", variant, commits)
            console.print(f"prepared: {variant}, {commits} commits", style="dim")
    times: dict[tuple[str, int], list[float]] = {place: [] for place in tables}
    for number in range(rounds + 1):
        for place, table in tables.items():
            milliseconds = commit_once(table, place[0])
            if number:
                times[place].append(milliseconds)
    return [
        Measurement(
            variant,
            commits,
            tables[variant, commits].snapshots(),
            min(ms),
            statistics.median(ms),
            statistics.mean(ms),
            max(ms),
        )
        for (variant, commits), ms in times.items()
    ]


def ratio(measurements: Sequence[Measurement], variant: str) -> float:
    """Median after the most commits by that after the fewest."""
    own = [each for each in measurements if each.variant == variant]
    return own[-1].median_ms / own[0].median_ms


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="Commit time by the number of commits before.")
    parser.add_argument("--after", type=int, nargs="+", default=[10, 100, 300, 1_000])
    parser.add_argument("--rounds", type=int, default=21)
    parser.add_argument("--json", type=Path, help="also write the figures here")
    options = parser.parse_args()
    configure_logs("WARNING")
    console = Console()
    with tempfile.TemporaryDirectory(prefix="k2-benchmark-") as folder:
        measurements = measure(sorted(options.after), options.rounds, Path(folder), console)
    load = os.getloadavg()[0]
    table = Table(
        "variant", "after commits", "snapshots", "min ms", "p50 ms", "mean ms", "max ms", title=f"load {load:.1f}"
    )
    for each in measurements:
        shown = (f"{value:.1f}" for value in (each.minimum_ms, each.median_ms, each.mean_ms, each.maximum_ms))
        table.add_row(each.variant, str(each.after_commits), str(each.snapshots), *shown)
    console.print(table)
    ratios = {variant: ratio(measurements, variant) for variant in (WITH_RETENTION, WITHOUT, LIBRARY)}
    for variant, value in ratios.items():
        console.print(f"{variant}: p50 after the most commits is {value:.2f}x that after the fewest")
    reached = "reached" if ratios[WITH_RETENTION] <= TARGET_RATIO else "missed"
    console.print(f"target {TARGET_RATIO}x with {WITH_RETENTION}: {reached}")
    if options.json is not None:
        figures = {"load": load, "measurements": [asdict(each) for each in measurements], "ratios": ratios}
        options.json.write_text(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    main()
