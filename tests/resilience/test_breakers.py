"""The breakers of a process: one for each dependency that is asked for, and how long each has been away."""

from k2.errors import UnavailableError
from k2.observability.metrics import Metrics
from k2.resilience.breakers import CircuitBreakers, Dependency
from k2.settings import BreakerSettings
from tests.resilience.manual_clock import ManualClock


def test_everybody_gets_the_same_breaker_and_nobody_s_exports_nothing() -> None:
    metrics = Metrics()
    breakers = CircuitBreakers(BreakerSettings(), metrics, ManualClock())
    assert breakers[Dependency.CATALOG] is breakers[Dependency.CATALOG]
    exposition = metrics.exposition().decode()
    assert 'k2_circuit_breaker_state{breaker="catalog"} 0.0' in exposition
    assert 'breaker="broker"' not in exposition


def test_it_is_told_for_each_dependency_how_long_it_has_been_away() -> None:
    clock = ManualClock()
    breakers = CircuitBreakers(BreakerSettings(failures_to_open=1), Metrics(), clock)
    breakers[Dependency.CATALOG].failed(UnavailableError("no answer"))
    assert breakers[Dependency.OBJECT_STORE].away_seconds() == 0
    clock.advance(4)
    assert breakers.away_seconds() == {"catalog": 4.0, "object_store": 0.0}
