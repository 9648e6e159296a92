"""What protects one process and those it calls, made in k2.assembly and handed to it as one value."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass

from k2.resilience.breakers import CircuitBreakers
from k2.resilience.shedding import Shedding


@dataclass(frozen=True, slots=True)
class Safeguards:
    """The safeguards of one process.

    Attributes:
        breakers: one for each dependency.
        shedding: what is not done at the present level.
        watching: keeps the level current and probes what is away, for as long as the context lasts.
    """

    breakers: CircuitBreakers
    shedding: Shedding
    watching: Callable[[], AbstractContextManager[object]]
