"""States read from outside: of a server from its engine, of a process from its kernel, of a file of counts."""

from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from chaos.probes.probe import Answer
from k2.embedded.processes import ChildProcess

RUNNING, PAUSED, ENDED, PARTED, STOPPED = "running", "paused", "ended", "parted", "stopped"
_STOPPED_BY_SIGNAL = "T"


class ServerStates(Protocol):
    """What the engine says of servers, by their names."""

    def is_running(self, service: str) -> bool:
        """Whether its process lives, frozen or not."""

    def is_paused(self, service: str) -> bool:
        """Whether it is frozen."""

    def is_connected(self, service: str) -> bool:
        """Whether it shares a network with the others."""


class ServerState:
    """Asks the engine what became of a server."""

    def __init__(self, states: ServerStates, service: str) -> None:
        self.name = f"{service} state"
        self._states = states
        self._service = service

    def look(self) -> Answer:
        """Its state now."""
        text = self._text()
        return Answer(text == RUNNING, text)

    def close(self) -> None:
        """It holds nothing."""

    def _text(self) -> str:
        if not self._states.is_running(self._service):
            return ENDED
        if self._states.is_paused(self._service):
            return PAUSED
        return RUNNING if self._states.is_connected(self._service) else PARTED


class ProcessState:
    """Asks the kernel what became of a process of K2.

    Args:
        name: of the probe.
        newest: the process as of now; a killed one is replaced by another.
    """

    def __init__(self, name: str, newest: Callable[[], ChildProcess]) -> None:
        self.name = name
        self._newest = newest

    def look(self) -> Answer:
        """Its state now."""
        text = process_state(self._newest())
        return Answer(text == RUNNING, text)

    def close(self) -> None:
        """It holds nothing."""


class LineCount:
    """Counts the lines of a file that a process writes one to for each fault it meets; never unwell."""

    def __init__(self, name: str, path: Path) -> None:
        self.name = name
        self._path = path

    def look(self) -> Answer:
        """How many there are now."""
        return Answer(True, str(count_lines(self._path)))

    def close(self) -> None:
        """It holds nothing."""


def process_state(process: ChildProcess) -> str:
    """RUNNING, STOPPED or ENDED."""
    if process.returncode() is not None:
        return ENDED
    try:
        state = Path(f"/proc/{process.pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except OSError:
        return ENDED
    return STOPPED if state == _STOPPED_BY_SIGNAL else RUNNING


def count_lines(path: Path) -> int:
    """Lines of a file that may not be there yet."""
    return len(path.read_text().splitlines()) if path.exists() else 0
