"""The prober asks what is away whether it is back, and leaves alone what is not."""

from functools import partial

from k2.errors import RefusedError, UnavailableError
from k2.observability.metrics import Metrics
from k2.resilience.breakers import CircuitBreakers, Dependency
from k2.resilience.circuit_breaker import BreakerState
from k2.resilience.prober import Prober
from k2.settings import BreakerSettings
from tests.resilience.manual_clock import ManualClock

NO_ANSWER = UnavailableError("no answer")
CATALOG, STORE = Dependency.CATALOG, Dependency.OBJECT_STORE


class Stage:
    """Two dependencies behind breakers; what is in `down` raises."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        settings = BreakerSettings(failures_to_open=1, open_seconds=10, successes_to_close=2)
        self.breakers = CircuitBreakers(settings, Metrics(), self.clock)
        self.down: dict[Dependency, Exception] = {}
        self.asked: list[Dependency] = []
        self.prober = Prober(self.breakers, {name: partial(self.ask, name) for name in (CATALOG, STORE)}, 1.0)

    def ask(self, dependency: Dependency) -> None:
        with self.breakers[dependency].guard():
            self.asked.append(dependency)
            if dependency in self.down:
                raise self.down[dependency]


def test_nobody_is_asked_while_all_is_well() -> None:
    stage = Stage()
    stage.prober.look()
    assert stage.asked == []


def test_what_is_away_is_asked_after_its_wait_until_it_is_back() -> None:
    stage = Stage()
    stage.breakers[STORE].failed(NO_ANSWER)
    stage.prober.look()
    assert stage.asked == []
    stage.down[STORE] = NO_ANSWER
    stage.clock.advance(10)
    stage.prober.look()
    stage.prober.look()
    assert stage.asked == [STORE]
    stage.down.clear()
    stage.clock.advance(10)
    for _ in range(3):
        stage.prober.look()
    assert stage.asked == [STORE] * 3
    assert stage.breakers[STORE].state is BreakerState.CLOSED


def test_a_refusal_is_an_answer_and_ends_the_probing() -> None:
    stage = Stage()
    stage.breakers[CATALOG].failed(NO_ANSWER)
    stage.down[CATALOG] = RefusedError("wrong password")
    stage.clock.advance(10)
    for _ in range(3):
        stage.prober.look()
    assert stage.asked == [CATALOG] * 2
    assert stage.breakers[CATALOG].state is BreakerState.CLOSED
