"""Jars from Maven Central, Java processes whose core seconds are counted, and one Kafka broker for all."""

import hashlib
import shutil
import socket
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

import psutil

from benchmarks.harness import ROOT

HERE = Path(__file__).resolve().parent
BUILT = ROOT / "build" / "peers"
START_SECONDS = 60.0
FETCH_SECONDS = 900.0


class PeerMissingError(Exception):
    """A peer cannot be had here; the message says why."""


def jars(peer: str) -> Path:
    """The folder of a peer's jars, fetched by Maven when its pom.xml is new.

    Raises:
        PeerMissingError: there is no Java or Maven, or a jar cannot be had.
    """
    for tool in ("java", "mvn"):
        if shutil.which(tool) is None:
            raise PeerMissingError(f"{peer} needs {tool}: apt-get install default-jre-headless maven")
    folder, pom = BUILT / peer, HERE / peer / "pom.xml"
    stamp, wanted = folder / ".pom-sha256", hashlib.sha256(pom.read_bytes()).hexdigest()
    libraries = folder / "target" / "libs"
    if not (stamp.exists() and stamp.read_text() == wanted):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        shutil.copy(pom, folder)
        command = ["mvn", "--batch-mode", "--quiet", "--strict-checksums", "package"]
        done = subprocess.run(command, cwd=folder, check=False, capture_output=True, text=True, timeout=FETCH_SECONDS)
        if done.returncode:
            raise PeerMissingError(f"the jars of {peer}: {(done.stdout.strip().splitlines() or ['?'])[0][:300]}")
        stamp.write_text(wanted)
    return libraries


def core_seconds(process: psutil.Process) -> float:
    """What a process and its children have had of all cores."""
    total = 0.0
    for one in [process, *process.children(recursive=True)]:
        try:
            times = one.cpu_times()
        except psutil.NoSuchProcess:
            continue
        total += times.user + times.system
    return total


def free_port() -> int:
    """A port nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class JavaProcess:
    """A Java program whose output goes to a file; a context manager that ends it."""

    def __init__(self, libraries: Sequence[Path], arguments: Sequence[str], log: Path, heap: str) -> None:
        class_path = ":".join(f"{folder}/*" for folder in libraries)
        self._log = log.open("ab")
        self._process = subprocess.Popen(
            ["java", f"-Xmx{heap}", "-cp", class_path, *arguments], stdout=self._log, stderr=self._log
        )
        self.process = psutil.Process(self._process.pid)
        self.log = log

    def wait_for_port(self, port: int) -> None:
        """Wait until it listens.

        Raises:
            PeerMissingError: it ended, or does not listen within a minute.
        """
        give_up_at = time.monotonic() + START_SECONDS
        while time.monotonic() < give_up_at and self._process.poll() is None:
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
            except OSError:
                time.sleep(0.2)
            else:
                return
        raise PeerMissingError(f"it did not start: see {self.log}")

    def is_running(self) -> bool:
        """Whether it has not ended."""
        return self._process.poll() is None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._process.terminate()
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._log.close()


def properties(path: Path, values: Mapping[str, object]) -> Path:
    """Write a file of properties."""
    path.write_text("".join(f"{name}={value}\n" for name, value in values.items()))
    return path


def broker(libraries: Path, folder: Path, port: int) -> JavaProcess:
    """One Kafka broker in KRaft mode on a port of loopback.

    Raises:
        PeerMissingError: it does not start.
    """
    folder.mkdir(parents=True)
    controller = free_port()
    configuration = properties(
        folder / "server.properties",
        {
            "process.roles": "broker,controller",
            "node.id": 1,
            "controller.quorum.voters": f"1@127.0.0.1:{controller}",
            "listeners": f"PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}",
            "advertised.listeners": f"PLAINTEXT://127.0.0.1:{port}",
            "controller.listener.names": "CONTROLLER",
            "log.dirs": folder / "log",
            "offsets.topic.replication.factor": 1,
            "offsets.topic.num.partitions": 4,
            "transaction.state.log.replication.factor": 1,
            "transaction.state.log.min.isr": 1,
            "transaction.state.log.num.partitions": 4,
            "share.coordinator.state.topic.replication.factor": 1,
            "share.coordinator.state.topic.min.isr": 1,
            "group.initial.rebalance.delay.ms": 0,
            # K2 runs here with the settings of an embedded platform, which notice a dead member sooner.
            "group.min.session.timeout.ms": 1_000,
        },
    )
    class_path = f"{libraries}/*"
    cluster = ["--cluster-id", "azJrMmthZmthY2x1c3RlcQ", "--config", str(configuration)]
    command = ["java", "-cp", class_path, "kafka.tools.StorageTool", "format", "--ignore-formatted", *cluster]
    formatted = subprocess.run(command, check=False, capture_output=True, text=True)
    if formatted.returncode:
        raise PeerMissingError(f"the broker's storage: {formatted.stderr.strip()[-300:]}")
    started = JavaProcess([libraries], ["kafka.Kafka", str(configuration)], folder / "broker.log", "1g")
    started.wait_for_port(port)
    return started
