"""How costs grow: of messages and queries with rows, of commits with snapshots, of states with symbols; and of groups.

Run from the checkout: python -m benchmarks.growth [--rows 0 1 5 20] [--json FILE]

    message    core seconds of K2's consumer a message, on one core, into tables that hold so many million rows already
    commit     the median of ten commits after so many, with the default retention
    query      one symbol's ten seconds through K2's engine, over tables of so many million rows, all of one day's files
    state      bytes of a partition's sequence state, by symbols with 8 open gaps each
    members    messages a second of 1, 2 and 4 consumers of one group, on all cores together

Each is measured at several sizes, and a power of the size is fitted to it: 0 is flat, 1 grows in step. Rows are made
by K2's own writer. The table's rows are of another topic than the log's, so the consumer begins at the log's beginning.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from benchmarks.filled_log import FilledLog, embedded_log
from benchmarks.harness import ROOT, Measurement, Report, exponent
from benchmarks.ingest import taken_in
from benchmarks.query import Readers, windows, write_table
from benchmarks.tables import BenchmarkTable
from benchmarks.trade_rows import trade_rows
from k2.ingestion.sequence_batch import SequenceBatchTracker
from k2.observability.logs import configure_logs
from k2.settings import QuerySettings

MILLION = 10**6
MESSAGES = 200_000
SNAPSHOTS = (10, 50, 200, 600)
SYMBOLS = (100, 1_000, 10_000)
GAPS_PER_SYMBOL = 8
MEMBERS = (1, 2, 4)


@dataclass(frozen=True, slots=True)
class Curve:
    """Costs at sizes, and the exponent of the power fitted to them."""

    name: str
    size: str
    sizes: tuple[float, ...]
    unit: str
    costs: tuple[float, ...]

    @property
    def exponent(self) -> float:
        """Of sizes above nothing: the logarithm knows no other."""
        pairs = [(size, cost) for size, cost in zip(self.sizes, self.costs, strict=True) if size > 0]
        return exponent([size for size, _ in pairs], [cost for _, cost in pairs])


def per_message(millions: Sequence[int], rounds: int, folder: Path) -> Curve:
    """Core microseconds a message, by the rows that are there already; rounds take turns over the sizes."""
    costs: dict[int, list[float]] = {size: [] for size in millions}
    with embedded_log(folder, MESSAGES) as log:
        taken_in("k2", log, folder / "warm-up")
        for number in range(rounds):
            for size in millions:
                place = folder / f"{size}-{number}"
                figures = taken_in("k2", log, place, 0, "--rows-before", str(size * MILLION))
                costs[size].append(figures["core_seconds"] / MESSAGES * 1e6)
    medians = tuple(statistics.median(costs[size]) for size in millions)
    return Curve("a message", "rows before", tuple(float(size * MILLION) for size in millions), "core us", medians)


def per_commit(folder: Path) -> Curve:
    """Milliseconds a commit, by the commits before."""
    table, medians, made = BenchmarkTable(folder), [], 0
    one_row = trade_rows(1)
    for commits in SNAPSHOTS:
        while made < commits:
            table.commit(*table.write(one_row))
            made += 1
        took = []
        for _ in range(10):
            prepared = table.write(trade_rows(1_000, first_offset=table.next_offset or 0))
            started = time.perf_counter()
            table.commit(*prepared)
            took.append((time.perf_counter() - started) * 1e3)
        made += 10
        medians.append(statistics.median(took))
    return Curve("a commit", "commits before", tuple(map(float, SNAPSHOTS)), "ms", tuple(medians))


def per_query(millions: Sequence[int], asked: int, folder: Path) -> Curve:
    """Milliseconds of a window of one symbol, by rows; a tenth of the questions is not counted."""
    medians = []
    sizes = [size for size in millions if size]
    for size in sizes:
        place = folder / f"query-{size}"
        place.mkdir()
        readers = Readers(write_table(place, size * MILLION), QuerySettings())
        took = []
        for window in windows(size * MILLION, asked):
            started = time.perf_counter()
            readers.k2(window)
            took.append((time.perf_counter() - started) * 1e3)
        readers.pool.close()
        medians.append(statistics.median(took[asked // 10 :]))
    return Curve("a window query", "rows", tuple(float(size * MILLION) for size in sizes), "ms", tuple(medians))


def per_symbol() -> Curve:
    """Bytes of a sequence state, by its symbols."""
    held = []
    for symbols in SYMBOLS:
        tracker = SequenceBatchTracker()
        names = pa.array([f"SYMBOL-{code:06}" for code in range(symbols)])
        exchange = pa.DictionaryArray.from_arrays(np.zeros(symbols, np.int32), pa.array(["BINANCE"]))
        symbol = pa.DictionaryArray.from_arrays(np.arange(symbols, dtype=np.int32), names)
        for step in range(GAPS_PER_SYMBOL + 1):
            tracker.check([exchange, symbol], pa.array(np.full(symbols, 1 + 2 * step, np.int64)))
        held.append(float(tracker.state_bytes))
    return Curve("a sequence state", "symbols", tuple(map(float, SYMBOLS)), "bytes", tuple(held))


def by_members(log: FilledLog, folder: Path) -> Curve:
    """Messages a second of a group, by its members."""
    rates = []
    for members in MEMBERS:
        command = [
            *(sys.executable, "-m", "benchmarks.group_members", "--brokers", log.kafka.bootstrap_servers),
            *("--members", str(members), "--messages", str(log.messages), "--folder", str(folder / f"g{members}")),
        ]
        done = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
        rates.append(float(json.loads(done.stdout)["messages_per_second"]))
    return Curve("a group", "members", tuple(map(float, MEMBERS)), "messages/s", tuple(rates))


def picture(curves: Sequence[Curve]) -> str:
    """Each curve on logarithmic axes, its exponent in the title."""
    # Charts are slow to import, and few runs need them.
    import altair as alt
    import vl_convert

    charts = []
    for curve in curves:
        points = [{"size": max(s, 1.0), "cost": c} for s, c in zip(curve.sizes, curve.costs, strict=True)]
        charts.append(
            alt.Chart(alt.InlineData(values=points))
            .mark_line(point=True)
            .encode(
                x=alt.X("size:Q", title=curve.size, scale=alt.Scale(type="log")),
                y=alt.Y("cost:Q", title=curve.unit, scale=alt.Scale(type="log")),
            )
            .properties(width=300, height=180, title=f"{curve.name}: exponent {curve.exponent:.2f}")
        )
    return str(vl_convert.vegalite_to_svg(alt.concat(*charts, columns=2).to_json()))


def main() -> None:
    """Measure, print and draw."""
    parser = argparse.ArgumentParser(description="How costs grow.")
    parser.add_argument("--rows", type=int, nargs="+", default=[0, 1, 5, 20], help="millions")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path, help="where the figures go; default build/benchmarks/growth.json")
    options = parser.parse_args()
    configure_logs("WARNING")
    report = Report("growth", "how costs grow", {"rows": options.rows, "rounds": options.rounds})
    curves = [per_symbol()]
    for measure in (
        per_commit,
        lambda place: per_query(options.rows, 60, place),
        lambda place: per_message(options.rows, options.rounds, place),
    ):
        with tempfile.TemporaryDirectory(prefix="k2-benchmark-") as folder:
            curves.append(measure(Path(folder)))
    with tempfile.TemporaryDirectory(prefix="k2-benchmark-") as folder, embedded_log(Path(folder), MESSAGES) as log:
        curves.append(by_members(log, Path(folder)))
    for curve in curves:
        for size, cost in zip(curve.sizes, curve.costs, strict=True):
            report.measurements.append(Measurement(f"{curve.name}, {size:,.0f} {curve.size}", curve.unit, (cost,)))
    report.details["curves"] = [{**asdict(curve), "exponent": curve.exponent} for curve in curves]
    report.show()
    for curve in curves:
        print(f"{curve.name} grows with {curve.size} to the power of {curve.exponent:.2f}")
    path = report.write(options.json)
    path.with_name("growth-curves.svg").write_text(picture(curves), encoding="utf-8")
    print(f"kept in {path}")


if __name__ == "__main__":
    main()
