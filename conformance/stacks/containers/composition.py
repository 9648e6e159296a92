"""What deploy/compose.yaml says, as values: the one description of the servers, for people and for the harness.

Reads files and changes nothing. Variables are put in as docker-compose puts them in: ${NAME}, ${NAME:-default},
${NAME:?what to do}, and $$ for a dollar sign.
"""

import re
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from conformance.stacks.containers.errors import CatalogueError

COMPOSE_FILE = Path("deploy") / "compose.yaml"
CONFIGURATION = Path("deploy") / "compose"
_CONFIGURATION_FOLDERS = ("compose", "prometheus", "alertmanager", "grafana")
LOOPBACK = "127.0.0.1"
_VARIABLE = re.compile(r"\$(?:(\$)|\{(\w+)(?::(-|\?)([^}]*))?\})")
_PORT_VARIABLE = re.compile(r"\$\{(\w+_PORT):-(\d+)\}")
_IMAGE_SUFFIX = "_IMAGE"
_FOR_PEOPLE = "dashboards"
"""Profile of what people look at; the harness starts none of it."""
HEALTHY, COMPLETED = "service_healthy", "service_completed_successfully"
_CONDITIONS = (HEALTHY, COMPLETED)


@dataclass(frozen=True, slots=True)
class ServiceSpec:
    """One service, with every variable put in.

    Attributes:
        image: reference the engine knows.
        environment: of its process, what its files of secrets say included; not shown, for that reason.
        command: arguments instead of the image's.
        entrypoint: program instead of the image's.
        ports: port in the container -> port of 127.0.0.1.
        files: absolute path on the host -> path in the container, read-only.
        needs: service -> what of it is waited for, HEALTHY or COMPLETED.
        health_check: command instead of the image's own check; empty where there is none to be.
        profiles: it is only started where one of these is asked for.
    """

    name: str
    image: str
    environment: Mapping[str, str] = field(repr=False)
    command: tuple[str, ...] | None
    entrypoint: tuple[str, ...] | None
    ports: Mapping[int, int]
    files: Mapping[Path, str]
    needs: Mapping[str, str]
    health_check: tuple[str, ...] | None
    profiles: tuple[str, ...]


def read_composition(path: Path, variables: Mapping[str, str]) -> dict[str, ServiceSpec]:
    """Every service of a compose file by name.

    Args:
        path: of the file; relative paths in it start from its folder.
        variables: what is put in; see the module.

    Raises:
        CatalogueError: it is missing, cannot be used, or a variable that it demands is not given.
    """
    document = _document(path)
    services = {
        name: _service(path, name, _filled(path, table, variables)) for name, table in document["services"].items()
    }
    for spec in services.values():
        if unknown := sorted(set(spec.needs) - set(services)):
            raise CatalogueError(f"{path}: {spec.name} depends on {', '.join(unknown)}, which is not there")
    return services


def port_defaults(path: Path) -> dict[str, int]:
    """Every variable that names a port of this host, with the port that is taken where it is not set.

    Raises:
        CatalogueError: the file cannot be read.
    """
    return {name: int(default) for name, default in _PORT_VARIABLE.findall(_text(path))}


def image_variable(image: str) -> str:
    """The variable that names an image: SCHEMA_REGISTRY_IMAGE."""
    return image.upper().replace("-", "_") + _IMAGE_SUFFIX


def deployment_variables(
    images: Mapping[str, str], cluster_id: str, secrets_directory: Path, configuration_directory: Path
) -> dict[str, str]:
    """What a compose file of ours must be given, ports apart.

    Args:
        images: reference of each image by its name in deploy/images.toml.
        cluster_id: of Kafka.
        secrets_directory: absolute; holds an env file for each server that has a password.
        configuration_directory: absolute; holds what containers read.
    """
    return {
        **{image_variable(name): reference for name, reference in images.items()},
        "KAFKA_CLUSTER_ID": cluster_id,
        "SECRETS_DIRECTORY": str(secrets_directory),
        "CONFIGURATION_DIRECTORY": str(configuration_directory),
    }


def copy_configuration(root: Path, directory: Path, instead: Path | None = None) -> Path:
    """Copy what containers read to a place where any user may read it, whatever umask the checkout was made with.

    Args:
        root: of the checkout.
        directory: gets the copies.
        instead: folder whose files take the place of those of the same path below deploy/.
    """
    for source in (root / "deploy", *(() if instead is None else (instead,))):
        for folder in _CONFIGURATION_FOLDERS:
            for file in (one for one in (source / folder).rglob("*") if one.is_file()):
                copy = directory / file.relative_to(source)
                copy.parent.mkdir(parents=True, exist_ok=True, mode=0o755)
                shutil.copyfile(file, copy)
                copy.chmod(0o644)
    return directory


def is_for_people(spec: ServiceSpec) -> bool:
    """Whether a service only shows something to people: no other one needs it."""
    return _FOR_PEOPLE in spec.profiles


def started_before(services: Mapping[str, ServiceSpec], names: Iterable[str]) -> set[str]:
    """Some services and all they need, directly or not."""
    found: set[str] = set()
    pending = list(names)
    while pending:
        name = pending.pop()
        if name not in found:
            found.add(name)
            pending.extend(services[name].needs)
    return found


def read_environment_file(path: Path) -> dict[str, str]:
    """NAME=value lines, as docker-compose's env_file and --env-file have them.

    Raises:
        CatalogueError: it cannot be read, or a line is something else.
    """
    found = {}
    for number, line in enumerate(_text(path).splitlines(), start=1):
        if not line.strip() or line.startswith("#"):
            continue
        name, separator, value = line.partition("=")
        if not separator:
            raise CatalogueError(f"{path}:{number} is no NAME=value")
        found[name] = value
    return found


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except OSError as error:
        raise CatalogueError(f"{path} cannot be read: {error.strerror}") from None


def _document(path: Path) -> dict[str, Any]:
    try:
        document = yaml.safe_load(_text(path))
    except yaml.YAMLError as error:
        raise CatalogueError(f"{path}: {' '.join(str(error).split())}") from None
    if not isinstance(document, dict) or not isinstance(document.get("services"), dict):
        raise CatalogueError(f"{path}: there are no services in it")
    return document


def _filled(path: Path, value: Any, variables: Mapping[str, str]) -> Any:
    if isinstance(value, dict):
        return {name: _filled(path, inner, variables) for name, inner in value.items()}
    if isinstance(value, list):
        return [_filled(path, inner, variables) for inner in value]
    if not isinstance(value, str):
        return value

    def fill(match: re.Match[str]) -> str:
        dollar, name, kind, text = match.groups()
        if dollar:
            return "$"
        if variables.get(name):
            return variables[name]
        if kind == "-":
            return str(text)
        raise CatalogueError(f"{path}: variable {name} is not set: {text or 'set it'}")

    return _VARIABLE.sub(fill, value)


def _service(path: Path, name: str, table: Mapping[str, Any]) -> ServiceSpec:
    environment: dict[str, str] = {}
    for file in _listed(table.get("env_file")):
        environment |= read_environment_file(path.parent / file)
    environment |= {key: str(value) for key, value in (table.get("environment") or {}).items()}
    health = table.get("healthcheck") or {}
    return ServiceSpec(
        name=name,
        image=table["image"],
        environment=environment,
        command=_arguments(table.get("command")),
        entrypoint=_arguments(table.get("entrypoint")),
        ports=dict(_port(path, name, text) for text in table.get("ports") or ()),
        files=dict(_files(path, table.get("volumes") or ())),
        needs=_needs(path, name, table.get("depends_on") or {}),
        health_check=() if health.get("disable") else _arguments(health.get("test")),
        profiles=tuple(table.get("profiles") or ()),
    )


def _listed(value: Any) -> list[str]:
    return [value] if isinstance(value, str) else list(value or ())


def _arguments(value: Any) -> tuple[str, ...] | None:
    return None if value is None else tuple(str(part) for part in value)


def _port(path: Path, name: str, text: str) -> tuple[int, int]:
    address, _, ports = str(text).partition(":")
    host_port, _, container_port = ports.partition(":")
    if address != LOOPBACK or not host_port.isdigit() or not container_port.isdigit():
        raise CatalogueError(f"{path}: {name} publishes {text}: it must be {LOOPBACK}:PORT:PORT")
    return int(container_port), int(host_port)


def _files(path: Path, volumes: Iterable[str]) -> Iterable[tuple[Path, str]]:
    for volume in volumes:
        source, _, rest = volume.partition(":")
        # A name without a slash is a volume the engine keeps: a run that ends has nothing to keep.
        if "/" in source:
            yield (path.parent / source).resolve(), rest.partition(":")[0]


def _needs(path: Path, name: str, table: Mapping[str, Mapping[str, str]]) -> dict[str, str]:
    found = {needed: how["condition"] for needed, how in table.items()}
    if unknown := sorted(set(found.values()) - set(_CONDITIONS)):
        raise CatalogueError(f"{path}: {name} depends on {', '.join(unknown)}: choose {' or '.join(_CONDITIONS)}")
    return found
