"""Every image starts, is found well by its own health check, and holds what it should and no more."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from conformance.stacks.containers.client import EngineClient
from conformance.stacks.containers.image_catalogue import host_certificates, read_catalogue
from conformance.stacks.containers.images import Image, ensure_images, list_images
from tests.containers.container_label import LABEL

ROOT = Path(__file__).resolve().parents[2]
# The first tests may have to wait for images to be built.
pytestmark = pytest.mark.timeout(3600)

HEALTHY_SECONDS = 240.0
ENVIRONMENTS = {
    "object-store": {"ROOT_ACCESS_KEY": "k2-test", "ROOT_SECRET_KEY": "k2-test-secret"},
    "postgres": {"POSTGRES_PASSWORD": "k2-test-secret", "POSTGRES_DB": "catalog"},
    "kafka": {"KAFKA_NUM_PARTITIONS": "3", "KAFKA_LOG_RETENTION_MS": "60000"},
}
COMMANDS = {"k2": ["up"]}
# What only works if the service does, run inside its container.
QUESTIONS = {
    "alertmanager": ("amtool --alertmanager.url=http://127.0.0.1:9093 config show", "receiver: nobody"),
    "k2": ("k2 --data-dir /var/lib/k2/data settings", "bootstrap_servers"),
    "kafka": ("grep -c -e ^num.partitions=3 -e ^log.retention.ms=60000 /var/lib/kafka/server.properties", "2"),
    "postgres": ("psql --username postgres --dbname catalog --command 'select version()'", "PostgreSQL 17."),
    "prometheus": ("promtool query instant http://127.0.0.1:9090 'vector(17)'", "17"),
    "redis": ("redis-cli info server", "redis_version:8."),
    "toxiproxy": ("toxiproxy -version", "2.12.0"),
}


@pytest.fixture(params=[spec.name for spec in read_catalogue(ROOT).images])
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def container(engine: EngineClient, images: dict[str, Image], name: str) -> Iterator[str]:
    reference = images[name].reference
    assert reference is not None
    started = engine.start_container(
        reference, label=LABEL, environment=ENVIRONMENTS.get(name, {}), command=COMMANDS.get(name)
    )
    yield started
    engine.remove_container(started)


def test_it_becomes_healthy_as_a_user_without_rights(engine: EngineClient, container: str, name: str) -> None:
    give_up_at = time.monotonic() + HEALTHY_SECONDS
    while (health := engine.health(container)) == "starting" and time.monotonic() < give_up_at:
        time.sleep(0.2)
    assert health == "healthy", engine.logs(container)[-4000:]
    status, user = engine.execute(container, "id", "--user")
    assert (status, user.strip() != "0") == (0, True)
    tools = "for tool in mvn go gcc pip make; do command -v $tool; done; true"
    assert engine.execute(container, "sh", "-c", tools) == (0, "")
    if name in QUESTIONS:
        question, expected = QUESTIONS[name]
        status, answer = engine.execute(container, "sh", "-c", question)
        assert (status, expected in answer) == (0, True), answer


def test_a_second_run_builds_nothing_and_takes_seconds(engine: EngineClient, images: dict[str, Image]) -> None:
    said: list[str] = []
    started = time.monotonic()
    again = ensure_images(engine, said.append, [name for name in images if name not in ("base", "k2")])
    assert time.monotonic() - started < 3
    assert {image.state for image in again} == {"present"}
    assert {image.reference for image in again} <= {image.reference for image in images.values()}
    assert said == []


def test_the_listing_agrees_with_what_was_built(engine: EngineClient, images: dict[str, Image]) -> None:
    listed = {image.name: image for image in list_images(engine)}
    assert set(listed) == set(images)
    for name in set(images) - {"k2"}:
        assert (listed[name].reference, listed[name].state) == (images[name].reference, "present")


def test_images_trust_what_the_host_trusts(engine: EngineClient, images: dict[str, Image]) -> None:
    reference = images["redis"].reference
    assert reference is not None
    container = engine.start_container(reference, label=LABEL, environment={})
    try:
        _, bundle = engine.execute(container, "cat", "/etc/ssl/certs/ca-certificates.crt")
    finally:
        engine.remove_container(container)
    assert certificates(host_certificates().decode()) <= certificates(bundle)


def certificates(bundle: str) -> set[str]:
    """Bodies of the certificates of a bundle, without line breaks."""
    parts = bundle.split("-----BEGIN CERTIFICATE-----")[1:]
    return {"".join(part.split("-----END CERTIFICATE-----")[0].split()) for part in parts}
