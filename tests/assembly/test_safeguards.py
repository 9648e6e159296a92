"""The signals of real processes: pool, memory, breakers and progress lead to the levels the settings say."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from k2.assembly.safeguards import api_monitor, consumer_monitor, storage_probes, watching
from k2.errors import UnavailableError
from k2.observability.metrics import Metrics
from k2.resilience.breakers import CircuitBreakers, Dependency
from k2.resilience.degradation import Level
from k2.resilience.level_monitor import LevelMonitor
from k2.settings import BreakerSettings, DegradationSettings, QuerySettings, Settings, StorageSettings
from k2.storage.catalog import IcebergCatalog
from tests.resilience.manual_clock import ManualClock

NOMINAL, DEGRADED, CRITICAL, SHUTDOWN = Level
REJECTIONS = "k2_connection_pool_acquisition_timeouts_total"


class Stage:
    """A monitor with everything it looks at."""

    def __init__(self, **degradation: object) -> None:
        self.clock = ManualClock()
        self.metrics = Metrics()
        settings = BreakerSettings(failures_to_open=1, open_seconds=10, successes_to_close=1)
        self.breakers = CircuitBreakers(settings, self.metrics, self.clock)
        self.settings = Settings(
            query=QuerySettings(pool_size=4),
            degradation=DegradationSettings.model_validate({"hold_seconds": 1, "look_seconds": 0.01, **degradation}),
        )
        self.progress = (0, 0)

    def api(self) -> LevelMonitor:
        return api_monitor(self.settings, self.breakers, self.metrics, self.clock)

    def consumer(self) -> LevelMonitor:
        return consumer_monitor(self.settings, self.breakers, lambda: self.progress, self.metrics, self.clock)

    def level(self, monitor: LevelMonitor, after_seconds: float = 1.0) -> Level:
        self.clock.advance(after_seconds)
        monitor.look()
        return monitor.report().level

    def busy(self, connections: int) -> None:
        self.metrics.set("k2_connection_pool_active_connections", connections)


def test_a_dependency_that_stays_away_takes_an_api_further_than_a_consumer() -> None:
    stage = Stage()
    api, consumer = stage.api(), stage.consumer()
    stage.breakers[Dependency.CATALOG].failed(UnavailableError("no answer"))
    seen = [(stage.level(api, seconds), stage.level(consumer, 0)) for seconds in (4, 2, 25, 90)]
    assert seen == [(NOMINAL, NOMINAL), (DEGRADED, DEGRADED), (CRITICAL, CRITICAL), (SHUTDOWN, CRITICAL)]


def test_a_pool_that_is_always_full_degrades_and_one_that_is_full_at_times_does_not() -> None:
    stage = Stage(window_seconds=10)
    monitor = stage.api()
    for connections in (4, 4, 3, 4, 4, 4):
        stage.busy(connections)
        assert stage.level(monitor) is NOMINAL
    assert [stage.level(monitor) for _ in range(9)][-1] is DEGRADED
    stage.busy(3)
    assert stage.level(monitor) is DEGRADED
    stage.busy(2)
    assert stage.level(monitor) is NOMINAL


def test_requests_without_a_connection_count_for_as_long_as_the_window_lasts() -> None:
    stage = Stage(window_seconds=10)
    monitor = stage.api()
    assert stage.level(monitor) is NOMINAL
    stage.metrics.increment(REJECTIONS, value=10)
    assert stage.level(monitor) is DEGRADED
    stage.metrics.increment(REJECTIONS, value=90)
    assert stage.level(monitor) is CRITICAL
    assert [stage.level(monitor, 12) for _ in range(2)] == [DEGRADED, NOMINAL]


def test_lag_and_a_table_that_stands_still_degrade_a_consumer() -> None:
    stage = Stage(window_seconds=2)
    monitor = stage.consumer()
    stage.progress = (10, 20_000)
    assert [stage.level(monitor) for _ in range(3)] == [NOMINAL, NOMINAL, DEGRADED]
    stage.progress = (20_010, 500)
    assert [stage.level(monitor) for _ in range(4)][-1] is NOMINAL
    stage.level(monitor, 57)
    assert stage.level(monitor, 2) is DEGRADED
    stage.progress = (20_011, 499)
    assert stage.level(monitor) is NOMINAL


def test_memory_over_its_limit_is_the_end_of_both() -> None:
    stage = Stage(memory_limit_bytes=1)
    assert (stage.level(stage.api()), stage.level(stage.consumer())) == (SHUTDOWN, SHUTDOWN)


def test_the_machine_s_memory_is_enough_for_these_tests() -> None:
    stage = Stage()
    assert stage.level(stage.api()) is NOMINAL
    assert 0 < stage.metrics.value("k2_degradation_signal", {"component": "api", "signal": "memory_share"}) < 0.8


@pytest.fixture
def catalog(tmp_path: Path) -> Iterator[IcebergCatalog]:
    stage = Stage()
    storage = StorageSettings(catalog_uri=f"sqlite:///{tmp_path}/catalog.db", warehouse=str(tmp_path / "warehouse"))
    catalog = IcebergCatalog(storage, stage.breakers)
    catalog.create_tables()
    catalog.stage = stage  # type: ignore[attr-defined]
    yield catalog
    catalog.close()


def test_what_is_away_is_probed_until_it_is_back_though_nobody_asks_for_it(catalog: IcebergCatalog) -> None:
    stage: Stage = catalog.stage  # type: ignore[attr-defined]
    monitor = stage.api()
    for dependency in (Dependency.CATALOG, Dependency.OBJECT_STORE):
        stage.breakers[dependency].failed(UnavailableError("no answer"))
    stage.clock.advance(10)
    with watching(stage.settings, monitor, stage.breakers, storage_probes(catalog)):
        assert monitor.report().level is DEGRADED
        assert stage.breakers.away_seconds() == {"catalog": 0.0, "object_store": 0.0}
