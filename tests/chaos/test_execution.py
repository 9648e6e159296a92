"""Faults come at their counts, last for their time, and are healed whatever happens."""

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, cast

import pytest

from chaos.faults.fault import Counts, Effect, TimedFault
from chaos.scenarios import execution
from chaos.scenarios.execution import Execution
from chaos.scenarios.workload import Workload
from chaos.schedule import FaultEntry
from conformance.history import Header, History, HistoryWriter


class Counting:
    """A workload that is counted up by hand, or by looking at it."""

    def __init__(self, step: int = 10) -> None:
        self.done, self._step = 0, step
        self.on_supervise: Callable[[], None] = lambda: None

    def counts(self) -> Counts:
        return Counts(self.done, self.done // 2)

    def totals(self) -> Counts:
        return Counts(1_000 + self.done, self.done // 2)

    def supervise(self) -> None:
        self.done += self._step
        self.on_supervise()


class Noted(TimedFault):
    """A fault that only says when it was there."""

    def __init__(self, workload: Counting, error: Exception | None = None) -> None:
        super().__init__(effects=[Effect("fails", ("probe",), 0.6)])
        self._workload, self._error = workload, error
        self.log: list[tuple[str, int, float]] = []

    def inject(self) -> Mapping[str, Any]:
        self._note("inject")
        if self._error is not None:
            raise self._error
        return {"said": "done"}

    def heal(self) -> None:
        self._note("heal")

    def _note(self, what: str) -> None:
        self.log.append((what, self._workload.done, time.monotonic()))


def entry(at: int, seconds: float = 0.0, counter: str = "acknowledged", target: str = "kafka-1") -> FaultEntry:
    return FaultEntry("s", "down", target, counter, at, seconds, {})


def execute(
    directory: Path, workload: Counting, *planned: tuple[FaultEntry, Noted], raises: type[Exception] | None = None
) -> History:
    with HistoryWriter(directory, Header("c", (), "chaos", 1, "embedded", 0)) as history:
        running = Execution(history, cast("Workload", workload), planned)
        if raises is None:
            running.run()
        else:
            with pytest.raises(raises):
                running.run()
    return History.read(directory)


def test_a_fault_comes_at_its_count_and_lasts_for_its_seconds(tmp_path: Path) -> None:
    workload = Counting()
    fault = Noted(workload)
    history = execute(tmp_path, workload, (entry(55, 0.2), fault))
    (injected, healed) = fault.log
    assert (injected[:2], healed[0]) == (("inject", 60), "heal")
    assert healed[2] - injected[2] >= 0.2
    (found,) = history.of_action("fault")
    assert found.attributes["kept"] == {"counts": {"acknowledged": 60, "committed": 30}, "said": "done"}
    assert found.attributes["acknowledged_before_healing"] == 1_000 + healed[1]
    assert [one.attributes["phase"] for one in history.of_action("phase")] == ["inject", "impact", "heal"] or [
        one.attributes["phase"] for one in history.of_action("phase")
    ] == ["measure", "inject", "impact", "heal"]


def test_a_count_of_what_the_table_took_in_is_another(tmp_path: Path) -> None:
    workload = Counting()
    fault = Noted(workload)
    execute(tmp_path, workload, (entry(50, counter="committed"), fault))
    assert fault.log[0][1] == 100


def test_faults_that_overlap_come_and_go_each_by_itself(tmp_path: Path) -> None:
    workload = Counting()
    long, short = Noted(workload), Noted(workload)
    history = execute(tmp_path, workload, (entry(10, 0.4), long), (entry(30, 0.0, target="kafka-2"), short))
    assert long.log[0][2] < short.log[0][2] < short.log[1][2] < long.log[1][2]
    assert len(history.of_action("fault")) == 2


def test_a_fault_that_fails_half_way_is_healed(tmp_path: Path) -> None:
    workload = Counting()
    fault = Noted(workload, OSError("only half of it"))
    history = execute(tmp_path, workload, (entry(10), fault), raises=OSError)
    assert [what for what, _, _ in fault.log] == ["inject", "heal"]
    assert [one.outcome.value for one in history.of_action("fault")] == ["unknown"]


def test_faults_are_healed_where_the_workload_breaks(tmp_path: Path) -> None:
    workload = Counting()
    fault = Noted(workload)

    def breaks() -> None:
        if workload.done > 50:
            raise RuntimeError("the feed ended")

    workload.on_supervise = breaks
    execute(tmp_path, workload, (entry(10, 60.0), fault), raises=RuntimeError)
    assert [what for what, _, _ in fault.log] == ["inject", "heal"]


def test_a_fault_whose_count_never_comes_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(execution, "STANDSTILL_SECONDS", 0.1)
    workload = Counting(step=0)
    fault = Noted(workload)
    history = execute(tmp_path, workload, (entry(10), fault))
    assert fault.log == []
    assert history.of_action("fault") == ()


def test_a_fault_waits_for_the_one_of_its_kind_on_its_target(tmp_path: Path) -> None:
    workload = Counting()
    first, second = Noted(workload), Noted(workload)
    execute(tmp_path, workload, (entry(10, 0.1), first), (entry(10, 0.1), second))
    (_, healed), (injected, _) = first.log, second.log
    assert (healed[0], injected[0]) == ("heal", "inject")
    assert injected[2] >= healed[2]
