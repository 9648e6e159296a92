"""ContainerStack: one platform on the servers of a run, its own processes as children on this host.

Topics, consumer groups, subjects, tables and files bear the platform's name, so that any number of platforms, one after
another or at once, share the servers without seeing one another. The processes come through Toxiproxy, so that faults
can be put between them and any server; the broker's commands that a bad day brings are done there.
"""

import itertools
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import sqlalchemy

from conformance.stacks.base import Outage, PowerMissingError
from conformance.stacks.containers import outages
from conformance.stacks.containers.addresses import BROKERS, REGISTRIES, platform_settings
from conformance.stacks.containers.container_faults import ContainerFaults
from conformance.stacks.containers.kafka_cluster import KafkaCluster
from conformance.stacks.containers.monitoring import RunMonitoring
from conformance.stacks.containers.run_secrets import write_private
from conformance.stacks.containers.scrape_relay import ScrapedProcess
from conformance.stacks.containers.services import ContainerServices
from conformance.stacks.containers.small_object_store import SmallObjectStore
from conformance.stacks.processes import PlatformProcesses
from k2.assembly.tables import create_tables
from k2.embedded.platform import HEARTBEAT_INTERVAL_MS, SESSION_TIMEOUT_MS
from k2.embedded.processes import ChildProcess
from k2.records.definition import all_topics
from k2.settings import SETTINGS_FILE, load_settings

LOCK_TIMEOUT_MS = 50
SLOW_KILOBYTES_PER_SECOND = 96
_LATE_ANSWERS = "answer_late"
_SERVES_METRICS = {"K2_CONSUMER__METRICS_PORT": "0", "K2_PRODUCER__METRICS_PORT": "0"}


class ContainerStack(PlatformProcesses):
    """One platform on real servers; a context manager.

    Args:
        services: the servers; they outlive this.
        directory: of this platform alone; gets settings (with passwords, for its owner only) and logs.
        partitions: of every topic.
        batch_rows: largest batch of a consumer.
        through_proxies: whether the processes come through Toxiproxy, without which the broker cannot be taken away.
    """

    name = "containers"

    def __init__(
        self,
        services: ContainerServices,
        directory: Path,
        *,
        partitions: int = 4,
        batch_rows: int = 100_000,
        through_proxies: bool = True,
    ) -> None:
        super().__init__(directory, batch_rows)
        self.services = services
        self._partitions = partitions
        self._through_proxies = through_proxies
        self._warehouse_bytes = 0
        self._small_store: SmallObjectStore | None = None
        self._platform_name = services.next_platform_name()
        self._instances: dict[str, ChildProcess] = {}
        # Past the proxies, so that it works whatever is done to them.
        self._cluster = KafkaCluster(services.addresses().bootstrap_servers)

    def limit_warehouse(self, size_bytes: int) -> None:
        """Have the warehouse in an object store of its own, with a disk of this size; to be called before `start`."""
        self._warehouse_bytes = size_bytes

    def start(self) -> None:
        """Create topics and tables.

        Raises:
            ServiceError: the server of a limited warehouse does not start.
        """
        values = platform_settings(self.services.addresses(proxied=self._through_proxies), self._platform_name)
        values["kafka"] |= {
            "session_timeout_ms": SESSION_TIMEOUT_MS,
            "heartbeat_interval_ms": HEARTBEAT_INTERVAL_MS,
        }
        values["api"] = {"port": 0}
        if self._warehouse_bytes:
            self._small_store = SmallObjectStore(self.services, self._warehouse_bytes)
            values["storage"]["s3_endpoint"] = self._small_store.url
        write_private(self.directory / SETTINGS_FILE, json.dumps(values, indent=2) + "\n")
        self.settings = load_settings(self.directory)
        self._cluster.create_topics(all_topics(self.settings.kafka.topic_prefix), self._partitions)
        create_tables(self.settings)

    @contextmanager
    def outage(self, kind: Outage) -> Iterator[None]:
        """Have a server gone for this host's processes for as long as the context lasts."""
        if kind is Outage.DISK_FULL:
            with self._disk_full():
                yield
            return
        self._need_proxies(kind.value.replace("_", " "))
        proxies = self.services.proxies
        gone: Mapping[Outage, Callable[[], AbstractContextManager[None]]] = {
            Outage.BROKER_DOWN: lambda: outages.disabled(proxies, BROKERS),
            Outage.BROKER_HUNG: lambda: outages.held_back(proxies, BROKERS),
            Outage.ANSWERS_LOST: lambda: outages.answers_lost(proxies, BROKERS),
            Outage.REGISTRY_DOWN: lambda: outages.disabled(proxies, REGISTRIES),
            Outage.CATALOG_DOWN: lambda: outages.disabled(proxies, ["postgres"]),
            Outage.SINK_SLOW: lambda: outages.throttled(proxies, "object-store", SLOW_KILOBYTES_PER_SECOND),
            Outage.CATALOG_LOCKED: lambda: outages.locked(self.settings.storage.catalog_uri),
            Outage.WAREHOUSE_AWAY: lambda: outages.disabled(proxies, ["object-store"]),
        }
        with gone[kind]():
            yield

    @contextmanager
    def _disk_full(self) -> Iterator[None]:
        if self._small_store is None:
            raise PowerMissingError("an object store that others use is not filled: limit the warehouse first")
        self._small_store.fill()
        try:
            yield
        finally:
            self._small_store.free()

    def servers(self) -> ContainerFaults:
        """Hands on the servers, which all platforms of a run share."""
        return ContainerFaults(self.services)

    def monitoring(self) -> RunMonitoring:
        """Hands on Prometheus, which asks every process of this platform, and Alertmanager."""
        if self.services.relay is None:
            raise PowerMissingError("this host has no address in the engine's networks: Prometheus cannot ask K2")
        return RunMonitoring(self.services, self._platform_name)

    def impatience(self) -> Mapping[str, str]:
        """Environment of a process that does not wait for a locked catalog."""
        uri = sqlalchemy.make_url(self.settings.storage.catalog_uri)
        hurried = uri.update_query_dict({"options": f"-c lock_timeout={LOCK_TIMEOUT_MS}"})
        return {"K2_STORAGE__CATALOG_URI": hurried.render_as_string(hide_password=False)}

    def command_broker(self, do: str, **arguments: object) -> None:
        """Have the brokers do what k2.embedded.broker.COMMANDS has one do, as far as real ones can.

        `go_down`, `come_up` and `answer_late` act between this host's processes and all three brokers.

        Raises:
            PowerMissingError: real brokers cannot do that.
            ServiceError: they refused.
        """
        commands: Mapping[str, Callable[..., None]] = {
            "create_topic": self._create_topic,
            "delete_topic": lambda topic: self._cluster.delete_topics([topic]),
            "delete_records": self._cluster.delete_records,
            "go_down": self._go_down,
            "come_up": self._come_up,
            "answer_late": self._answer_late,
        }
        if do not in commands:
            raise PowerMissingError(f"real brokers cannot be made to {do.replace('_', ' ')}")
        commands[do](**arguments)

    def stop(self) -> None:
        """End all processes and delete the topics; tables and files go with the servers."""
        super().stop()
        if self.services.relay is not None:
            self.services.relay.withdraw(self._instances)
        if self._through_proxies:
            self.services.proxies.reset()
        if hasattr(self, "settings"):
            self._cluster.delete_topics(all_topics(self.settings.kafka.topic_prefix))
        if self._small_store is not None:
            self._small_store.close()

    def retire(self, child: ChildProcess) -> None:
        """End a process for good: Prometheus does not miss it."""
        if self.services.relay is not None:
            self.services.relay.withdraw([name for name, one in self._instances.items() if one is child])
        child.stop()

    def _spawn(self, role: str, arguments: list[str], environment: Mapping[str, str] | None = None) -> ChildProcess:
        child = super()._spawn(role, arguments, {**_SERVES_METRICS, **(environment or {})})
        if self.services.relay is not None:
            instance = self._free_instance(role)
            self._instances[instance] = child
            self.services.relay.expose(ScrapedProcess(instance, role.partition("-")[0], child.pid))
        return child

    def _free_instance(self, role: str) -> str:
        """A name no living process has: one that takes the place of a dead one is the same to Prometheus."""
        first = f"{self._platform_name}-{role}"
        names = itertools.chain([first], (f"{first}-{number}" for number in itertools.count(2)))
        return next(
            name for name in names if name not in self._instances or self._instances[name].returncode() is not None
        )

    def _create_topic(self, topic: str, partitions: int | None = None) -> None:
        self._cluster.create_topics([topic], partitions or self._partitions)

    def _go_down(self) -> None:
        self._need_proxies("go down")
        for name in BROKERS:
            self.services.proxies.disable(name)

    def _come_up(self) -> None:
        self._need_proxies("come up")
        for name in BROKERS:
            self.services.proxies.enable(name)

    def _answer_late(self, milliseconds: int) -> None:
        self._need_proxies("answer late")
        for name in BROKERS:
            if milliseconds:
                self.services.proxies.add_toxic(name, "latency", {"latency": milliseconds}, toxic=_LATE_ANSWERS)
            elif _LATE_ANSWERS in self.services.proxies.toxics(name):
                self.services.proxies.remove_toxic(name, _LATE_ANSWERS)

    def _need_proxies(self, what: str) -> None:
        if not self._through_proxies:
            raise PowerMissingError(f"brokers that are not reached through Toxiproxy cannot {what} for this host alone")
