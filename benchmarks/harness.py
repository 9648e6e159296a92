"""What all measurements share: work timed in turn, ratios with goals, and one form of report: table, JSON, picture.

Everything that is compared takes turns within a round, so that what else the machine does falls on all alike; the first
round is not counted. A goal is about a ratio of figures of one run. One that is missed is shown like one that is met.
"""

import importlib.metadata
import json
import os
import platform
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

ROOT = Path(__file__).resolve().parent.parent
RESULTS = ROOT / "build" / "benchmarks"
_LIBRARIES = ("confluent-kafka", "duckdb", "fastavro", "locust", "numba", "numpy", "pyarrow", "pyiceberg", "uvicorn")


@dataclass(frozen=True, slots=True)
class Sample:
    """What a piece of work took: seconds by the clock, and of all cores."""

    seconds: float
    core_seconds: float


@dataclass(frozen=True, slots=True)
class Measurement:
    """A figure over all rounds.

    Attributes:
        name: of what was measured.
        unit: of the values.
        values: one a round, in order.
    """

    name: str
    unit: str
    values: tuple[float, ...]

    @property
    def median(self) -> float:
        """The middle one."""
        return statistics.median(self.values)

    def as_json(self) -> dict[str, Any]:
        """As kept."""
        return {
            "name": self.name,
            "unit": self.unit,
            "repetitions": len(self.values),
            "min": min(self.values),
            "median": self.median,
            "max": max(self.values),
            "values": list(self.values),
        }


@dataclass(frozen=True, slots=True)
class Ratio:
    """A ratio of figures of this run, and its goal if it has one.

    Attributes:
        name: what by what.
        value: the median of the rounds' ratios.
        at_least, at_most: the goal.
        worst, best: the smallest and the largest of a round.
    """

    name: str
    value: float
    at_least: float | None = None
    at_most: float | None = None
    worst: float | None = None
    best: float | None = None

    @classmethod
    def of(cls, name: str, above: Measurement, below: Measurement, **goal: float) -> "Ratio":
        """Round by round: what fell on one round fell on both."""
        rounds = [a / b for a, b in zip(above.values, below.values, strict=True)]
        return cls(name, statistics.median(rounds), worst=min(rounds), best=max(rounds), **goal)

    @property
    def is_met(self) -> bool | None:
        """Whether the goal is met; None without one."""
        if self.at_least is None and self.at_most is None:
            return None
        is_enough = self.at_least is None or self.value >= self.at_least
        return is_enough and (self.at_most is None or self.value <= self.at_most)

    @property
    def goal(self) -> str:
        """The goal in words; empty without one."""
        parts = [] if self.at_least is None else [f"at least {self.at_least:g}"]
        return " and ".join(parts if self.at_most is None else [*parts, f"at most {self.at_most:g}"])


@dataclass(slots=True)
class Report:
    """All figures of one benchmark, with what they were measured on.

    Attributes:
        benchmark: its name, which its files are called by.
        title: one line.
        parameters: what was chosen on the command line.
        measurements: figures.
        ratios: of them.
        details: anything else, as JSON.
        missing: what could not be measured here, and why.
    """

    benchmark: str
    title: str
    parameters: Mapping[str, Any]
    measurements: list[Measurement] = field(default_factory=list)
    ratios: list[Ratio] = field(default_factory=list)
    details: dict[str, Any] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)
    load_before: float = field(default_factory=lambda: os.getloadavg()[0])

    def as_json(self) -> dict[str, Any]:
        """As kept."""
        return {
            "benchmark": self.benchmark,
            "title": self.title,
            "measured_at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            "machine": machine(),
            "versions": {name: importlib.metadata.version(name) for name in _LIBRARIES},
            "load": {"before": self.load_before, "after": os.getloadavg()[0]},
            "parameters": dict(self.parameters),
            "measurements": [one.as_json() for one in self.measurements],
            "ratios": [{**asdict(one), "is_met": one.is_met} for one in self.ratios],
            "details": self.details,
            "missing": self.missing,
        }

    def write(self, path: Path | None = None) -> Path:
        """Keep it as JSON, beside it a picture; the path of the first. Without a path: build/benchmarks/NAME.json."""
        target = path or RESULTS / f"{self.benchmark}.json"
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(json.dumps(self.as_json(), indent=2) + "\n")
        target.with_suffix(".svg").write_text(_bars(self), encoding="utf-8")
        return target

    def show(self) -> None:
        """Print it."""
        console = Console()
        title = f"{self.title}; load {self.load_before:.1f} to {os.getloadavg()[0]:.1f}"
        table = Table("measured", "unit", "times", "min", "median", "max", title=title)
        for one in self.measurements:
            values = (f"{value:,.4g}" for value in (min(one.values), one.median, max(one.values)))
            table.add_row(one.name, one.unit, str(len(one.values)), *values)
        console.print(table)
        table = Table("ratio", "measured", "of the rounds", "goal", "")
        words = {True: "met", False: "MISSED", None: ""}
        for ratio in self.ratios:
            spread = "" if ratio.worst is None else f"{ratio.worst:.3g} to {ratio.best:.3g}"
            table.add_row(ratio.name, f"{ratio.value:.3g}", spread, ratio.goal, words[ratio.is_met])
        if self.ratios:
            console.print(table)
        for what, why in self.missing.items():
            console.print(f"not measured: {what}: {why}")


def machine() -> dict[str, Any]:
    """The machine it runs on."""
    names = [line.partition(":")[2].strip() for line in _lines("/proc/cpuinfo") if line.startswith("model name")]
    return {
        "cores": os.cpu_count(),
        "processor": names[0] if names else platform.processor(),
        "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        "kernel": platform.release(),
        "python": platform.python_version(),
    }


def timed(work: Callable[[], object]) -> Sample:
    """Do some work in this process and say what it took."""
    started, core_started = time.perf_counter(), time.process_time()
    work()
    return Sample(time.perf_counter() - started, time.process_time() - core_started)


def interleaved(tasks: Mapping[str, Callable[[], Sample]], rounds: int) -> dict[str, list[Sample]]:
    """Every task once a round; the samples of each, without the first round's."""
    samples: dict[str, list[Sample]] = {name: [] for name in tasks}
    for number in range(rounds + 1):
        for name, task in tasks.items():
            sample = task()
            if number:
                samples[name].append(sample)
    return samples


def exponent(sizes: Sequence[float], costs: Sequence[float]) -> float:
    """The exponent of the power of size that costs grow with, fitted by least squares: 0 flat, 1 linear."""
    import numpy as np

    return float(np.polyfit(np.log(sizes), np.log(costs), 1)[0])


def _lines(path: str) -> list[str]:
    try:
        return Path(path).read_text(errors="replace").splitlines()
    except OSError:
        return []


def _bars(report: Report) -> str:
    """Medians as bars with a line from the smallest to the largest, one chart a unit."""
    # Charts are slow to import, and few runs need them.
    import altair as alt
    import vl_convert

    charts = []
    for unit in dict.fromkeys(one.unit for one in report.measurements):
        rows = [one.as_json() for one in report.measurements if one.unit == unit]
        base = alt.Chart(alt.InlineData(values=[{k: v for k, v in row.items() if k != "values"} for row in rows]))
        names = alt.Y("name:N", title=None, sort=None, axis=alt.Axis(labelLimit=320))
        bars = base.mark_bar(color="#2166ac", opacity=0.75).encode(x=alt.X("median:Q", title=unit), y=names)
        lines = base.mark_rule(color="#333333").encode(x="min:Q", x2="max:Q", y=names)
        charts.append((bars + lines).properties(width=560))
    chart = alt.vconcat(*charts).properties(title=alt.TitleParams(report.title, anchor="start", fontSize=13))
    return str(vl_convert.vegalite_to_svg(chart.to_json()))
