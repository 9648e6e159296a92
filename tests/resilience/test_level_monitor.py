"""The monitor of a process: reads its signals, and tells level, changes and values."""

import pytest
from structlog.testing import capture_logs

from k2.observability.metrics import Metrics
from k2.resilience.degradation import Level, LevelReport
from k2.resilience.level_monitor import LevelMonitor
from k2.resilience.signals import Component
from k2.settings import DegradationSettings, LevelBands
from tests.resilience.manual_clock import ManualClock

SETTINGS = DegradationSettings(
    hold_seconds=10,
    look_seconds=0.01,
    lag_messages=LevelBands(degraded=(100, 50), critical=(1_000, 500)),
    memory_share=LevelBands(),
    dependency_away_seconds=LevelBands(degraded=(1, 0)),
)
CONSUMER = {"component": "consumer"}


class Stage:
    """A monitor over signals that are set by hand."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.metrics = Metrics()
        self.lag = 0.0
        self.readable = True
        signals = {"lag_messages": lambda: self.lag, "dependency_away_seconds": self._away}
        self.monitor = LevelMonitor(Component.CONSUMER, signals, SETTINGS, self.metrics, self.clock)

    def look(self, lag: float) -> LevelReport:
        self.lag = lag
        self.monitor.look()
        return self.monitor.report()

    def _away(self) -> float:
        if not self.readable:
            raise OSError("secret place")
        return 0.0

    def level(self) -> float:
        return self.metrics.value("k2_degradation_level", CONSUMER)

    def entered(self, level: str) -> float:
        return self.metrics.value("k2_degradation_transitions_total", {**CONSUMER, "to": level})


@pytest.fixture
def stage() -> Stage:
    return Stage()


def test_a_process_begins_nominal_and_exports_that(stage: Stage) -> None:
    assert stage.monitor.report() == LevelReport(Level.NOMINAL)
    exposition = stage.metrics.exposition().decode()
    assert 'k2_degradation_level{component="consumer"} 0.0' in exposition
    assert 'k2_degradation_transitions_total{component="consumer",to="CRITICAL"} 0.0' in exposition


def test_a_change_is_told_once_in_metrics_and_log(stage: Stage) -> None:
    with capture_logs() as logs:
        for lag in (10, 200, 200, 150):
            stage.look(lag)
    reason = "lag_messages is 200: DEGRADED from 100 on, until 50"
    assert [line for line in logs if line["event"] == "degradation level"] == [
        {
            "event": "degradation level",
            "log_level": "warning",
            "component": "consumer",
            "before": "NOMINAL",
            "after": "DEGRADED",
            "reasons": [reason],
        }
    ]
    assert (stage.level(), stage.entered("DEGRADED"), stage.entered("NOMINAL")) == (1, 1, 0)
    stage.clock.advance(10)
    with capture_logs() as logs:
        assert stage.look(0).level is Level.NOMINAL
    assert [(line["log_level"], line["after"]) for line in logs] == [("info", "NOMINAL")]
    assert (stage.level(), stage.entered("NOMINAL")) == (0, 1)


def test_the_signals_are_exported_as_they_were_read(stage: Stage) -> None:
    stage.look(123)
    assert stage.metrics.value("k2_degradation_signal", {**CONSUMER, "signal": "lag_messages"}) == 123


def test_a_signal_that_cannot_be_read_does_not_hide_the_others(stage: Stage) -> None:
    stage.readable = False
    with capture_logs() as logs:
        assert stage.look(200).level is Level.DEGRADED
    assert [(line["event"], line.get("signal")) for line in logs][:1] == [
        ("signal not read", "dependency_away_seconds")
    ]


def test_it_looks_at_once_and_goes_on_looking(stage: Stage) -> None:
    stage.lag = 200
    with stage.monitor.watching():
        assert stage.monitor.report().level is Level.DEGRADED
