"""Tests that need a container engine for themselves: one after the other, never beside others."""

from collections.abc import Iterator

import pytest

from conformance.stacks.containers.client import EngineClient
from conformance.stacks.containers.engine import NoEngine, find_engine
from conformance.stacks.containers.images import Image, ensure_images
from conformance.stacks.containers.preflight import TO_RUN, refusals
from conformance.stacks.containers.service_logs import ErrorLine
from conformance.stacks.containers.services import ContainerServices, open_services
from tests.containers.container_label import LABEL


@pytest.fixture(scope="session")
def engine(worker_id: str) -> Iterator[EngineClient]:
    """An engine that answers and suits. Nothing is installed here: `python -m conformance engine --start` does that."""
    if worker_id != "master":
        pytest.skip("needs a container engine for itself: run pytest tests/containers without -n")
    found = find_engine()
    if isinstance(found, NoEngine):
        pytest.skip(found.reason)
    if refused := refusals(found.facts, TO_RUN):
        pytest.skip("; ".join(refused))
    with EngineClient(found.host, answer_seconds=60.0) as client:
        _remove_containers(client)
        yield client
        _remove_containers(client)


@pytest.fixture(scope="session")
def images(engine: EngineClient) -> dict[str, Image]:
    """Every image by name; those that are missing are built first."""
    return {image.name: image for image in ensure_images(engine, print)}


@pytest.fixture(scope="session")
def started(
    engine: EngineClient, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[ContainerServices, list[ErrorLine]]]:
    """The servers, and the unexpected errors of their start."""
    with open_services(tmp_path_factory.mktemp("services"), print) as services:
        yield services, services.unexpected_errors()


@pytest.fixture
def services(started: tuple[ContainerServices, list[ErrorLine]]) -> ContainerServices:
    """The servers, for all tests that leave them as they were."""
    return started[0]


@pytest.fixture
def spoiled(services: ContainerServices) -> Iterator[ContainerServices]:
    """The servers, for a test that does something to them which is undone at its end."""
    yield services
    services.proxies.reset()


def _remove_containers(client: EngineClient) -> None:
    for container in client.containers(LABEL):
        client.remove_container(container)
