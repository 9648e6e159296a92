"""Faults of whole servers: killed, frozen, parted from the others. Each method returns once its effect can be seen.

    with stack.servers().killed("kafka-2"):
        ...

What a server wrote to its disk stays. A server that was killed or shut down is well again, by its own health check,
when `start` returns; one that was frozen or parted needs as long as its protocols take to notice.
"""

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping

from conformance.stacks.containers.errors import ServiceError
from conformance.stacks.containers.kafka_cluster import KafkaCluster
from conformance.stacks.containers.services import ContainerServices

_PATIENCE_SECONDS = 30.0
_LOOK_SECONDS = 0.05


class ContainerFaults:
    """What can be done to the servers of a run, each called by its name in deploy/compose.yaml.

    Args:
        services: the servers.

    Raises:
        EngineError: the engine does not do it.
        ServiceError: it did it, and no effect can be seen.
    """

    def __init__(self, services: ContainerServices) -> None:
        self._services = services
        self._networks: dict[str, str] = {}

    def names(self) -> list[str]:
        """Every server there is."""
        return sorted(self._services.running)

    def bootstrap_servers(self) -> str:
        """The brokers' addresses, past Toxiproxy."""
        return self._services.addresses().bootstrap_servers

    def leaders(self, topic: str) -> Mapping[int, str]:
        """The broker that leads each partition of a topic; a partition that nobody leads is left out."""
        found = KafkaCluster(self.bootstrap_servers()).leaders(topic)
        return {partition: f"kafka-{broker}" for partition, broker in found.items()}

    def set_session(self, group: str, timeout_ms: int, heartbeat_interval_ms: int) -> None:
        """How long members of a group that the brokers rule (KIP-848) may be silent, and how often they speak."""
        KafkaCluster(self.bootstrap_servers()).set_session(group, timeout_ms, heartbeat_interval_ms)

    def kill(self, service: str) -> None:
        """End a server as a power cut does."""
        self._services.kill(service)
        _wait_until(lambda: not self.is_running(service), f"{service} runs on although it was killed")

    def shut_down(self, service: str) -> None:
        """End a server in its own way."""
        self._services.shut_down(service)
        _wait_until(lambda: not self.is_running(service), f"{service} runs on although it was told to end")

    def start(self, service: str) -> None:
        """Start a server that has ended, and wait until it is well."""
        self._services.start_again(service)

    def pause(self, service: str) -> None:
        """Freeze a server: its connections stay, and nobody answers."""
        self._services.pause(service)
        _wait_until(lambda: self.is_paused(service), f"{service} goes on although it was frozen")

    def unpause(self, service: str) -> None:
        """Let a frozen server go on."""
        self._services.resume(service)
        _wait_until(lambda: not self.is_paused(service), f"{service} stays frozen")

    def disconnect(self, service: str) -> None:
        """Part a server from all others, and from this host."""
        (self._networks[service],) = self._services.client.networks(self._container(service))
        self._services.client.disconnect(self._container(service), self._networks[service])
        _wait_until(lambda: not self.is_connected(service), f"{service} is still connected")

    def connect(self, service: str) -> None:
        """Put a parted server back to the others, under its name and at its ports."""
        self._services.client.connect(self._container(service), self._networks[service], alias=service)
        _wait_until(lambda: self.is_connected(service), f"{service} is not connected again")

    def is_running(self, service: str) -> bool:
        """Whether its process lives, frozen or not."""
        return self._services.client.exit_status(self._container(service)) is None

    def is_paused(self, service: str) -> bool:
        """Whether it is frozen."""
        return self._services.client.is_paused(self._container(service))

    def is_connected(self, service: str) -> bool:
        """Whether it shares a network with the others."""
        return bool(self._services.client.networks(self._container(service)))

    @contextlib.contextmanager
    def killed(self, *services: str) -> Iterator[None]:
        """Servers are dead for as long as the context lasts, then started and awaited."""
        with contextlib.ExitStack() as healed:
            for service in services:
                healed.callback(self.start, service)
                self.kill(service)
            yield

    @contextlib.contextmanager
    def paused(self, *services: str) -> Iterator[None]:
        """Servers are frozen for as long as the context lasts."""
        with contextlib.ExitStack() as healed:
            for service in services:
                self.pause(service)
                healed.callback(self.unpause, service)
            yield

    @contextlib.contextmanager
    def parted(self, *services: str) -> Iterator[None]:
        """Servers are parted from all others for as long as the context lasts."""
        with contextlib.ExitStack() as healed:
            for service in services:
                self.disconnect(service)
                healed.callback(self.connect, service)
            yield

    def _container(self, service: str) -> str:
        return self._services.running[service].container


def _wait_until(holds: Callable[[], bool], failure: str) -> None:
    give_up_at = time.monotonic() + _PATIENCE_SECONDS
    while not holds():
        if time.monotonic() > give_up_at:
            raise ServiceError(failure)
        time.sleep(_LOOK_SECONDS)
