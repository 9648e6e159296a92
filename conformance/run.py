"""One run of the clauses: a run directory, pytest in it, the checkers' kill rates, the mutants, and the machine."""

import importlib.metadata
import json
import os
import platform
import secrets
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from conformance import planted
from conformance.mutants import run_mutants, started_mutants, write_results
from conformance.stacks.embedded import EmbeddedStack
from conformance.stacks.kinds import CONTAINERS, EXTERNAL

PROJECT_ROOT = Path(__file__).resolve().parent.parent
RUNS = Path("reports/runs")
# More stacks at once than this fit no machine that runs them for a verdict in minutes.
_MOST_WORKERS = 4
_SHOWN_VERSIONS = ("confluent-kafka", "duckdb", "fastapi", "numba", "pyarrow", "pyiceberg", "pytest", "uvicorn")


@dataclass(frozen=True, slots=True)
class Suite:
    """What is run: a folder of clauses.

    Attributes:
        name: as people are told.
        folder: in the checkout.
        arguments: more of pytest's.
        is_serial: one clause after the other on every stack, and no mutants beside them.
        files: name and text of what else belongs to the evidence.
    """

    name: str
    folder: str
    arguments: tuple[str, ...] = ()
    is_serial: bool = False
    files: tuple[tuple[str, str], ...] = ()


CLAUSES = Suite("clauses", "conformance/clauses")


@dataclass(frozen=True, slots=True)
class RunOptions:
    """What to run and where to keep it."""

    stack: str = "embedded"
    profile: str = "smoke"
    only: str | None = None
    into: Path | None = None
    mutants: bool = True
    addresses: Path | None = None
    suite: Suite = CLAUSES


def run_clauses(options: RunOptions, command: Sequence[str]) -> tuple[Path, int]:
    """Run the clauses and collect the evidence.

    Returns:
        the run directory and pytest's exit status. `latest` beside it points to the directory, unless the run was
        one of some clauses only.

    Raises:
        ContainersError: there is no engine for the servers, or no image of one.
        FileExistsError: the directory to run into holds something else.
    """
    spent = _prepared(options.stack)
    started_ns = time.time_ns()
    run_id = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime()) + "-" + secrets.token_hex(3)
    directory = options.into or RUNS / run_id
    _make_empty(directory)
    document = _description(options, run_id, started_ns, command)
    _write(directory, document)
    for name in ("verdicts.jsonl", "checkers.jsonl", "mutants.jsonl"):
        (directory / name).touch()
    for name, text in options.suite.files:
        (directory / name).write_text(text)
    print(f"run {run_id}: {options.suite.name} on the {options.stack} stack, evidence in {directory}", flush=True)
    started = time.monotonic()
    status = _run_passes(options, directory)
    spent["run"] = time.monotonic() - started
    print("checking the checkers against planted defects ...", flush=True)
    planted.write_checkers(directory / "checkers.jsonl")
    spent |= _of_servers(options.stack, directory)
    print("seconds: " + ", ".join(f"{what} {seconds:.0f}" for what, seconds in spent.items()), flush=True)
    ended = {"ended_at": _utc(time.time_ns()), "seconds": spent, "exit_status": status}
    _write(directory, {**document, **ended})
    if options.into is None and options.only is None:
        _point_latest_at(directory)
    return directory, status


def _prepared(stack: str) -> dict[str, float]:
    """What must be there before clauses can run on a stack, and the seconds each part took."""
    if stack != CONTAINERS:
        return {}
    # Not needed, nor always there, on a machine without an engine.
    from conformance.stacks.containers.preparation import prepare

    return prepare(partial(print, flush=True))


def _of_servers(stack: str, directory: Path) -> dict[str, float]:
    if stack != CONTAINERS:
        return {}
    from conformance.stacks.containers.preparation import kept_seconds

    return kept_seconds(directory)


def _make_empty(directory: Path) -> None:
    """An earlier run in the same place is replaced; anything else there is left alone.

    Raises:
        FileExistsError: the directory holds something that is no run.
    """
    if directory.exists() and any(directory.iterdir()):
        if not (directory / "run.json").exists():
            raise FileExistsError(f"{directory} is not empty and no run directory: choose another --into")
        shutil.rmtree(directory)
    directory.mkdir(parents=True, exist_ok=True)


def _run_passes(options: RunOptions, directory: Path) -> int:
    """Run the clauses side by side, and then one by one those that bear no neighbour; and the mutants.

    Mutants run beside the clauses; those that have servers of their own, after them. What somebody else's servers are
    told to do, all clauses feel: on those they run one by one from the start.

    Returns:
        the worse of the two passes' exit statuses.
    """
    if options.suite.is_serial or options.stack == EXTERNAL:
        return _pytest(options, directory, None, ())
    with_mutants = options.mutants and options.only is None
    beside = with_mutants and options.stack == EmbeddedStack.name
    with started_mutants(PROJECT_ROOT, at_once=1, stack=options.stack) if beside else nullcontext(list) as results:
        statuses = [_pytest(options, directory, "together", _side_by_side(options.stack))]
        if beside:
            write_results(results(), directory / "mutants.jsonl")
    statuses.append(_pytest(options, directory, "alone", ()))
    if with_mutants and not beside:
        write_results(run_mutants(PROJECT_ROOT, options.stack), directory / "mutants.jsonl")
    ran = [status for status in statuses if status != pytest.ExitCode.NO_TESTS_COLLECTED]
    return max(ran, default=int(pytest.ExitCode.NO_TESTS_COLLECTED))


def _side_by_side(stack: str) -> Sequence[str]:
    cores = os.cpu_count() or 1
    # One more than there are cores: clauses wait for sessions to expire and batches to end as much as they compute.
    # Each has servers of its own where there are any, which take what that one would have.
    workers = min(_MOST_WORKERS, cores + 1 if stack == EmbeddedStack.name else cores)
    # One at a time to whoever is free: clauses differ too much in length to be dealt out beforehand.
    return ("-n", str(workers), "--dist", "load", "--maxschedchunk", "1")


def _pytest(options: RunOptions, directory: Path, which: str | None, parallel: Sequence[str]) -> int:
    arguments = [
        *(sys.executable, "-m", "pytest", options.suite.folder, "-p", "no:cacheprovider", "-q", "--no-header"),
        "--no-summary",
        # The first clause on real servers waits for them, which have a limit of their own.
        *("-o", "timeout_func_only=true"),
        *("--capture=fd", "--show-capture=no", "--tb=no", "-o", "console_output_style=classic"),
        f"--k2-run-dir={directory.absolute()}",
        f"--k2-stack={options.stack}",
        *([f"--k2-pass={which}"] if which else []),
        *([f"--k2-addresses={options.addresses.absolute()}"] if options.addresses else []),
        *options.suite.arguments,
        *parallel,
        f"--junitxml={directory}/junit-{which or 'all'}.xml",
        f"--alluredir={directory / 'allure'}",
        *([f"--k2-only={options.only}"] if options.only else []),
    ]
    environment = {**os.environ, "PROFILE": options.profile}
    return subprocess.run(arguments, cwd=PROJECT_ROOT, env=environment, check=False).returncode


def _description(options: RunOptions, run_id: str, started_ns: int, command: Sequence[str]) -> dict[str, Any]:
    return {
        "format": 1,
        "run_id": run_id,
        "started_at": _utc(started_ns),
        "ended_at": None,
        "profile": options.profile,
        "stack": options.stack,
        "git_commit": _git("rev-parse", "HEAD"),
        "git_dirty": bool(_git("status", "--porcelain")),
        "versions": {name: importlib.metadata.version(name) for name in _SHOWN_VERSIONS},
        "host": {
            "cores": os.cpu_count(),
            "memory_bytes": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
            "load_average": list(os.getloadavg()),
            "python": platform.python_version(),
            "kernel": platform.release(),
        },
        "command": " ".join(command),
        "ruler": _ruler(),
        "exit_status": None,
    }


def _ruler() -> str | None:
    """The hash of rubric, requirements and checkers, which no other ruler accepts; None where it cannot be told."""
    command = [sys.executable, "-m", "reports", "ruler"]
    answer = subprocess.run(command, cwd=PROJECT_ROOT, capture_output=True, text=True, check=False)
    return answer.stdout.strip() or None


def _utc(wall_ns: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(wall_ns / 1e9))


def _git(*arguments: str) -> str:
    try:
        answer = subprocess.run(["git", *arguments], cwd=PROJECT_ROOT, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return ""
    return answer.stdout.strip()


def _write(directory: Path, document: dict[str, Any]) -> None:
    (directory / "run.json").write_text(json.dumps(document, indent=2) + "\n")


def _point_latest_at(directory: Path) -> None:
    link = directory.parent / "latest"
    link.unlink(missing_ok=True)
    link.symlink_to(directory.name, target_is_directory=True)
