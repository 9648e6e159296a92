"""The embedded platform: broker, consumers, synthetic exchange and API as processes of their own on loopback."""

import fcntl
import json
import shutil
import socket
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import IO

from k2.assembly.demo import mark_demo
from k2.embedded.processes import ChildProcess
from k2.errors import AddressInUseError, UnavailableError, UsageError
from k2.records.definition import RECORD_TYPES, all_topics
from k2.settings import SETTINGS_FILE, load_settings

READY_TIMEOUT_SECONDS = 60.0
WATCH_SECONDS = 0.2
FEED_WINDOW_MESSAGES = 8_000
# The mock cluster's group protocol works with these; a killed member is replaced after about two sessions.
SESSION_TIMEOUT_MS = 2_000
HEARTBEAT_INTERVAL_MS = 300
_MARKER = "embedded-platform"


class EmbeddedPlatform:
    """Everything running; a context manager whose exit leaves no process behind.

    `stopping` is asked between the steps of the start, which ends early where it says so, and then while all runs.

    Raises:
        AddressInUseError: the API's port is taken.
        UsageError: the data directory holds something else.
        UnavailableError: a part did not start; the message names it and the end of its log.
    """

    def __init__(
        self,
        data_directory: Path,
        *,
        api_port: int,
        rate_per_second: float,
        keep: bool,
        stopping: Callable[[], bool] = lambda: False,
    ) -> None:
        self._directory = data_directory
        self._api_port = api_port
        self._rate_per_second = rate_per_second
        self._keep = keep
        self._stopping = stopping
        self._children: list[ChildProcess] = []
        self.log_directory = data_directory / "logs"
        self.api_url = ""
        self.bootstrap_servers = ""

    def __enter__(self) -> "EmbeddedPlatform":
        _refuse_taken_port(self._api_port)
        self._claim = claim_directory(self._directory, keep=self._keep)
        try:
            self._start()
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._stop()

    def wait(self) -> None:
        """Watch the parts until asked to stop.

        Raises:
            UnavailableError: a part ended by itself.
        """
        while not self._stopping():
            for child in self._children:
                if child.returncode() is not None:
                    raise UnavailableError(
                        f"{child.name} ended with exit code {child.returncode()}: {child.last_log_line()}"
                    )
            time.sleep(WATCH_SECONDS)

    def _start(self) -> None:
        for step in (self._start_broker, self._start_consumers_and_api, self._start_feed, self._wait_for_health):
            if self._stopping():
                return
            step()

    def _start_broker(self) -> None:
        arguments = [part for name in all_topics() for part in ("--topic", name)]
        broker = ChildProcess("broker", ["k2.embedded.broker", *arguments], self.log_directory / "broker.log")
        self._children.append(broker)
        # While the broker starts. Consumers do not wait for tables, and nobody says which of the others comes first.
        _create_tables(self._directory)
        self.bootstrap_servers = json.loads(broker.next_line())["bootstrap_servers"]
        write_settings(self._directory, self.bootstrap_servers, self._api_port)
        # Its broker forgets, and its folder is emptied by the next start: nothing here is to be kept.
        mark_demo(self._directory, load_settings(self._directory), broker_forgets=True)

    def _start_consumers_and_api(self) -> None:
        api = self._k2("api", "api")
        for data_type in RECORD_TYPES:
            self._k2(f"consume-{data_type}", "consume", "--data-type", data_type)
        self.api_url = json.loads(api.next_line())["url"]
        write_settings(self._directory, self.bootstrap_servers, int(self.api_url.rsplit(":", 1)[1]))

    def _start_feed(self) -> None:
        if self._rate_per_second:
            self._k2("feed", "feed", "--synthetic", "--seed", str(time.time_ns() % 10**9), "--rate",
                     str(self._rate_per_second), "--window", str(FEED_WINDOW_MESSAGES))  # fmt: skip

    def _wait_for_health(self) -> None:
        give_up_at = time.monotonic() + READY_TIMEOUT_SECONDS
        while not self._stopping() and not _is_healthy(self.api_url):
            if time.monotonic() > give_up_at:
                raise UnavailableError(f"the API at {self.api_url} did not become healthy")
            time.sleep(0.05)

    def _k2(self, name: str, *arguments: str) -> ChildProcess:
        command = ["k2.cli", "--data-dir", str(self._directory), *arguments]
        child = ChildProcess(name, command, self.log_directory / f"{name}.log")
        self._children.append(child)
        return child

    def _stop(self) -> None:
        for child in reversed(self._children):
            child.stop()
        (self._directory / SETTINGS_FILE).unlink(missing_ok=True)
        self._claim.close()


def _create_tables(directory: Path) -> None:
    # Only who starts a platform needs these libraries, and their import takes a second.
    from k2.assembly.tables import create_tables

    create_tables(load_settings(directory))


def claim_directory(directory: Path, *, keep: bool) -> IO[str]:
    """Make the data directory ready for a new embedded platform, which owns it while the returned file is open.

    The embedded broker forgets everything when it stops, so the tables of an earlier run are removed unless kept.

    Raises:
        UsageError: the directory holds something no embedded platform made, belongs to one that runs, or cannot be
            written to.
    """
    marker = directory / _MARKER
    try:
        directory.mkdir(parents=True, exist_ok=True)
        if any(directory.iterdir()) and not marker.exists():
            raise UsageError(f"{directory} is not empty and not from an embedded platform: choose another --data-dir")
        claim = marker.open("a")
    except OSError as error:
        raise UsageError(f"{directory} cannot be used ({error.strerror}): choose another --data-dir") from error
    try:
        fcntl.flock(claim, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        claim.close()
        raise UsageError(f"another `k2 up` runs in {directory}: stop it or choose another --data-dir") from error
    if not keep:
        _empty(directory, marker)
    claim.truncate(0)
    claim.write("Made by `k2 up`, which empties this folder when it starts again without --keep.\n")
    claim.flush()
    return claim


def _empty(directory: Path, marker: Path) -> None:
    for entry in directory.iterdir():
        if entry == marker:
            continue
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        else:
            entry.unlink()


def write_settings(directory: Path, bootstrap_servers: str, api_port: int) -> None:
    """Leave the addresses where other commands of this data directory look for them."""
    values = {
        "kafka": {
            "bootstrap_servers": bootstrap_servers,
            "session_timeout_ms": SESSION_TIMEOUT_MS,
            "heartbeat_interval_ms": HEARTBEAT_INTERVAL_MS,
        },
        "consumer": {"accept_new_cluster": True},
        "api": {"port": api_port},
    }
    (directory / SETTINGS_FILE).write_text(json.dumps(values, indent=2) + "\n")


def _refuse_taken_port(port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            raise AddressInUseError(f"port {port} on 127.0.0.1 is taken: choose another with --port") from error


def _is_healthy(url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{url}/health", timeout=2) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False
