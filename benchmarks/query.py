"""One symbol's 10-second window over millions of rows: K2's engine beside PyIceberg, bare DuckDB and iceberg_scan.

Run from the checkout: python -m benchmarks.query [--rows 5000000] [--rounds 40] [--json FILE]

One table is written with K2's own writer, in the order of arrival, and asked the same question in turn by

    K2                    the engine as the API calls it: catalog look-up, plan, pool, DuckDB, rows as Arrow
    PyIceberg to_duckdb   scan with the same filter, loaded table at hand, then the same SQL over what it read
    DuckDB, pruned list   the same SQL on the files that K2's plan chose, without catalog, plan and pool
    iceberg_scan          DuckDB 1.5.5 with its Iceberg extension, in an environment of its own, rows into a table

The windows differ from round to round and are the same for all; every answer is compared with K2's. Then several
clients ask K2 at once, beside one alone. Goals: 15 times as fast as to_duckdb, at most 1.2 times as long as bare
DuckDB, two clients 1.8 times one. What misses its goal is shown as such, with where the time goes.
"""

import argparse
import itertools
import json
import os
import statistics
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
from rich.console import Console
from rich.table import Table as Printed

from benchmarks.tables import BenchmarkTable
from conformance.drivers.independent_reader import ReaderMissingError, reader_python
from k2.clock import SystemClock
from k2.observability.logs import configure_logs
from k2.observability.metrics import Metrics
from k2.query.connection import DuckDBDatabase
from k2.query.engine import QueryEngine
from k2.query.pool import DuckDBConnectionPool
from k2.query.result import RowQuery
from k2.query.statements import select_rows
from k2.records.definition import TRADE
from k2.records.schemas import table_schema
from k2.settings import QuerySettings
from k2.storage.catalog import IcebergCatalog
from k2.storage.reader import TableReader, local_path

BATCH_ROWS, SYMBOLS, ROWS_PER_SECOND, WINDOW_SECONDS = 500_000, 1_000, 10_000, 10
EXCHANGE, TOPIC = "BINANCE", "market.crypto.trades"
FIRST_NS = 20_778 * 86_400 * 10**9
GOALS = {"PyIceberg to_duckdb / K2": 15.0, "K2 / DuckDB, pruned list": 1.2, "two clients / one": 1.8}
CLIENT_SECONDS = 4.0

_SCAN = """
import json, sys, time
from pathlib import Path
import duckdb, duckdb_extension_avro, duckdb_extension_iceberg
connection = duckdb.connect(":memory:", config={"threads": 2})
for module, name in ((duckdb_extension_avro, "avro"), (duckdb_extension_iceberg, "iceberg")):
    (path,) = Path(module.__file__).parent.rglob(f"{name}.duckdb_extension")
    connection.execute(f"LOAD '{path}'")
for line in sys.stdin:
    sql, parameters = json.loads(line)
    started = time.perf_counter()
    connection.execute(f"CREATE OR REPLACE TEMP TABLE answer AS {sql}", parameters)
    seconds = time.perf_counter() - started
    print(json.dumps([seconds, connection.execute("SELECT count(*) FROM answer").fetchone()[0]]), flush=True)
"""


@dataclass(frozen=True, slots=True)
class Window:
    """One question: a symbol, and a start on the exchange's clock."""

    symbol: str
    start_ns: int

    @property
    def end_ns(self) -> int:
        """Ten seconds later."""
        return self.start_ns + WINDOW_SECONDS * 10**9

    @property
    def query(self) -> RowQuery:
        """As the engine is asked."""
        return RowQuery(self.symbol, EXCHANGE, self.start_ns, self.end_ns, 10_000)


@dataclass(frozen=True, slots=True)
class Measurement:
    """Times of one reader, ms."""

    reader: str
    least_ms: float
    median_ms: float
    most_ms: float


def batch(first: int, rows: int, chance: np.random.Generator) -> pa.Table:
    """Trades in order of arrival, symbols at random, times rising."""
    numbers = np.arange(first, first + rows)
    times_ns = FIRST_NS + numbers * (10**9 // ROWS_PER_SECOND)
    symbols = pa.array([f"SYM{code:04}" for code in range(SYMBOLS)])
    columns: dict[str, Any] = {
        "session": pa.array(["morning"] * rows),
        "session_sequence": numbers + 1,
        "exchange": pa.array([EXCHANGE] * rows),
        "symbol": pa.DictionaryArray.from_arrays(chance.integers(0, SYMBOLS, rows), symbols).cast(pa.string()),
        "asset_class": pa.array(["crypto"] * rows),
        "event_time_ns": times_ns,
        "receive_time_ns": times_ns + 1_000,
        "source_sequence": numbers,
        "trade_id": pa.array(numbers).cast(pa.string()),
        "price": pa.array(chance.integers(1, 10**9, rows)).cast(pa.decimal128(28, 0)).cast(pa.decimal128(38, 10)),
        "quantity": pa.array([Decimal("0.5")] * rows),
        "side": pa.array(["BUY"] * rows),
        "vendor_data": pa.array([[]] * rows, pa.map_(pa.string(), pa.string())),
        "topic": pa.array([TOPIC] * rows),
        "kafka_partition": np.zeros(rows, np.int32),
        "kafka_offset": numbers,
        "schema_id": np.ones(rows, np.int32),
        "event_time": times_ns // 1_000,
        "receive_time": times_ns // 1_000,
        "sequence_event": pa.array(["IN_ORDER"] * rows),
        "quality_flags": np.zeros(rows, np.int32),
    }
    schema = table_schema(TRADE)
    arrays = [pa.array(columns[f.name]).cast(f.type) if f.name in columns else pa.nulls(rows, f.type) for f in schema]
    return pa.Table.from_arrays(arrays, schema=schema)


def write_table(folder: Path, rows: int) -> IcebergCatalog:
    """A table of so many rows, committed batch by batch."""
    table, chance = BenchmarkTable(folder), np.random.default_rng(1)
    for first in range(0, rows, BATCH_ROWS):
        table.commit(*table.write(batch(first, min(BATCH_ROWS, rows - first), chance)))
    return table.catalog


def windows(rows: int, count: int) -> list[Window]:
    """Different questions, spread over the table."""
    chance = np.random.default_rng(2)
    last_second = max(1, rows // ROWS_PER_SECOND - WINDOW_SECONDS)
    return [
        Window(f"SYM{chance.integers(0, SYMBOLS):04}", FIRST_NS + int(chance.integers(0, last_second)) * 10**9)
        for _ in range(count)
    ]


class Readers:
    """Everything that is asked, by name; each call answers its number of rows."""

    def __init__(self, catalog: IcebergCatalog, settings: QuerySettings) -> None:
        self.source = TableReader(catalog)
        database = DuckDBDatabase(Path(local_path(catalog.warehouse)), settings)
        self.pool = DuckDBConnectionPool(database, pool_size=8, metrics=Metrics(), clock=SystemClock())
        self.engine = QueryEngine(self.source, self.pool, settings, Metrics(), SystemClock())
        self._table = catalog.load(TRADE.table)
        self._bare = duckdb.connect(":memory:", config={"threads": settings.threads})
        self._bare.execute("SET parquet_metadata_cache = true")
        self.metadata = local_path(self._table.metadata_location)
        self._plans: dict[Window, tuple[str, ...]] = {}

    def k2(self, window: Window) -> int:
        """K2's engine."""
        (result,) = self.engine.query_rows(TRADE.data_type, [window.query])
        return int(result.rows.num_rows)

    def to_duckdb(self, window: Window) -> int:
        """PyIceberg's scan into DuckDB."""
        wanted = (
            f"exchange = '{EXCHANGE}' AND symbol = '{window.symbol}' "
            f"AND event_time_ns >= {window.start_ns} AND event_time_ns < {window.end_ns}"
        )
        connection = self._table.scan(row_filter=wanted).to_duckdb("trades")
        rows = connection.sql("SELECT * FROM trades ORDER BY event_time_ns").to_arrow_table().num_rows
        connection.close()
        return int(rows)

    def pruned_list(self, window: Window) -> int:
        """Bare DuckDB on the files of K2's plan, which was made before."""
        statement = select_rows(TRADE, self._plans[window], window.query)
        return int(self._bare.sql(statement.sql, params=list(statement.parameters)).to_arrow_table().num_rows)

    def prepare(self, asked: list[Window]) -> None:
        """Make the plans that bare DuckDB is given."""
        for window in asked:
            plan = self.source.plan(
                TRADE.table,
                exchange=EXCHANGE,
                symbol=window.symbol,
                start_time_ns=window.start_ns,
                end_time_ns=window.end_ns,
            )
            self._plans[window] = plan.paths


@contextmanager
def iceberg_scan(metadata: str) -> Iterator[Callable[[Window], tuple[float, int]]]:
    """Asks the other environment's process, which measures itself."""
    process = subprocess.Popen(
        [str(reader_python()), "-I", "-c", _SCAN], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    questions, answers = process.stdin, process.stdout
    assert questions is not None
    assert answers is not None
    sql = (
        "SELECT * FROM iceberg_scan(?) WHERE exchange = ? AND symbol = ? AND event_time_ns >= ? AND event_time_ns < ? "
        "ORDER BY event_time_ns"
    )

    def ask(window: Window) -> tuple[float, int]:
        parameters = [metadata, EXCHANGE, window.symbol, window.start_ns, window.end_ns]
        questions.write(json.dumps([sql, parameters]) + "\n")
        questions.flush()
        seconds, rows = json.loads(answers.readline())
        return seconds, rows

    with process:
        yield ask
        questions.close()


def interleaved(readers: Readers, asked: list[Window]) -> tuple[list[Measurement], str]:
    """Every reader in every round; the first round is not counted. And why a reader is missing, if one is."""
    here: dict[str, Callable[[Window], int]] = {
        "K2": readers.k2,
        "PyIceberg to_duckdb": readers.to_duckdb,
        "DuckDB, pruned list": readers.pruned_list,
    }
    seconds: dict[str, list[float]] = {name: [] for name in (*here, "iceberg_scan")}
    missing = ""
    try:
        with iceberg_scan(readers.metadata) as scan:
            for window in asked:
                rows = ask_each(here, window, seconds)
                took, found = scan(window)
                agree("iceberg_scan", found, rows)
                seconds["iceberg_scan"].append(took)
    except ReaderMissingError as error:
        missing = str(error)
        del seconds["iceberg_scan"]
        for window in asked:
            ask_each(here, window, seconds)
    return [summary(name, times[1:]) for name, times in seconds.items()], missing


def ask_each(here: dict[str, Callable[[Window], int]], window: Window, seconds: dict[str, list[float]]) -> int:
    """One round of the readers of this process; all must find the same number of rows."""
    expected = None
    for name, ask in here.items():
        started = time.perf_counter()
        rows = ask(window)
        seconds[name].append(time.perf_counter() - started)
        expected = rows if expected is None else expected
        agree(name, rows, expected)
    assert expected is not None
    return expected


def agree(name: str, rows: int, expected: int) -> None:
    """Stop where readers find different rows."""
    if rows != expected:
        raise SystemExit(f"{name} found {rows} rows where K2 found {expected}")


def summary(name: str, times: list[float]) -> Measurement:
    """Least, median and most, in ms."""
    return Measurement(name, min(times) * 1e3, statistics.median(times) * 1e3, max(times) * 1e3)


def queries_per_second(ask: Callable[[Window], int], asked: list[Window], clients: int) -> float:
    """How many answers so many clients get together."""
    answers = [0] * clients
    stop_at = time.perf_counter() + CLIENT_SECONDS

    def work(client: int) -> None:
        while time.perf_counter() < stop_at:
            ask(asked[(client + clients * answers[client]) % len(asked)])
            answers[client] += 1

    started = time.perf_counter()
    threads = [threading.Thread(target=work, args=(client,)) for client in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sum(answers) / (time.perf_counter() - started)


def profile(readers: Readers, asked: list[Window]) -> dict[str, float]:
    """Where K2's time goes, median ms of each part."""
    parts: dict[str, list[float]] = {"plan": [], "borrow": [], "statement": [], "DuckDB": []}
    for window in asked:
        moments = [time.perf_counter()]
        plan = readers.source.plan(
            TRADE.table,
            exchange=EXCHANGE,
            symbol=window.symbol,
            start_time_ns=window.start_ns,
            end_time_ns=window.end_ns,
        )
        moments.append(time.perf_counter())
        with readers.pool.acquire() as connection:
            moments.append(time.perf_counter())
            statement = select_rows(TRADE, plan.paths, window.query)
            moments.append(time.perf_counter())
            connection.fetch(statement.sql, statement.parameters)
            moments.append(time.perf_counter())
        for name, (start, end) in zip(parts, itertools.pairwise(moments), strict=True):
            parts[name].append((end - start) * 1e3)
    return {name: statistics.median(times) for name, times in parts.items()}


def ratios(measurements: list[Measurement], rates: dict[int, float]) -> dict[str, float]:
    """The figures that have goals, and those that have none."""
    median = {one.reader: one.median_ms for one in measurements}
    found = {
        "PyIceberg to_duckdb / K2": median["PyIceberg to_duckdb"] / median["K2"],
        "K2 / DuckDB, pruned list": median["K2"] / median["DuckDB, pruned list"],
        "two clients / one": rates[2] / rates[1],
    }
    if "iceberg_scan" in median:
        found["iceberg_scan / K2"] = median["iceberg_scan"] / median["K2"]
    return found


def is_met(name: str, ratio: float) -> bool | None:
    """Whether a ratio meets its goal; None where it has none."""
    if name not in GOALS:
        return None
    return ratio <= GOALS[name] if name.startswith("K2 /") else ratio >= GOALS[name]


def show(figures: dict[str, Any]) -> None:
    """The figures as tables."""
    console = Console()
    table = Printed("reader", "min ms", "median ms", "max ms", title=f"{figures['rows']:,} rows, one symbol, 10 s")
    for one in figures["measurements"]:
        table.add_row(one["reader"], *(f"{one[name]:.2f}" for name in ("least_ms", "median_ms", "most_ms")))
    console.print(table)
    table = Printed("clients", "queries/s", title=f"{os.cpu_count()} cores")
    for clients, rate in figures["queries_per_second"].items():
        table.add_row(str(clients), f"{rate:.0f}")
    console.print(table)
    table = Printed("ratio", "measured", "goal", "")
    words = {True: "met", False: "MISSED", None: ""}
    for name, ratio in figures["ratios"].items():
        goal = f"{GOALS[name]:g}" if name in GOALS else ""
        table.add_row(name, f"{ratio:.2f}", goal, words[is_met(name, ratio)])
    console.print(table)
    parts = ", ".join(f"{name} {milliseconds:.2f}" for name, milliseconds in figures["profile_ms"].items())
    console.print(f"where K2's time goes, median ms: {parts}; load {figures['load_average'][0]:.1f}")
    if figures["missing"]:
        console.print(figures["missing"])


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="One-symbol window queries, side by side.")
    parser.add_argument("--rows", type=int, default=5_000_000)
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--json", type=Path, default=None, help="write the figures to this file as well")
    options = parser.parse_args()
    configure_logs("WARNING")
    with tempfile.TemporaryDirectory(prefix="k2-bench-") as folder:
        catalog = write_table(Path(folder), options.rows)
        readers = Readers(catalog, QuerySettings())
        asked = windows(options.rows, options.rounds + 1)
        readers.prepare(asked)
        measurements, missing = interleaved(readers, asked)
        rates = {clients: queries_per_second(readers.k2, asked, clients) for clients in (1, 2, 4, 8)}
        figures = {
            "rows": options.rows,
            "rounds": options.rounds,
            "measurements": [asdict(one) for one in measurements],
            "queries_per_second": rates,
            "ratios": ratios(measurements, rates),
            "goals": GOALS,
            "profile_ms": profile(readers, asked),
            "load_average": os.getloadavg(),
            "missing": missing,
        }
        readers.pool.close()
        catalog.close()
    show(figures)
    if options.json is not None:
        options.json.write_text(json.dumps(figures, indent=2) + "\n")


if __name__ == "__main__":
    main()
