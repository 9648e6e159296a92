"""What a fault is."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from chaos.probes.probe import Probe

SLOWER, SPREAD, FAILS, CUT, SHOWS, COUNTS = "slower", "spread", "fails", "cut", "shows", "counts"
MOST = 0.6
"""Of the readings of a fault that spares nobody: what was asked just before it, or answered just after, is spared."""


@dataclass(frozen=True, slots=True)
class Effect:
    """What the readings of some probes must be like while a fault lasts; conformance.checkers.chaos_effects judges it.

    Attributes:
        kind: SLOWER by `least` seconds in the middle than before; SPREAD by `least` seconds; FAILS in a share of
            `least`; CUT so many times; SHOWS one of `answers` in a share of `least`; COUNTS up by `least`.
        probes: every one of these must show it.
        least: see above.
        answers: see above.
    """

    kind: str
    probes: tuple[str, ...]
    least: float
    answers: tuple[str, ...] = ()

    def as_json(self) -> dict[str, Any]:
        """As the history keeps it."""
        return {"kind": self.kind, "probes": list(self.probes), "least": self.least, "answers": list(self.answers)}


@dataclass(frozen=True, slots=True)
class Counts:
    """What is counted of a workload, from the end of its warm-up."""

    acknowledged: int = 0
    committed: int = 0

    def of(self, counter: str) -> int:
        """The count of that name."""
        return {"acknowledged": self.acknowledged, "committed": self.committed}[counter]


class Fault(Protocol):
    """Something that can be done to a running stack, and undone.

    `heal` may be called whatever became of `inject`, and more than once.
    """

    effects: Sequence[Effect]
    probes: Sequence[Probe]

    def is_due(self, reached: bool) -> bool:
        """Whether it is to be injected, `reached` saying whether its count is."""

    def inject(self) -> Mapping[str, Any]:
        """Do it; returns what is worth keeping of how it was done: `began_wall_ns` where it began by itself."""

    def is_over(self, seconds_are_over: bool) -> bool:
        """Whether it is to be healed."""

    def heal(self) -> None:
        """Undo it."""


@dataclass(slots=True)
class TimedFault:
    """What faults have in common that come at their count and last for their seconds."""

    effects: Sequence[Effect] = field(default=(), kw_only=True)
    probes: Sequence[Probe] = field(default=(), kw_only=True)

    def is_due(self, reached: bool) -> bool:
        """At its count."""
        return reached

    def is_over(self, seconds_are_over: bool) -> bool:
        """After its seconds."""
        return seconds_are_over
