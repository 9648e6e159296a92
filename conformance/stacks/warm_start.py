"""Processes that start warm: forked from one that has imported all of K2's libraries.

Importing them takes seconds of a core, which a suite that starts a hundred processes spends on little else. What is
forked is a process of its own: it runs the module from its first line, has its own session, and is signalled and killed
like any other. PROFILE=full starts every process cold instead, as production does.
"""

import multiprocessing
import os
import runpy
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from multiprocessing.process import BaseProcess
from multiprocessing.reduction import DupFd
from typing import IO

from k2.embedded.processes import RunningProcess, StartProcess, start_interpreter

PRELOADED = "conformance.stacks.preloaded"


def process_starter() -> StartProcess:
    """How this run starts processes."""
    cold = os.environ.get("PROFILE") == "full" or sys.platform != "linux"
    return start_interpreter if cold else start_warm


def start_warm(arguments: Sequence[str], log: IO[bytes], environment: Mapping[str, str]) -> RunningProcess:
    """Start a Python module in a process that has its libraries already."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([PRELOADED])
    to_child, our_input = os.pipe()
    our_output, from_child = os.pipe()
    try:
        # The descriptors are sent while the process is started, hence the objects that do so when they are pickled.
        process = context.Process(
            target=_run,
            args=(list(arguments), dict(environment), _Descriptors(to_child, from_child, log.fileno()), os.getcwd()),
            daemon=True,
        )
        process.start()
    except BaseException:
        os.close(our_input)
        os.close(our_output)
        raise
    finally:
        os.close(to_child)
        os.close(from_child)
    return _WarmProcess(process, arguments, os.fdopen(our_input, "wb"), os.fdopen(our_output, "rb"))


class _Descriptors:
    """Descriptors for standard input, output and error, sent along when a process is started."""

    def __init__(self, *descriptors: int) -> None:
        self._descriptors = descriptors

    def __getstate__(self) -> list[object]:
        return [DupFd(descriptor) for descriptor in self._descriptors]

    def __setstate__(self, sent: list[object]) -> None:
        self._descriptors = tuple(each.detach() for each in sent)  # type: ignore[attr-defined]

    def take_over(self) -> None:
        """Make them the standard ones of this process."""
        for standard, descriptor in enumerate(self._descriptors):
            os.dup2(descriptor, standard)
            os.close(descriptor)


def _run(arguments: list[str], environment: dict[str, str], descriptors: _Descriptors, directory: str) -> None:
    os.setsid()
    threading.Thread(target=_end_with_starter, name="end with starter", daemon=True).start()
    descriptors.take_over()
    # What the library made of standard input is not what was just put there.
    sys.stdin = open(0, closefd=False)  # noqa: SIM115 - lives as long as the process
    os.chdir(directory)
    os.environ.clear()
    os.environ.update(environment)
    sys.argv = list(arguments)
    runpy.run_module(arguments[0], run_name="__main__", alter_sys=True)


def _end_with_starter() -> None:
    """The process it was forked from lives as long as any that was, so it is the starter that must be watched."""
    starter = multiprocessing.parent_process()
    assert starter is not None
    starter.join()
    os.kill(os.getpid(), signal.SIGTERM)


class _WarmProcess:
    """The side of a warm process that its starter has."""

    def __init__(self, process: BaseProcess, arguments: Sequence[str], stdin: IO[bytes], stdout: IO[bytes]) -> None:
        self._process = process
        self._arguments = arguments
        self.stdin = stdin
        self.stdout = stdout

    @property
    def pid(self) -> int:
        """Process id."""
        assert self._process.pid is not None
        return self._process.pid

    def poll(self) -> int | None:
        """Exit status, negative for a signal; None while it runs."""
        return self._process.exitcode

    def wait(self, timeout: float | None = None) -> int:
        """Wait for its end; subprocess.TimeoutExpired if that takes longer."""
        self._process.join(timeout)
        if self._process.exitcode is None:
            raise subprocess.TimeoutExpired(list(self._arguments), timeout or 0.0)
        return self._process.exitcode

    def send_signal(self, sig: int) -> None:
        """Send a signal, if it still runs."""
        if self.poll() is None:
            os.kill(self.pid, sig)
