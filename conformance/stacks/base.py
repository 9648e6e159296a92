"""The interface every stack has."""

import enum
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Protocol, Self

from k2.embedded.processes import ChildProcess
from k2.settings import Settings


@dataclass(frozen=True, slots=True)
class SignalPlan:
    """A signal that a consumer sends to itself, right after a step of the protocol.

    Attributes:
        after_step: name of the step, "WRITE".
        at_batch: the batch in which, counted from 1; ASSIGN happens before the first.
        evidence: file the process writes a line to just before the signal, and for every step it still does after it.
        signal: SIGKILL, SIGTERM, SIGINT or SIGSTOP.
    """

    after_step: str
    at_batch: int
    evidence: Path
    signal: str = "SIGKILL"


@dataclass(frozen=True, slots=True)
class CutPlan:
    """Answers to catalog commits that a consumer never gets, see conformance.stacks.cut_answers.

    Attributes:
        count: how many; half of these commits hold.
        evidence: file the process writes a line to for each.
    """

    count: int
    evidence: Path


class Outage(enum.Enum):
    """A way in which a dependency of the platform can be gone for a while; it forgets nothing."""

    BROKER_DOWN = "broker_down"
    """The brokers close their connections and accept none."""
    BROKER_HUNG = "broker_hung"
    """The brokers do not answer, their connections stay open."""
    ANSWERS_LOST = "answers_lost"
    """The brokers get and do what they are asked, their answers get lost, and in the end their connections break."""
    REGISTRY_DOWN = "registry_down"
    """The Schema Registry closes its connections and accepts none."""
    CATALOG_DOWN = "catalog_down"
    """The catalog's database closes its connections and accepts none."""
    CATALOG_LOCKED = "catalog_locked"
    """Somebody else holds a lock on the catalog that lets nobody read or write it."""
    SINK_SLOW = "sink_slow"
    """Tables take in little: the object store is sent 96 KB/s on each connection, or the catalog can be had for one
    commit in every 2.3 s."""
    DISK_FULL = "disk_full"
    """The disk under the warehouse is full; only of a stack whose warehouse was limited before it was started."""
    WAREHOUSE_AWAY = "warehouse_away"
    """No file of the warehouse can be read or written."""


class Servers(Protocol):
    """What can be done to real servers, each called by its name: "kafka-1", "object-store"; see container_faults.

    `killed`, `paused` and `parted` undo at their end what they did.
    """

    def names(self) -> list[str]:
        """Every server there is."""

    def bootstrap_servers(self) -> str:
        """The brokers' addresses, past everything that stands in front of them."""

    def leaders(self, topic: str) -> Mapping[int, str]:
        """The broker that leads each partition of a topic; a partition that nobody leads is left out."""

    def set_session(self, group: str, timeout_ms: int, heartbeat_interval_ms: int) -> None:
        """How long members of a group that the brokers rule (KIP-848) may be silent, and how often they speak."""

    def kill(self, service: str) -> None:
        """End a server as a power cut does; what it has on disk stays."""

    def start(self, service: str) -> None:
        """Start a server that has ended, and wait until it is well."""

    def pause(self, service: str) -> None:
        """Freeze a server: its connections stay, and nobody answers."""

    def unpause(self, service: str) -> None:
        """Let a frozen server go on."""

    def disconnect(self, service: str) -> None:
        """Part a server from all others, and from this host."""

    def connect(self, service: str) -> None:
        """Put a parted server back."""

    def killed(self, *services: str) -> AbstractContextManager[None]:
        """Servers are dead for as long as the context lasts."""

    def paused(self, *services: str) -> AbstractContextManager[None]:
        """Servers are frozen for as long as the context lasts."""

    def parted(self, *services: str) -> AbstractContextManager[None]:
        """Servers are parted from all others for as long as the context lasts."""


class Monitoring(Protocol):
    """Alertmanager, and Prometheus, which asks every process of the platform and has the rules of deploy/prometheus."""

    @property
    def prometheus_url(self) -> str:
        """Where it is."""

    @property
    def alertmanager_url(self) -> str:
        """Where it is."""

    @property
    def instances(self) -> str:
        """A regular expression of the label `instance` that this platform's processes have, and no other's."""

    def rules(self, folder: Path) -> AbstractContextManager[None]:
        """Have Prometheus go by the rules of a folder instead, for as long as the context lasts."""


class PowerMissingError(Exception):
    """A stack of this kind cannot do what is asked of it; a clause that needs it is not exercised there."""


class Stack(Protocol):
    """A running system under test."""

    name: str
    directory: Path
    """The data directory of its processes."""
    settings: Settings
    """How to reach it."""

    def start(self) -> None:
        """Bring up what all processes need (broker, catalog, tables)."""

    def limit_warehouse(self, size_bytes: int) -> None:
        """Have the warehouse on a disk of its own, of this size; to be called before `start`.

        Raises:
            PowerMissingError: that cannot be done on a stack of this kind.
        """

    def start_consumer(
        self,
        data_type: str,
        plan: SignalPlan | CutPlan | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> ChildProcess:
        """Start a consumer process, with settings changed by environment variables.

        With a plan it signals itself, or misses answers.
        """

    def start_feed(
        self, rate_per_second: float, seed: int, *options: str, environment: Mapping[str, str] | None = None
    ) -> ChildProcess:
        """Start a process that sends records of the synthetic exchange without end; `options` are of `k2 feed`."""

    def start_api(self, environment: Mapping[str, str] | None = None) -> str:
        """Start an API process, with settings changed by environment variables, and return its address."""

    def topic(self, asset_class: str, data_type: str) -> str:
        """Name of the topic that records of a kind are sent to."""

    def outage(self, kind: Outage) -> AbstractContextManager[None]:
        """Have a dependency gone for as long as the context lasts.

        Raises:
            PowerMissingError: that cannot be done on a stack of this kind.
        """

    def servers(self) -> Servers:
        """Hands on the servers themselves; what is done to them every platform on them meets.

        Raises:
            PowerMissingError: a stack of this kind has no servers, or they are not ours to touch.
        """

    def monitoring(self) -> Monitoring:
        """Hands on the servers that watch the platform.

        Raises:
            PowerMissingError: a stack of this kind has none, or they do not reach its processes.
        """

    def impatience(self) -> Mapping[str, str]:
        """Environment of a process that does not wait for a locked catalog."""

    def command_broker(self, do: str, **arguments: object) -> None:
        """Have the brokers do one of k2.embedded.broker.COMMANDS.

        Raises:
            PowerMissingError: brokers of this kind cannot.
        """

    def process(self, role: str) -> ChildProcess:
        """The newest process of a role: "consumer-trades", "api"."""

    def logs(self) -> Mapping[str, str]:
        """Everything each process has logged."""

    def stop(self) -> None:
        """End all of it and leave nothing behind."""

    def __enter__(self) -> Self:
        """Start it."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Stop it."""


class NewStack(Protocol):
    """Makes stacks of the kind a run is on; each is started by its caller.

    Args:
        directory: of this stack alone.
        partitions: of every topic.
        batch_rows: largest batch of a consumer.
    """

    def __call__(self, directory: Path, *, partitions: int = 4, batch_rows: int = 100_000) -> Stack:
        """One that is not started yet."""
