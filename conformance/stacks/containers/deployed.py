"""A whole deployment of deploy/compose.yaml for a run: what `make up` starts, under a name and on ports of its own.

Runbooks are executed on it, and what they bring back is a platform like the one people run: K2's own processes are
containers too, kept by docker-compose. `stack` reaches its topics and tables from this host, to feed and to look.
"""

import contextlib
import json
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

from conformance.stacks.containers import composition, deployment
from conformance.stacks.containers.client import EngineClient
from conformance.stacks.containers.engine import NoEngine, find_engine
from conformance.stacks.containers.errors import ServiceError
from conformance.stacks.containers.images import Say
from conformance.stacks.containers.paths import PROJECT_ROOT
from conformance.stacks.containers.run_secrets import write_private
from conformance.stacks.external import ExternalStack
from conformance.stacks.processes import PlatformProcesses
from k2.commands.runbooks.execution import environment_of, run_shell
from k2.settings import SETTINGS_FILE, load_settings

RUNBOOKS = Path("docs") / "runbooks"
_PROJECT = "k2-drill-"
_PROJECT_LABEL = "com.docker.compose.project"
_SERVICE_LABEL = "com.docker.compose.service"
_NAMES = ("--format", f'{{{{.Label "{_SERVICE_LABEL}"}}}}')
_FEED, _FEED_RATE = "feed", "20"
_PATIENCE_MS = 600_000
"""What was sent when all brokers were away is waited for: given up, nobody could say what became of it."""


class DeployedStack(ExternalStack):
    """The deployment's own topics and tables, as a stack that is fed and observed; nothing is made or removed."""

    name = "deployment"

    def start(self) -> None:
        """Find its servers."""
        write_private(self.directory / SETTINGS_FILE, json.dumps(self._values, indent=2) + "\n")
        self.settings = load_settings(self.directory)

    def stop(self) -> None:
        """End the processes of this host."""
        PlatformProcesses.stop(self)


class Deployed:
    """A deployment that runs.

    Args:
        directory: that of `up`.
        project: that of `up`.
        ports: by variable.
        stack_directory: for the processes of this host.
    """

    def __init__(self, directory: Path, project: str, ports: Mapping[str, str], stack_directory: Path) -> None:
        self.directory = directory
        self.project = project
        self.data_directory = directory / "k2"
        self.backup_directory = directory / "backup"
        self.api_url = f"http://{composition.LOOPBACK}:{ports['API_PORT']}"
        self.environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("K2_")},
            **ports,
            "COMPOSE_STATE": str(directory),
            "COMPOSE_PROJECT": project,
            "BACKUP": str(self.backup_directory),
            "FEED_RATE": _FEED_RATE,
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        }
        values = json.loads((self.data_directory / SETTINGS_FILE).read_text())
        values["kafka"]["delivery_timeout_ms"] = _PATIENCE_MS
        self.stack = DeployedStack(stack_directory, values, partitions=6, batch_rows=10_000)
        self._should_run: set[str] = set()

    def shell(self, text: str, **given: str) -> str:
        """Run commands as a reader of the runbooks types them; what they write.

        Raises:
            ServiceError: one failed.
        """
        environment = {**self.environment, **given}
        exit_code, _, output = run_shell(text, PROJECT_ROOT, environment_of(PROJECT_ROOT / RUNBOOKS), environment)
        if exit_code != 0:
            raise ServiceError(f"{text.strip().splitlines()[0]} ... ended with {exit_code}: {output[-300:]}")
        return output

    def kill(self, *services: str) -> None:
        """End containers as a power cut does; docker starts none of them again."""
        docker("kill", *(self.container(service) for service in services))

    def lose(self, *services: str) -> None:
        """Remove containers, and the volumes of the same name: their data is gone."""
        docker("rm", "--force", "--volumes", *(self.container(service) for service in services))
        docker("volume", "rm", *(f"{self.project}_{service}" for service in services))

    def state(self, service: str) -> str:
        """What its container does: running, exited, or gone where there is none."""
        try:
            return docker("inspect", "--format", "{{.State.Status}}", self.container(service)).strip()
        except ServiceError:
            return "gone"

    def container(self, service: str) -> str:
        """Id of the container of a service, running or not.

        Raises:
            ServiceError: there is none.
        """
        chosen = (f"label={_PROJECT_LABEL}={self.project}", f"label={_SERVICE_LABEL}={service}")
        filters = [part for one in chosen for part in ("--filter", one)]
        found = docker("ps", "--all", "--quiet", *filters).split()
        if not found:
            raise ServiceError(f"there is no container of {service}")
        return found[0]

    def put_in_order(self) -> None:
        """Have all of it run but the feed: whoever was here before may have failed half-way."""
        running = set(docker("ps", "--filter", f"label={_PROJECT_LABEL}={self.project}", *_NAMES).split())
        if _FEED in running or not running >= self._should_run:
            self.shell(f"as_it_was && compose stop {_FEED}")
        self._should_run |= running - {_FEED}

    def volumes(self) -> list[str]:
        """Names of its volumes, without the project's name, each with when it was made."""
        listed = docker("volume", "ls", "--quiet", "--filter", f"label={_PROJECT_LABEL}={self.project}").split()
        told = docker("volume", "inspect", "--format", "{{.Name}} {{.CreatedAt}}", *listed) if listed else ""
        return sorted(line.removeprefix(f"{self.project}_") for line in told.splitlines())


@contextlib.contextmanager
def deployed(directory: Path, say: Say) -> Iterator[Deployed]:
    """Bring up a deployment that is marked as a demo, without its feed running; remove it whole at the end.

    Args:
        directory: for what it keeps; gets compose.log.
        say: told what is done.

    Raises:
        EngineError, ImageError, ServiceError: it does not come up.
    """
    _remove_left_behind(say)
    project = f"{_PROJECT}{os.getpid()}"
    ports = _free_ports()
    state = directory / "deployment"
    environment = {**os.environ, **ports, "DEMO": "true", "FEED_RATE": _FEED_RATE}
    try:
        deployment.up(environment, say, state, project)
        running = Deployed(state, project, ports, directory / "outside")
        running.shell(f"compose stop {_FEED}")
        with running.stack:
            yield running
    finally:
        with contextlib.suppress(OSError):
            directory.mkdir(parents=True, exist_ok=True)
            shutil.copy(state / "compose.log", directory / "compose.log")
        deployment.down(environment, say, state, project, forget=True)


def docker(*arguments: str) -> str:
    """Run docker; what it writes.

    Raises:
        ServiceError: it failed.
    """
    done = subprocess.run(["docker", *arguments], capture_output=True, text=True, check=False, stdin=subprocess.DEVNULL)
    if done.returncode != 0:
        raise ServiceError(f"docker {' '.join(arguments[:3])} ...: {done.stderr.strip()[-300:]}")
    return done.stdout


def _remove_left_behind(say: Say) -> None:
    """Deployments of runs whose process was killed."""
    engine = find_engine(os.environ)
    if isinstance(engine, NoEngine):
        return
    with EngineClient(engine.host) as client:
        names = {labels[_PROJECT_LABEL] for labels in client.labels(_PROJECT_LABEL)}
        for name in sorted(names):
            process = name.removeprefix(_PROJECT)
            if name.startswith(_PROJECT) and process.isdigit() and not Path(f"/proc/{process}").exists():
                client.remove_labelled(f"{_PROJECT_LABEL}={name}")
                say(f"removed deployment {name}: its process has ended")


def _free_ports() -> dict[str, str]:
    """A port nobody listens at for each variable of the compose file."""
    names = composition.port_defaults(PROJECT_ROOT / composition.COMPOSE_FILE)
    with contextlib.ExitStack() as held:
        found = {}
        for name in names:
            probe = held.enter_context(socket.socket())
            probe.bind((composition.LOOPBACK, 0))
            found[name] = str(probe.getsockname()[1])
        return found
