"""`up` and `down`: deploy/compose.yaml run by docker-compose, with images, secrets and settings that it asks for.

What a deployment keeps between its starts is in build/compose, for its owner only: passwords, the cluster's id, and a
data directory with settings, so that commands of this host find the platform: k2 --data-dir build/compose/k2 ...
"""

import contextlib
import json
import shutil
import socket
import subprocess
import time
import urllib.request
from collections.abc import Mapping
from pathlib import Path

from conformance.stacks.containers import composition
from conformance.stacks.containers.addresses import Addresses, as_environment, inside_network, platform_settings
from conformance.stacks.containers.client import EngineClient
from conformance.stacks.containers.engine import NoEngine, ensure_engine, find_engine
from conformance.stacks.containers.errors import EngineError, PortTakenError, ServiceError
from conformance.stacks.containers.host_commands import HostCommandError, run_logged
from conformance.stacks.containers.images import Say, ensure_images
from conformance.stacks.containers.kafka_cluster import new_cluster_id
from conformance.stacks.containers.paths import PROJECT_ROOT, shown
from conformance.stacks.containers.preflight import TO_RUN
from conformance.stacks.containers.run_secrets import kept_secrets, write_environments, write_private
from k2.assembly.demo import MARK, mark_demo
from k2.settings import load_settings

STATE = PROJECT_ROOT / "build" / "compose"
PROJECT = "k2"
API = "api"
_LABEL = "com.docker.compose.project="
_COMPOSE_FILE = PROJECT_ROOT / composition.COMPOSE_FILE
_VARIABLES = "variables.env"
_CLUSTER_ID = "KAFKA_CLUSTER_ID"
_PORTS_OF_PROFILES = ("TOXIPROXY_PORT", "_PROXIED_PORT", "GRAFANA_PORT")
_HEALTHY_SECONDS = 120.0
_LOOK_SECONDS = 0.5


def up(environment: Mapping[str, str], say: Say, directory: Path = STATE, project: str = PROJECT) -> None:
    """Start the deployment, or bring it to what the files say now, and wait until the API is well.

    Args:
        environment: of this process; may name ports.
        say: told what is done.
        directory: for what is kept.
        project: what its containers, network and volumes are called by.

    Raises:
        EngineError: no engine, no docker-compose, no room, or a port that is taken.
        ImageError: an image cannot be had.
        ServiceError: a service does not start; the others go on until `down`.
    """
    started = time.monotonic()
    program = compose_program()
    engine = ensure_engine(TO_RUN, say, environment)
    ports = _ports(environment)
    with EngineClient(engine.host, environment) as client:
        _refuse_lost_passwords(client, directory, project)
        if not client.containers(_LABEL + project):
            _refuse_taken(ports)
        images = {image.name: str(image.reference) for image in ensure_images(client, say)}
    variables = _prepare(directory, images, ports)
    _mark(directory / "k2", environment.get("DEMO", "").lower())
    log = directory / "compose.log"
    say(f"{' '.join(program)} up, log in {shown(log)} ...")
    try:
        run_logged(
            (*_command(program, directory, project), "up", "--detach"), log, {**environment, **_ports_text(ports)}
        )
    except HostCommandError as error:
        raise ServiceError(
            f"the deployment does not start: {_last(error.tail)}; see {shown(log)}; `make down` removes the rest"
        ) from None
    url = f"http://{composition.LOOPBACK}:{ports['API_PORT']}"
    _wait_for(url, project, say)
    say(
        f"up after {time.monotonic() - started:.0f} s: API {url}, commands: k2 --data-dir {shown(directory / 'k2')} ..."
    )
    say(f"passwords are in {variables['SECRETS_DIRECTORY']}; `make down` stops it and keeps its data")


def down(
    environment: Mapping[str, str], say: Say, directory: Path = STATE, project: str = PROJECT, *, forget: bool = False
) -> None:
    """Stop the deployment and remove its containers and network.

    Args:
        environment: of this process.
        say: told what is done.
        directory: that of `up`.
        project: that of `up`.
        forget: also remove its data and its passwords.

    Raises:
        EngineError: no engine, or no docker-compose.
        ServiceError: docker-compose fails.
    """
    known = (directory / _VARIABLES).is_file()
    if not known and not forget:
        say("nothing was started here; nothing to stop")
        return
    if isinstance(found := find_engine(environment), NoEngine):
        raise EngineError(found.reason)
    started = time.monotonic()
    log = directory / "compose.log"
    try:
        if known:
            run_logged((*_command(compose_program(), directory, project), "down", "--remove-orphans"), log, environment)
    except HostCommandError as error:
        raise ServiceError(f"the deployment does not stop: {_last(error.tail)}; see {shown(log)}") from None
    if forget:
        with EngineClient(found.host, environment) as client:
            client.remove_labelled(_LABEL + project)
        shutil.rmtree(directory, ignore_errors=True)
    say(f"down after {time.monotonic() - started:.0f} s; {'nothing' if forget else 'its data'} is kept")


def compose_command(directory: Path, project: str) -> tuple[str, ...]:
    """docker-compose with what it needs to find the deployment of a directory.

    Raises:
        EngineError: it is not here.
    """
    return _command(compose_program(), directory, project)


def wait_until_healthy(directory: Path, project: str, say: Say) -> None:
    """Wait until the API of a deployment answers that it is well.

    Raises:
        ServiceError: it does not in time.
    """
    port = composition.read_environment_file(directory / _VARIABLES)["API_PORT"]
    _wait_for(f"http://{composition.LOOPBACK}:{port}", project, say)


def compose_program() -> tuple[str, ...]:
    """How docker-compose is called here.

    Raises:
        EngineError: it is not here.
    """
    for program in (("docker", "compose"), ("docker-compose",)):
        if shutil.which(program[0]) is None:
            continue
        asked = subprocess.run([*program, "version"], capture_output=True, check=False, stdin=subprocess.DEVNULL)
        if asked.returncode == 0:
            return program
    raise EngineError("no docker-compose here: apt-get install docker-compose, or Docker's compose plugin")


def _refuse_lost_passwords(client: EngineClient, directory: Path, project: str) -> None:
    if client.labels(_LABEL + project) and not (directory / _VARIABLES).is_file():
        raise ServiceError(
            f"servers or data of an earlier deployment are there, and {shown(directory)} with its passwords is gone: "
            "`python -m conformance.stacks.containers down --forget` removes them"
        )


def _command(program: tuple[str, ...], directory: Path, project: str) -> tuple[str, ...]:
    variables = str(directory / _VARIABLES)
    return (*program, "--project-name", project, "--env-file", variables, "--file", str(_COMPOSE_FILE))


def _ports(environment: Mapping[str, str]) -> dict[str, int]:
    return {
        name: int(environment[name]) if environment.get(name, "").isdigit() else default
        for name, default in composition.port_defaults(_COMPOSE_FILE).items()
    }


def _ports_text(ports: Mapping[str, int]) -> dict[str, str]:
    return {name: str(port) for name, port in ports.items()}


def _refuse_taken(ports: Mapping[str, int]) -> None:
    for name, port in ports.items():
        if name.endswith(_PORTS_OF_PROFILES):
            continue
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((composition.LOOPBACK, port))
            except OSError:
                raise PortTakenError(
                    f"port {port} of {composition.LOOPBACK} is taken: stop what listens there, or choose another: "
                    f"{name}={port + 10_000} make up"
                ) from None


def _prepare(directory: Path, images: Mapping[str, str], ports: Mapping[str, int]) -> Mapping[str, str]:
    """Write everything docker-compose reads; what an earlier start made stays."""
    secrets = kept_secrets(directory / "secrets")
    inside = platform_settings(Addresses(inside_network(), secrets), "")
    write_environments(directory / "secrets", {**secrets.environments(), "k2.env": as_environment(inside)})
    kept = directory / _VARIABLES
    cluster_id = composition.read_environment_file(kept)[_CLUSTER_ID] if kept.is_file() else new_cluster_id()
    configuration = composition.copy_configuration(PROJECT_ROOT, directory / "configuration")
    variables = {
        **composition.deployment_variables(images, cluster_id, directory / "secrets", configuration),
        **_ports_text(ports),
    }
    write_private(kept, "".join(f"{name}={value}\n" for name, value in variables.items()))
    services = composition.read_composition(_COMPOSE_FILE, variables)
    outside = {name: f"{composition.LOOPBACK}:{next(iter(services[name].ports.values()))}" for name in inside_network()}
    settings = platform_settings(Addresses(outside, secrets), "")
    settings["api"] = {"port": ports["API_PORT"]}
    write_private(directory / "k2" / "settings.json", json.dumps(settings, indent=2) + "\n")
    return variables


def _mark(data_directory: Path, wanted: str) -> None:
    """Mark the deployment as a demo, or take the mark away; where nothing is said it stays as it is."""
    if wanted in ("1", "true", "yes"):
        mark_demo(data_directory, load_settings(data_directory))
    elif wanted:
        (data_directory / MARK).unlink(missing_ok=True)


def _wait_for(url: str, project: str, say: Say) -> None:
    say(f"waiting for the API at {url} ...")
    give_up_at = time.monotonic() + _HEALTHY_SECONDS
    while time.monotonic() < give_up_at:
        with contextlib.suppress(OSError), urllib.request.urlopen(f"{url}/health", timeout=4):
            return
        time.sleep(_LOOK_SECONDS)
    raise ServiceError(
        f"the API at {url} is not well after {_HEALTHY_SECONDS:.0f} s: `docker logs {project}_{API}_1` has its log"
    )


def _last(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1] if lines else "it says nothing"
