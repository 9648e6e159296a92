"""Toxiproxy's faults: what passes between K2's processes and a server is spoiled, or nothing passes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from chaos.faults.fault import CUT, FAILS, MOST, SLOWER, SPREAD, Effect, TimedFault
from chaos.probes.canaries import KEPT
from conformance.stacks.containers.proxies import Proxies

KINDS = ("latency", "jitter", "bandwidth", "timeout", "reset_peer", "slicer", "limit_data")
_TOXICS = {"jitter": "latency"}
"""Kinds that Toxiproxy knows by another name."""


@dataclass(slots=True)
class Toxic(TimedFault):
    """A toxic on some proxies, in the direction of K2's processes.

    Attributes:
        proxies: of the stack.
        names: of those that are spoiled.
        kind: one of KINDS.
        attributes: Toxiproxy's own of that kind.
        toxicity: share of the connections that meet it.
    """

    proxies: Proxies
    names: Sequence[str]
    kind: str
    attributes: Mapping[str, int]
    toxicity: float = 1.0

    def inject(self) -> Mapping[str, Any]:
        """Put it there; returns what Toxiproxy says is there."""
        for name in self.names:
            self.proxies.add_toxic(
                name, _TOXICS.get(self.kind, self.kind), self.attributes, toxic=self._toxic, toxicity=self.toxicity
            )
        return {"active": {name: self.proxies.toxics(name) for name in self.names}}

    def heal(self) -> None:
        """Take it away where it is."""
        for name in self.names:
            if self._toxic in self.proxies.toxics(name):
                self.proxies.remove_toxic(name, self._toxic)

    @property
    def _toxic(self) -> str:
        return f"chaos_{self.kind}"


@dataclass(slots=True)
class Down(TimedFault):
    """Proxies close their connections and accept none."""

    proxies: Proxies
    names: Sequence[str]

    def inject(self) -> Mapping[str, Any]:
        """Close them."""
        for name in self.names:
            self.proxies.disable(name)
        return {}

    def heal(self) -> None:
        """Open them."""
        for name in self.names:
            self.proxies.enable(name)


def effect_of(kind: str, attributes: Mapping[str, int], probes: Sequence[str]) -> Effect:
    """What a toxic must do to canaries; half of what it says is enough, for machines are noisy and answers short."""
    every, kept = tuple(probes), tuple(name for name in probes if name.endswith(KEPT))
    match kind:
        case "latency":
            return Effect(SLOWER, every, attributes["latency"] / 2_000)
        case "jitter":
            return Effect(SPREAD, every, attributes["jitter"] / 4_000)
        case "bandwidth" | "slicer":
            return Effect(SLOWER, every, 0.1)
        case "limit_data":
            # A connection of its own for each request never comes that far, where one can be kept.
            return Effect(CUT, kept or every, 1)
        case _:
            return Effect(FAILS, every, MOST)
