"""Runs the command blocks of runbooks one after the other, as somebody who types them would.

Each block is a bash of its own that reads environment.sh first and ends at the first command that fails; the exit code
must be the one its info string says. After a page that changed something `as_it_was` puts the deployment back.
"""

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from k2.commands.runbooks.deployment import ENVIRONMENT
from k2.commands.runbooks.pages import PHASES, CommandBlock, Runbook
from k2.errors import UsageError

TIME_LIMIT_SECONDS = 300.0
PUT_BACK = "as_it_was"
_RESOLUTION = PHASES[1]
_TIMED_OUT = 124
"""What the program `timeout` says of what did not end."""
_KEPT_CHARACTERS = 4_000


class Result(StrEnum):
    """What became of a block."""

    PASSED = "passed"
    FAILED = "failed"
    UNTESTED = "untested"
    """Its info string says why."""
    NOT_GIVEN = "not given"
    """A variable that the reader sets was not set."""


@dataclass(frozen=True, slots=True)
class Execution:
    """A block and what became of it.

    Attributes:
        page: file.
        block: of it.
        result: see Result.
        exit_code: None where it was not run.
        seconds: it took.
        output: the end of what it wrote, both streams.
        reason: why it was not run, or what is wrong; empty where it passed.
    """

    page: Path
    block: CommandBlock
    result: Result
    exit_code: int | None = None
    seconds: float = 0.0
    output: str = ""
    reason: str = ""


def execute(
    pages: Sequence[Runbook],
    root: Path,
    environment_file: Path,
    environment: Mapping[str, str],
    before: Callable[[Runbook, CommandBlock], None] = lambda page, block: None,
) -> Iterator[Execution]:
    """Run every block of every page, in order.

    Args:
        pages: runbooks.
        root: of the repository, where commands are typed.
        environment_file: the functions they stand on.
        environment: of the shells; holds the variables that readers set.
        before: told each block before it is run.

    Raises:
        UsageError: the deployment cannot be put back after a page.
    """
    for page in pages:
        changed = False
        for block in page.blocks:
            before(page, block)
            done = run_block(page.path, block, root, environment_file, environment)
            changed |= block.phase == _RESOLUTION and done.exit_code is not None
            yield done
        if changed:
            exit_code, _, output = run_shell(PUT_BACK, root, environment_file, environment)
            if exit_code != 0:
                raise UsageError(f"{page.path} leaves what {PUT_BACK} does not put back: {_last_line(output)}")


def run_block(
    page: Path, block: CommandBlock, root: Path, environment_file: Path, environment: Mapping[str, str]
) -> Execution:
    """Run one block, unless it is marked or lacks what its reader sets."""
    if block.untested:
        return Execution(page, block, Result.UNTESTED, reason=block.untested)
    if missing := [name for name in block.given if not environment.get(name)]:
        return Execution(page, block, Result.NOT_GIVEN, reason=f"set {', '.join(missing)} in the environment")
    exit_code, seconds, output = run_shell(block.text, root, environment_file, environment)
    if exit_code == block.exit_code:
        return Execution(page, block, Result.PASSED, exit_code, seconds, output)
    wrong = "did not end" if exit_code == _TIMED_OUT else f"exit code {exit_code}, must be {block.exit_code}"
    return Execution(page, block, Result.FAILED, exit_code, seconds, output, f"{wrong}: {_last_line(output)}")


def run_shell(text: str, root: Path, environment_file: Path, environment: Mapping[str, str]) -> tuple[int, float, str]:
    """Commands in a bash that ends at the first that fails: exit code, seconds, and the end of what it wrote."""
    script = f"set -e -o pipefail\n. {_quoted(environment_file)}\n{text}\n"
    started = time.monotonic()
    process = subprocess.Popen(
        ["bash", "-c", script],
        cwd=root,
        env=dict(environment),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        start_new_session=True,
    )
    try:
        output, _ = process.communicate(timeout=TIME_LIMIT_SECONDS)
        exit_code = process.returncode
    except subprocess.TimeoutExpired:
        # Its children too: a pipe stays open as long as one of them holds it.
        os.killpg(process.pid, signal.SIGKILL)
        output, _ = process.communicate()
        exit_code = _TIMED_OUT
    return exit_code, time.monotonic() - started, output[-_KEPT_CHARACTERS:]


def data_directory(root: Path, environment_file: Path, environment: Mapping[str, str]) -> Path:
    """The data directory of the deployment that the commands act on.

    Raises:
        UsageError: the environment file does not work here.
    """
    exit_code, _, output = run_shell('printf "%s" "$K2_DATA_DIR"', root, environment_file, environment)
    if exit_code != 0 or not output:
        raise UsageError(f"{environment_file} names no K2_DATA_DIR: {_last_line(output)}")
    return root / output


def environment_of(folder: Path) -> Path:
    """The file of functions that the pages of a folder stand on, as an absolute path."""
    return (folder / ENVIRONMENT).absolute()


def _quoted(path: Path) -> str:
    return "'" + str(path).replace("'", "'\\''") + "'"


def _last_line(output: str) -> str:
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    return lines[-1][:200] if lines else "it says nothing"
