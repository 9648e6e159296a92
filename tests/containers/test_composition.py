"""deploy/compose.yaml is the one description of the servers: what the harness starts is what docker-compose starts."""

import subprocess
from pathlib import Path

import pytest
import yaml

from conformance.stacks.containers import composition, deployment
from conformance.stacks.containers.addresses import inside_network
from conformance.stacks.containers.composition import ServiceSpec, deployment_variables, read_composition
from conformance.stacks.containers.errors import CatalogueError, EngineError
from conformance.stacks.containers.image_catalogue import read_catalogue
from conformance.stacks.containers.proxies import read_proxies
from conformance.stacks.containers.run_secrets import make_secrets, write_environments

ROOT = Path(__file__).resolve().parents[2]
COMPOSE_FILE = ROOT / composition.COMPOSE_FILE
SMALL = """
services:
  one:
    image: ${ONE_IMAGE:?run make up}
    command: ["--port", "${ONE_PORT:-4000}", "--dollar", "$$HOME"]
    ports: ["127.0.0.1:${ONE_PORT:-4000}:80"]
    volumes: ["./one.conf:/etc/one.conf:ro", "kept:/data"]
  two:
    image: two
    depends_on: {one: {condition: service_healthy}}
    healthcheck: {disable: true}
"""


@pytest.fixture
def variables(tmp_path: Path) -> dict[str, str]:
    images = {spec.name: f"images/{spec.name}:1" for spec in read_catalogue(ROOT).images}
    write_environments(tmp_path, {**make_secrets().environments(), "k2.env": {"K2_LOG_LEVEL": "INFO"}})
    return deployment_variables(images, "a-cluster", tmp_path, tmp_path / "configuration")


@pytest.fixture
def services(variables: dict[str, str]) -> dict[str, ServiceSpec]:
    return read_composition(COMPOSE_FILE, variables)


def test_the_harness_reads_what_docker_compose_reads(variables: dict[str, str]) -> None:
    try:
        program = deployment.compose_program()
    except EngineError as error:
        pytest.skip(str(error))
    secrets = Path(variables["SECRETS_DIRECTORY"])
    file = secrets / "variables.env"
    file.write_text("".join(f"{name}={value}\n" for name, value in variables.items()))
    profiles = ["--profile", "faults", "--profile", "dashboards"]
    command = [*program, "--env-file", str(file), "--file", str(COMPOSE_FILE), *profiles, "config"]
    said = subprocess.run(command, capture_output=True, check=True, text=True, stdin=subprocess.DEVNULL)
    theirs = yaml.safe_load(said.stdout)["services"]
    ours = read_composition(COMPOSE_FILE, variables)
    assert sorted(theirs) == sorted(ours)
    for name, spec in ours.items():
        assert theirs[name]["image"] == spec.image
        assert {key: str(value) for key, value in theirs[name].get("environment", {}).items()} == spec.environment
        assert _shown(theirs[name].get("command")) == spec.command
        assert _shown(theirs[name].get("entrypoint")) == spec.entrypoint
        assert _ports(theirs[name].get("ports", ())) == spec.ports


def test_every_image_is_used_and_every_service_has_one(services: dict[str, ServiceSpec]) -> None:
    known = {f"images/{spec.name}:1" for spec in read_catalogue(ROOT).images}
    assert {spec.image for spec in services.values() if not composition.is_for_people(spec)} == known


def test_grafana_has_the_dashboards_and_is_started_only_where_it_is_asked_for(
    services: dict[str, ServiceSpec], variables: dict[str, str]
) -> None:
    assert [name for name, spec in services.items() if composition.is_for_people(spec)] == ["grafana"]
    grafana = services["grafana"]
    assert (grafana.image, grafana.profiles) == ("grafana/grafana:11.6.0", ("dashboards",))
    other = read_composition(COMPOSE_FILE, {**variables, "GRAFANA_IMAGE": "mine:1"})["grafana"]
    assert other.image == "mine:1"
    configuration = Path(variables["CONFIGURATION_DIRECTORY"])
    composition.copy_configuration(ROOT, configuration)
    inside = {path: host for host, path in grafana.files.items()}
    provider = yaml.safe_load((inside["/etc/grafana/provisioning"] / "dashboards" / "k2.yaml").read_text())
    shown = inside[provider["providers"][0]["options"]["path"]]
    assert len(list(shown.glob("*.json"))) == 6
    home = Path(grafana.environment["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"])
    assert (shown / home.name).is_file()
    source = yaml.safe_load((inside["/etc/grafana/provisioning"] / "datasources" / "k2.yaml").read_text())
    assert source["datasources"][0]["url"] == "http://prometheus:9090"


def test_a_record_that_is_acknowledged_is_on_two_brokers(services: dict[str, ServiceSpec]) -> None:
    for number in (1, 2, 3):
        environment = services[f"kafka-{number}"].environment
        assert environment["KAFKA_DEFAULT_REPLICATION_FACTOR"] == "3"
        assert environment["KAFKA_MIN_INSYNC_REPLICAS"] == "2"
        assert environment["KAFKA_NODE_ID"] == str(number)
        listeners = dict(one.split("://") for one in environment["KAFKA_ADVERTISED_LISTENERS"].split(","))
        assert listeners["INTERNAL"] == f"kafka-{number}:9092"
        assert listeners["HOST"].startswith("127.0.0.1:")
        assert listeners["PROXIED"] == f"127.0.0.1:{services['toxiproxy'].ports[21000 + number]}"


def test_both_registries_keep_what_they_know_in_one_place_and_are_compatible_backwards(
    services: dict[str, ServiceSpec],
) -> None:
    first, second = (services[f"schema-registry-{number}"] for number in (1, 2))
    assert first.environment == second.environment
    assert first.environment["APICURIO_DATASOURCE_URL"] == "jdbc:postgresql://postgres:5432/registry"
    assert first.environment["APICURIO_RULES_GLOBAL_COMPATIBILITY"] == "BACKWARD"


def test_toxiproxy_stands_in_front_of_every_server(services: dict[str, ServiceSpec]) -> None:
    proxies = read_proxies(ROOT / composition.CONFIGURATION / "toxiproxy.json")
    assert set(proxies) == set(inside_network())
    assert set(services["toxiproxy"].ports) == {8474, *(proxy.listen_port for proxy in proxies.values())}


def test_no_password_is_written_in_the_file() -> None:
    for name, table in yaml.safe_load(COMPOSE_FILE.read_text())["services"].items():
        for variable in table.get("environment") or {}:
            assert not {"PASSWORD", "SECRET", "KEY"} & set(variable.split("_")), f"{name}: {variable}"


def test_variables_are_put_in_as_docker_compose_does(tmp_path: Path) -> None:
    path = tmp_path / "compose.yaml"
    path.write_text(SMALL)
    read = read_composition(path, {"ONE_IMAGE": "one:1"})
    assert read["one"].command == ("--port", "4000", "--dollar", "$HOME")
    assert read["one"].ports == {80: 4000}
    assert read["one"].files == {tmp_path / "one.conf": "/etc/one.conf"}
    assert (read["one"].health_check, read["two"].health_check) == (None, ())
    assert composition.started_before(read, ["two"]) == {"one", "two"}
    assert read_composition(path, {"ONE_IMAGE": "one:1", "ONE_PORT": "5"})["one"].ports == {80: 5}


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("127.0.0.1:$", "0.0.0.0:$", "one publishes 0.0.0.0:4000:80: it must be 127.0.0.1:PORT:PORT"),
        ("{one: {", "{three: {", "two depends on three, which is not there"),
        ("service_healthy", "service_started", "two depends on service_started: choose service_healthy or "),
        ("services:", "servers:", "there are no services in it"),
        ("ONE_IMAGE", "TWO_IMAGE", "variable TWO_IMAGE is not set: run make up"),
    ],
)
def test_a_file_that_cannot_be_used_is_one_line(tmp_path: Path, old: str, new: str, says: str) -> None:
    path = tmp_path / "compose.yaml"
    path.write_text(SMALL.replace(old, new))
    with pytest.raises(CatalogueError) as raised:
        read_composition(path, {"ONE_IMAGE": "one:1"})
    assert str(raised.value).startswith(f"{path}: ")
    assert says in str(raised.value)
    assert "\n" not in str(raised.value)


def test_secrets_are_shown_nowhere(services: dict[str, ServiceSpec], variables: dict[str, str]) -> None:
    secrets = Path(variables["SECRETS_DIRECTORY"])
    password = composition.read_environment_file(secrets / "postgres.env")["POSTGRES_PASSWORD"]
    assert services["postgres"].environment["POSTGRES_PASSWORD"] == password
    assert password not in repr(services)
    assert {file.stat().st_mode & 0o777 for file in secrets.glob("*.env")} == {0o600}


def _shown(command: list[str] | None) -> tuple[str, ...] | None:
    # docker-compose writes a dollar sign so that it could read it again.
    return None if command is None else tuple(part.replace("$$", "$") for part in command)


def _ports(listed: list[object]) -> dict[int, int]:
    found = {}
    for one in listed:
        if isinstance(one, dict):
            found[int(one["target"])] = int(one["published"])
        else:
            _, outside, inside = str(one).removesuffix("/tcp").split(":")
            found[int(inside)] = int(outside)
    return found
