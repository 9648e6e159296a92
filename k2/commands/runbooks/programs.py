"""Which programs a runbook's commands may name, and where each is found: on the reader's machine, or in an image.

What an image holds is what its Dockerfile in deploy/images installs.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

_HOST = """
    awk cat cp curl cut date df docker du echo false find free grep head ls mkdir mv ps pwd rm sleep sort ss tail tar
    tee test touch true uniq uptime wc
"""
_DEBIAN_BASE = "sh bash cat cp df du echo find grep head ls mv rm sleep tail tar test true wc"
_COMPOSE = "config create down events exec images kill logs pause port ps pull restart rm run start stop top unpause up"
_WITH_VALUE = (
    "--tail --since --until --timeout -t --scale --user -u --env -e --workdir -w --signal -s --index --entrypoint"
)
HOST_PROGRAMS = frozenset(_HOST.split())
SHELL_BUILTINS = frozenset(("cd", "export", "set", "unset", ".", "wait", "kill"))
_DEBIAN = frozenset(_DEBIAN_BASE.split())
IMAGE_PROGRAMS: Mapping[str, frozenset[str]] = {
    "kafka": _DEBIAN | {"java", "kafka-healthy"},
    "schema-registry": _DEBIAN | {"java"},
    "postgres": _DEBIAN | {"psql", "pg_isready", "pg_dump", "pg_restore"},
    "object-store": _DEBIAN | {"versitygw"},
    "redis": _DEBIAN | {"redis-cli"},
    "prometheus": _DEBIAN | {"prometheus", "promtool"},
    "alertmanager": _DEBIAN | {"alertmanager", "amtool"},
    "pushgateway": _DEBIAN,
    "toxiproxy": _DEBIAN,
    "k2": _DEBIAN | {"k2", "python3"},
}
_IMAGE_OF = (
    *((name, name) for name in IMAGE_PROGRAMS if name != "k2"),
    *((name, "k2") for name in ("k2-", "consumer-", "api", "feed")),
)
COMPOSE = "compose"
ASK = "ask"
HEALTHY = "healthy"
_COMPOSE_COMMANDS = frozenset(_COMPOSE.split())
_TAKES_SERVICES = _COMPOSE_COMMANDS - {"config", "down", "exec", "run"}
_OPTIONS_WITH_VALUE = frozenset(_WITH_VALUE.split())


@dataclass(frozen=True, slots=True)
class Mistake:
    """What is wrong with a command, and what to write instead."""

    what: str
    remedy: str


@dataclass(frozen=True, slots=True)
class Inner:
    """A command that runs inside a container."""

    image: str
    words: tuple[str, ...]


def image_of(service: str) -> str | None:
    """The image a service of deploy/compose.yaml runs, by its folder in deploy/images."""
    return next((image for prefix, image in _IMAGE_OF if service.startswith(prefix)), None)


def read_compose(words: Sequence[str], services: Sequence[str]) -> Iterator[Mistake | Inner]:
    """Judge `compose ...`; a command it executes in a container is given back, to be judged itself.

    Args:
        words: after `compose`.
        services: those of deploy/compose.yaml.
    """
    plain = list(_without_options(words))
    if not plain:
        yield Mistake("compose without a command", f"write one of {', '.join(sorted(_COMPOSE_COMMANDS))}")
        return
    command, *rest = plain
    if command not in _COMPOSE_COMMANDS:
        yield Mistake(f"compose has no command {command!r}", f"write one of {', '.join(sorted(_COMPOSE_COMMANDS))}")
        return
    named = rest if command in _TAKES_SERVICES else rest[:1] if command in {"exec", "run"} else []
    yield from unknown_services(named, services)
    if command == "exec":
        yield from _executed(words, rest)


def unknown_services(named: Sequence[str], services: Sequence[str]) -> Iterator[Mistake]:
    """A mistake for each name that is no service; a variable may be one."""
    for service in named:
        if service not in services and not service.startswith("$"):
            remedy = f"write one of {', '.join(sorted(services))}"
            yield Mistake(f"deploy/compose.yaml has no service {service!r}", remedy)


def _executed(words: Sequence[str], rest: Sequence[str]) -> Iterator[Mistake | Inner]:
    if len(rest) < 2:
        yield Mistake("compose exec without a program", "name the service and what it shall run")
        return
    service = rest[0]
    image = image_of(service)
    # From here on options are the program's own.
    inside = tuple(words[list(words).index(service) + 1 :])
    if image is not None:
        yield Inner(image, inside)


def _without_options(words: Sequence[str]) -> Iterator[str]:
    skip = False
    for word in words:
        if skip:
            skip = False
        elif word.startswith("-"):
            skip = word in _OPTIONS_WITH_VALUE
        else:
            yield word
