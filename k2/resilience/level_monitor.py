"""Watches the signals of one process and says its level: to whoever sheds, in metrics and in the log."""

from collections.abc import Callable, Mapping

import structlog

from k2.clock import Clock
from k2.resilience.circuit_breaker import Recorder
from k2.resilience.degradation import Degradation, Level, LevelReport
from k2.resilience.repeated_task import RepeatedTask
from k2.resilience.signals import Component, thresholds_of
from k2.settings import DegradationSettings

LEVEL = "k2_degradation_level"
TRANSITIONS = "k2_degradation_transitions_total"
SIGNAL = "k2_degradation_signal"

_log = structlog.get_logger("k2.degradation")


class LevelMonitor:
    """The level of one process.

    Args:
        component: whose thresholds hold.
        signals: by name, how each is read; called in the thread that looks.
        settings: the thresholds, how long a level is held, how often is looked.
        metrics: receives the k2_degradation_* metrics.
        clock: measures the holds.
    """

    def __init__(
        self,
        component: Component,
        signals: Mapping[str, Callable[[], float]],
        settings: DegradationSettings,
        metrics: Recorder,
        clock: Clock,
    ) -> None:
        self._component = component
        self._signals = signals
        self._settings = settings
        self._metrics = metrics
        self._machine = Degradation(thresholds_of(component, settings), settings.hold_seconds, clock)
        # Replaced as a whole, so that nobody sees half of it.
        self._report = LevelReport(Level.NOMINAL)
        metrics.set(LEVEL, Level.NOMINAL, {"component": component})
        for level in Level:
            metrics.increment(TRANSITIONS, {"component": component, "to": level.name}, 0)

    def report(self) -> LevelReport:
        """The level as of the last look."""
        return self._report

    def watching(self) -> RepeatedTask:
        """Look at once, and from then on at every interval, until the `with` block ends."""
        return RepeatedTask("degradation", self.look, self._settings.look_seconds)

    def look(self) -> None:
        """Read the signals, change the level if that is due, and tell."""
        before, report = self._report, self._machine.step(self._values())
        self._report = report
        if report.level is before.level:
            return
        self._metrics.set(LEVEL, report.level, {"component": self._component})
        self._metrics.increment(TRANSITIONS, {"component": self._component, "to": report.level.name})
        tell = _log.warning if report.level > before.level else _log.info
        tell(
            "degradation level",
            component=str(self._component),
            before=before.level.name,
            after=report.level.name,
            reasons=list(report.reasons),
        )

    def _values(self) -> dict[str, float]:
        values: dict[str, float] = {}
        for name, read in self._signals.items():
            try:
                values[name] = read()
            except Exception as error:  # noqa: BLE001 - whatever stops one signal must not hide the others
                _log.warning("signal not read", signal=name, error=str(error))
                continue
            self._metrics.set(SIGNAL, values[name], {"component": self._component, "signal": name})
        return values
