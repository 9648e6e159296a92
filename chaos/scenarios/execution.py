"""Carries out the faults of a scenario: each injected at its count, healed after its time, whatever happens."""

import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import Any

from chaos.faults.fault import Fault
from chaos.scenarios.workload import Workload
from chaos.schedule import FaultEntry
from conformance.history import HistoryWriter, Invocation

LOOK_SECONDS = 0.02
STANDSTILL_SECONDS = 90.0
"""A fault whose count is not reached for so long never comes."""


@dataclass(slots=True)
class _Planned:
    entry: FaultEntry
    fault: Fault
    kept: dict[str, Any] = field(default_factory=dict)
    injecting_wall_ns: int = 0
    injected_wall_ns: int | None = None
    injected_monotonic_ns: int = 0


class Execution:
    """The faults of one scenario.

    Args:
        history: gets the phases inject, impact and heal of each fault, and the operation `fault`.
        workload: whose counts decide.
        planned: entries and their faults.
    """

    def __init__(self, history: HistoryWriter, workload: Workload, planned: Sequence[tuple[FaultEntry, Fault]]) -> None:
        self._history = history
        self._workload = workload
        self._pending = [_Planned(entry, fault) for entry, fault in planned]
        self._active: list[_Planned] = []
        self._began_ns = self._last_ns = time.monotonic_ns()
        self._was_measured = False

    def run(self) -> None:
        """Until every fault has come and gone, or will not come any more."""
        try:
            while self._pending or self._active:
                self._workload.supervise()
                for planned in [one for one in self._active if self._is_over(one)]:
                    self._heal(planned)
                for planned in [one for one in self._pending if self._is_due(one)]:
                    if not self._is_spoiled(planned):
                        self._inject(planned)
                if not self._active and time.monotonic_ns() - self._last_ns > STANDSTILL_SECONDS * 1e9:
                    return
                time.sleep(LOOK_SECONDS)
        finally:
            for planned in tuple(self._active):
                self._heal(planned)

    def _is_due(self, planned: _Planned) -> bool:
        entry = planned.entry
        reached = entry.counter != "batches" and self._workload.counts().of(entry.counter) >= entry.at
        return planned.fault.is_due(reached)

    def _is_spoiled(self, planned: _Planned) -> bool:
        """Whether its target still has a fault of the same kind: the first to be healed would undo them both."""
        entry = planned.entry
        return any((one.entry.fault, one.entry.target) == (entry.fault, entry.target) for one in self._active)

    def _is_over(self, planned: _Planned) -> bool:
        seconds = (time.monotonic_ns() - planned.injected_monotonic_ns) / 1e9
        return planned.fault.is_over(seconds >= planned.entry.seconds)

    def _inject(self, planned: _Planned) -> None:
        if not self._was_measured:
            self._was_measured = True
            self._history.operation(
                "harness", "phase", "ok", invoked_monotonic_ns=self._began_ns, attributes={"phase": "measure"}
            )
        self._pending.remove(planned)
        # Healed also where it was injected by half.
        self._active.append(planned)
        counts = self._workload.counts()
        planned.injecting_wall_ns = time.time_ns()
        planned.kept["counts"] = {"acknowledged": counts.acknowledged, "committed": counts.committed}
        with phase(self._history, "inject", _named(planned)):
            planned.kept |= planned.fault.inject()
        planned.injecting_wall_ns = min(planned.injecting_wall_ns, planned.kept.get("began_wall_ns", sys.maxsize))
        planned.injected_wall_ns = time.time_ns()
        planned.injected_monotonic_ns = self._last_ns = time.monotonic_ns()

    def _heal(self, planned: _Planned) -> None:
        self._active.remove(planned)
        if planned.injected_wall_ns is not None:
            began = {"invoked_monotonic_ns": planned.injected_monotonic_ns}
            attributes = {"phase": "impact", **_named(planned)}
            self._history.operation("harness", "phase", "ok", **began, attributes=attributes)
        healing_wall_ns = time.time_ns()
        acknowledged = self._workload.totals().acknowledged
        with phase(self._history, "heal", _named(planned)):
            planned.fault.heal()
        self._last_ns = time.monotonic_ns()
        self._history.operation(
            "harness",
            "fault",
            "unknown" if planned.injected_wall_ns is None else "ok",
            attributes={
                **_named(planned),
                "effects": [effect.as_json() for effect in planned.fault.effects],
                "injecting_wall_ns": planned.injecting_wall_ns,
                "injected_wall_ns": planned.injected_wall_ns,
                "healing_wall_ns": healing_wall_ns,
                "healed_wall_ns": time.time_ns(),
                "acknowledged_before_healing": acknowledged,
                "kept": planned.kept,
            },
        )


def phase(
    history: HistoryWriter, name: str, attributes: Mapping[str, Any] | None = None
) -> AbstractContextManager[Invocation]:
    """Record what the body does as a phase: warm_up, measure, inject, impact, heal, recovery."""
    return history.invoke("harness", "phase", {"phase": name, **(attributes or {})})


def _named(planned: _Planned) -> dict[str, Any]:
    return {"fault": planned.entry.fault, "target": planned.entry.target}
