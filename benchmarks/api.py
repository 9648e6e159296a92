"""The API at its limit and at half of it, beside DuckDB called directly by as many threads.

Run from the checkout: python -m benchmarks.api [--rows 1000000] [--rounds 3] [--json FILE]

Point queries: one symbol, one second, ten rows at most. In turn, with the same number of clients at once:

    DuckDB    threads of one process, a connection each, the same SQL on the files that K2's plan chose, rows as Arrow
    API       clients in a process of their own who ask again once they are answered: its saturation
    half      the same clients at half the saturation of that round, at random moments; latency from when each was due

DuckDB has the machine for itself; the API shares it with its clients, as on any one machine. Goals: saturation at least
70 % of DuckDB's answers, and at half of it a p99 of at most three times the p50.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import threading
import time
import urllib.parse
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import duckdb
import numpy as np

from benchmarks.harness import ROOT, Measurement, Ratio, Report
from benchmarks.query import EXCHANGE, Readers, windows, write_table
from benchmarks.serving import api_over
from k2.observability.logs import configure_logs
from k2.query.result import RowQuery
from k2.query.statements import Statement, select_rows
from k2.records.definition import TRADE
from k2.settings import QuerySettings

CLIENTS, ASKED, SECONDS, LIMIT = 8, 200, 10.0, 10
SATURATION_GOAL, LATENCY_GOAL = 0.7, 3.0


def questions(rows: int) -> list[RowQuery]:
    """Points all over the table."""
    return [RowQuery(one.symbol, EXCHANGE, one.start_ns, one.start_ns + 10**9, LIMIT) for one in windows(rows, ASKED)]


def path_of(query: RowQuery) -> str:
    """As the API is asked."""
    parameters = {"exchange": query.exchange, "symbol": query.symbol, "limit": LIMIT}
    parameters |= {"start_time": query.start_time_ns, "end_time": query.end_time_ns}
    return f"/v1/trades?{urllib.parse.urlencode(parameters)}"


def statements(readers: Readers, asked: Sequence[RowQuery]) -> list[Statement]:
    """The SQL that K2 would run, with the files of its plans."""
    made = []
    for query in asked:
        plan = readers.source.plan(
            TRADE.table,
            exchange=query.exchange,
            symbol=query.symbol,
            start_time_ns=query.start_time_ns,
            end_time_ns=query.end_time_ns,
        )
        made.append(select_rows(TRADE, plan.paths, query))
    return made


def by_duckdb(made: Sequence[Statement], settings: QuerySettings) -> float:
    """Answers a second of as many threads as there are clients."""
    database = duckdb.connect(":memory:", config={"threads": settings.threads})
    database.execute("SET parquet_metadata_cache = true")
    answers = [0] * CLIENTS
    stop_at = time.perf_counter() + SECONDS

    def work(client: int) -> None:
        connection = database.cursor()
        while time.perf_counter() < stop_at:
            statement = made[(client + CLIENTS * answers[client]) % len(made)]
            connection.sql(statement.sql, params=list(statement.parameters)).to_arrow_table()
            answers[client] += 1

    started = time.perf_counter()
    threads = [threading.Thread(target=work, args=(client,)) for client in range(CLIENTS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    took = time.perf_counter() - started
    database.close()
    return sum(answers) / took


def by_clients(url: str, asked: Sequence[RowQuery], rate: float = 0.0) -> dict[str, Any]:
    """What clients of the API saw.

    Raises:
        RuntimeError: an answer was not 200.
    """
    command = [sys.executable, "-m", "benchmarks.api_clients", "--url", url, "--clients", str(CLIENTS)]
    command += ["--seconds", str(SECONDS), "--rate", str(rate)]
    paths = "\n".join(path_of(query) for query in asked)
    done = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True, input=paths)
    seen: dict[str, Any] = json.loads(done.stdout)
    if seen["failed"]:
        raise RuntimeError(f"{seen['failed']} requests were not answered with 200")
    return seen


def measure(report: Report, readers: Readers, url: str, asked: Sequence[RowQuery], rounds: int) -> None:
    """The rounds, and the ratios of each; what comes first warms up and is not counted."""
    made, settings = statements(readers, asked), QuerySettings()
    direct: list[float] = []
    saturated: list[float] = []
    p50: list[float] = []
    p99: list[float] = []
    by_clients(url, asked)
    by_duckdb(made, settings)
    for _ in range(rounds):
        direct.append(by_duckdb(made, settings))
        saturated.append(by_clients(url, asked)["answers_per_second"])
        latencies = by_clients(url, asked, saturated[-1] / 2)["latencies_seconds"]
        for found, percent in ((p50, 50), (p99, 99)):
            found.append(float(np.percentile(latencies, percent)) * 1e3)
    of_duckdb = Measurement("DuckDB, called directly", "answers/s", tuple(direct))
    of_api = Measurement("API, saturated", "answers/s", tuple(saturated))
    half = [Measurement(f"API at half of it, {name}", "ms", tuple(v)) for name, v in (("p50", p50), ("p99", p99))]
    report.measurements = [of_duckdb, of_api, *half]
    report.ratios = [
        Ratio.of("API / DuckDB, answers a second", of_api, of_duckdb, at_least=SATURATION_GOAL),
        Ratio.of("p99 / p50 at half of saturation", half[1], half[0], at_most=LATENCY_GOAL),
    ]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="The API at its limit, beside DuckDB.")
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path, help="where the figures go; default build/benchmarks/api.json")
    options = parser.parse_args()
    configure_logs("WARNING")
    parameters = {"rows": options.rows, "rounds": options.rounds, "clients": CLIENTS, "seconds": SECONDS}
    report = Report("api", f"point queries of {CLIENTS} clients on {options.rows:,} rows", parameters)
    with tempfile.TemporaryDirectory(prefix="k2-benchmark-") as name:
        folder = Path(name) / "data"
        folder.mkdir()
        readers = Readers(write_table(folder, options.rows), QuerySettings())
        try:
            with api_over(folder, Path(name) / "api.log") as url:
                measure(report, readers, url, questions(options.rows), options.rounds)
        finally:
            readers.pool.close()
    report.show()
    print(f"kept in {report.write(options.json)}")


if __name__ == "__main__":
    main()
