"""What is done to the platform so that alerts fire, beside the faults of servers and proxies that chaos.faults has."""

import shutil
import signal
import threading
import time
import urllib.request
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import psycopg
import sqlalchemy

from chaos.alerts.platform import ASK_SECONDS, AlertPlatform
from chaos.faults.fault import COUNTS, FAILS, MOST, SHOWS, Effect
from chaos.probes.probe import Answer, Probe
from chaos.probes.states import ENDED, LineCount, ProcessState
from conformance.history import HistoryWriter
from conformance.stacks.small_disk import SmallDisk
from k2.embedded.processes import ChildProcess

GAP_RATE, DUPLICATE_RATE = 0.15, 0.3
"""Of 250 trades a second: 37 gaps a second where the alert's limit is 10, and 30 % repeated where it is 10 %."""
LOCKING_SESSIONS, LOCKED_SECONDS = 7, 5.0
"""Whoever asks stands behind six or seven of them: for 30 to 35 s, and the API gives up after 30."""
ASK_LOCKED_SECONDS = 4.5
"""So that no more questions wait at once than a process has connections to the catalog."""
MEMBER_SECONDS = 4.0
SMALL_MEMORY_BYTES = 64 << 20
"""Less than any process of K2 holds."""
FULL, ROOM, OVER, NONE = "full", "room", "over", "none"
_DISK_LIMIT = 0.1
_ANSWER_SECONDS = 10.0
_LOOK_MS = 300


@dataclass(slots=True)
class AlertFault(ABC):
    """What the faults here have in common: the platform, how each shows itself, and what goes on while it lasts."""

    platform: AlertPlatform
    is_injected: bool = field(default=False, init=False)
    effects: Sequence[Effect] = field(default=(), init=False)
    probes: Sequence[Probe] = field(default=(), init=False)

    @abstractmethod
    def inject(self) -> Mapping[str, Any]:
        """Do it; returns what is worth keeping of how it was done."""

    @abstractmethod
    def heal(self) -> None:
        """Undo it."""

    def go_on(self) -> None:  # noqa: B027 - most faults need nothing
        """Called again and again while it lasts."""

    def _shown_by(self, probe: Probe, kind: str, least: float, *answers: str) -> None:
        self.probes = (*self.probes, probe)
        self.effects = (*self.effects, Effect(kind, (probe.name,), least, answers))


@dataclass(slots=True)
class FeedSpoiled(AlertFault):
    """The feed loses records and sends others again."""

    def __post_init__(self) -> None:
        self._shown_by(LineCount("planted in the feed", self._truth), COUNTS, 200)

    def inject(self) -> Mapping[str, Any]:
        """A feed that does takes the clean one's place."""
        self.platform.stop_feed()
        rates = ("--gap-rate", str(GAP_RATE), "--duplicate-rate", str(DUPLICATE_RATE), "--reorder-rate", "0")
        self.platform.start_feed(*rates, "--window", "0", "--truth", str(self._truth))
        return {"gap_rate": GAP_RATE, "duplicate_rate": DUPLICATE_RATE}

    def heal(self) -> None:
        """A clean one again."""
        self.platform.stop_feed()
        self.platform.start_feed()

    @property
    def _truth(self) -> Path:
        return self.platform.directory / "truth.jsonl"


@dataclass(slots=True)
class ApiKilled(AlertFault):
    """SIGKILL to the API."""

    _api: ChildProcess = field(init=False)

    def __post_init__(self) -> None:
        self._api = self.platform.stack.process("api")
        self._shown_by(ProcessState("API state", lambda: self._api), SHOWS, MOST, ENDED)

    def inject(self) -> Mapping[str, Any]:
        """Kill it and see it dead."""
        self._api.signal(signal.SIGKILL)
        return {"exit_signal": -self._api.wait(_ANSWER_SECONDS)}

    def heal(self) -> None:
        """Start another in its place."""
        if self._api.returncode() is not None:
            self.platform.api_url = self.platform.start_api()
            self._api = self.platform.stack.process("api")


@dataclass(slots=True)
class MembersComeAndGo(AlertFault):
    """Another consumer of quotes joins, leaves soon after, and the next one joins."""

    _joined: int = field(default=0, init=False)
    _member: ChildProcess | None = field(default=None, init=False)
    _leaves_at: float = field(default=0.0, init=False)

    def __post_init__(self) -> None:
        self._shown_by(Look("members that joined", lambda: str(self._joined)), COUNTS, 1)

    def inject(self) -> Mapping[str, Any]:
        """The first joins."""
        self._join()
        return {}

    def go_on(self) -> None:
        """One leaves, another joins."""
        if time.monotonic() > self._leaves_at:
            self.heal()
            self._join()

    def heal(self) -> None:
        """The last one leaves."""
        if self._member is not None:
            self.platform.stack.retire(self._member)
            self._member = None

    def _join(self) -> None:
        self._member = self.platform.start_consumer("quotes")
        self._joined += 1
        self._leaves_at = time.monotonic() + MEMBER_SECONDS


@dataclass(slots=True)
class DiskFilled(AlertFault):
    """The disk of the dead letters is full."""

    disk: SmallDisk

    def __post_init__(self) -> None:
        self._shown_by(Look("disk of the dead letters", self._state, FULL), SHOWS, MOST, FULL)

    def inject(self) -> Mapping[str, Any]:
        """Fill it."""
        self.disk.fill()
        return {"free_bytes": shutil.disk_usage(self.disk.folder).free}

    def heal(self) -> None:
        """Give back what was filled."""
        self.disk.free()

    def _state(self) -> str:
        usage = shutil.disk_usage(self.disk.folder)
        return FULL if usage.free / usage.total < _DISK_LIMIT else ROOM


@dataclass(slots=True)
class DiskPretended(AlertFault):
    """Pushgateway says that a disk is full, where this user may not make one of his own to fill."""

    pushgateway_url: str
    history: HistoryWriter

    def __post_init__(self) -> None:
        self.is_injected = True
        self._shown_by(Look("what Pushgateway says", self._state, FULL), SHOWS, MOST, FULL)

    def inject(self) -> Mapping[str, Any]:
        """Say so."""
        samples = 'k2_disk_free_bytes{directory="/pretended"} 1\nk2_disk_size_bytes{directory="/pretended"} 100\n'
        self._ask("PUT", samples.encode())
        return {"samples": samples}

    def heal(self) -> None:
        """Take it back, and see that it is gone."""
        self._ask("DELETE")
        deleted = {"metric": "k2_disk_free_bytes", "is_deleted": self._state() == ROOM}
        self.history.operation("harness", "injection", "ok", attributes=deleted)

    def _state(self) -> str:
        with urllib.request.urlopen(f"{self.pushgateway_url}/metrics", timeout=_ANSWER_SECONDS) as answer:
            return FULL if b"k2_disk_free_bytes" in answer.read() else ROOM

    def _ask(self, method: str, body: bytes | None = None) -> None:
        request = urllib.request.Request(f"{self.pushgateway_url}/metrics/job/pretended", body, method=method)
        with urllib.request.urlopen(request, timeout=_ANSWER_SECONDS):
            return


@dataclass(slots=True)
class SmallMemory(AlertFault):
    """Another API is started with less memory than it holds."""

    _api: ChildProcess | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        self._shown_by(Look("memory of the other API", self._state, OVER), SHOWS, MOST, OVER)

    def inject(self) -> Mapping[str, Any]:
        """Start it."""
        self.platform.start_api({"K2_DEGRADATION__MEMORY_LIMIT_BYTES": str(SMALL_MEMORY_BYTES)})
        self._api = self.platform.stack.process("api")
        return {"limit_bytes": SMALL_MEMORY_BYTES, "resident_bytes": psutil.Process(self._api.pid).memory_info().rss}

    def heal(self) -> None:
        """End it."""
        if self._api is not None:
            self.platform.stack.retire(self._api)
            self._api = None

    def _state(self) -> str:
        if self._api is None:
            return NONE
        try:
            return OVER if psutil.Process(self._api.pid).memory_info().rss > SMALL_MEMORY_BYTES else ROOM
        except psutil.Error:
            return NONE


@dataclass(slots=True)
class CatalogLocked(AlertFault):
    """Sessions of others lock the catalog's table, one behind the other, so that whoever asks stands in the queue."""

    _ending: threading.Event = field(default_factory=threading.Event, init=False)
    _threads: list[threading.Thread] = field(default_factory=list, init=False)

    def __post_init__(self) -> None:
        self._shown_by(CatalogQuestion("question to the catalog", self._uri), FAILS, MOST)

    def inject(self) -> Mapping[str, Any]:
        """They begin, each as soon as the one before is in the queue."""
        self.platform.ask_seconds = ASK_LOCKED_SECONDS
        for number in range(LOCKING_SESSIONS):
            thread = threading.Thread(target=self._lock_on, name=f"lock {number}", daemon=True)
            self._threads.append(thread)
            thread.start()
        return {"sessions": LOCKING_SESSIONS, "seconds": LOCKED_SECONDS}

    def heal(self) -> None:
        """They end."""
        self._ending.set()
        for thread in self._threads:
            thread.join()
        self.platform.ask_seconds = ASK_SECONDS

    def _lock_on(self) -> None:
        with psycopg.connect(self._uri) as connection:
            while not self._ending.is_set():
                connection.execute("LOCK TABLE iceberg_tables IN ACCESS EXCLUSIVE MODE")
                self._ending.wait(LOCKED_SECONDS)
                connection.rollback()

    @property
    def _uri(self) -> str:
        """Past the proxies."""
        url = sqlalchemy.make_url(self.platform.stack.services.addresses().catalog_uri)
        return url.set(drivername="postgresql").render_as_string(hide_password=False)


@dataclass(slots=True)
class Look:
    """A probe that says in a word how something is.

    Attributes:
        name: of the probe.
        state: says it.
        ill: the word for what must not be; empty where nothing is.
    """

    name: str
    state: Callable[[], str]
    ill: str = ""

    def look(self) -> Answer:
        """How it is now."""
        try:
            text = self.state()
        except OSError as error:
            return Answer(False, type(error).__name__)
        return Answer(not self.ill or text != self.ill, text)

    def close(self) -> None:
        """It holds nothing."""


class CatalogQuestion:
    """A probe that reads the catalog's table, and does not wait for a lock on it.

    Args:
        name: of the probe.
        uri: of the database.
    """

    def __init__(self, name: str, uri: str) -> None:
        self.name = name
        self._uri = uri
        self._connection: psycopg.Connection[Any] | None = None

    def look(self) -> Answer:
        """Whether it was answered."""
        try:
            if self._connection is None:
                options = f"-c lock_timeout={_LOOK_MS}"
                self._connection = psycopg.connect(self._uri, autocommit=True, options=options)
            self._connection.execute("SELECT 1 FROM iceberg_tables LIMIT 1")
        except psycopg.Error as error:
            return Answer(False, type(error).__name__)
        return Answer(True, "answered")

    def close(self) -> None:
        """Hang up."""
        if self._connection is not None:
            self._connection.close()
