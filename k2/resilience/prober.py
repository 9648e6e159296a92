"""Asks dependencies that are left alone whether they are back, where no work comes by that would.

A breaker lets a probe through when somebody calls. At a level that sheds the work, or in a quiet hour, nobody does.
"""

import contextlib
from collections.abc import Callable, Mapping

from k2.errors import K2Error
from k2.resilience.breakers import CircuitBreakers, Dependency
from k2.resilience.circuit_breaker import BreakerState
from k2.resilience.repeated_task import RepeatedTask


class Prober:
    """Probes the dependencies of one process.

    Args:
        breakers: of the process.
        probes: a small call to each dependency, through its breaker.
        every_seconds: how often is looked whether one is due.
    """

    def __init__(
        self, breakers: CircuitBreakers, probes: Mapping[Dependency, Callable[[], object]], every_seconds: float
    ) -> None:
        self._breakers = breakers
        self._probes = probes
        self._every_seconds = every_seconds

    def watching(self) -> RepeatedTask:
        """Probe what is away at every interval, until the `with` block ends."""
        return RepeatedTask("prober", self.look, self._every_seconds)

    def look(self) -> None:
        """Call every dependency whose breaker is not closed; the breaker knows whether it is time for a probe."""
        for dependency, probe in self._probes.items():
            if self._breakers[dependency].state is not BreakerState.CLOSED:
                with contextlib.suppress(K2Error):
                    probe()
