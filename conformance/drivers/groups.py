"""Consumer processes of one group: they join, leave, die and fall asleep, each of it an operation of the history.

Who owns what is read from the members' own logs: what each was assigned and has given up.
"""

import json
import signal
import sqlite3
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import sqlalchemy

from conformance.drivers.silence import comes_true, wait_until
from conformance.history import HistoryWriter
from conformance.stacks.base import SignalPlan, Stack
from conformance.stacks.embedded_outages import locked
from k2.embedded.processes import ChildProcess

SETTLE_TIMEOUT_SECONDS = 90.0
STOP_TIMEOUT_SECONDS = 60.0
ASSIGNED, GIVEN_UP, RETRYING = "assigned", "given up", "retrying"
_REFUSED = "another writer was first"
_AGAIN_SECONDS = 0.02
_LOCKED_SECONDS = 1.0
"""Whoever is awake has long given the lock back."""


class Group:
    """The consumers of trades on a stack; a context manager that stops those left.

    Args:
        stack: where they run.
        history: gets the operations join, leave, kill, sleep, wake, settled and ended.
        partitions: how many there are to be owned, all topics together.
        environment: of every member.

    Raises:
        TimeoutError: the group does not settle, or a process does not do what it was told.
    """

    def __init__(
        self, stack: Stack, history: HistoryWriter, partitions: int, environment: Mapping[str, str] | None = None
    ) -> None:
        self._stack = stack
        self._history = history
        self._partitions = partitions
        self._environment = environment or {}
        self._members: dict[str, ChildProcess] = {}
        self._asleep: set[str] = set()
        self._joined = 0
        self.ended: dict[str, int] = {}
        """Exit status of every member that has ended."""

    def join(self, plan: SignalPlan | None = None) -> str:
        """Start a member; returns its name."""
        self._joined += 1
        name = f"member-{self._joined}"
        with self._history.invoke("harness", "join", {"member": name}):
            self._members[name] = self._stack.start_consumer("trades", plan, self._environment)
        return name

    def leave(self, name: str) -> None:
        """Have a member end in its own way."""
        with self._history.invoke("harness", "leave", {"member": name}) as invocation:
            invocation.attributes["exit_status"] = self._end(name, signal.SIGTERM)

    def kill(self, name: str) -> None:
        """End a member as a power cut does."""
        with self._history.invoke("harness", "kill", {"step": "any", "member": name}) as invocation:
            invocation.attributes["exit_signal"] = -self._end(name, signal.SIGKILL)

    def put_to_sleep(self, name: str) -> None:
        """Stop a member without ending it, though not in a transaction of a catalog that is a file.

        No server ends that for a process that is frozen: its neighbours would wait for as long as it sleeps.
        """
        with self._history.invoke("harness", "sleep", {"member": name}) as invocation:
            tries = 1
            self._stop(name)
            while _is_locked_file(self._stack.settings.storage.catalog_uri):
                self._members[name].signal(signal.SIGCONT)
                time.sleep(_AGAIN_SECONDS)
                self._stop(name)
                tries += 1
            invocation.attributes["tries"] = tries

    def _stop(self, name: str) -> None:
        self._members[name].signal(signal.SIGSTOP)
        self.wait_until_asleep(name)

    def wait_until_asleep(self, name: str) -> None:
        """Wait until a member is stopped, by whoever."""
        state = Path(f"/proc/{self._members[name].pid}/stat")
        wait_until(
            lambda: state.read_text().rsplit(")", 1)[1].split()[0] == "T", STOP_TIMEOUT_SECONDS, f"{name} goes on"
        )
        self._asleep.add(name)

    def wake(self, name: str) -> None:
        """Let a member go on where it stopped."""
        with self._history.invoke("harness", "wake", {"member": name}):
            self._asleep.discard(name)
            self._members[name].signal(signal.SIGCONT)

    def settle(self) -> dict[str, list[str]]:
        """Wait until the members that are awake own every partition, each one of them; returns who owns what."""
        with self._history.invoke("harness", "settled") as invocation:
            settled = comes_true(self._is_settled, SETTLE_TIMEOUT_SECONDS)
            owners = self.owners()
            if not settled:
                raise TimeoutError(f"the group does not settle: {owners}")
            invocation.attributes |= {"owners": owners}
        return owners

    def owners(self) -> dict[str, list[str]]:
        """What each member that is awake owns, by its log."""
        return {name: sorted(_owned(_events(child))) for name, child in self._awake().items()}

    def is_alive(self) -> bool:
        """Whether every member that was not ended on purpose still runs."""
        return all(child.returncode() is None for child in self._members.values())

    def events(self, event: str) -> int:
        """How often the members' logs have an event, those that ended included."""
        return sum(text.count(f'"event": "{event}"') for text in self._logs())

    def refusals(self) -> int:
        """How often a member was refused because another had moved its partitions on."""
        return sum(text.count(_REFUSED) for text in self._logs())

    def living(self) -> list[str]:
        """Members that run, asleep or not."""
        return list(self._members)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        for name in list(self._asleep):
            self.wake(name)
        for name in list(self._members):
            self.leave(name)

    def _end(self, name: str, number: signal.Signals) -> int:
        child = self._members.pop(name)
        self._asleep.discard(name)
        child.signal(number)
        self.ended[name] = child.wait(STOP_TIMEOUT_SECONDS)
        return self.ended[name]

    def _awake(self) -> dict[str, ChildProcess]:
        return {name: child for name, child in self._members.items() if name not in self._asleep}

    def _is_settled(self) -> bool:
        dead = {name: child.returncode() for name, child in self._members.items() if child.returncode() is not None}
        if dead:
            raise RuntimeError(f"members ended by themselves, with exit status: {dead}")
        owned = [place for places in self.owners().values() for place in places]
        everybody = min(len(self._awake()), self._partitions)
        busy = sum(bool(places) for places in self.owners().values())
        return len(owned) == len(set(owned)) == self._partitions and busy == everybody

    def _logs(self) -> list[str]:
        return [text for name, text in self._stack.logs().items() if name.endswith("-consumer-trades")]


def wait_seconds(seconds: float, meanwhile: Callable[[], object] = lambda: None) -> None:
    """Let time pass, doing something every tenth of a second."""
    give_up_at = time.monotonic() + seconds
    while time.monotonic() < give_up_at:
        meanwhile()
        time.sleep(0.1)


def _is_locked_file(catalog_uri: str) -> bool:
    """Whether a catalog is a file that nobody can write to now."""
    url = sqlalchemy.make_url(catalog_uri)
    if url.get_backend_name() != "sqlite":
        return False
    try:
        with locked(Path(str(url.database)), _LOCKED_SECONDS):
            return False
    except sqlite3.OperationalError:
        return True


def _events(child: ChildProcess) -> list[dict[str, Any]]:
    lines = child.log_path.read_text(errors="replace").splitlines()
    return [json.loads(line) for line in lines if line.startswith("{") and line.endswith("}")]


def _owned(events: list[dict[str, Any]]) -> set[str]:
    owned: set[str] = set()
    for one in events:
        if one.get("event") == ASSIGNED:
            owned |= set(one["partitions"])
        elif one.get("event") == GIVEN_UP:
            owned -= set(one["partitions"])
    return owned
