"""The circuit breakers of one process: one for each dependency, shared by everything that calls it."""

import threading
from enum import StrEnum

from k2.clock import Clock
from k2.resilience.circuit_breaker import CircuitBreaker, Recorder
from k2.settings import BreakerSettings


class Dependency(StrEnum):
    """What K2 calls; the values are the `breaker` label of the metrics."""

    BROKER = "broker"
    SCHEMA_REGISTRY = "schema_registry"
    CATALOG = "catalog"
    OBJECT_STORE = "object_store"
    REDIS = "redis"


CACHES = frozenset({Dependency.REDIS})
"""What everything works without: that one of these is away is shown, and is no reason to shed anything."""


class CircuitBreakers:
    """Gives out the breaker of each dependency; one that nobody asks for is never made and exports nothing.

    Args:
        settings: of every breaker.
        metrics: receives their metrics.
        clock: measures their waits.
    """

    def __init__(self, settings: BreakerSettings, metrics: Recorder, clock: Clock) -> None:
        self._settings = settings
        self._metrics = metrics
        self._clock = clock
        self._lock = threading.Lock()
        self._made: dict[Dependency, CircuitBreaker] = {}

    def __getitem__(self, dependency: Dependency) -> CircuitBreaker:
        with self._lock:
            made = self._made.get(dependency)
            if made is None:
                made = self._made[dependency] = CircuitBreaker(dependency, self._settings, self._metrics, self._clock)
            return made

    def away_seconds(self) -> dict[str, float]:
        """For how long each breaker has not been closed; 0 while it is. Caches are not among them."""
        with self._lock:
            made = [(dependency, breaker) for dependency, breaker in self._made.items() if dependency not in CACHES]
        return {str(dependency): breaker.away_seconds() for dependency, breaker in made}
