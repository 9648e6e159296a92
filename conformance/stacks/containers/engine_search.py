"""Where an engine may be, and what may be done where none is: decisions apart from the doing."""

import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

from conformance.stacks.containers.errors import CatalogueError

DEFAULT_SOCKET = Path("/var/run/docker.sock")
CHOICE = "K2_ENGINE"
_CHOICES = ("auto", "none")


class Remedy(Enum):
    """What can be done about there being none."""

    INSTALL_AND_START = "install docker.io with apt-get and start dockerd"
    START = "start dockerd"
    NOTHING = "nothing"


@dataclass(frozen=True, slots=True)
class HostFacts:
    """What decides whether an engine may be installed here.

    Attributes:
        distribution: ID and ID_LIKE of os-release, in lower case.
        has_package_manager: apt-get is there.
        has_daemon: dockerd is there.
    """

    is_root: bool
    distribution: frozenset[str]
    has_package_manager: bool
    has_daemon: bool


def endpoints(environment: Mapping[str, str]) -> tuple[str, ...]:
    """Where an engine may answer, most likely first."""
    if environment.get("DOCKER_HOST"):
        return (environment["DOCKER_HOST"],)
    sockets = [DEFAULT_SOCKET]
    if environment.get("XDG_RUNTIME_DIR"):
        sockets.append(Path(environment["XDG_RUNTIME_DIR"]) / "docker.sock")
    if environment.get("HOME"):
        sockets.append(Path(environment["HOME"]) / ".docker" / "run" / "docker.sock")
    return tuple(f"unix://{socket}" for socket in sockets)


def remedy(environment: Mapping[str, str], host: HostFacts) -> Remedy:
    """What may be done where no engine answers; nothing where the user named one, since it is that one he wants."""
    if environment.get("DOCKER_HOST") or not host.is_root:
        return Remedy.NOTHING
    if host.has_daemon:
        return Remedy.START
    return Remedy.INSTALL_AND_START if may_install(host) else Remedy.NOTHING


def may_install(host: HostFacts) -> bool:
    """Whether packages may be installed: as root on Debian, Ubuntu and what is made of them."""
    return host.is_root and host.has_package_manager and bool(host.distribution & {"debian", "ubuntu"})


def forbidden(environment: Mapping[str, str]) -> bool:
    """Whether K2_ENGINE=none forbids using an engine.

    Raises:
        CatalogueError: it has a value nobody knows.
    """
    choice = environment.get(CHOICE) or _CHOICES[0]
    if choice not in _CHOICES:
        raise CatalogueError(f"{CHOICE}={choice}: choose {' or '.join(_CHOICES)}")
    return choice == "none"


def host_facts(os_release: Path = Path("/etc/os-release")) -> HostFacts:
    """Look at this machine."""
    words: set[str] = set()
    if os_release.is_file():
        for line in os_release.read_text().splitlines():
            name, _, value = line.partition("=")
            if name in ("ID", "ID_LIKE"):
                words.update(value.strip().strip("\"'").lower().split())
    return HostFacts(
        is_root=os.geteuid() == 0,
        distribution=frozenset(words),
        has_package_manager=shutil.which("apt-get") is not None,
        has_daemon=shutil.which("dockerd") is not None,
    )
