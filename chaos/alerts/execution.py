"""Carries out the matrix: until all is quiet, a control window, then the groups of faults, all of it into a history."""

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import yaml

from chaos.alerts.faults import AlertFault
from chaos.alerts.matrix import FaultGroup, MatrixEntry, MatrixFault
from chaos.alerts.receiver import AlertReceiver
from chaos.alerts.scaling import TimeScale
from chaos.alerts.watch import AlertWatch
from chaos.probes.probe import ProbeLog
from conformance.drivers import prometheus
from conformance.history import HistoryWriter
from conformance.stacks.containers.monitoring import RunMonitoring

ROOT = Path(__file__).resolve().parents[2]
PRODUCTION_PROMETHEUS = ROOT / "deploy/prometheus"
PRODUCTION_ALERTMANAGER = ROOT / "deploy/alertmanager/alertmanager.yml"
LEFT_TO_PROMTOOL = "budgets.yml"
LONGEST_LOOK_SECONDS = 10.0
"""Without a look at the alerts; a busy machine may miss some."""
_TICK_SECONDS = 0.1
_LOAD_SECONDS = 30.0
_QUIET_SECONDS = 150.0
_FIRST_READINGS = 5
_PROBE_SECONDS = 0.5
"""Faults last for many seconds here, and canaries cost a busy machine what the platform needs."""
_FIRST_READING_SECONDS = 20.0
_PATIENCE_SECONDS = 100.0
"""For the alerts of one fault."""
_AFTERWARDS_SECONDS = 1.0
Say = Callable[[str], None]


def rule_files() -> tuple[Path, ...]:
    """Files of rules that are hurried: all but burn rates and budgets, which look back over hours and days."""
    return tuple(
        path for path in sorted((PRODUCTION_PROMETHEUS / "rules").glob("*.yml")) if path.name != LEFT_TO_PROMTOOL
    )


@contextmanager
def hurried(monitoring: RunMonitoring, scale: TimeScale, receiver: AlertReceiver, directory: Path) -> Iterator[None]:
    """Have the run's Prometheus and Alertmanager go by production's files, scaled, for as long as this lasts.

    Args:
        monitoring: of the run.
        scale: the factor.
        receiver: who is told.
        directory: gets the rules.

    Raises:
        TimeoutError: they do not take the files.
    """
    rules = directory / "rules"
    rules.mkdir(parents=True)
    intervals: dict[str, float] = {}
    for path in rule_files():
        production = yaml.safe_load(path.read_text())
        intervals |= {group["name"]: scale.seconds(group["interval"]) for group in production["groups"]}
        (rules / path.name).write_text(yaml.safe_dump(scale.rules(production), sort_keys=False))
    configuration = scale.prometheus(
        yaml.safe_load(monitoring.prometheus_configuration()),
        yaml.safe_load((PRODUCTION_PROMETHEUS / "prometheus.yml").read_text()),
    )
    told = scale.alertmanager(yaml.safe_load(PRODUCTION_ALERTMANAGER.read_text()), receiver.address)
    with (
        monitoring.configured(yaml.safe_dump(configuration, sort_keys=False), yaml.safe_dump(told, sort_keys=False)),
        monitoring.rules(rules),
    ):
        _wait(
            lambda: prometheus.evaluation_seconds(monitoring.prometheus_url) == intervals,
            _LOAD_SECONDS,
            "Prometheus does not take the scaled rules",
        )
        yield


@dataclass(slots=True)
class _Active:
    entry: MatrixEntry
    fault: MatrixFault
    injecting_wall_ns: int
    injected_wall_ns: int | None = None
    injected_at: float = 0.0
    kept: dict[str, Any] = field(default_factory=dict)


class MatrixRun:
    """One run on a platform at work.

    Args:
        make_fault: the fault of an entry, on that platform.
        watch: of Prometheus, watching.
        receiver: hearing.
        history: open; gets the operations fault and control, and in the end all stages.
        say: told what is done.
    """

    def __init__(
        self,
        make_fault: Callable[[MatrixEntry], MatrixFault],
        watch: AlertWatch,
        receiver: AlertReceiver,
        history: HistoryWriter,
        say: Say,
    ) -> None:
        self._make_fault = make_fault
        self._watch = watch
        self._receiver = receiver
        self._history = history
        self._say = say
        self._readings: list[pa.Table] = []

    def warm_up(self, settling_seconds: float) -> None:
        """Wait until everything is at work and no alert is on its way; then so long again, as some look back on that.

        Raises:
            TimeoutError: it does not become quiet.
        """
        time.sleep(settling_seconds)
        _wait(lambda: not self._watch.active(), _QUIET_SECONDS, lambda: f"not quiet: {sorted(self._watch.active())}")

    def control(self, seconds: float) -> None:
        """Do nothing for so long."""
        with self._history.invoke("harness", "control"):
            time.sleep(seconds)

    def carry_out(self, group: FaultGroup) -> None:
        """Put all faults of a group there, undo each once its alerts were heard, and wait until all is quiet."""
        planned = [(entry, self._make_fault(entry)) for entry in group.entries]
        probes = [probe for _, fault in planned for probe in fault.probes]
        with ProbeLog(probes, _PROBE_SECONDS) as readings:
            _wait(
                lambda: readings.fewest() >= _FIRST_READINGS,
                _FIRST_READING_SECONDS,
                f"probes of {group.name} are silent",
            )
            self._carry_out(group, planned)
            quiet = self._becomes_quiet()
            time.sleep(_AFTERWARDS_SECONDS)
        table = readings.table()
        self._readings.append(table.append_column("group", pa.array([group.name] * table.num_rows, pa.string())))
        if not quiet:
            self._say(f"  not over: {', '.join(sorted(self._receiver.open_alerts() | self._watch.firing()))}")

    def observe(self) -> None:
        """Put everything that was seen into the history."""
        self._history.observe("notifications", self._receiver.table())
        self._history.observe("alert_states", self._watch.states())
        self._history.observe("looks", self._watch.looks())
        self._history.observe("readings", pa.concat_tables(self._readings))

    def _carry_out(self, group: FaultGroup, planned: Sequence[tuple[MatrixEntry, MatrixFault]]) -> None:
        active: list[_Active] = []
        try:
            for entry, fault in planned:
                one = _Active(entry, fault, time.time_ns())
                # Healed also where it was injected by half.
                active.append(one)
                one.kept |= fault.inject()
                one.injected_wall_ns, one.injected_at = time.time_ns(), time.monotonic()
                self._say(f"  {entry.fault} on {entry.target}: must fire {', '.join(entry.fires)}")
            while active:
                for one in [one for one in active if self._is_over(one)]:
                    active.remove(one)
                    self._heal(group, one)
                for one in active:
                    if isinstance(one.fault, AlertFault):
                        one.fault.go_on()
                time.sleep(_TICK_SECONDS)
        finally:
            for one in active:
                self._heal(group, one)

    def _is_over(self, one: _Active) -> bool:
        lasted = time.monotonic() - one.injected_at
        heard = set(one.entry.fires) <= self._receiver.heard_since(one.injecting_wall_ns)
        return (heard and lasted >= one.entry.least_seconds) or lasted >= _PATIENCE_SECONDS

    def _heal(self, group: FaultGroup, one: _Active) -> None:
        healing_wall_ns = time.time_ns()
        one.fault.heal()
        missing = set(one.entry.fires) - self._receiver.heard_since(one.injecting_wall_ns)
        lasted = (healing_wall_ns - one.injecting_wall_ns) / 1e9
        self._say(
            f"  {one.entry.fault} on {one.entry.target}: healed after {lasted:.0f} s"
            + (f", NOT HEARD: {', '.join(sorted(missing))}" if missing else "")
        )
        self._history.operation(
            "harness",
            "fault",
            "unknown" if one.injected_wall_ns is None else "ok",
            attributes={
                "fault": one.entry.fault,
                "target": one.entry.target,
                "fires": list(one.entry.fires),
                "is_injected": isinstance(one.fault, AlertFault) and one.fault.is_injected,
                "group": group.name,
                "effects": [effect.as_json() for effect in one.fault.effects],
                "injecting_wall_ns": one.injecting_wall_ns,
                "injected_wall_ns": one.injected_wall_ns or healing_wall_ns,
                "healing_wall_ns": healing_wall_ns,
                "healed_wall_ns": time.time_ns(),
                "kept": one.kept,
            },
        )

    def _becomes_quiet(self) -> bool:
        give_up_at = time.monotonic() + _QUIET_SECONDS
        while self._watch.active() or self._receiver.open_alerts():
            if time.monotonic() > give_up_at:
                return False
            time.sleep(_TICK_SECONDS)
        return True


def _wait(holds: Callable[[], bool], seconds: float, failure: str | Callable[[], str]) -> None:
    give_up_at = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > give_up_at:
            raise TimeoutError(failure if isinstance(failure, str) else failure())
        time.sleep(_TICK_SECONDS)
