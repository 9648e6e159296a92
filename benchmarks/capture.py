"""From a capture on disk to the answer: how long until every row of a file can be asked for.

Run from the checkout: python -m benchmarks.capture [--rows 1000000] [--rounds 2] [--json FILE]

    read      the capture's lines to records, in this process
    whole     from the start of `k2 feed --capture` until the tables hold every trade and the API answers the last one,
              on a platform that runs: embedded broker, consumer, API, each a process

Seconds by the clock for all rows. Goal: a million rows in less than 3 s.
"""

import argparse
import json
import tempfile
import time
import urllib.request
from collections import deque
from pathlib import Path
from urllib.parse import urlencode

from benchmarks.harness import Measurement, Ratio, Report
from conformance.drivers.dlq_command import k2
from conformance.stacks.embedded import EmbeddedStack
from k2.assembly.tables import committed_offsets
from k2.feeds.binance import BinanceCapture
from k2.feeds.capture_writer import write_capture
from k2.feeds.synthetic import SyntheticExchange, SyntheticSettings

MILLION = 1_000_000
GOAL_SECONDS = 3.0
PARTITIONS = 16
PATIENCE_SECONDS = 600.0
LOOK_SECONDS = 0.02


def write_trades(path: Path, rows: int) -> None:
    """A capture of so many trades, each of which becomes a row."""
    settings = SyntheticSettings(records=rows, trade_share=1.0, gap_rate=0.0, duplicate_rate=0.0, reorder_rate=0.0)
    write_capture(SyntheticExchange(settings), path, compressed=False)


def read(path: Path) -> float:
    """Seconds for its records, none of which is kept."""
    started = time.perf_counter()
    deque(BinanceCapture(path, lambda line: None), maxlen=0)
    return time.perf_counter() - started


def whole(path: Path, rows: int, folder: Path) -> float:
    """Seconds until all can be asked for.

    Raises:
        TimeoutError: they cannot after minutes.
        RuntimeError: the feed failed.
    """
    with EmbeddedStack(folder, partitions=PARTITIONS) as stack:
        stack.start_consumer("trades")
        url = stack.start_api()
        ask = committed_offsets(stack.settings)
        started = time.perf_counter()
        answer = k2(stack, "feed", "--capture", str(path), "--json")
        if answer.exit_code:
            raise RuntimeError(f"k2 feed ended with {answer.exit_code}: {answer.stderr[-300:]}")
        while sum(ask().values()) < rows:
            if time.perf_counter() - started > PATIENCE_SECONDS:
                raise TimeoutError(f"the tables hold {sum(ask().values()):,} of {rows:,} rows")
            time.sleep(LOOK_SECONDS)
        symbols = f"{url}/v1/symbols?{urlencode({'data_type': 'trades'})}"
        with urllib.request.urlopen(symbols, timeout=60) as found:
            listed = json.load(found)["data"]
        if not listed:
            raise RuntimeError("the API has nothing to answer")
        return time.perf_counter() - started


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="From a capture to the answer.")
    parser.add_argument("--rows", type=int, default=MILLION)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--json", type=Path, help="where the figures go; default build/benchmarks/capture.json")
    options = parser.parse_args()
    report = Report("capture", f"a capture of {options.rows:,} trades", vars(options) | {"json": None})
    took: dict[str, list[float]] = {"read": [], "whole": []}
    with tempfile.TemporaryDirectory(prefix="k2-benchmark-") as name:
        path = Path(name) / "trades.capture"
        write_trades(path, options.rows)
        for number in range(options.rounds):
            took["read"].append(read(path))
            took["whole"].append(whole(path, options.rows, Path(name) / f"round-{number}"))
    report.measurements = [Measurement(name, "s", tuple(seconds)) for name, seconds in took.items()]
    # In proportion, so that a smaller file is no way to meet it.
    goal = Measurement("goal", "s", tuple(GOAL_SECONDS * options.rows / MILLION for _ in took["whole"]))
    report.ratios = [Ratio.of(f"whole / {GOAL_SECONDS:g} s a million", report.measurements[1], goal, at_most=1.0)]
    report.show()
    print(f"kept in {report.write(options.json)}")


if __name__ == "__main__":
    main()
