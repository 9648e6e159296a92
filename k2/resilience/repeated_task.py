"""A task done again and again in a thread of its own, for as long as a `with` block lasts."""

import threading
from collections.abc import Callable
from types import TracebackType
from typing import Self

import structlog

_log = structlog.get_logger("k2.repeated_task")
_STOP_TIMEOUT_SECONDS = 5.0


class RepeatedTask:
    """A context manager.

    The first time is at the start, in the caller's thread, so that nobody sees how things were before.

    Args:
        name: of the thread.
        task: what to do; an error it raises is logged, and it is done again.
        every_seconds: the pause between two times.
    """

    def __init__(self, name: str, task: Callable[[], None], every_seconds: float) -> None:
        self._name = name
        self._task = task
        self._every_seconds = every_seconds
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._repeat, name=name, daemon=True)

    def __enter__(self) -> Self:
        self._do()
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._stopping.set()
        # A task that hangs in a library must not keep the process: its thread ends with it.
        self._thread.join(_STOP_TIMEOUT_SECONDS)

    def _repeat(self) -> None:
        while not self._stopping.wait(self._every_seconds):
            self._do()

    def _do(self) -> None:
        try:
            self._task()
        except Exception as error:  # noqa: BLE001 - one failure must not end all that would come after it
            _log.warning("task failed", task=self._name, error=str(error))
