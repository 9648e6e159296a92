"""What benchmarks/ measures, as facts for a judge: each figure with the goal it meets or misses."""

import json
import subprocess
import sys
from math import inf
from pathlib import Path
from typing import Any

from conformance.drivers.facts import record_fact
from conformance.history import HistoryWriter

ROOT = Path(__file__).resolve().parents[2]
REMEDY = "docs/performance.md says what was measured and where the time goes; python -m benchmarks.{} measures it"


def measured(benchmark: str, folder: Path, *options: str) -> dict[str, Any]:
    """The figures of a benchmark, run in a process of its own.

    Raises:
        CalledProcessError: it failed.
    """
    kept = folder / f"{benchmark}.json"
    command = [sys.executable, "-m", f"benchmarks.{benchmark}", "--json", str(kept), *options]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
    figures: dict[str, Any] = json.loads(kept.read_text())
    return figures


def record_goal(
    history: HistoryWriter, name: str, value: float, samples: int, *, least: float = 0, most: float = inf
) -> str:
    """The fact that a figure meets its goal; figure and goal in words."""
    goal = f"at least {least:g}" if most == inf else f"at most {most:g}"
    record_fact(history, f"{name} is {goal}", True, lambda: least <= value <= most, samples=samples)
    return f"{name}: {value:.3g}, must be {goal}"


def ratio_of(figures: dict[str, Any], name: str) -> float:
    """A ratio of a report."""
    return float(next(one["value"] for one in figures["ratios"] if one["name"] == name))
