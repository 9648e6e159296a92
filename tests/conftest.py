"""What every test shares: Hypothesis profiles, the captures, and proof that no test leaves a process behind."""

import contextlib
import gc
import os
import signal
import uuid
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from hypothesis import settings

ROOT = Path(__file__).resolve().parent.parent
SESSION_MARK = "TEST_SESSION_MARK"
LEFTOVER_GRACE_SECONDS = 1.0

# Time limits a machine under load would break say nothing about the code; a failing example prints what replays it.
settings.register_profile("exploring", deadline=None, print_blob=True)
settings.register_profile("repeatable", deadline=None, print_blob=True, derandomize=True)
settings.load_profile("repeatable" if os.environ.get("CI") else "exploring")


# A shell starts its background jobs deaf to Ctrl-C, and every process they start inherits that.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def captures() -> Path:
    """The folder of recorded market data: K2_CAPTURES, or shared/data beside the checkout."""
    folder = Path(os.environ.get("K2_CAPTURES") or ROOT.parent / "shared" / "data")
    if not folder.is_dir():
        pytest.skip(f"no captures at {folder}; K2_CAPTURES names another folder")
    return folder


@pytest.fixture(scope="session", autouse=True)
def no_process_outlives_the_session() -> Iterator[None]:
    """Fail the last test of a session (of a worker, under xdist) when a process that a test started still runs."""
    mark = uuid.uuid4().hex
    os.environ[SESSION_MARK] = mark
    yield
    _, alive = psutil.wait_procs(processes_carrying(mark), timeout=LEFTOVER_GRACE_SECONDS)
    descriptions = [describe(process) for process in alive]
    for process in alive:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    assert not descriptions, f"tests left processes running: {descriptions}"


def processes_carrying(mark: str) -> list[psutil.Process]:
    """Processes that inherited the mark, also those that outlived the parent or left its session."""
    return [
        process
        for process in psutil.process_iter(["environ", "cmdline"])
        if (process.info["environ"] or {}).get(SESSION_MARK) == mark and not ends_with_its_parent(process)
    ]


def ends_with_its_parent(process: psutil.Process) -> bool:
    """Whether it is one of multiprocessing's own helpers, which end with the process that needed them."""
    command = " ".join(process.info["cmdline"] or [])
    return "multiprocessing.resource_tracker" in command or "multiprocessing.forkserver" in command


def describe(process: psutil.Process) -> str:
    """Its id and command line, for the message."""
    return f"{process.pid}: {' '.join(process.info['cmdline'] or [])}"


def pytest_unconfigure() -> None:
    """Hypothesis's hook in the collector keeps DuckDB's types alive at exit, and DuckDB then prints each as leaked."""
    gc.callbacks.clear()
