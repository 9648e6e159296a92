"""Keeps one process of a stack running, as compose and Kubernetes do: started again when it fails, with back-off.

Every end is kept with its exit code and the wait that followed, so that a clause can put it into its history. A process
that a person must look at first (exit codes 64, 76 and 78, see docs/exit-codes.md) is not started again.
"""

import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from k2.embedded.processes import ChildProcess

NEEDS_A_PERSON = frozenset({64, 76, 78})
"""Exit codes that no restart can heal: usage, progress, refused."""
JITTER = 0.5
_LOOK_SECONDS = 0.05


@dataclass(frozen=True, slots=True)
class RestartPolicy:
    """When a process that failed is started again.

    Attributes:
        first_wait_seconds: after the first failure; doubles with each that follows, and up to half as much is added at
            random.
        longest_wait_seconds: no wait is longer.
        settled_seconds: a process that ran so long before it failed begins with the first wait again.
    """

    first_wait_seconds: float = 1.0
    longest_wait_seconds: float = 30.0
    settled_seconds: float = 60.0

    def wait_bounds_seconds(self, failures: int) -> tuple[float, float]:
        """Shortest and longest wait after so many failures in a row, counted from 1."""
        shortest = self.first_wait_seconds * 2 ** (failures - 1)
        return min(self.longest_wait_seconds, shortest), min(self.longest_wait_seconds, shortest * (1 + JITTER))


@dataclass(frozen=True, slots=True)
class Ended:
    """One end of the process.

    Attributes:
        exit_code: negative for a signal.
        ran_seconds: how long it ran.
        failures: how many in a row this is; 0 where it did not fail.
        wait_seconds: how long until it was started again; None where it was not.
    """

    exit_code: int
    ran_seconds: float
    failures: int
    wait_seconds: float | None


class Supervisor:
    """Runs a process and starts it again; a context manager that stops it at the end.

    Args:
        start: starts the process; called from the supervisor's own thread.
        policy: the waits.
        generator: source of the jitter.
    """

    def __init__(
        self, start: Callable[[], ChildProcess], policy: RestartPolicy, generator: random.Random | None = None
    ) -> None:
        self._start = start
        self._policy = policy
        self._generator = generator or random.Random()
        self._stopping = threading.Event()
        self._ends: list[Ended] = []
        self._failure: BaseException | None = None
        # The children die with the thread that started them, so one thread does it all.
        self._thread = threading.Thread(target=self._run, name="supervisor")

    @property
    def ends(self) -> tuple[Ended, ...]:
        """Every end so far, oldest first, without the one `stop` brings about."""
        return tuple(self._ends)

    def is_watching(self) -> bool:
        """Whether the process runs, or will be started again."""
        return self._thread.is_alive()

    def stop(self) -> None:
        """Stop the process and do not start it again.

        Raises:
            Exception: what starting it raised.
        """
        self._stopping.set()
        self._thread.join()
        if self._failure is not None:
            raise self._failure

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    def _run(self) -> None:
        failures = 0
        try:
            while not self._stopping.is_set():
                started = time.monotonic()
                child = self._start()
                exit_code = self._watch(child)
                if exit_code is None:
                    child.stop()
                    return
                ran_seconds = time.monotonic() - started
                settled = ran_seconds >= self._policy.settled_seconds
                failures = 0 if exit_code == 0 else 1 if settled else failures + 1
                wait_seconds = self._wait_seconds(exit_code, failures)
                self._ends.append(Ended(exit_code, ran_seconds, failures, wait_seconds))
                if wait_seconds is None or self._stopping.wait(wait_seconds):
                    return
        except BaseException as error:  # noqa: BLE001 - raised again by `stop`, in the caller's thread
            self._failure = error

    def _watch(self, child: ChildProcess) -> int | None:
        """The exit code of the child, or None once asked to stop."""
        while child.returncode() is None:
            if self._stopping.wait(_LOOK_SECONDS):
                return None
        return child.wait(0)

    def _wait_seconds(self, exit_code: int, failures: int) -> float | None:
        if exit_code == 0 or exit_code in NEEDS_A_PERSON:
            return None
        return self._generator.uniform(*self._policy.wait_bounds_seconds(failures))
