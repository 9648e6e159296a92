"""Committed ingest on one core: K2 with everything on, beside a plain consumer and beside the floor of its own stages.

Run from the checkout: python -m benchmarks.ingest [--messages 400000] [--rounds 5] [--json FILE]

The same log on the same broker, taken in by each in turn, each a new process on one core; the broker has the other.
What each is, and what its times include: benchmarks/ingest_children.py. The goals: 15 times the plain consumer (a
message a call, as people write it first; 500 a call is shown beside it), and of the floor, which is the sum of what
reading, decoding, one sequence check and a Parquet file take alone, at least 65 %. Both are ratios of core seconds,
round by round: on one core that is what a consumer without idle time takes by the clock, and unlike that it hardly
depends on what else the machine does. Ratios by the clock are shown beside them.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks.filled_log import FilledLog, embedded_log
from benchmarks.harness import ROOT, Measurement, Ratio, Report

MESSAGES = 400_000
STAGES, K2, PLAIN, POLL = "stages", "k2", "plain", "plain-poll"
NAMES = {K2: "K2", PLAIN: "plain, 500 a call", POLL: "plain, one a call", STAGES: "floor"}
GOAL_PLAIN, GOAL_FLOOR, GOAL_RATE = 15.0, 0.65, 10_000.0
MICROSECONDS = "us/message"


def taken_in(which: str, log: FilledLog, folder: Path, core: int | None = 0, *options: str) -> dict[str, Any]:
    """One process takes in the whole log; its figures.

    Raises:
        RuntimeError: it failed; the message has its last line.
    """
    command = [
        *(sys.executable, "-m", "benchmarks.ingest_children", which, "--brokers", log.kafka.bootstrap_servers),
        *("--messages", str(log.messages), "--folder", str(folder)),
        *(() if core is None else ("--core", str(core))),
        *options,
    ]
    done = subprocess.run(command, cwd=ROOT, check=False, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{which}: {(done.stderr.strip().splitlines() or ['it said nothing'])[-1][:300]}")
    figures: dict[str, Any] = json.loads(done.stdout)
    return figures


def measure(messages: int, rounds: int, folder: Path, which: Sequence[str] = (STAGES, K2, PLAIN, POLL)) -> Report:
    """All of them, `rounds` times, after one round of K2 and the stages that is not counted."""
    parameters = {"messages": messages, "rounds": rounds, "batch_rows": 100_000, "partitions": 16}
    report = Report("ingest", f"{messages:,} trades taken in and committed, on one core", parameters)
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in which}
    with embedded_log(folder, messages) as log:
        if log.broker_pid is not None and (os.cpu_count() or 1) > 1:
            os.sched_setaffinity(log.broker_pid, {1})
        for number in range(rounds + 1):
            for name in which:
                # The plain ones compile nothing and take longest.
                if number or name in (STAGES, K2):
                    figures = taken_in(name, log, folder / f"{name}-{number}")
                    found[name].extend([figures] if number else [])
    for name, taken in found.items():
        report.measurements += [
            Measurement(f"{NAMES[name]}, core", MICROSECONDS, per_message(taken, "core_seconds")),
            Measurement(f"{NAMES[name]}, clock", MICROSECONDS, per_message(taken, "seconds")),
        ]
    for name in found[STAGES][0]["stages"]:
        values = per_message([one["stages"][name] | {"messages": messages} for one in found[STAGES]], "core_seconds")
        report.measurements.append(Measurement(f"floor: {name}, core", MICROSECONDS, values))
    report.details["steps_seconds"] = [one["steps"] for one in found[K2]]
    report.ratios = ratios({one.name: one for one in report.measurements})
    return report


def per_message(figures: Sequence[dict[str, Any]], name: str) -> tuple[float, ...]:
    """Microseconds a message of each round."""
    return tuple(one[name] / one["messages"] * 1e6 for one in figures)


def ratios(by_name: dict[str, Measurement]) -> list[Ratio]:
    """What has goals, and the same by the clock."""
    k2 = by_name["K2, core"]
    rate = Measurement("rate", "messages/s", tuple(1e6 / value for value in by_name["K2, clock"].values))
    found = [
        Ratio.of("floor / K2, core", by_name["floor, core"], k2, at_least=GOAL_FLOOR),
        Ratio("K2, messages a second by the clock", rate.median, GOAL_RATE, None, min(rate.values), max(rate.values)),
    ]
    for name in (PLAIN, POLL):
        if f"{NAMES[name]}, core" in by_name:
            goal = {"at_least": GOAL_PLAIN} if name == POLL else {}
            found.append(Ratio.of(f"{NAMES[name]} / K2, core", by_name[f"{NAMES[name]}, core"], k2, **goal))
            clocks = by_name[f"{NAMES[name]}, clock"], by_name["K2, clock"]
            found.append(Ratio.of(f"{NAMES[name]} / K2, clock", *clocks))
    return found


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="Committed ingest on one core.")
    parser.add_argument("--messages", type=int, default=MESSAGES)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", type=Path, help="where the figures go; default build/benchmarks/ingest.json")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="k2-benchmark-") as folder:
        report = measure(options.messages, options.rounds, Path(folder))
    report.show()
    print(f"kept in {report.write(options.json)}")


if __name__ == "__main__":
    main()
