"""Child processes that end with their parent, whatever ends it, and whose output goes to a file."""

import ctypes
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import IO, Protocol

from k2.errors import UnavailableError

_PR_SET_PDEATHSIG = 1
STOP_TIMEOUT_SECONDS = 15.0


class RunningProcess(Protocol):
    """What is needed of a process that was started; `subprocess.Popen` has it."""

    @property
    def pid(self) -> int:
        """Process id."""

    @property
    def stdin(self) -> IO[bytes] | None:
        """The end of its standard input to write to."""

    @property
    def stdout(self) -> IO[bytes] | None:
        """The end of its standard output to read from."""

    def poll(self) -> int | None:
        """Exit status, negative for a signal; None while it runs."""

    def wait(self, timeout: float | None = None) -> int:
        """Wait for its end; subprocess.TimeoutExpired if that takes longer."""

    def send_signal(self, sig: int) -> None:
        """Send a signal."""


StartProcess = Callable[[Sequence[str], IO[bytes], Mapping[str, str]], RunningProcess]
"""Starts a Python module with arguments, its standard error going to a file, in an environment."""


def start_interpreter(arguments: Sequence[str], log: IO[bytes], environment: Mapping[str, str]) -> RunningProcess:
    """Start a Python module in an interpreter of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=log,
        env=environment,
        start_new_session=True,
        preexec_fn=_die_with_parent if sys.platform == "linux" else None,
    )


def _die_with_parent() -> None:
    """Have the kernel end this process when the thread that started it ends."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


class ChildProcess:
    """One Python module running as a child, in a session of its own.

    Ctrl-C in the terminal reaches only the parent, which stops its children in order.
    """

    def __init__(
        self,
        name: str,
        arguments: Sequence[str],
        log: Path,
        environment: Mapping[str, str] | None = None,
        start: StartProcess = start_interpreter,
    ) -> None:
        self.name = name
        self.log_path = log
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("ab") as output:
            self._process = start(arguments, output, {**os.environ, **(environment or {})})

    @property
    def pid(self) -> int:
        """Process id."""
        return self._process.pid

    def returncode(self) -> int | None:
        """Exit status, negative for a signal; None while it runs."""
        return self._process.poll()

    def next_line(self) -> str:
        """The next line it prints.

        Raises:
            UnavailableError: it ended without one; the message shows the end of its log.
        """
        assert self._process.stdout is not None
        line = self._process.stdout.readline().decode(errors="replace").strip()
        if not line:
            self.wait(STOP_TIMEOUT_SECONDS)
            raise UnavailableError(f"{self.name} did not start: {self.last_log_line()}")
        return line

    def request(self, command: Mapping[str, object]) -> Mapping[str, object]:
        """Send one line of JSON to its standard input and return the line it answers."""
        self.send_line(json.dumps(command))
        answer: Mapping[str, object] = json.loads(self.next_line())
        return answer

    def send_line(self, line: str) -> None:
        """Write a line to its standard input."""
        assert self._process.stdin is not None
        self._process.stdin.write(line.encode() + b"\n")
        self._process.stdin.flush()

    def signal(self, number: signal.Signals) -> None:
        """Send a signal, if it still runs."""
        if self._process.poll() is None:
            self._process.send_signal(number)

    def wait(self, timeout_seconds: float) -> int:
        """Wait for its end and return the exit status.

        Raises:
            subprocess.TimeoutExpired: it still runs.
        """
        status = self._process.wait(timeout_seconds)
        self._close_pipes()
        return status

    def stop(self, timeout_seconds: float = STOP_TIMEOUT_SECONDS) -> int:
        """Ask it to end, insist after a while, and return the exit status."""
        self.signal(signal.SIGTERM)
        if self._process.stdin is not None:
            self._process.stdin.close()
        try:
            return self.wait(timeout_seconds)
        except subprocess.TimeoutExpired:
            self._process.send_signal(signal.SIGKILL)
            return self.wait(timeout_seconds)

    def last_log_line(self) -> str:
        """The last line of its log, shortened."""
        lines = self.log_path.read_text(errors="replace").strip().splitlines()
        return lines[-1][:300] if lines else "it printed nothing"

    def _close_pipes(self) -> None:
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()
