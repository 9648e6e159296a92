"""Latency budgets: what each stage may take, what it took, and what is left; the page's table is from them.

    python -m scripts.latency_budget [--check]     write docs/operations/latency-budget.md, or say whether it is current
    python -m scripts.latency_budget --measure 60  first take the measured figures anew, in so many seconds

The figures are in docs/operations/latency-budget.toml. They are read from the histograms that K2 exports, while an
embedded platform is fed and asked; a quantile is as fine as the buckets of its histogram.

Exit status: 0; 1 where the page is not current, or a stage takes longer than its budget.
"""

import argparse
import os
import re
import sys
import tempfile
import time
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

ROOT = Path(__file__).resolve().parent.parent
FIGURES = ROOT / "docs" / "operations" / "latency-budget.toml"
PAGE = FIGURES.with_suffix(".md")
_SECTION = re.compile(r"(<!-- budgets:[^\n]*-->\n).*?(<!-- end of budgets -->)", re.DOTALL)
_RATE = 200.0
_ASKED_A_SECOND = 5.0
_SHARES = {"p50_ms": 0.5, "p99_ms": 0.99}


@dataclass(frozen=True, slots=True)
class Stage:
    """One stage of a path.

    Attributes:
        path: which path; its stages follow one another.
        name: for people.
        series: of its histogram, "name{label=value}".
        budget_ms: what 99 of 100 may take.
        p50_ms, p99_ms: what they took.
        samples: how many were measured.
    """

    path: str
    name: str
    series: str
    budget_ms: float
    p50_ms: float
    p99_ms: float
    samples: int

    @property
    def is_kept(self) -> bool:
        """Whether it takes no longer than it may."""
        return self.p99_ms <= self.budget_ms


def read(document: Mapping[str, Any]) -> tuple[list[Stage], dict[str, float]]:
    """The stages, and the objective of each path in milliseconds.

    Raises:
        ValueError: the budgets of a path add up to more than its objective.
    """
    stages = [Stage(**one) for one in document["stage"]]
    objectives = {one["name"]: float(one["objective_ms"]) for one in document["path"]}
    for path, objective_ms in objectives.items():
        given_ms = sum(stage.budget_ms for stage in stages if stage.path == path)
        if given_ms > objective_ms:
            raise ValueError(f"the budgets of {path} add up to {given_ms:g} ms, its objective is {objective_ms:g} ms")
    return stages, objectives


def table(stages: Sequence[Stage], objectives: Mapping[str, float]) -> str:
    """A row for each stage, and one for each path: the sum of its stages beside its objective."""
    rows = ["| path | stage | budget, ms | p50, ms | p99, ms | left, ms |\n", "|---|---|---|---|---|---|\n"]
    for path, objective_ms in objectives.items():
        chosen = [stage for stage in stages if stage.path == path]
        for one in chosen:
            left = f"{one.budget_ms - one.p99_ms:,.0f}"
            rows.append(f"| {path} | {one.name} | {one.budget_ms:,g} | {one.p50_ms:,g} | {one.p99_ms:,g} | {left} |\n")
        p50_ms, p99_ms = sum(one.p50_ms for one in chosen), sum(one.p99_ms for one in chosen)
        cells = f"**{objective_ms:,g}** | {p50_ms:,.1f} | {p99_ms:,.1f} | {objective_ms - p99_ms:,.0f}"
        rows.append(f"| {path} | **all, beside the objective** | {cells} |\n")
    return "".join(rows)


def quantile_ms(buckets: Sequence[tuple[float, float]], share: float) -> float:
    """The upper bound of the bucket that a share of the samples is in, in milliseconds.

    Args:
        buckets: (upper bound in seconds, samples up to it), rising.
        share: 0.99 for p99.
    """
    total = buckets[-1][1]
    return next(bound for bound, count in buckets if count >= share * total) * 1000


def measured(stage: Mapping[str, Any], expositions: Sequence[str]) -> dict[str, Any]:
    """A stage with what the histograms say of it.

    Raises:
        ValueError: nothing was measured.
    """
    name, _, labels = str(stage["series"]).partition("{")
    wanted = dict(pair.split("=") for pair in labels.rstrip("}").split(",") if pair)
    counts: dict[float, float] = {}
    for sample in (one for text in expositions for one in _samples(text, f"{name}_bucket")):
        if all(sample.labels.get(label) == value for label, value in wanted.items()):
            bound = float(sample.labels["le"])
            counts[bound] = counts.get(bound, 0) + sample.value
    buckets = sorted(counts.items())
    if not buckets or not buckets[-1][1]:
        raise ValueError(f"nothing was measured of {stage['series']}")
    found = {field: round(quantile_ms(buckets, share), 3) for field, share in _SHARES.items()}
    return {**stage, **found, "samples": int(buckets[-1][1])}


def _samples(exposition: str, name: str) -> Iterator[Any]:
    for family in text_string_to_metric_families(exposition):
        yield from (sample for sample in family.samples if sample.name == name)


def expositions_of_a_run(seconds: float) -> list[str]:
    """What consumer and API export after they worked for so long."""
    import json
    import urllib.request

    from conformance.stacks.embedded import EmbeddedStack

    def get(url: str) -> str:
        with urllib.request.urlopen(url, timeout=30) as answer:
            return str(answer.read().decode())

    with tempfile.TemporaryDirectory() as folder, EmbeddedStack(Path(folder)) as stack:
        consumer = stack.start_consumer("trades", environment={"K2_CONSUMER__METRICS_PORT": "0"})
        metrics_url = json.loads(consumer.next_line())["metrics_url"]
        stack.start_feed(_RATE, 1)
        api_url = stack.start_api()
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            get(f"{api_url}/v1/trades?symbol=BTCUSDT&limit=100")
            time.sleep(1 / _ASKED_A_SECOND)
        return [get(metrics_url), get(f"{api_url}/metrics")]


def write_figures(document: Mapping[str, Any], expositions: Sequence[str]) -> None:
    """The figures file with what was measured now."""
    lines = ["# What each stage may take, and took. `python -m scripts.latency_budget --measure 60` measures anew.\n"]
    lines += [f"cores = {os.cpu_count()}\n", f"load = {os.getloadavg()[0]:.1f}\n"]
    for path in document["path"]:
        lines += ["\n[[path]]\n", *(f"{name} = {_toml(value)}\n" for name, value in path.items())]
    for stage in document["stage"]:
        told = measured(stage, expositions)
        lines += ["\n[[stage]]\n", *(f"{name} = {_toml(value)}\n" for name, value in told.items())]
    FIGURES.write_text("".join(lines), encoding="utf-8")


def _toml(value: Any) -> str:
    return f'"{value}"' if isinstance(value, str) else f"{value:g}" if isinstance(value, float) else str(value)


def main(arguments: list[str]) -> int:
    """Write the page, or check it."""
    parser = argparse.ArgumentParser(prog="python -m scripts.latency_budget")
    parser.add_argument("--check", action="store_true", help="write nothing")
    parser.add_argument("--measure", type=float, metavar="SECONDS", help="take the measured figures anew")
    options = parser.parse_args(arguments)
    if options.measure:
        document = tomllib.loads(FIGURES.read_text(encoding="utf-8"))
        write_figures(document, expositions_of_a_run(options.measure))
    figures = tomllib.loads(FIGURES.read_text(encoding="utf-8"))
    stages, objectives = read(figures)
    before = PAGE.read_text(encoding="utf-8")
    where = f"On {figures['cores']} cores; load of the machine meanwhile {figures['load']:g}."
    told = f"{table(stages, objectives)}\n{where}\n"
    after, found = _SECTION.subn(lambda match: match[1] + told + match[2], before)
    late = [stage.name for stage in stages if not stage.is_kept]
    if late:
        print(f"over budget: {', '.join(late)}", file=sys.stderr)
    if options.check:
        return int(bool(late) or after != before or found != 1)
    PAGE.write_text(after, encoding="utf-8")
    return int(bool(late))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
