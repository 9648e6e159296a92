"""Run the project's checks, cheapest first; stop at the first that fails, and close with what ran and how long it took.

    python scripts/check.py [GROUP ...]     lint, unit, smoke, containers, chaos; all of them where none is named

Make and tox come here, so a check is named once. Exit status: that of the step that failed, 0 if none did.
"""

import argparse
import subprocess
import sys
import sysconfig
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
SCRIPTS = Path(sysconfig.get_path("scripts"))
EXIT_INTERRUPTED = 130


@dataclass(frozen=True, slots=True)
class Step:
    """One command, run at the project's root.

    Attributes:
        group: what it is asked for by.
        name: as the summary shows it.
        command: argument list.
    """

    group: str
    name: str
    command: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a step ended."""

    step: Step
    exit_status: int
    seconds: float


def _module(*arguments: str) -> tuple[str, ...]:
    return (sys.executable, "-m", *arguments)


def _without(*folders: str) -> tuple[str, ...]:
    return tuple(f"--ignore={folder}" for folder in folders)


STEPS = (
    Step("lint", "ruff check", _module("ruff", "check", "--quiet", ".")),
    Step("lint", "ruff format", _module("ruff", "format", "--check", "--quiet", ".")),
    Step("lint", "import arrows", (str(SCRIPTS / "lint-imports"), "--no-logo")),
    Step("lint", "metric labels", (sys.executable, "scripts/validate_metrics_labels.py")),
    Step("lint", "mypy", _module("mypy")),
    Step("unit", "repository", _module("pytest", "--quiet", "tests/repository")),
    Step(
        "unit",
        "unit tests",
        _module("pytest", "--quiet", "-n", "auto", "tests", *_without("tests/repository", "tests/containers")),
    ),
    Step(
        "smoke",
        "conformance",
        _module("conformance", "run", "--stack", "embedded", "--profile", "smoke", "--into", "build/test-run"),
    ),
    # By itself, one after the other: it starts servers, and none of the others must have the machine meanwhile.
    Step("containers", "containers", (sys.executable, "scripts/container_tests.py")),
    # After it: on its engine, or where there is none on the embedded stack.
    Step("chaos", "chaos", _module("chaos", "run", "--profile", "smoke", "--into", "build/chaos-run")),
)
GROUPS = tuple(dict.fromkeys(step.group for step in STEPS))


def run(steps: Sequence[Step]) -> list[Outcome]:
    """Run the steps in order up to and including the first that fails; their output goes straight through."""
    outcomes: list[Outcome] = []
    for step in steps:
        print(f"\n--- {step.name}", flush=True)
        started = time.monotonic()
        try:
            exit_status = subprocess.run(step.command, cwd=ROOT, check=False).returncode
        except KeyboardInterrupt:
            exit_status = EXIT_INTERRUPTED
        outcomes.append(Outcome(step, exit_status, time.monotonic() - started))
        if exit_status != 0:
            break
    return outcomes


def summary(steps: Sequence[Step], outcomes: Sequence[Outcome]) -> str:
    """One line a step: passed, failed or not run, with its seconds."""
    lines = []
    for outcome in outcomes:
        verdict = "passed" if outcome.exit_status == 0 else f"FAILED (exit {outcome.exit_status})"
        lines.append(f"{outcome.step.name:<16}{verdict:<20}{outcome.seconds:7.1f} s")
    lines += [f"{step.name:<16}not run" for step in steps[len(outcomes) :]]
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the groups named on the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("groups", nargs="*", metavar="GROUP", help=f"any of: {', '.join(GROUPS)}")
    wanted = parser.parse_args(arguments).groups or GROUPS
    if unknown := [group for group in wanted if group not in GROUPS]:
        parser.error(f"no group called {', '.join(unknown)}; there are {', '.join(GROUPS)}")
    steps = [step for step in STEPS if step.group in wanted]
    outcomes = run(steps)
    print(f"\n{summary(steps, outcomes)}")
    return outcomes[-1].exit_status


if __name__ == "__main__":
    sys.exit(main())
