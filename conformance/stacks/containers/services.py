"""ContainerServices: the servers of one run, started side by side, seen, and removed whole.

    with open_services(directory) as services:
        with services.stack(directory / "first") as stack: ...

What deploy/compose.yaml describes is started with ports, passwords and a network of its own, so that any number of runs
may be there at once. `directory` gets the logs of every service. Nothing is left: neither after an error nor after
Ctrl-C; what a killed run leaves behind is removed by the next start, see ownership.
"""

import contextlib
import shutil
import socket
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from threading import Event
from types import TracebackType
from typing import TYPE_CHECKING, Self

from conformance.stacks.containers import composition
from conformance.stacks.containers.addresses import Addresses, as_environment, inside_network, platform_settings
from conformance.stacks.containers.client import EngineClient
from conformance.stacks.containers.composition import ServiceSpec
from conformance.stacks.containers.engine import ensure_engine
from conformance.stacks.containers.errors import ContainersError, PortTakenError, ServiceError
from conformance.stacks.containers.images import Say
from conformance.stacks.containers.kafka_cluster import new_cluster_id, wait_for_brokers
from conformance.stacks.containers.ownership import OWNER_LABEL, RUN_LABEL, orphaned_runs, run_labels
from conformance.stacks.containers.paths import PROJECT_ROOT
from conformance.stacks.containers.preflight import TO_RUN
from conformance.stacks.containers.preparation import PLATFORM_IMAGE, keep_seconds, server_images
from conformance.stacks.containers.proxies import Proxies, read_proxies
from conformance.stacks.containers.run_secrets import make_secrets, write_environments
from conformance.stacks.containers.scrape_relay import ScrapeRelay, put_relay
from conformance.stacks.containers.service_container import (
    open_network,
    start_container,
    wait_until_completed,
    wait_until_healthy,
)
from conformance.stacks.containers.service_logs import ErrorLine, read_expected_errors, unexpected_errors

if TYPE_CHECKING:
    from conformance.stacks.containers.stack import ContainerStack

PROXY = "toxiproxy"
_CONFIGURATION = Path(__file__).with_name("configuration")
"""What the harness's servers read in place of what a deployment's do."""
_ANSWER_SECONDS = 60.0
_PORT_ATTEMPTS = 3
_BROKER_COUNT = 3
_CONTROL_PORT = 8474


@dataclass(frozen=True, slots=True)
class Running:
    """A service that was started. `container` is the id of its container."""

    spec: ServiceSpec
    container: str


@contextlib.contextmanager
def open_services(
    directory: Path, say: Say = print, variables: Mapping[str, str] | None = None
) -> Iterator["ContainerServices"]:
    """The servers of one run; an engine and images are had first where they are missing.

    Args:
        directory: gets logs below `services/`; need not exist.
        say: told what is done and how long it took.
        variables: of deploy/compose.yaml that shall be other than there.

    Raises:
        EngineError: no engine, or not enough room.
        ImageError: an image cannot be had.
        ServiceError: a server does not start.
    """
    engine = ensure_engine(TO_RUN, say)
    with EngineClient(engine.host, answer_seconds=_ANSWER_SECONDS) as client:
        remove_orphans(client, say)
        images = {image.name: str(image.reference) for image in server_images(client, say)}
        with ContainerServices(client, images, directory, say, variables) as services:
            yield services


def remove_orphans(client: EngineClient, say: Say) -> list[str]:
    """Remove what runs left behind whose process was killed; ids of those runs."""
    orphans = sorted(orphaned_runs(client.labels(OWNER_LABEL)))
    for run_id in orphans:
        client.remove_labelled(f"{RUN_LABEL}={run_id}")
        say(f"removed what run {run_id} left behind: its process has ended")
    return orphans


class ContainerServices:
    """The servers of one run; a context manager.

    Args:
        client: the engine.
        images: reference of each image by its name in deploy/images.toml.
        directory: for logs and, while it lasts, secrets.
        say: told each service when it is well.
        variables: of deploy/compose.yaml that shall be other than there.
    """

    def __init__(
        self,
        client: EngineClient,
        images: Mapping[str, str],
        directory: Path,
        say: Say = lambda text: None,
        variables: Mapping[str, str] | None = None,
    ) -> None:
        self.run_id = f"{time.strftime('%Y%m%d-%H%M%S', time.gmtime())}-{uuid.uuid4().hex[:6]}"
        self.labels = run_labels(self.run_id)
        self.directory = directory
        self.log_directory = directory / "services"
        self.secrets = make_secrets()
        self.running: dict[str, Running] = {}
        self.start_seconds: dict[str, float] = {}
        """From each service's own start until it was well."""
        self.relay: ScrapeRelay | None = None
        """Through which Prometheus asks K2's processes; None where this host has no address in the run's network."""
        self.client = client
        self._images = images
        self._chosen = dict(variables or {})
        self._say = say
        self._stopping = Event()
        self._stacks = 0
        self._up_seconds = 0.0

    def start(self) -> None:
        """Start every server, all side by side as far as they do not need one another.

        Raises:
            ServiceError: one does not start; nothing is left then.
            EngineError: the engine does not do it; nothing is left then.
        """
        started = time.monotonic()
        try:
            self._start_on_free_ports()
            wait_for_brokers(self.addresses().bootstrap_servers, _BROKER_COUNT)
        except BaseException:
            self.stop()
            raise
        self._up_seconds = time.monotonic() - started
        self._say(f"{len(self.running)} servers up in {self._up_seconds:.1f} s, run {self.run_id}")

    def start_platform(self, image: str, names: Iterable[str]) -> None:
        """Start services of K2 itself in the same network, and those they need.

        Args:
            image: reference of K2's image.
            names: services of deploy/compose.yaml.

        Raises:
            ServiceError: one does not start.
        """
        settings = platform_settings(Addresses(inside_network(), self.secrets), "")
        write_environments(self._secrets_directory, {"k2.env": as_environment(settings)})
        self._specs = self._read({**self._variables, composition.image_variable(PLATFORM_IMAGE): image})
        self._start(composition.started_before(self._specs, names) - set(self.running))

    def addresses(self, *, proxied: bool = False) -> Addresses:
        """Where the servers are for a process of this host: directly, or through Toxiproxy."""
        ports = {} if not proxied else self.running[PROXY].spec.ports
        behind = read_proxies(PROJECT_ROOT / composition.CONFIGURATION / "toxiproxy.json")
        found = {
            name: f"{composition.LOOPBACK}:{ports[behind[name].listen_port]}"
            if proxied
            else f"{composition.LOOPBACK}:{self.port(name)}"
            for name in behind
        }
        return Addresses(found, self.secrets)

    def port(self, name: str) -> int:
        """The one port of this host a service is reached at."""
        (port,) = self.running[name].spec.ports.values()
        return port

    @property
    def proxies(self) -> Proxies:
        """Toxiproxy, which stands in front of every server."""
        port = self.running[PROXY].spec.ports[_CONTROL_PORT]
        return Proxies(f"http://{composition.LOOPBACK}:{port}")

    def stack(self, directory: Path, *, partitions: int = 4, batch_rows: int = 100_000) -> "ContainerStack":
        """A platform of its own on these servers, as EmbeddedStack(directory, ...) is one on none."""
        from conformance.stacks.containers.stack import ContainerStack

        return ContainerStack(self, directory, partitions=partitions, batch_rows=batch_rows)

    def next_platform_name(self) -> str:
        """A name no other platform on these servers has."""
        self._stacks += 1
        return f"s{self._stacks}"

    def pause(self, name: str) -> None:
        """Freeze a server: connections stay, nobody answers."""
        self.client.pause(self.running[name].container)

    def resume(self, name: str) -> None:
        """Let a paused server go on."""
        self.client.resume(self.running[name].container)

    def kill(self, name: str) -> None:
        """End a server as a power cut does; what it has on disk stays."""
        self.client.kill(self.running[name].container)

    def shut_down(self, name: str) -> None:
        """End a server in its own way."""
        self.client.stop_container(self.running[name].container)

    def start_again(self, name: str) -> None:
        """Start a server that was ended, and wait until it is well."""
        running = self.running[name]
        self.client.start_again(running.container)
        wait_until_healthy(self.client, running.container, running.spec, self._stopping.is_set)

    def read_configuration_again(self, name: str) -> None:
        """Have a server read its files again: those of `configuration_directory` that are mounted into it."""
        self.client.kill(self.running[name].container, "SIGHUP")

    def logs(self, since_seconds: float | None = None) -> Mapping[str, str]:
        """What every service has written, by its name, or from a time on; each line behind its time, UTC."""
        return {
            name: self.client.logs(one.container, timestamps=True, since_seconds=since_seconds)
            for name, one in self.running.items()
        }

    def unexpected_errors(self, since_seconds: float | None = None) -> list[ErrorLine]:
        """Error lines in the logs, or from a time on, that expected_errors.toml does not know.

        A run without faults has none.
        """
        return unexpected_errors(self.logs(since_seconds), read_expected_errors())

    def memory_bytes(self) -> Mapping[str, int]:
        """What each service holds now."""
        with ThreadPoolExecutor(len(self.running)) as pool:
            found = pool.map(self.client.memory_bytes, [one.container for one in self.running.values()])
        return dict(zip(self.running, found, strict=True))

    def stop(self) -> None:
        """Keep the logs, then remove everything of this run. Calling again does nothing."""
        self._stopping.set()
        started = time.monotonic()
        label = f"{RUN_LABEL}={self.run_id}"
        with contextlib.suppress(ContainersError):
            self._keep_logs()
        try:
            self.client.remove_labelled(label)
        finally:
            shutil.rmtree(self._secrets_directory, ignore_errors=True)
            self._close_relay()
        if self.running:
            down_seconds = time.monotonic() - started
            self._say(f"{len(self.running)} servers down in {down_seconds:.1f} s")
            keep_seconds(self.directory, self._up_seconds, down_seconds)
        self.running = {}

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def configuration_directory(self) -> Path:
        """What the servers of this run read in place of deploy/."""
        return self.directory.absolute() / "configuration"

    @property
    def _secrets_directory(self) -> Path:
        return self.directory.absolute() / "secrets"

    def _start_on_free_ports(self) -> None:
        write_environments(self._secrets_directory, {**self.secrets.environments(), "k2.env": {}})
        for attempt in range(1, _PORT_ATTEMPTS + 1):
            self._variables = self._chosen_variables()
            self._specs = self._read(self._variables)
            servers = {
                name
                for name, spec in self._specs.items()
                if spec.image != PLATFORM_IMAGE and not composition.is_for_people(spec)
            }
            self._network = open_network(self.client.host, f"k2-{self.run_id}", self.labels)
            self._open_relay(f"k2-{self.run_id}")
            try:
                self._start(servers)
                return
            except PortTakenError:
                # Somebody took it between our look and our use.
                if attempt == _PORT_ATTEMPTS:
                    raise
                self.client.remove_labelled(f"{RUN_LABEL}={self.run_id}")
                self.running = {}

    def _chosen_variables(self) -> dict[str, str]:
        names = composition.port_defaults(PROJECT_ROOT / composition.COMPOSE_FILE)
        ports = dict(zip(names, map(str, _free_ports(len(names))), strict=True))
        # K2's own image is not asked for here; see start_platform.
        images = {**self._images, PLATFORM_IMAGE: PLATFORM_IMAGE}
        directories = self._secrets_directory, self._configuration_copy()
        return {**ports, **composition.deployment_variables(images, new_cluster_id(), *directories), **self._chosen}

    def _configuration_copy(self) -> Path:
        return composition.copy_configuration(PROJECT_ROOT, self.configuration_directory, _CONFIGURATION)

    def _open_relay(self, network: str) -> None:
        self._close_relay()
        self.relay = ScrapeRelay.opened(self.client.gateway(network))
        put_relay(self.configuration_directory / "prometheus" / "prometheus.yml", self.relay)

    def _close_relay(self) -> None:
        if self.relay is not None:
            self.relay.close()
            self.relay = None

    def _read(self, variables: Mapping[str, str]) -> dict[str, ServiceSpec]:
        return composition.read_composition(PROJECT_ROOT / composition.COMPOSE_FILE, variables)

    def _start(self, names: Iterable[str]) -> None:
        wanted = [name for name in self._specs if name in set(names)]
        failed = Event()
        futures: dict[str, Future[Running]] = {}

        def start(name: str) -> Running:
            spec = self._specs[name]
            for needed, condition in spec.needs.items():
                before = futures[needed].result() if needed in futures else self.running[needed]
                if condition == composition.COMPLETED:
                    wait_until_completed(self.client, before.container, before.spec, failed.is_set)
            return self._start_one(spec, lambda: failed.is_set() or self._stopping.is_set())

        with ThreadPoolExecutor(len(wanted), thread_name_prefix="service") as pool:
            try:
                # Those that are needed first: whoever waits for one finds it here.
                for name in sorted(wanted, key=lambda name: len(composition.started_before(self._specs, [name]))):
                    futures[name] = pool.submit(start, name)
                for name in wanted:
                    futures[name].result()
            except BaseException as error:  # noqa: BLE001 - raised again, or what caused it
                failed.set()
                raise _first_cause(error, futures.values()) from None

    def _start_one(self, spec: ServiceSpec, stopping: Callable[[], bool]) -> Running:
        started = time.monotonic()
        if stopping():
            raise InterruptedError(f"{spec.name} is not started any more")
        container = start_container(self.client.host, spec, self._network, self.labels)
        running = self.running[spec.name] = Running(spec, container)
        if spec.health_check != ():
            wait_until_healthy(self.client, container, spec, stopping)
        seconds = self.start_seconds[spec.name] = time.monotonic() - started
        self._say(f"  {spec.name:<24} {seconds:5.1f} s")
        return running

    def _keep_logs(self) -> None:
        if not self.running:
            return
        self.log_directory.mkdir(parents=True, exist_ok=True)
        for name, text in self.logs().items():
            (self.log_directory / f"{name}.log").write_text(text)


def _free_ports(count: int) -> list[int]:
    """Ports of loopback that nobody listens on now."""
    with contextlib.ExitStack() as held:
        sockets = [held.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind((composition.LOOPBACK, 0))
        return [int(each.getsockname()[1]) for each in sockets]


def _first_cause(error: BaseException, futures: Iterable[Future[Running]]) -> BaseException:
    """What went wrong first: those that were only no longer waited for have nothing to say."""
    if not isinstance(error, InterruptedError):
        return error
    for future in futures:
        cause = future.exception()
        if cause is not None and not isinstance(cause, InterruptedError):
            return cause
    return ServiceError(str(error))
