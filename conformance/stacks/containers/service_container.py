"""One service as a container: started through testcontainers, and waited for until it is well."""

import os
import re
import time
from collections.abc import Callable, Mapping
from typing import Any, cast

import docker.errors
import requests.exceptions
from testcontainers.core.config import testcontainers_config
from testcontainers.core.container import DockerContainer
from testcontainers.core.network import Network

from conformance.stacks.containers.client import EngineClient, explanation
from conformance.stacks.containers.composition import LOOPBACK, ServiceSpec
from conformance.stacks.containers.errors import EngineError, PortTakenError, ServiceError

HEALTHY_SECONDS = 180.0
_HEALTH_WAITS_SECONDS = (0.3, 0.5, 0.7)
_LONGEST_HEALTH_WAIT_SECONDS = 1.0
"""Each question is a process in the container: twelve services asked at once are work for the machine they start on."""
_LOOK_SECONDS = 0.25
_LATER_CHECK_SECONDS = 60.0
"""Between the engine's own checks once a service is well: each is a process, and a run has twelve services."""
_PORT_TAKEN = re.compile(r"(?:Bind for|listen tcp4?) 127\.0\.0\.1:(\d+).*(?:already allocated|already in use)")
_NANOSECONDS = 10**9

# Its image cannot be had everywhere, and it knows of runs and owners only that their process has ended; what is left
# behind is found by its labels instead, see ownership. The host's address it would guess wrong inside a container.
testcontainers_config.ryuk_disabled = True
testcontainers_config.tc_host_override = LOOPBACK


def open_network(host: str, name: str, labels: Mapping[str, str]) -> Network:
    """Make a network of its own for a run.

    Raises:
        EngineError: the engine makes none.
    """
    network = Network(_client_settings(host), {"labels": dict(labels), "check_duplicate": True})
    network.name = name
    try:
        return network.create()
    except docker.errors.APIError as error:
        raise EngineError(
            f"network {name} cannot be made: {explanation(error)}; `docker network prune` removes those unused"
        ) from error


def start_container(
    host: str,
    spec: ServiceSpec,
    network: Network | None,
    labels: Mapping[str, str],
    memory_disks: Mapping[str, str] | None = None,
) -> str:
    """Start a service in a network, known there by its name; its ports are published on loopback alone.

    Args:
        host: of the engine.
        spec: the service.
        network: where it is known; None for one that only this host reaches.
        labels: of the container.
        memory_disks: path in it -> options of a disk in memory there, such as "size=16m".

    Returns:
        the container's id. It is there, and labelled, also where this raises after it was made.

    Raises:
        PortTakenError: something else listens on a port of it.
        EngineError: the engine does not start it.
    """
    container = DockerContainer(
        spec.image,
        _client_settings(host),
        command=None if spec.command is None else cast("str", list(spec.command)),
        env=dict(spec.environment),
        volumes=[(str(path), inside, "ro") for path, inside in spec.files.items()],
    )
    container.tmpfs.update(memory_disks or {})
    if network is not None:
        container.with_network(network).with_network_aliases(spec.name)
    container.with_kwargs(
        labels=dict(labels),
        hostname=spec.name,
        healthcheck={"interval": int(_LATER_CHECK_SECONDS * _NANOSECONDS)},
        entrypoint=None if spec.entrypoint is None else list(spec.entrypoint),
    )
    # The library's type knows of a port alone, and would publish that on every interface.
    ports = cast("dict[str, Any]", container.ports)
    ports.update({f"{inside}/tcp": (LOOPBACK, outside) for inside, outside in spec.ports.items()})
    try:
        return container.start().get_container_id()
    except (docker.errors.DockerException, requests.exceptions.RequestException) as error:
        said = explanation(error)
        if taken := _PORT_TAKEN.search(said):
            raise PortTakenError(
                f"port {taken[1]} of {LOOPBACK}, for {spec.name}, is taken: stop what listens there or choose another"
            ) from error
        raise EngineError(f"{spec.name} does not start: {said}") from error
    finally:
        container.get_docker_client().client.close()


def wait_until_healthy(client: EngineClient, container: str, spec: ServiceSpec, stopping: Callable[[], bool]) -> None:
    """Ask the service by its own health check until it is well, oftener than the engine does.

    Raises:
        ServiceError: it ended, or is not well in time; the message has the end of its log.
        InterruptedError: it is not waited for any longer.
    """
    check = client.health_check(container) if spec.health_check is None else spec.health_check[1:]
    give_up_at = time.monotonic() + HEALTHY_SECONDS
    waits = iter(_HEALTH_WAITS_SECONDS)
    while not client.succeeds(container, *check):
        if stopping():
            raise InterruptedError(f"{spec.name} is not waited for any longer")
        if (status := client.exit_status(container)) is not None:
            raise ServiceError(f"{spec.name} ended with exit status {status}: {_last_line(client, container)}")
        if time.monotonic() > give_up_at:
            raise ServiceError(
                f"{spec.name} is not healthy after {HEALTHY_SECONDS:.0f} s: {_last_line(client, container)}"
            )
        time.sleep(next(waits, _LONGEST_HEALTH_WAIT_SECONDS))


def wait_until_completed(client: EngineClient, container: str, spec: ServiceSpec, stopping: Callable[[], bool]) -> None:
    """Wait for a service that does something once and ends.

    Raises:
        ServiceError: it failed, or takes too long.
        InterruptedError: it is not waited for any longer.
    """
    give_up_at = time.monotonic() + HEALTHY_SECONDS
    while (status := client.exit_status(container)) is None:
        if stopping():
            raise InterruptedError(f"{spec.name} is not waited for any longer")
        if time.monotonic() > give_up_at:
            raise ServiceError(f"{spec.name} is not done after {HEALTHY_SECONDS:.0f} s")
        time.sleep(_LOOK_SECONDS)
    if status != 0:
        raise ServiceError(f"{spec.name} ended with exit status {status}: {_last_line(client, container)}")


def _client_settings(host: str) -> dict[str, Any]:
    return {"environment": {**os.environ, "DOCKER_HOST": host}, "version": "auto"}


def _last_line(client: EngineClient, container: str) -> str:
    lines = client.logs(container).strip().splitlines()
    return lines[-1][:300] if lines else "it says nothing"
