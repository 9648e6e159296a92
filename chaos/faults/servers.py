"""Faults of whole servers, for every process that uses them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from chaos.faults.fault import TimedFault
from conformance.stacks.containers.container_faults import ContainerFaults


@dataclass(slots=True)
class Ended(TimedFault):
    """Servers end, and are started again.

    Attributes:
        servers: all there are.
        names: of those that end.
        gracefully: in their own way; otherwise as in a power cut.
    """

    servers: ContainerFaults
    names: Sequence[str]
    gracefully: bool

    def inject(self) -> Mapping[str, Any]:
        """End them."""
        for name in self.names:
            (self.servers.shut_down if self.gracefully else self.servers.kill)(name)
        return {}

    def heal(self) -> None:
        """Start those that do not run, and wait until they are well."""
        for name in self.names:
            if not self.servers.is_running(name):
                self.servers.start(name)


@dataclass(slots=True)
class Paused(TimedFault):
    """Servers are frozen: their connections stay, and nobody answers."""

    servers: ContainerFaults
    names: Sequence[str]
    _frozen: list[str] = field(default_factory=list, init=False)

    def inject(self) -> Mapping[str, Any]:
        """Freeze them."""
        for name in self.names:
            self.servers.pause(name)
            self._frozen.append(name)
        return {}

    def heal(self) -> None:
        """Let those go on that are frozen."""
        while self._frozen:
            self.servers.unpause(self._frozen.pop())


@dataclass(slots=True)
class Parted(TimedFault):
    """Servers are parted from all others and from this host."""

    servers: ContainerFaults
    names: Sequence[str]
    _away: list[str] = field(default_factory=list, init=False)

    def inject(self) -> Mapping[str, Any]:
        """Part them."""
        for name in self.names:
            self.servers.disconnect(name)
            self._away.append(name)
        return {}

    def heal(self) -> None:
        """Put those back that were parted."""
        while self._away:
            self.servers.connect(self._away.pop())
