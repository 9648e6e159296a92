"""What the tests of the command share: the command itself, and a platform that it runs."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

ROOT = Path(__file__).resolve().parents[2]
READY_TIMEOUT_SECONDS = 30.0
Completed = subprocess.CompletedProcess[str]


def run_module(module: str, *arguments: str, timeout_seconds: float = 60.0, **variables: str) -> Completed:
    """Run `python -m MODULE` from the checkout."""
    return subprocess.run(
        [sys.executable, "-m", module, *arguments],
        cwd=ROOT,
        env={**os.environ, **variables},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=timeout_seconds,
        check=False,
    )


def start_module(module: str, *arguments: str) -> subprocess.Popen[str]:
    """Start `python -m MODULE` from the checkout."""
    return subprocess.Popen([sys.executable, "-m", module, *arguments], cwd=ROOT, stdout=subprocess.PIPE, text=True)


def k2(directory: Path, *arguments: str, **variables: str) -> Completed:
    return run_module("k2.cli", "--data-dir", str(directory), *arguments, timeout_seconds=60, **variables)


@dataclass(frozen=True)
class Running:
    """A running `k2 up`."""

    process: subprocess.Popen[str]
    directory: Path
    api_url: str
    ready_seconds: float

    def children(self) -> list[psutil.Process]:
        return list(psutil.Process(self.process.pid).children(recursive=True))


@contextmanager
def k2_up(directory: Path, *arguments: str) -> Iterator[Running]:
    """The platform, ready; interrupted at the end if it still runs."""
    started = time.monotonic()
    process = start_module("k2.cli", "--data-dir", str(directory), "up", "--port", "0", *arguments)
    try:
        yield Running(process, directory, _printed_address(process), time.monotonic() - started)
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGINT)
        process.communicate(timeout=30)


def _printed_address(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    address = ""
    for line in process.stdout:
        found = re.search(r"API +(http://[^/]+)", line)
        address = found[1] if found else address
        if line.startswith("Try:"):
            return address
    raise AssertionError("the platform did not start")
