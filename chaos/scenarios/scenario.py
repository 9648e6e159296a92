"""One scenario from its warm-up to the last look at the table, written into a history. It judges nothing."""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa

from chaos.faults.catalogue import Place, fault_of, plan_of
from chaos.probes.probe import Probe, ProbeLog
from chaos.scenarios.execution import Execution, phase
from chaos.scenarios.table import Scenario
from chaos.scenarios.workload import Workload
from chaos.schedule import FaultEntry
from conformance.drivers.bulk import STORED_COLUMNS
from conformance.drivers.table_view import next_offsets, view_table
from conformance.history import HistoryWriter
from conformance.stacks.base import Stack
from conformance.stacks.containers.addresses import platform_settings
from conformance.stacks.containers.stack import ContainerStack
from k2.records.definition import TRADE
from k2.settings import StorageSettings

WARM_UP_SECONDS = 150.0
DRAIN_SECONDS = 60.0
_LATE_SECONDS = 15.0
"""After the time a scenario may take to recover; what has not by then is given up."""
_CONTROL_READINGS = 5
_AFTERWARDS_SECONDS = 0.5
_LOOK_SECONDS = 0.05
_LOGGED = pa.schema([("wall_ns", pa.int64()), ("source", pa.string()), ("text", pa.string())])
_SHOWN_CHARACTERS = 200


def plan_parameters(scenario: Scenario, entries: Sequence[FaultEntry]) -> dict[str, Any]:
    """What the checker must know of a scenario."""
    return {
        "goes_on": list(scenario.goes_on),
        "stops": list(scenario.stops),
        "expected_faults": len(entries),
        "recovers_within_seconds": scenario.recovers_within_seconds,
        "restarts": scenario.restarts,
        "answers_within_seconds": scenario.answers_within_seconds,
        "schedule": [
            {"fault": one.fault, "target": one.target, "counter": one.counter, "at": one.at, "seconds": one.seconds}
            for one in entries
        ],
    }


def run_scenario(
    scenario: Scenario,
    entries: Sequence[FaultEntry],
    stack: Stack,
    history: HistoryWriter,
    directory: Path,
    seed: int,
) -> None:
    """Run a scenario on a stack that was started.

    Args:
        scenario: what runs.
        entries: its faults.
        stack: of this scenario alone.
        history: open.
        directory: for what processes write down of their faults.
        seed: of the feed's records.

    Raises:
        PowerMissingError: the stack cannot do one of the faults.
        TimeoutError: it did not even warm up.
    """
    storage, began_wall_ns = _direct_storage(stack), time.time_ns()
    workload = Workload(stack, scenario.workload, seed, storage, plan_of(entries, directory))
    place = Place(stack, workload, directory)
    planned = [(entry, fault_of(entry, place)) for entry in entries]
    probes: dict[str, Probe] = {}
    for _, fault in planned:
        for probe in fault.probes:
            probes.setdefault(probe.name, probe)
    try:
        with ProbeLog(probes.values()) as readings:
            with phase(history, "warm_up"):
                workload.start()
                is_early = [fault for entry, fault in planned if entry.counter == "batches"]
                _wait(
                    lambda: _is_warm(workload, readings, bool(probes)) or any(f.is_due(False) for f in is_early),
                    WARM_UP_SECONDS,
                    workload,
                )
                workload.count_from_now()
            if planned:
                Execution(history, workload, planned).run()
            else:
                with phase(history, "measure"):
                    _wait(
                        lambda: workload.counts().acknowledged >= scenario.workload.records, WARM_UP_SECONDS, workload
                    )
            _recover(scenario, workload, readings, history)
            workload.stop_feeding()
            _drain(history, workload, storage)
        _observe(history, workload, readings, storage)
    finally:
        workload.stop()
    for status in workload.stop_consumers():
        ended = {"restarts": workload.restarts, "exit_status": status}
        history.operation("harness", "consumer", "ok", attributes=ended)
    history.observe("error_lines", _error_lines(stack, began_wall_ns))


def _is_warm(workload: Workload, readings: ProbeLog, is_probed: bool) -> bool:
    looked = not is_probed or readings.fewest() >= _CONTROL_READINGS
    return workload.totals().committed > 0 and looked and workload.callers.well_since(0)


def _recover(scenario: Scenario, workload: Workload, readings: ProbeLog, history: HistoryWriter) -> None:
    began_wall_ns, healed_at = time.time_ns(), workload.totals().acknowledged

    def recovered() -> bool:
        totals = workload.totals()
        took_all_in = totals.committed >= healed_at and totals.acknowledged > healed_at
        return took_all_in and readings.well_since(began_wall_ns) and workload.callers.well_since(began_wall_ns)

    with phase(history, "recovery") as invocation:
        try:
            _wait(recovered, scenario.recovers_within_seconds + _LATE_SECONDS, workload)
        except TimeoutError:
            invocation.outcome = invocation.outcome.FAIL
        time.sleep(_AFTERWARDS_SECONDS)


def _drain(history: HistoryWriter, workload: Workload, storage: StorageSettings) -> None:
    ends = workload.fed.ends()

    def is_taken_in() -> bool:
        offsets = next_offsets(storage, TRADE.table)
        return all(offsets.get(place, 0) >= end for place, end in ends.items())

    with history.invoke("harness", "drain") as invocation:
        try:
            _wait(is_taken_in, DRAIN_SECONDS, workload)
        except TimeoutError:
            # What is missing then is for the checker to say.
            invocation.outcome = invocation.outcome.FAIL


def _wait(holds: Callable[[], bool], seconds: float, workload: Workload) -> None:
    give_up_at = time.monotonic() + seconds
    while not holds():
        workload.supervise()
        if time.monotonic() > give_up_at:
            raise TimeoutError(
                f"it took longer than {seconds:.0f} s; the consumer: {workload.consumer().last_log_line()}"
            )
        time.sleep(_LOOK_SECONDS)


def _observe(history: HistoryWriter, workload: Workload, readings: ProbeLog, storage: StorageSettings) -> None:
    view = view_table(storage, TRADE.table)
    history.observe("fed", workload.fed.table(), "trades")
    history.observe("stored", view.rows.select(list(STORED_COLUMNS)), "trades")
    history.observe("snapshots", workload.snapshots(), "trades")
    history.observe("acknowledgements", workload.acknowledgements())
    history.observe("readings", readings.table())
    history.observe("calls", workload.callers.table())


def _direct_storage(stack: Stack) -> StorageSettings:
    """How the tables are read past the proxies, so that no fault is in the way of whoever looks."""
    if not isinstance(stack, ContainerStack):
        return stack.settings.storage
    direct = platform_settings(stack.services.addresses(), "")["storage"]
    return stack.settings.storage.model_copy(update={name: direct[name] for name in ("catalog_uri", "s3_endpoint")})


def _error_lines(stack: Stack, since_wall_ns: int) -> pa.Table:
    """What processes and servers wrote of errors meanwhile, in the order of time."""
    rows = list(_of_processes(stack.logs()))
    if isinstance(stack, ContainerStack):
        rows += [
            (_wall_ns(line.text.partition(" ")[0]), line.service, line.text.partition(" ")[2][:_SHOWN_CHARACTERS])
            for line in stack.services.unexpected_errors(since_wall_ns / 1e9)
        ]
    rows = sorted(row for row in rows if row[0] >= since_wall_ns)
    columns = zip(*rows, strict=True) if rows else ([] for _ in _LOGGED)
    return pa.table(dict(zip(_LOGGED.names, map(list, columns), strict=True)), schema=_LOGGED)


def _of_processes(logs: Mapping[str, str]) -> Iterable[tuple[int, str, str]]:
    for name, text in logs.items():
        for line in text.splitlines():
            try:
                event = orjson.loads(line)
            except orjson.JSONDecodeError:
                continue
            if isinstance(event, dict) and event.get("level") in ("error", "critical"):
                said = f"{event.get('event')} {event.get('error', '')}".strip()
                yield _wall_ns(str(event.get("timestamp"))), name, said[:_SHOWN_CHARACTERS]


def _wall_ns(timestamp: str) -> int:
    """Of a time in ISO form with however many digits; 0 for something else."""
    try:
        return int(pa.scalar(timestamp.removesuffix("Z")).cast(pa.timestamp("ns")).value)
    except (pa.ArrowException, ValueError):
        return 0
